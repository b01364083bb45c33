/*
 * The bounded set of judged flows.
 */
#include "microbox/bus/flow_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_flow_has_the_value_that_was_set_last(void **state) {
    (void)state;
    struct mb_flow_set set = {0};
    assert_int_equal(mb_flow_set_find(&set, 1), MB_FLOW_UNKNOWN);
    assert_false(mb_flow_set_add(&set, 1, 200));
    assert_false(mb_flow_set_add(&set, UINT64_C(1) << 50, 3));
    assert_int_equal(mb_flow_set_find(&set, 1), 200);
    assert_int_equal(mb_flow_set_find(&set, UINT64_C(1) << 50), 3);
    assert_int_equal(mb_flow_set_find(&set, 2), MB_FLOW_UNKNOWN);
    assert_false(mb_flow_set_add(&set, 1, 0));
    assert_int_equal(mb_flow_set_find(&set, 1), 0);
    mb_flow_set_destroy(&set);
    mb_flow_set_destroy(&set);
}

static void only_old_flows_are_forgotten_and_that_is_told(void **state) {
    (void)state;
    struct mb_flow_set set = {0};
    enum { FLOWS = 4 * MB_FLOW_SET_CAPACITY, RECENT = MB_FLOW_SET_CAPACITY / 4 };
    unsigned forgotten = 0;
    for (uint64_t flow = 1; flow <= FLOWS; flow++)
        forgotten += mb_flow_set_add(&set, flow, 2);
    for (uint64_t flow = FLOWS - RECENT; flow <= FLOWS; flow++)
        assert_int_equal(mb_flow_set_find(&set, flow), 2);
    unsigned known = 0;
    for (uint64_t flow = 1; flow <= FLOWS; flow++)
        known += mb_flow_set_find(&set, flow) != MB_FLOW_UNKNOWN;
    assert_int_equal(known + forgotten, FLOWS);
    mb_flow_set_destroy(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_has_the_value_that_was_set_last),
        cmocka_unit_test(only_old_flows_are_forgotten_and_that_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
