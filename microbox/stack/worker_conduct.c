/*
 * Who does not keep to the protocol: looked at once a slice, told to whoever runs the worker.
 */
#include "microbox/stack/worker_private.h"

static void look_at(struct mb_worker *worker, uint32_t index) {
    struct mb_attached *nf = &worker->nf[index];
    mb_conduct_look(&nf->conduct, nf->parts.page, worker->log.head);
    const struct mb_gate *gate = mb_worker_gate_of(worker, index);
    const uint8_t unknown = gate ? mb_gate_unknown_verdict(gate, index) : 0;
    if (unknown != 0)
        mb_conduct_accuse(&nf->conduct, MB_UNKNOWN_VERDICT, unknown, MB_VERDICTS - 1);
    const uint64_t unsound = gate ? mb_gate_unsound_rewrites(gate, index) : 0;
    if (unsound != 0)
        mb_conduct_accuse(&nf->conduct, MB_UNSOUND_REWRITE, unsound, 0);
    const uint64_t edits = worker->gate ? mb_gate_unsound_edits(worker->gate, index) : 0;
    if (edits != 0)
        mb_conduct_accuse(&nf->conduct, MB_UNSOUND_EDIT, edits, 0);
}

void mb_worker_look_at_conduct(struct mb_worker *worker) {
    for (uint32_t index = 0; index < worker->nfs; index++)
        if (!worker->nf[index].is_dead)
            look_at(worker, index);
}

bool mb_worker_accuse(struct mb_worker *worker, uint32_t *nf, char words[MB_ERROR_SIZE]) {
    for (uint32_t index = 0; index < worker->nfs; index++) {
        struct mb_attached *one = &worker->nf[index];
        if (one->is_accused || one->conduct.misconduct == MB_CONDUCT_FINE)
            continue;
        one->is_accused = true;
        *nf = index;
        mb_conduct_in_words(&one->conduct, words, MB_ERROR_SIZE);
        return true;
    }
    return false;
}
