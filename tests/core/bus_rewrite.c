/*
 * Rewrites as the NF leaves them: beside the verdict, valid with it, one an entry.
 */
#include "bus_fixture.h"

#include <errno.h>

enum { SLOTS = MB_LOG_SLOTS_MIN };

static const struct bus_nf editor = {.is_inline = true, .rewrites = true};
static const struct bus_nf behind = {.waits_for = NF(0), .is_inline = true};

static const struct mb_rewrite port = {.source_port = 40000, .fields = MB_REWRITE_SOURCE_PORT};
static const struct mb_rewrite address = {.source = {1, 2, 3}, .fields = MB_REWRITE_SOURCE};

static struct mb_nf_area parts(struct bus *bus) {
    const struct mb_nf_geometry geometry = bus_geometry(bus, 0);
    return mb_nf_area_parts(bus->area[0].base, &geometry);
}

static int rewrite(struct bus *bus, uint32_t delivery, const struct mb_rewrite *record) {
    return mb_reader_rewrite(bus->reader[0], &bus->delivery[0][delivery], record);
}

static void it_lies_beside_the_verdict_which_says_so(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){editor, behind}, 2);
    bus_packet(&bus, 7, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(rewrite(&bus, 0, &port), 0);
    assert_int_equal(parts(&bus).verdicts[0], MB_LEFT_REWRITE | MB_PASS);
    assert_int_equal(parts(&bus).rewrites[0].flow, 7);
    assert_int_equal(parts(&bus).rewrites[0].fields, MB_REWRITE_SOURCE_PORT);
    assert_int_equal(parts(&bus).rewrites[0].source_port, 40000);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 1); /* it is no drop */
    bus_destroy(&bus);
}

static void what_is_said_twice_with_an_entry_is_one(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &editor, 1);
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(rewrite(&bus, 0, &port), 0);
    assert_int_equal(rewrite(&bus, 0, &address), 0);
    assert_int_equal(parts(&bus).rewrites[0].fields, MB_REWRITE_SOURCE | MB_REWRITE_SOURCE_PORT);
    assert_int_equal(parts(&bus).rewrites[0].source[2], 3);
    assert_int_equal(parts(&bus).rewrites[0].source_port, 40000);
    assert_int_equal(bus_counters(&bus, 0)->rewrites, 1);
    bus_destroy(&bus);
}

static void a_verdict_and_a_rewrite_do_not_touch_each_other(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){editor, behind}, 2);
    bus_packet(&bus, 7, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(rewrite(&bus, 0, &port), 0);
    mb_reader_judge(bus.reader[0], 0, MB_DROP);
    assert_int_equal(parts(&bus).verdicts[0], MB_LEFT_REWRITE | MB_DROP);
    mb_reader_judge(bus.reader[0], 0, MB_PASS);
    assert_int_equal(parts(&bus).verdicts[0], MB_LEFT_REWRITE | MB_DROP);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 0);
    bus_destroy(&bus);
}

static void it_is_gone_when_the_log_has_gone_round(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &editor, 1);
    bus_packet(&bus, 7, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(rewrite(&bus, 0, &port), 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        mb_reader_advance(bus.reader[0]);
        bus_packet(&bus, 7, NF(0));
        assert_int_equal(bus_poll(&bus, 0), 1);
    }
    assert_int_equal(parts(&bus).verdicts[0], MB_PASS);
    assert_int_equal(rewrite(&bus, 0, &address), 0);
    assert_int_equal(parts(&bus).rewrites[0].fields, MB_REWRITE_SOURCE);
    bus_destroy(&bus);
}

static void what_cannot_be_rewritten_is_refused(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){editor, behind}, 2);
    bus_packet(&bus, 0, NF(0));
    bus_packet(&bus, 7, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bus, 0), 2);
    const struct mb_rewrite nothing = {0};
    const struct mb_rewrite unknown = {.fields = MB_REWRITE_FIELDS + 1};
    assert_int_equal(rewrite(&bus, 0, &port), -ENOENT);
    assert_int_equal(rewrite(&bus, 1, &nothing), -EINVAL);
    assert_int_equal(rewrite(&bus, 1, &unknown), -EINVAL);
    const struct mb_delivery past = {.entry = bus.delivery[0][1].entry, .position = 1};
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(mb_reader_rewrite(bus.reader[0], &past, &port), -EINVAL);
    assert_int_equal(bus_poll(&bus, 1), 1);
    assert_int_equal(mb_reader_rewrite(bus.reader[1], &bus.delivery[1][0], &port), -EPERM);
    assert_int_equal(bus_counters(&bus, 0)->rewrites, 0);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_lies_beside_the_verdict_which_says_so),
        cmocka_unit_test(what_is_said_twice_with_an_entry_is_one),
        cmocka_unit_test(a_verdict_and_a_rewrite_do_not_touch_each_other),
        cmocka_unit_test(it_is_gone_when_the_log_has_gone_round),
        cmocka_unit_test(what_cannot_be_rewritten_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
