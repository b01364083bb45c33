/*
 * Users' modules: the example, loaded as a chain loads it, and others that are refused.
 *
 * usage: stack_module DIRECTORY, where the shared objects of tests/core/modules and the example are
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/module.h"
#include "microbox/stack/module_load.h"

enum { TYPE_RESPONSE = MB_TYPES_BUILT_IN };

/* As the example declares it. */
struct response {
    struct mb_flow flow;
    uint32_t microseconds;
    uint32_t request_bytes;
    uint32_t number;
};

static const char *directory;

static struct mb_loaded_module *load(const char *name, char error[MB_ERROR_SIZE]) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.so", directory, name);
    error[0] = '\0';
    return mb_module_open(path, error);
}

static struct mb_loaded_module *load_example(void) {
    char error[MB_ERROR_SIZE];
    struct mb_loaded_module *example = load("response_time", error);
    assert_string_equal(error, "");
    mb_module_number_type(example, 0, TYPE_RESPONSE);
    return example;
}

static void open_with(struct stack_fixture *fixture, struct mb_loaded_module *const *example,
                      const struct mb_subscription *subscription) {
    struct mb_stack_config config = {.modules = example, .module_count = 1};
    stack_open_with(fixture, &config, subscription, 1, NULL, 0);
}

static void a_module_says_what_it_is(void **state) {
    (void)state;
    struct mb_loaded_module *example = load_example();
    assert_string_equal(mb_module_name(example), "response_time");
    assert_int_equal(mb_module_transport(example), MB_TRANSPORT_TCP);
    assert_int_equal(mb_module_needs(example), MB_MODULE_TCP_MONITOR);
    assert_int_equal(mb_module_type_count(example), 1);
    assert_string_equal(mb_module_type_name(example, 0), "flow.tcp.response");
    assert_int_equal(mb_module_field_count(example, 0), 3);
    assert_string_equal(mb_module_field_name(example, 0, 1), "request_bytes");
    assert_string_equal(mb_module_field_type(example, 0, 1), "u32");
    mb_module_close(example);
}

static void a_module_publishes_its_own_type(void **state) {
    (void)state;
    struct mb_loaded_module *example = load_example();
    struct mb_subscription wanted = {0};
    stack_want(&wanted, TYPE_RESPONSE);
    struct stack_fixture fixture;
    open_with(&fixture, &example, &wanted);
    stack_handshake(&fixture);
    stack_send(&fixture, 0, ACK, 101, 301, "GET /");
    stack_send(&fixture, 0, ACK, 106, 301, "index");
    fixture.time += 2500000;
    stack_send(&fixture, 1, ACK, 301, 111, "OK");
    stack_send(&fixture, 1, ACK, 303, 111, "more");
    stack_send(&fixture, 0, ACK, 111, 307, "again");
    stack_send(&fixture, 1, ACK, 307, 116, "OK");

    const struct mb_entry *first = stack_next(&fixture, TYPE_RESPONSE);
    const struct response *response = (const struct response *)(const void *)&first->payload;
    assert_int_equal(response->microseconds, 2500);
    assert_int_equal(response->request_bytes, 10);
    assert_int_equal(response->number, 1);
    assert_int_equal(response->flow.tuple.destination_port, 80);
    assert_true(first->flags & MB_FROM_RESPONDER);
    assert_int_equal(first->snapshot.side[0].bytes, 10);
    const struct mb_entry *second = stack_next(&fixture, TYPE_RESPONSE);
    response = (const struct response *)(const void *)&second->payload;
    assert_int_equal(response->request_bytes, 5);
    assert_int_equal(response->number, 2);
    assert_null(stack_next(&fixture, TYPE_RESPONSE));
    stack_close(&fixture);
    mb_module_close(example);
}

static void what_a_module_keeps_ends_with_the_flow(void **state) {
    (void)state;
    struct mb_loaded_module *example = load_example();
    struct mb_subscription wanted = {0};
    stack_want(&wanted, TYPE_RESPONSE);
    struct stack_fixture fixture;
    struct mb_stack_config config = {.modules = &example, .module_count = 1, .flows_max = 1};
    stack_open_with(&fixture, &config, &wanted, 1, NULL, 0);
    stack_handshake(&fixture);
    stack_send(&fixture, 0, ACK, 101, 301, "asked, never answered");
    /* Another flow in the same slot of the table: its first bytes are an answer to nothing. */
    stack_tcp(&fixture, (struct tcp){.from = 1, .flags = ACK, .port = 2000, .payload = "hello"});
    assert_null(stack_next(&fixture, TYPE_RESPONSE));
    stack_close(&fixture);
    mb_module_close(example);
}

static void a_module_runs_only_where_somebody_subscribes(void **state) {
    (void)state;
    struct mb_loaded_module *example = load_example();
    struct mb_subscription wanted = {0};
    stack_want(&wanted, MB_TYPE_UDP_START);
    struct stack_fixture fixture;
    open_with(&fixture, &example, &wanted);
    stack_handshake(&fixture);
    assert_int_equal(mb_stack_counters(fixture.stack)->flows_tcp, 0);
    stack_close(&fixture);
    mb_module_close(example);
}

