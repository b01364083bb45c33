/*
 * What a worker says that it takes is what it maps: in all, and where one limit is doubled.
 */
#include "worker_fixture.h"

#include "microbox/bus/version.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/worker_memory.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>

/* The tables are of megabytes; what is not counted, and pages that are filled in part, is less. */
enum { SLACK = 1 << 20, LEAST = 4 * SLACK };

/* What NFs of a chain are there, beside the first one, which reads alone. */
struct members {
    bool has_output;
    bool compares;
    unsigned count;
    struct {
        bool is_inline, is_shadow, rewrites, edits, gives_commands;
    } nf[NFS];
};

static struct mb_worker_config small(void) {
    return (struct mb_worker_config){
        .log_slots = 8192,
        .stack =
            {
                .link_type = 1,
                .flows_max = 100000,
                .held_segments_max = 50000,
                .compared_segments_max = 200000,
                .judged_bytes_max = 16 << 20,
                .fragmented_datagrams_max = 4096,
                .fragments_per_datagram = 64,
                .assembled_datagrams_max = 64,
                .command_delay = 1 << 18,
                .version_bytes = 8 << 20,
            },
    };
}

static struct mb_nf_geometry geometry_of(const struct members *members, unsigned index,
                                         const struct mb_worker_config *config) {
    return (struct mb_nf_geometry){
        .log_slots = config->log_slots,
        .command_slots = members->nf[index].gives_commands ? COMMANDS : 0,
        .is_inline = members->nf[index].is_inline,
        .rewrites = members->nf[index].rewrites,
        .editor = members->nf[index].edits,
    };
}

static struct mb_memory_needs needs_of(const struct members *members) {
    struct mb_memory_needs needs = {.gates = members->has_output, .compares = members->compares};
    uint32_t shadows = 0;
    bool translates = false;
    for (unsigned i = 0; i < members->count; i++) {
        const bool is_shadow = members->nf[i].is_shadow;
        needs.judges |= members->nf[i].is_inline;
        needs.edits |= members->nf[i].edits && !is_shadow;
        needs.takes_commands |= members->nf[i].gives_commands;
        needs.translating += members->nf[i].rewrites && is_shadow;
        translates |= members->nf[i].rewrites && !is_shadow;
        shadows += is_shadow;
    }
    needs.gates = (needs.gates || needs.judges) + shadows;
    needs.translating += translates;
    return needs;
}

static uint64_t total(const struct mb_memory *memory) {
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof *memory / sizeof sum; i++)
        sum += ((const uint64_t *)memory)[i];
    return sum;
}

/* --- what is mapped --- */

static uint64_t address_space(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return (uint64_t)pages * MB_PAGE_SIZE;
}

/* As another process would make it. Returns a descriptor. */
static int make_area(const struct mb_nf_geometry *geometry) {
    struct mb_area area;
    assert_int_equal(mb_area_create(&area, "area", mb_nf_area_size(geometry)), 0);
    const int fd = dup(area.fd);
    mb_area_destroy(&area);
    return fd;
}

static void attach_all(struct mb_worker *worker, const struct members *members,
                       const struct mb_worker_config *config) {
    for (unsigned i = 0; i < members->count; i++) {
        const struct mb_nf_geometry geometry = geometry_of(members, i, config);
        const int area = make_area(&geometry);
        assert_int_equal(mb_worker_attach(worker, i, area, &geometry, false), 0);
        close(area);
        if (members->nf[i].is_shadow)
            assert_int_equal(mb_worker_shadow(worker, i), 0);
    }
}

static void subscribe_all(struct mb_worker *worker, const struct members *members) {
    char error[MB_ERROR_SIZE] = "";
    struct mb_subscription subscriptions[NFS] = {0};
    struct mb_switch switches[NFS] = {0};
    uint32_t switch_count = 0;
    for (unsigned i = 0; i < members->count; i++) {
        subscriptions[i].nf = i;
        subscriptions[i].bit = (uint8_t)i;
        set_type(&subscriptions[i], MB_TYPE_PACKET_IP_UDP);
        if (members->compares)
            set_type(&subscriptions[i], MB_TYPE_TCP_OVERLAP_INCONSISTENT);
        if (members->nf[i].gives_commands)
            switches[switch_count++] = (struct mb_switch){.nf = i, .mask = {UINT64_C(1) << i}};
    }
    if (mb_worker_subscribe(worker, subscriptions, members->count, NULL, 0, error) != 0 ||
        mb_worker_accept_commands(worker, switches, switch_count, error) != 0)
        fail_msg("%s", error);
}

