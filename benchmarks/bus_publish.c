/*
 * What it costs the worker to publish an event: who wants it, the entry, its share of commit and
 * of looking where the readers are; with one subscription, and with eight NFs that all want it.
 * The stack's own code publishes; the readers' cursors are moved here, since readers that keep up
 * are not what is measured. Processor time of this thread counts.
 */
#include "support/bus_events.h"
#include "support/measure.h"

#include "microbox/bus/reader.h"
#include "microbox/stack/core.h"

#include <time.h>

enum { SLOTS = 16384, NFS_MAX = 8, EVENTS = 1 << 22, ROUNDS = 9 };

static const struct mb_nf_geometry shape = {.log_slots = SLOTS};

/* One of the NFs: an area that would be another process's. */
struct nf {
    struct mb_area area;
    struct mb_nf_page *page;
};

struct publisher {
    struct mb_log log;
    struct mb_stack stack;
    struct mb_flow_entry flow;
    uint32_t count;
    struct nf nf[NFS_MAX];
};

static void create(struct publisher *publisher, uint32_t count) {
    memset(publisher, 0, sizeof *publisher);
    must(mb_log_create(&publisher->log, SLOTS) == 0, "mb_log_create");
    publisher->count = count;
    for (uint32_t index = 0; index < count; index++) {
        struct nf *nf = &publisher->nf[index];
        must(mb_area_create(&nf->area, "nf", mb_nf_area_size(&shape)) == 0, "mb_area_create");
        nf->page = mb_nf_area_parts(nf->area.base, &shape).page;
        const struct mb_consumer consumer = {.page = nf->page, .mask = {UINT64_C(1) << index, 0}};
        must(mb_log_attach(&publisher->log, index, &consumer) == 0, "mb_log_attach");
    }
    struct mb_stack *stack = &publisher->stack;
    const uint64_t all = (UINT64_C(1) << count) - 1;
    stack->log = &publisher->log;
    stack->subscriptions.type_mask[MB_TYPE_TCP_DATA][0] = all;
    publisher->flow.mask[0][0] = all;
    publisher->flow.mask[1][0] = all;
    publisher->flow.number = 1;
}

static void destroy(struct publisher *publisher) {
    for (uint32_t index = 0; index < publisher->count; index++)
        mb_area_destroy(&publisher->nf[index].area);
    mb_log_destroy(&publisher->log);
}

static void publish_batch(struct publisher *publisher, uint64_t number) {
    struct mb_stack *stack = &publisher->stack;
    must(mb_log_has_room(&publisher->log, BUS_BATCH), "room");
    for (uint64_t end = number + BUS_BATCH; number < end; number++) {
        const uint64_t first = publisher->log.next;
        stack->cause = (struct mb_cause){
            .time = BUS_TIME + number, .packet = number + 1, .frame = number, .frame_length = 1514};
        struct mb_entry *entry =
            mb_publish_flow(stack, &publisher->flow, MB_TYPE_TCP_DATA, MB_REASON_NONE, number & 1);
        entry->payload.tcp_data.offset = number;
        mb_log_end_packet(&publisher->log, first);
    }
    mb_log_commit(&publisher->log);
    for (uint32_t index = 0; index < publisher->count; index++)
        publisher->nf[index].page->cursor = publisher->log.head;
}

static double processor_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double nanoseconds(uint32_t count) {
    static struct publisher publisher;
    create(&publisher, count);
    for (uint64_t number = 0; number < SLOTS; number += BUS_BATCH) /* its pages come into being */
        publish_batch(&publisher, number);
    const double start = processor_seconds();
    for (uint64_t number = 0; number < EVENTS; number += BUS_BATCH)
        publish_batch(&publisher, number);
    const double spent = processor_seconds() - start;
    destroy(&publisher);
    return spent / EVENTS * 1e9;
}

int main(void) {
    double one[ROUNDS];
    double more[ROUNDS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        one[round] = nanoseconds(1);
        more[round] = nanoseconds(NFS_MAX) - one[round];
    }
    printf("{\"measure\": \"bus.publish.1\", \"what\": \"the worker's time for an event that one "
           "NF wants\", \"value\": %.2f, \"unit\": \"ns\", \"most\": 12}\n",
           median(one, ROUNDS));
    printf("{\"measure\": \"bus.publish.8\", \"what\": \"what it costs more where eight NFs want "
           "it\", \"value\": %.2f, \"unit\": \"ns\", \"most\": 5}\n",
           median(more, ROUNDS));
    return 0;
}
