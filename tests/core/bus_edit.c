/*
 * Edits of packets as the NF leaves them: beside the verdict, valid with it, one an entry; what
 * they replace in a ring whose bytes are free when the worker has applied them. And the barrier of
 * those behind: what is applied.
 */
#include "bus_fixture.h"

#include "microbox/bus/atomic.h"
#include "microbox/bus/edit.h"

#include <errno.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, RING = 4096, DATA = 1000 };

static const struct bus_nf editor = {.is_inline = true, .editor = 1, .edit_bytes = RING};
static const struct bus_nf headers_only = {.is_inline = true, .editor = 1};
static const struct bus_nf behind = {.waits_for = NF(0)};

static struct mb_nf_area parts(struct bus *bus) {
    const struct mb_nf_geometry geometry = bus_geometry(bus, 0);
    return mb_nf_area_parts(bus->area[0].base, &geometry);
}

/* A packet with a frame of which the last DATA bytes are the event's. */
static uint64_t packet(struct bus *bus, uint64_t nfs) {
    assert_true(mb_log_has_room(&bus->log, 1));
    struct mb_entry *entry = bus_entry(bus, 0, nfs);
    entry->frame_length = 54 + DATA;
    entry->data_offset = 54;
    entry->data_length = DATA;
    bus_end_packet(bus);
    mb_log_commit(&bus->log);
    return entry->sequence;
}

static int edit(struct bus *bus, uint32_t delivery, struct mb_edit record) {
    return mb_reader_edit(bus->reader[0], &bus->delivery[0][delivery], &record);
}

static int replace(struct bus *bus, uint32_t delivery, uint32_t at, const char *bytes) {
    return mb_reader_replace(bus->reader[0], &bus->delivery[0][delivery], at,
                             (const uint8_t *)bytes, (uint32_t)strlen(bytes), NULL);
}

/* One NF that has been given a packet. */
static void given_a_packet(struct bus *bus, const struct bus_nf *nf) {
    bus_create(bus, SLOTS, nf, 1);
    packet(bus, NF(0));
    assert_int_equal(bus_poll(bus, 0), 1);
}

static void it_lies_beside_the_verdict_which_says_so(void **state) {
    (void)state;
    struct bus bus;
    given_a_packet(&bus, &editor);
    assert_int_equal(edit(&bus, 0, (struct mb_edit){.fields = MB_EDIT_IP_TTL, .ip_ttl = 9}), 0);
    assert_int_equal(parts(&bus).verdicts[0], MB_LEFT_EDIT | MB_PASS);
    assert_int_equal(parts(&bus).edits[0].packet, bus.delivery[0][0].entry->packet);
    assert_int_equal(parts(&bus).edits[0].ip_ttl, 9);
    mb_reader_judge(bus.reader[0], 0, MB_DROP);
    assert_int_equal(parts(&bus).verdicts[0], MB_LEFT_EDIT | MB_DROP);
    assert_int_equal(bus_counters(&bus, 0)->edits, 1);
    bus_destroy(&bus);
}

static void what_is_said_twice_with_an_entry_is_one(void **state) {
    (void)state;
    struct bus bus;
    given_a_packet(&bus, &editor);
    assert_int_equal(edit(&bus, 0,
                          (struct mb_edit){.fields = MB_EDIT_IP_TTL | MB_EDIT_IP_DSCP,
                                           .ip_ttl = 9,
                                           .ip_dscp = 3}),
                     0);
    assert_int_equal(
        edit(&bus, 0,
             (struct mb_edit){.fields = MB_EDIT_IP_TTL | MB_EDIT_SOURCE_PORT, .ip_ttl = 5}),
        0);
    const struct mb_edit *kept = &parts(&bus).edits[0];
    assert_int_equal(kept->fields, MB_EDIT_IP_TTL | MB_EDIT_IP_DSCP | MB_EDIT_SOURCE_PORT);
    assert_int_equal(kept->ip_ttl, 5);
    assert_int_equal(kept->ip_dscp, 3);
    bus_destroy(&bus);
}

