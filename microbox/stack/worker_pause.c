/*
 * A pause: the NFs read what there is, all packets leave, and then nothing moves while NFs come and
 * go.
 */
#include "microbox/stack/worker_private.h"

static void begin(struct mb_worker *worker) {
    worker->pause = PAUSE_DRAINING;
    worker->ends_batches = true;
    worker->pauses_again = false;
}

bool mb_worker_pause(struct mb_worker *worker) {
    if (worker->phase != PHASE_READING || worker->stopped)
        return false;
    worker->pauses_again = worker->pause == PAUSE_WELCOMING;
    if (worker->pause == PAUSE_NONE)
        begin(worker);
    return true;
}

uint64_t mb_worker_head(const struct mb_worker *worker) {
    return worker->log.head;
}

uint32_t mb_worker_ask(const struct mb_worker *worker, const struct mb_flow_question *question,
                       struct mb_flow_answer *answers, uint32_t most) {
    return mb_stack_ask(worker->stack, question, answers, most);
}

/* The bits of who came, and those by which others follow what they publish. */
static void collect_new(const struct mb_worker *worker, uint64_t joined[2]) {
    joined[0] = 0;
    joined[1] = 0;
    for (uint32_t index = 0; index < worker->nfs; index++) {
        if (!worker->nf[index].is_new)
            continue;
        uint64_t bits[2];
        mb_stack_bits_of(worker->stack, index, bits);
        joined[0] |= bits[0];
        joined[1] |= bits[1];
    }
}

void mb_worker_resume(struct mb_worker *worker) {
    if (worker->pause == PAUSE_DRAINING)
        worker->pause = PAUSE_NONE;
    if (!mb_worker_is_paused(worker))
        return;
    uint64_t joined[2];
    collect_new(worker, joined);
    if (worker->is_resubscribed)
        mb_stack_renew_flows(worker->stack, joined);
    worker->is_resubscribed = false;
    worker->pause = PAUSE_WELCOMING;
}

bool mb_worker_is_drained(const struct mb_worker *worker) {
    return mb_log_drained(&worker->log) && mb_worker_gates_are_empty(worker);
}

/* Ends batches once, as room allows; then everybody has to come to the head. */
void mb_worker_drain(struct mb_worker *worker) {
    if (worker->pause != PAUSE_DRAINING || !mb_stack_settle(worker->stack))
        return;
    if (worker->ends_batches) {
        if (!mb_log_has_room(&worker->log, 1))
            return;
        mb_stack_end_batches(worker->stack);
        worker->ends_batches = false;
        return;
    }
    if (mb_worker_is_drained(worker))
        worker->pause = PAUSE_PAUSED;
}

static uint32_t next_to_welcome(const struct mb_worker *worker) {
    for (uint32_t index = 0; index < worker->nfs; index++)
        if (worker->nf[index].is_new)
            return index;
    return MB_NO_NF;
}

/* True when the NF that is being welcomed has been told of all flows, as room allows. */
static bool is_welcomed(struct mb_worker *worker, uint32_t index) {
    struct mb_attached *nf = &worker->nf[index];
    if (worker->welcomed != index) {
        if (!mb_log_has_room(&worker->log, MB_ENTRIES_PER_PACKET))
            return false;
        mb_stack_welcome(worker->stack, index, nf->catches_up);
        worker->welcomed = index;
    }
    return mb_stack_tell_flows(worker->stack, index);
}

/* Packets go on when all who came know of it. */
void mb_worker_welcome(struct mb_worker *worker) {
    while (worker->pause == PAUSE_WELCOMING) {
        const uint32_t index = next_to_welcome(worker);
        if (index == MB_NO_NF) {
            worker->pause = PAUSE_NONE;
            if (worker->pauses_again)
                begin(worker);
            return;
        }
        if (!is_welcomed(worker, index))
            return;
        worker->nf[index].is_new = false;
        worker->welcomed = MB_NO_NF;
    }
}
