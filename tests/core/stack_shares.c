/*
 * Subscriptions of instances: of those that share out all flows, one is named for each.
 */
#include "tests/core/stack_fixture.h"

enum { INSTANCES = 4, FLOWS = 400 };

static void open_instances(struct stack_fixture *fixture, enum mb_share_key key,
                           const char *filter) {
    struct mb_subscription wanted[INSTANCES];
    for (uint32_t i = 0; i < INSTANCES; i++) {
        wanted[i] = stack_everything();
        wanted[i].nf = i;
        wanted[i].bit = (uint8_t)(16 * i + 15); /* in both halves of the mask */
        wanted[i].filter = filter;
        wanted[i].share = (struct mb_share){.index = i, .count = INSTANCES, .key = key};
    }
    stack_open_with(fixture, &(struct mb_stack_config){0}, wanted, INSTANCES, NULL, 0);
}

static unsigned named(const struct mb_entry *entry) {
    unsigned instances = 0;
    for (unsigned i = 0; i < INSTANCES; i++)
        instances |= (unsigned)(entry->mask[(16 * i + 15) / 64] >> (16 * i + 15) % 64 & 1) << i;
    return instances;
}

/* Both directions of flows that differ by a port. */
static void send_flows(struct stack_fixture *fixture) {
    for (uint16_t flow = 0; flow < FLOWS; flow++) {
        const uint16_t port = (uint16_t)(2000 + flow);
        stack_tcp(fixture, (struct tcp){.flags = SYN, .sequence = 1, .port = port});
        stack_tcp(
            fixture,
            (struct tcp){
                .from = 1, .flags = SYN | ACK, .sequence = 9, .acknowledgment = 2, .port = port});
    }
    stack_finish(fixture);
}

/* Counts flows by instance; each flow's entries name just one. */
static void count_flows(const struct stack_fixture *fixture, unsigned flows[1 << INSTANCES]) {
    unsigned of_flow[2 * FLOWS + 1] = {0};
    for (uint64_t i = 0; i < fixture->log.next; i++) {
        const struct mb_entry *entry = &fixture->log.slots[i];
        if (entry->flow == 0)
            continue;
        const unsigned instances = named(entry);
        assert_true(instances != 0 && (instances & (instances - 1)) == 0);
        flows[instances] += of_flow[entry->flow] == 0;
        assert_true(of_flow[entry->flow] == 0 || of_flow[entry->flow] == instances);
        of_flow[entry->flow] = instances;
    }
}

static void a_flow_is_for_one_instance(void **state) {
    (void)state;
    static const char *const filters[] = {"", "tcp port 80", "tcp[13] & 2 != 0"};
    for (unsigned i = 0; i < sizeof filters / sizeof *filters; i++) {
        struct stack_fixture fixture;
        unsigned flows[1 << INSTANCES] = {0};
        open_instances(&fixture, MB_SHARE_BY_FLOW, filters[i]);
        send_flows(&fixture);
        count_flows(&fixture, flows);
        for (unsigned instance = 0; instance < INSTANCES; instance++) {
            assert_true(flows[1 << instance] > FLOWS / INSTANCES / 2);
            assert_true(flows[1 << instance] < FLOWS / INSTANCES * 2);
        }
        stack_close(&fixture);
    }
}

static void flows_of_two_hosts_can_be_kept_together(void **state) {
    (void)state;
    struct stack_fixture fixture;
    unsigned flows[1 << INSTANCES] = {0};
    open_instances(&fixture, MB_SHARE_BY_HOSTS, "");
    send_flows(&fixture);
    count_flows(&fixture, flows);
    unsigned instances = 0;
    for (unsigned instance = 0; instance < INSTANCES; instance++)
        instances += flows[1 << instance] != 0;
    assert_int_equal(instances, 1);
    stack_close(&fixture);
}

static void what_has_no_addresses_is_for_the_first(void **state) {
    (void)state;
    struct stack_fixture fixture;
    uint8_t frame[60] = {0};
    open_instances(&fixture, MB_SHARE_BY_FLOW, "");
    stack_put_16(frame + 12, 0x88cc); /* LLDP */
    stack_frame(&fixture, frame, sizeof frame, sizeof frame, 1);
    assert_int_equal(fixture.log.next, 1);
    assert_int_equal(named(&fixture.log.slots[0]), 1);
    stack_close(&fixture);
}

static void system_events_are_for_all(void **state) {
    (void)state;
    struct stack_fixture fixture;
    open_instances(&fixture, MB_SHARE_BY_FLOW, "");
    stack_finish(&fixture);
    const struct mb_entry *end = stack_next(&fixture, MB_TYPE_SYSTEM_END_OF_INPUT);
    assert_non_null(end);
    assert_int_equal(named(end), (1 << INSTANCES) - 1);
    stack_close(&fixture);
}

static void a_share_out_of_range_is_refused(void **state) {
    (void)state;
    static const struct mb_share shares[] = {
        {.index = 4, .count = 4},
        {.index = 1, .count = 1},
        {.index = 0, .count = MB_SHARES_MAX + 1},
        {.first = MB_NFS_MAX - 1, .count = 2},
        {.count = 2, .key = MB_SHARE_KEYS},
    };
    struct mb_log log;
    assert_int_equal(mb_log_create(&log, STACK_LOG_SLOTS), 0);
    for (unsigned i = 0; i < sizeof shares / sizeof *shares; i++) {
        char error[MB_ERROR_SIZE] = "";
        struct mb_subscription wanted = stack_everything();
        wanted.share = shares[i];
        assert_null(mb_stack_create(&(struct mb_stack_config){.link_type = 1, .flows_max = 16},
                                    &log, &wanted, 1, NULL, 0, error));
        assert_non_null(strstr(error, "is no share of"));
    }
    mb_log_destroy(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_is_for_one_instance),
        cmocka_unit_test(flows_of_two_hosts_can_be_kept_together),
        cmocka_unit_test(what_has_no_addresses_is_for_the_first),
        cmocka_unit_test(system_events_are_for_all),
        cmocka_unit_test(a_share_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
