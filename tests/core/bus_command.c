/*
 * Commands as the NF gives them: what is written down, and what does not come any more.
 */
#include "bus_fixture.h"

#include <errno.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, COMMANDS = 4096, DELAY = 8, BOTH = 3 };

static const struct bus_nf commander = {.command_slots = COMMANDS, .command_delay = DELAY};

static const struct bus_nf inline_commander = {
    .command_slots = COMMANDS, .command_delay = DELAY, .is_inline = true};

static void open_bus(struct bus *bus, const struct bus_nf *nf) {
    bus_create(bus, SLOTS, nf, 1);
}

static int unsubscribe(struct bus *bus, uint32_t delivery, unsigned sides) {
    return mb_reader_command(bus->reader[0], &bus->delivery[0][delivery], MB_COMMAND_UNSUBSCRIBE, 1,
                             sides);
}

static const struct mb_command *ring_of(struct bus *bus) {
    const struct mb_nf_geometry geometry = bus_geometry(bus, 0);
    return mb_nf_area_parts(bus->area[0].base, &geometry).commands;
}

static void a_command_is_written_down(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &commander);
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(unsubscribe(&bus, 0, 2), 0);
    const struct mb_nf_page *page = bus.area[0].base;
    assert_int_equal(page->command_head, 1);
    const struct mb_command *command = ring_of(&bus);
    assert_int_equal(command->flow, 7);
    assert_int_equal(command->packet, 1);
    assert_int_equal(command->seen, 1);
    assert_int_equal(command->subscriptions, 1);
    assert_int_equal(command->kind, MB_COMMAND_UNSUBSCRIBE);
    assert_int_equal(command->sides, 2);
    assert_int_equal(bus_counters(&bus, 0)->commands, 1);
    bus_destroy(&bus);
}

static void judge(struct bus *bus, enum mb_verdict verdict) {
    mb_reader_judge_delivery(bus->reader[0], &bus->delivery[0][0], verdict);
}

static void a_verdict_on_a_flow_is_told_to_the_stack(void **state) {
    (void)state;
    static const struct {
        enum mb_verdict verdict;
        enum mb_command_kind kind;
    } told[] = {{MB_PASS_FLOW, MB_COMMAND_UNSUBSCRIBE},
                {MB_DROP_FLOW, MB_COMMAND_DROP_FLOW},
                {MB_RESET, MB_COMMAND_DROP_FLOW}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct bus bus;
        open_bus(&bus, &inline_commander);
        bus_packet(&bus, 7, NF(0));
        assert_int_equal(bus_poll(&bus, 0), 1);
        judge(&bus, told[i].verdict);
        judge(&bus, told[i].verdict);
        assert_int_equal(bus_counters(&bus, 0)->commands, 1);
        const struct mb_command *command = ring_of(&bus);
        assert_int_equal(command->flow, 7);
        assert_int_equal(command->packet, 1);
        assert_int_equal(command->seen, 1);
        assert_int_equal(command->subscriptions, 1);
        assert_int_equal(command->kind, told[i].kind);
        assert_int_equal(command->sides, BOTH);
        bus_destroy(&bus);
    }
}

/* The gate finds a drop only on an entry of the flow's own packet. */
static void a_drop_is_told_only_where_the_gate_finds_it(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &inline_commander);
    bus_entry(&bus, 7, NF(0))->flags |= MB_APART;
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    assert_int_equal(bus_poll(&bus, 0), 1);
    judge(&bus, MB_DROP_FLOW);
    assert_int_equal(bus_counters(&bus, 0)->commands, 0);
    bus_destroy(&bus);
}

static void a_verdict_on_a_packet_is_no_command(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &inline_commander);
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    judge(&bus, MB_DROP);
    assert_int_equal(bus_counters(&bus, 0)->commands, 0);
    bus_destroy(&bus);
}

static void a_verdict_that_there_is_no_room_for_is_counted(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &inline_commander);
    bus_entry(&bus, 7, NF(0));
    bus_entry(&bus, 8, NF(0));
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    assert_int_equal(bus_poll(&bus, 0), 2);
    for (unsigned i = 0; i < COMMANDS; i++)
        assert_int_equal(unsubscribe(&bus, 0, BOTH), 0);
    mb_reader_judge_delivery(bus.reader[0], &bus.delivery[0][1], MB_DROP_FLOW);
    assert_int_equal(bus_counters(&bus, 0)->commands, COMMANDS);
    assert_int_equal(bus_counters(&bus, 0)->verdicts_untold, 1);
    bus_destroy(&bus);
}

static void nothing_more_comes_of_what_was_unsubscribed_from(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &commander);
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    bus_packets(&bus, DELAY - 1, 7, NF(0)); /* in the log already */
    bus_packet(&bus, 8, NF(0));
    assert_int_equal(unsubscribe(&bus, 0, BOTH), 0);
    mb_reader_advance(bus.reader[0]);
    bus_expect(&bus, 0, DELAY, -1);
    assert_int_equal(bus_counters(&bus, 0)->settled, DELAY - 1);
    assert_int_equal(bus_counters(&bus, 0)->matched, DELAY + 1);
    /* From now on the worker says it: where it names the NF again, it was told to. */
    bus_packet(&bus, 7, NF(0));
    bus_expect(&bus, 0, DELAY + 1, -1);
    bus_destroy(&bus);
}

