/*
 * What packets of a flow take in the stack: measured for as long as somebody said, and told in the
 * counter page.
 */
#include "microbox/bus/wait.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/worker_private.h"

bool mb_worker_trace(struct mb_worker *worker, uint32_t slot, uint64_t flow, uint64_t time_ns) {
    const bool is_there = mb_stack_trace(worker->stack, slot, flow);
    worker->traces_until = is_there ? mb_monotonic_time() + time_ns : 0;
    return is_there;
}

void mb_worker_note_sojourn(struct mb_worker *worker) {
    struct mb_counter_page *page = worker->counters.base;
    struct mb_sojourn sojourn;
    if (mb_stack_take_sojourn(worker->stack, worker->now, &sojourn))
        mb_sojourn_write(page->sojourns, &sojourn);
    if (worker->now < worker->traces_until)
        return;
    mb_stack_end_trace(worker->stack);
    worker->traces_until = 0;
}