/* Maps that a worker has of the areas of others, and twice: that in which frames are read. */
static uint64_t not_its_own(const struct mb_worker *worker, const struct mb_source *source,
                            const struct members *members, const struct mb_worker_config *config) {
    const struct mb_versions_shape versions = mb_worker_versions_shape(worker);
    uint64_t size = mb_source_pool_size(source) + mb_worker_assembled_size(worker);
    if (versions.editors != 0)
        size += mb_versions_size(&versions);
    for (unsigned i = 0; i < members->count; i++) {
        const struct mb_nf_geometry geometry = geometry_of(members, i, config);
        size += mb_nf_area_size(&geometry);
    }
    return size;
}

static uint64_t mapped(struct mb_worker_config config, const struct members *members) {
    char error[MB_ERROR_SIZE] = "";
    struct bench bench = {0};
    begin_capture(&bench);
    append_datagrams(&bench, 1);
    open_input(&bench);
    if (members->has_output)
        bench.sink = mb_sink_open(memfd_create("output", MFD_CLOEXEC), 1, error);
    for (unsigned i = 0; i < members->count; i++)
        config.editors += members->nf[i].edits;
    const uint64_t before = address_space();
    bench.worker = mb_worker_create(&config, bench.source, bench.sink, error);
    if (bench.worker == NULL)
        fail_msg("%s", error);
    attach_all(bench.worker, members, &config);
    subscribe_all(bench.worker, members);
    const uint64_t taken = address_space() - before;
    const uint64_t foreign = not_its_own(bench.worker, bench.source, members, &config);
    mb_worker_destroy(bench.worker);
    if (bench.sink != NULL)
        mb_sink_close(bench.sink);
    mb_source_close(bench.source);
    return taken - foreign;
}

static struct mb_memory said(struct mb_worker_config config, const struct members *members) {
    const struct mb_memory_needs needs = needs_of(members);
    for (unsigned i = 0; i < members->count; i++)
        config.editors += members->nf[i].edits;
    return mb_worker_memory(&config, &needs);
}

/* --- in all --- */

static void assert_maps_what_it_says(const struct members *members) {
    const struct mb_worker_config config = small();
    const struct mb_memory memory = said(config, members);
    const uint64_t found = mapped(config, members);
    assert_in_range(found, total(&memory) - SLACK, total(&memory) + SLACK);
}

static void a_worker_that_nobody_judges_for(void **state) {
    (void)state;
    assert_maps_what_it_says(&(struct members){.count = 1});
}

static void with_an_output(void **state) {
    (void)state;
    assert_maps_what_it_says(&(struct members){.count = 1, .has_output = true});
}

static void with_a_judge(void **state) {
    (void)state;
    assert_maps_what_it_says(&(struct members){.count = 2, .nf[1] = {.is_inline = true}});
}

static void with_judges_that_rewrite_and_edit(void **state) {
    (void)state;
    assert_maps_what_it_says(&(struct members){.count = 3,
                                               .has_output = true,
                                               .nf[1] = {.is_inline = true, .rewrites = true},
                                               .nf[2] = {.is_inline = true, .edits = true}});
}

static void with_judges_in_shadow(void **state) {
    (void)state;
    assert_maps_what_it_says(
        &(struct members){.count = 3,
                          .nf[1] = {.is_inline = true, .is_shadow = true, .rewrites = true},
                          .nf[2] = {.is_inline = true, .is_shadow = true, .edits = true}});
}

static void with_commands(void **state) {
    (void)state;
    assert_maps_what_it_says(&(struct members){.count = 1, .nf[0] = {.gives_commands = true}});
}

static void with_segments_to_compare(void **state) {
    (void)state;
    assert_maps_what_it_says(&(struct members){.count = 1, .compares = true});
}

/* --- one limit --- */

static const struct members everybody = {
    .has_output = true,
    .compares = true,
    .count = 3,
    .nf[0] = {.gives_commands = true},
    .nf[1] = {.is_inline = true, .rewrites = true},
    .nf[2] = {.is_inline = true, .edits = true},
};

