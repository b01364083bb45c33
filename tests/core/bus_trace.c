/* A packet is followed from outside: whom it names, who has passed it, and what is not known. */
#include "microbox/bus/trace.h"

#include "tests/core/bus_fixture.h"

enum { SLOTS = 4096, FLOW = 7, OTHER = 8, SECOND = 1000000000, MOMENT = 1000000 };

static struct mb_trace trace_of(const struct bus *bus) {
    struct mb_trace trace = {.log = bus->log.area.base,
                             .slots = SLOTS,
                             .flow = FLOW,
                             .gap_max = UINT64_MAX,
                             .nfs = bus->nfs};
    for (uint32_t i = 0; i < bus->nfs; i++) {
        const struct mb_nf_geometry geometry = bus_geometry(bus, i);
        const struct mb_nf_area parts = mb_nf_area_parts(bus->area[i].base, &geometry);
        trace.nf[i] = (struct mb_trace_nf){.page = parts.page, .index = i, .bits = {NF(i), 0}};
    }
    mb_trace_begin(&trace);
    return trace;
}

static bool next(struct mb_trace *trace, struct mb_traced *traced) {
    return mb_trace_next(trace, mb_trace_now() + MOMENT, MOMENT, traced);
}

static void whom_it_names_and_who_has_passed_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}, {0}, {0}}, 3);
    bus_packet(&bus, FLOW, NF(0)); /* before the trace begins */
    struct mb_trace trace = trace_of(&bus);
    struct mb_traced traced;
    bus_packet(&bus, OTHER, NF(2));
    bus_entry(&bus, FLOW, NF(0))->flags |= MB_FROM_RESPONDER;
    bus_entry(&bus, OTHER, NF(2));
    bus_entry(&bus, FLOW, NF(1))->flags |= MB_FROM_RESPONDER;
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    bus_poll(&bus, 0);
    mb_reader_advance(bus.reader[0]);
    assert_true(next(&trace, &traced));
    assert_int_equal(traced.packet, 3);
    assert_int_equal(traced.entries, 2);
    assert_int_equal(traced.from_responder, 1);
    assert_int_equal(traced.named, NF(0) | NF(1));
    assert_true(traced.passed[0] >= traced.seen);
    assert_int_equal(traced.passed[1], 0);
    assert_int_equal(traced.late, 0);
    assert_false(next(&trace, &traced)); /* none but that */
    bus_destroy(&bus);
}

static void what_goes_by_meanwhile_is_not_followed(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}}, 1);
    struct mb_trace trace = trace_of(&bus);
    struct mb_traced traced;
    bus_packets(&bus, 3, FLOW, NF(0));
    assert_true(next(&trace, &traced));
    assert_int_equal(traced.packet, 1);
    assert_false(next(&trace, &traced));
    bus_packet(&bus, FLOW, 0);
    assert_true(next(&trace, &traced));
    assert_int_equal(traced.packet, 4);
    assert_int_equal(traced.named, 0);
    bus_destroy(&bus);
}

static void what_the_worker_measured_is_with_the_packet(void **state) {
    (void)state;
    struct mb_sojourn sojourns[MB_SOJOURNS] = {0};
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}}, 1);
    struct mb_trace trace = trace_of(&bus);
    struct mb_traced traced;
    trace.sojourns = sojourns;
    mb_sojourn_write(sojourns, &(struct mb_sojourn){.packet = 1, .flow = FLOW, .whole = 5});
    bus_packet(&bus, FLOW, NF(0));
    assert_true(next(&trace, &traced));
    assert_int_equal(traced.sojourn.packet, 1);
    assert_int_equal(traced.sojourn.whole, 5);
    mb_sojourn_write(sojourns, &(struct mb_sojourn){.packet = 2, .flow = OTHER, .whole = 6});
    bus_packets(&bus, 2, FLOW, NF(0)); /* one that was of another flow, one that was not measured */
    for (unsigned packet = 2; packet <= 3; packet++) {
        assert_true(next(&trace, &traced));
        assert_int_equal(traced.sojourn.packet, 0);
        assert_int_equal(traced.sojourn.whole, 0);
        bus_packet(&bus, FLOW, NF(0));
    }
    bus_destroy(&bus);
}

static void what_was_overwritten_is_passed_over(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}}, 1);
    struct mb_trace trace = trace_of(&bus);
    struct mb_traced traced;
    bus_packet(&bus, FLOW, 0);
    bus_packets(&bus, SLOTS, OTHER, 0);
    assert_false(next(&trace, &traced));
    bus_destroy(&bus);
}

static void packets_that_came_unseen_are_passed_over(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}}, 1);
    struct mb_trace trace = trace_of(&bus);
    struct mb_traced traced;
    trace.gap_max = SECOND;
    trace.looked -= 2 * (uint64_t)SECOND; /* as if it had been kept from looking */
    bus_packets(&bus, 2, FLOW, NF(0));    /* both at once */
    assert_false(next(&trace, &traced));
    bus_packet(&bus, FLOW, NF(0));
    assert_true(next(&trace, &traced));
    assert_int_equal(traced.packet, 3);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_it_names_and_who_has_passed_it),
        cmocka_unit_test(what_goes_by_meanwhile_is_not_followed),
        cmocka_unit_test(what_the_worker_measured_is_with_the_packet),
        cmocka_unit_test(what_was_overwritten_is_passed_over),
        cmocka_unit_test(packets_that_came_unseen_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