static void a_tag_that_was_pushed_is_popped_first(void **state) {
    (void)state;
    struct mb_edit kept = {.tags_popped = 1, .tags_pushed = 1, .tags = {{0x8100, 1}}};
    assert_true(mb_edit_merge(&kept, &(struct mb_edit){.tags_pushed = 1, .tags = {{0x88a8, 2}}}));
    assert_int_equal(kept.tags_pushed, 2);
    assert_int_equal(kept.tags[0].control, 2);
    assert_int_equal(kept.tags[1].control, 1);
    assert_false(mb_edit_merge(&kept, &(struct mb_edit){.tags_pushed = 1}));
    assert_true(mb_edit_merge(&kept, &(struct mb_edit){.tags_popped = 1}));
    assert_int_equal(kept.tags_pushed, 1);
    assert_int_equal(kept.tags[0].control, 1);
    assert_true(mb_edit_merge(&kept, &(struct mb_edit){.tags_popped = 3}));
    assert_int_equal(kept.tags_pushed, 0);
    assert_int_equal(kept.tags_popped, 3);
    assert_false(mb_edit_merge(&kept, &(struct mb_edit){.tags_popped = 6}));
    assert_int_equal(kept.tags_popped, 3);
}

static void what_cannot_be_said_is_refused_at_once(void **state) {
    (void)state;
    struct bus bus;
    given_a_packet(&bus, &editor);
    assert_int_equal(edit(&bus, 0, (struct mb_edit){.fields = MB_EDIT_FIELDS + 1}), -EINVAL);
    assert_int_equal(edit(&bus, 0, (struct mb_edit){.fields = MB_EDIT_IP_DSCP, .ip_dscp = 64}),
                     -EINVAL);
    assert_int_equal(edit(&bus, 0, (struct mb_edit){.tags_pushed = 3}), -EINVAL);
    assert_int_equal(replace(&bus, 0, DATA, "x"), -ERANGE);
    assert_int_equal(replace(&bus, 0, DATA - 1, "xy"), -ERANGE);
    assert_int_equal(parts(&bus).verdicts[0], MB_PASS);
    bus_destroy(&bus);
    const struct bus_nf reader = {.is_inline = true};
    given_a_packet(&bus, &reader);
    assert_int_equal(edit(&bus, 0, (struct mb_edit){.fields = MB_EDIT_IP_TTL}), -EPERM);
    bus_destroy(&bus);
    given_a_packet(&bus, &headers_only);
    assert_int_equal(replace(&bus, 0, 0, "x"), -EPERM);
    bus_destroy(&bus);
}

static const char *replacement(struct bus *bus, const struct mb_edit *record, uint64_t offset,
                               struct mb_replacement *header) {
    const uint8_t *at = parts(bus).replacements + (record->replacements + offset) % RING;
    memcpy(header, at, sizeof *header);
    return (const char *)(at + sizeof *header);
}

static void replacements_of_an_entry_lie_side_by_side(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &editor, 1);
    packet(&bus, NF(0));
    packet(&bus, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 2);
    mb_reader_set_batch_position(bus.reader[0], 1);
    assert_int_equal(replace(&bus, 0, 0, "first"), 0);
    assert_int_equal(replace(&bus, 1, 4, "another packet's"), 0);
    assert_int_equal(replace(&bus, 0, 7, "second ..."), 0);
    const struct mb_edit *record = &parts(&bus).edits[0];
    struct mb_replacement header;
    assert_memory_equal(replacement(&bus, record, 0, &header), "first", 5);
    assert_int_equal(header.at, 54);
    assert_int_equal(header.length, 5);
    assert_memory_equal(replacement(&bus, record, 16, &header), "second ...", 10);
    assert_int_equal(header.at, 54 + 7);
    assert_int_equal(record->replacements_size, 16 + 24);
    bus_destroy(&bus);
}

static void an_entry_has_so_many_replacements_and_no_more(void **state) {
    (void)state;
    struct bus bus;
    given_a_packet(&bus, &editor);
    for (unsigned i = 0; i < MB_REPLACEMENTS_PER_ENTRY; i++)
        assert_int_equal(replace(&bus, 0, i, "x"), 0);
    assert_int_equal(replace(&bus, 0, 0, "x"), -E2BIG);
    bus_destroy(&bus);
}

/* The worker, as far as the ring is concerned. */
static void apply(struct bus *bus) {
    mb_log_set_applied(&bus->log, 0, mb_log_passed(&bus->log, 0));
}