/* tests/core/modules/hostile.c publishes a hundred events a packet, and at the end again. */
static void a_module_publishes_no_more_than_it_may(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    struct mb_loaded_module *hostile = load("hostile", error);
    assert_string_equal(error, "");
    mb_module_number_type(hostile, 0, TYPE_RESPONSE);
    struct mb_subscription wanted = {0};
    stack_want(&wanted, TYPE_RESPONSE);
    struct stack_fixture fixture;
    open_with(&fixture, &hostile, &wanted);
    stack_udp(&fixture, 0, "one");
    assert_int_equal(stack_count(&fixture, TYPE_RESPONSE), MB_MODULE_ENTRIES);
    stack_finish(&fixture);
    assert_int_equal(stack_count(&fixture, TYPE_RESPONSE), 2 * MB_MODULE_ENTRIES);
    assert_int_equal(mb_stack_counters(fixture.stack)->by_reason[MB_REASON_LIMIT_MODULE_ENTRIES],
                     2 * (100 - MB_MODULE_ENTRIES));
    stack_close(&fixture);
    mb_module_close(hostile);
}

static void assert_refused(const char *name, const char *sentence) {
    char error[MB_ERROR_SIZE];
    assert_null(load(name, error));
    if (strstr(error, sentence) == NULL)
        fail_msg("'%s' does not say '%s'", error, sentence);
}

static void what_is_no_module_is_refused(void **state) {
    (void)state;
    assert_refused("absent", "absent.so");
    assert_refused("nothing", "exports no `const struct mb_module microbox_module`");
    assert_refused("other_version", "built against other headers");
    assert_refused("other_field", "a field's type is none of");
}

/* By number, as tests/core/modules/mistaken.c has them. */
static void each_mistake_of_a_module_is_named(void **state) {
    (void)state;
    static const char *const sentences[] = {
        [1] = "its name is no lower-case word",
        [2] = "it chooses its bit itself",
        [3] = "it has no hook `packet`",
        [4] = "it has no sentence",
        [5] = "its transport is none of",
        [6] = "it needs a module that is not built in",
        [8] = "it wants to keep more of a flow",
        [9] = "it publishes no event type",
        [10] = "an event type has no dotted name",
        [11] = "an event type has no sentence",
        [12] = "a field's name is no lower-case word",
    };
    for (unsigned mistake = 1; mistake < sizeof sentences / sizeof *sentences; mistake++) {
        char name[32];
        snprintf(name, sizeof name, "mistaken_%u", mistake);
        if (sentences[mistake] != NULL)
            assert_refused(name, sentences[mistake]);
    }
}

static void assert_stack_refuses(struct mb_loaded_module *const *modules, uint32_t count,
                                 const char *sentence) {
    const struct mb_stack_config config = {
        .modules = modules, .module_count = count, .link_type = 1};
    const struct mb_subscription everything = stack_everything();
    struct mb_log log;
    char error[MB_ERROR_SIZE];
    assert_int_equal(mb_log_create(&log, STACK_LOG_SLOTS), 0);
    assert_null(mb_stack_create(&config, &log, &everything, 1, NULL, 0, error));
    assert_string_equal(error, sentence);
    mb_log_destroy(&log);
}

static void a_module_builds_on_those_of_its_own_transport(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    struct mb_loaded_module *mistaken = load("mistaken_7", error);
    assert_string_equal(error, "");
    mb_module_number_type(mistaken, 0, TYPE_RESPONSE);
    assert_stack_refuses(&mistaken, 1, "module mistaken needs one that is for another transport");
    mb_module_close(mistaken);
}

static void an_event_type_without_a_number_is_refused(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    struct mb_loaded_module *example = load("response_time", error);
    assert_stack_refuses(&example, 1,
                         "event type flow.tcp.response of module response_time has the number 0");
    mb_module_close(example);
}

static void two_modules_of_one_name_are_refused(void **state) {
    (void)state;
    struct mb_loaded_module *example = load_example();
    struct mb_loaded_module *const twice[] = {example, example};
    assert_stack_refuses(twice, 2, "there are two modules called response_time");
    mb_module_close(example);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    directory = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_module_says_what_it_is),
        cmocka_unit_test(a_module_publishes_its_own_type),
        cmocka_unit_test(what_a_module_keeps_ends_with_the_flow),
        cmocka_unit_test(a_module_runs_only_where_somebody_subscribes),
        cmocka_unit_test(a_module_publishes_no_more_than_it_may),
        cmocka_unit_test(what_is_no_module_is_refused),
        cmocka_unit_test(each_mistake_of_a_module_is_named),
        cmocka_unit_test(a_module_builds_on_those_of_its_own_transport),
        cmocka_unit_test(an_event_type_without_a_number_is_refused),
        cmocka_unit_test(two_modules_of_one_name_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