/* Maps as much more as `part` grows, and no other part does. */
static void assert_alone_grows(const struct mb_worker_config *larger, size_t part) {
    const struct mb_worker_config config = small();
    struct mb_memory before = said(config, &everybody);
    const struct mb_memory after = said(*larger, &everybody);
    const uint64_t more = ((const uint64_t *)&after)[part] - ((const uint64_t *)&before)[part];
    assert_true(more >= LEAST);
    ((uint64_t *)&before)[part] += more;
    assert_memory_equal(&before, &after, sizeof before);
    const uint64_t found = mapped(*larger, &everybody) - mapped(config, &everybody);
    assert_in_range(found, more - SLACK, more + SLACK);
}

#define ALONE_GROWS(limit, factor, part)                                                           \
    do {                                                                                           \
        struct mb_worker_config larger = small();                                                  \
        larger.stack.limit *= (factor);                                                            \
        assert_alone_grows(&larger, offsetof(struct mb_memory, part) / sizeof(uint64_t));          \
    } while (0)

static void each_limit_has_a_part(void **state) {
    (void)state;
    ALONE_GROWS(flows_max, 2, flows);
    ALONE_GROWS(held_segments_max, 2, held_segments);
    ALONE_GROWS(compared_segments_max, 2, compared_segments);
    ALONE_GROWS(judged_bytes_max, 2, judged_bytes);
    ALONE_GROWS(fragments_per_datagram, 2, fragments);
    ALONE_GROWS(fragmented_datagrams_max, 2, fragments);
    ALONE_GROWS(assembled_datagrams_max, 2, datagrams);
    ALONE_GROWS(command_delay, 4, commands);
    ALONE_GROWS(version_bytes, 2, edited_frames);
}

static void a_longer_log_takes_more(void **state) {
    (void)state;
    const struct mb_worker_config config = small();
    struct mb_worker_config longer = config;
    longer.log_slots *= 8;
    const struct mb_memory before = said(config, &everybody);
    const struct mb_memory after = said(longer, &everybody);
    const uint64_t found = mapped(longer, &everybody) - mapped(config, &everybody);
    const uint64_t more = total(&after) - total(&before);
    assert_in_range(found, more - SLACK, more + SLACK);
    assert_int_equal(after.log - before.log,
                     (longer.log_slots - config.log_slots) * sizeof(struct mb_entry));
    assert_int_equal(after.flows, before.flows);
}

static void refused_flows_take_room(void **state) {
    (void)state;
    const struct members nobody = {.count = 1};
    struct mb_worker_config config = small();
    const struct mb_memory before = said(config, &nobody);
    const uint64_t mapped_before = mapped(config, &nobody);
    config.stack.flows_at_cap = MB_AT_CAP_DROP_FLOW;
    const struct mb_memory after = said(config, &nobody);
    assert_true(after.flows > before.flows);
    assert_in_range(mapped(config, &nobody) - mapped_before, after.flows - before.flows,
                    after.flows - before.flows + SLACK);
}

static void a_limit_that_is_left_out_is_its_default(void **state) {
    (void)state;
    const struct mb_memory_needs needs = {0};
    struct mb_worker_config config = {.log_slots = 8192};
    const struct mb_memory left_out = mb_worker_memory(&config, &needs);
    config.stack.flows_max = 1000000;
    config.stack.held_segments_max = 262144;
    config.stack.assembled_datagrams_max = MB_ASSEMBLED_DATAGRAMS_USUALLY;
    const struct mb_memory written = mb_worker_memory(&config, &needs);
    assert_memory_equal(&left_out, &written, sizeof written);
    assert_true(left_out.flows > 1000000 * 384);
}

int main(void) {
    /* Tables that are not mapped are, so that they come and go with the worker. */
    mallopt(M_MMAP_THRESHOLD, MB_PAGE_SIZE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_nobody_judges_for),
        cmocka_unit_test(with_an_output),
        cmocka_unit_test(with_a_judge),
        cmocka_unit_test(with_judges_that_rewrite_and_edit),
        cmocka_unit_test(with_judges_in_shadow),
        cmocka_unit_test(with_commands),
        cmocka_unit_test(with_segments_to_compare),
        cmocka_unit_test(each_limit_has_a_part),
        cmocka_unit_test(a_longer_log_takes_more),
        cmocka_unit_test(refused_flows_take_room),
        cmocka_unit_test(a_limit_that_is_left_out_is_its_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