static void bytes_are_free_when_they_are_applied(void **state) {
    (void)state;
    struct bus bus;
    char bytes[DATA + 1];
    memset(bytes, 'x', DATA);
    bytes[DATA] = 0;
    bus_create(&bus, SLOTS, &editor, 1);
    for (unsigned i = 0; i < 100; i++) {
        const uint64_t sequence = packet(&bus, NF(0));
        assert_int_equal(bus_poll(&bus, 0), 1);
        bytes[0] = (char)(1 + i);
        assert_int_equal(replace(&bus, 0, 0, bytes), 0);
        struct mb_replacement header;
        const struct mb_edit *record = &parts(&bus).edits[sequence % SLOTS];
        assert_memory_equal(replacement(&bus, record, 0, &header), bytes, DATA);
        mb_reader_advance(bus.reader[0]);
        apply(&bus);
    }
    bus_destroy(&bus);
}

static void what_one_packet_replaces_may_fill_the_ring_and_no_more(void **state) {
    (void)state;
    struct bus bus;
    char bytes[DATA + 1];
    memset(bytes, 'x', DATA);
    bytes[DATA] = 0;
    given_a_packet(&bus, &editor);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(replace(&bus, 0, 0, bytes), 0);
    assert_int_equal(replace(&bus, 0, 0, bytes), -ENOBUFS);
    mb_reader_advance(bus.reader[0]);
    apply(&bus);
    packet(&bus, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(replace(&bus, 0, 0, bytes), 0);
    bus_destroy(&bus);
}

/* A full ring shows the worker all that is done, though the poll is not. */
static void who_waits_for_room_lets_go_of_what_is_done(void **state) {
    (void)state;
    struct bus bus;
    bool cancelled = true;
    uint8_t bytes[DATA] = {0};
    bus_create(&bus, SLOTS, &editor, 1);
    for (unsigned i = 0; i < 5; i++)
        packet(&bus, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 5);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(
            mb_reader_replace(bus.reader[0], &bus.delivery[0][i], 0, bytes, DATA, &cancelled), 0);
    assert_int_equal(
        mb_reader_replace(bus.reader[0], &bus.delivery[0][4], 0, bytes, DATA, &cancelled), -EINTR);
    assert_int_equal(mb_reader_position(bus.reader[0]), 4);
    apply(&bus);
    assert_int_equal(
        mb_reader_replace(bus.reader[0], &bus.delivery[0][4], 0, bytes, DATA, &cancelled), 0);
    bus_destroy(&bus);
}

static void those_behind_wait_until_it_is_applied(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){editor, behind}, 2);
    bus_packet(&bus, 7, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bus, 1), 0);
    bus_expect(&bus, 0, 0, -1);
    assert_int_equal(bus_poll(&bus, 1), 0);
    apply(&bus);
    bus_expect(&bus, 1, 0, -1);
    bus_destroy(&bus);
}

static void an_editor_with_nothing_to_do_holds_back_nobody(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){editor, behind}, 2);
    bus_packet(&bus, 7, NF(1));
    bus_packet(&bus, 7, NF(1));
    bus_expect(&bus, 1, 0, 1, -1);
    bus_packet(&bus, 7, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bus, 1), 0);
    mb_log_detach(&bus.log, 0);
    apply(&bus); /* it is gone: the head */
    bus_expect(&bus, 1, 2, -1);
    bus_packet(&bus, 7, NF(0) | NF(1));
    bus_expect(&bus, 1, 3, -1);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_lies_beside_the_verdict_which_says_so),
        cmocka_unit_test(what_is_said_twice_with_an_entry_is_one),
        cmocka_unit_test(a_tag_that_was_pushed_is_popped_first),
        cmocka_unit_test(what_cannot_be_said_is_refused_at_once),
        cmocka_unit_test(replacements_of_an_entry_lie_side_by_side),
        cmocka_unit_test(an_entry_has_so_many_replacements_and_no_more),
        cmocka_unit_test(bytes_are_free_when_they_are_applied),
        cmocka_unit_test(what_one_packet_replaces_may_fill_the_ring_and_no_more),
        cmocka_unit_test(who_waits_for_room_lets_go_of_what_is_done),
        cmocka_unit_test(those_behind_wait_until_it_is_applied),
        cmocka_unit_test(an_editor_with_nothing_to_do_holds_back_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