static void what_was_delivered_already_can_be_asked_for(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &commander);
    bus_packets(&bus, 3, 7, NF(0));
    bus_packet(&bus, 8, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 4);
    assert_int_equal(unsubscribe(&bus, 0, BOTH), 0);
    assert_int_equal(mb_reader_wanted(bus.reader[0], &bus.delivery[0][1]), 0);
    assert_int_equal(mb_reader_wanted(bus.reader[0], &bus.delivery[0][2]), 0);
    assert_int_equal(mb_reader_wanted(bus.reader[0], &bus.delivery[0][3]), 1);
    bus_destroy(&bus);
}

static void one_side_leaves_the_other(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &commander);
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(unsubscribe(&bus, 0, 1), 0);
    mb_reader_advance(bus.reader[0]);
    bus_packet(&bus, 7, NF(0));
    bus_entry(&bus, 7, NF(0))->flags |= MB_FROM_RESPONDER;
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    bus_expect(&bus, 0, 2, -1);
    bus_destroy(&bus);
}

/* The stack switches the flow on 8 packets after the second command, off 8 after the third. */
static void subscribing_does_not_hasten_what_comes(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &commander);
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(unsubscribe(&bus, 0, BOTH), 0);
    assert_int_equal(
        mb_reader_command(bus.reader[0], &bus.delivery[0][0], MB_COMMAND_SUBSCRIBE, 1, BOTH), 0);
    mb_reader_advance(bus.reader[0]);
    bus_packets(&bus, DELAY - 1, 7, NF(0));
    bus_expect(&bus, 0, -1);
    bus_packet(&bus, 7, NF(0));
    bus_expect(&bus, 0, DELAY, -1);
    bus_destroy(&bus);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &commander);
    bus_packet(&bus, 7, NF(0));
    bus_packet(&bus, 0, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 2);
    struct mb_reader *reader = bus.reader[0];
    const struct mb_delivery *first = bus.delivery[0];
    assert_int_equal(mb_reader_command(reader, first, 0, 1, BOTH), -EINVAL);
    assert_int_equal(mb_reader_command(reader, first, MB_COMMAND_KINDS, 1, BOTH), -EINVAL);
    assert_int_equal(mb_reader_command(reader, first, MB_COMMAND_SUBSCRIBE, 0, BOTH), -EINVAL);
    assert_int_equal(mb_reader_command(reader, first, MB_COMMAND_SUBSCRIBE, 2, BOTH), -EINVAL);
    assert_int_equal(mb_reader_command(reader, first, MB_COMMAND_SUBSCRIBE, 1, 0), -EINVAL);
    assert_int_equal(mb_reader_command(reader, first, MB_COMMAND_SUBSCRIBE, 1, 4), -EINVAL);
    assert_int_equal(unsubscribe(&bus, 1, BOTH), -ENOENT);
    assert_int_equal(bus_counters(&bus, 0)->commands, 0);
    bus_destroy(&bus);
}

static void who_declared_no_commands_gives_none(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &(struct bus_nf){0});
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(unsubscribe(&bus, 0, BOTH), -EPERM);
    bus_destroy(&bus);
}

/* Slots are free again when the delay of what is in them is over, without anybody saying so. */
static void a_full_ring_refuses(void **state) {
    (void)state;
    struct bus bus;
    open_bus(&bus, &commander);
    bus_packet(&bus, 7, NF(0));
    bus_packets(&bus, DELAY - 1, 8, NF(0));
    bus_packet(&bus, 9, NF(0));
    assert_int_equal(bus_poll(&bus, 0), DELAY + 1);
    for (unsigned i = 0; i < COMMANDS; i++)
        assert_int_equal(unsubscribe(&bus, 0, BOTH), 0);
    assert_int_equal(unsubscribe(&bus, DELAY - 1, BOTH), -ENOBUFS);
    assert_int_equal(unsubscribe(&bus, DELAY, BOTH), 0);
    assert_int_equal(mb_reader_wanted(bus.reader[0], &bus.delivery[0][DELAY]), 0);
    assert_int_equal(mb_reader_wanted(bus.reader[0], &bus.delivery[0][DELAY - 1]), 1);
    bus_destroy(&bus);
}

static void a_shape_without_sense_makes_no_reader(void **state) {
    (void)state;
    const struct bus_nf shapes[] = {
        {.command_slots = COMMANDS},
        {.command_delay = DELAY},
        {.command_slots = COMMANDS / 2, .command_delay = DELAY},
        {.command_slots = COMMANDS + 1, .command_delay = DELAY},
        {.command_slots = COMMANDS, .command_delay = DELAY, .cut = 64},
    };
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct mb_reader_config config = {
            .log_slots = SLOTS,
            .geometry = {.log_slots = SLOTS, .command_slots = shapes[i].command_slots},
            .command_delay = shapes[i].command_delay,
            .cut = shapes[i].cut};
        int error = 0;
        assert_null(mb_reader_create(&config, &error));
        assert_int_equal(error, -EINVAL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_written_down),
        cmocka_unit_test(a_verdict_on_a_flow_is_told_to_the_stack),
        cmocka_unit_test(a_drop_is_told_only_where_the_gate_finds_it),
        cmocka_unit_test(a_verdict_on_a_packet_is_no_command),
        cmocka_unit_test(a_verdict_that_there_is_no_room_for_is_counted),
        cmocka_unit_test(nothing_more_comes_of_what_was_unsubscribed_from),
        cmocka_unit_test(what_was_delivered_already_can_be_asked_for),
        cmocka_unit_test(one_side_leaves_the_other),
        cmocka_unit_test(subscribing_does_not_hasten_what_comes),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(who_declared_no_commands_gives_none),
        cmocka_unit_test(a_full_ring_refuses),
        cmocka_unit_test(a_shape_without_sense_makes_no_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
