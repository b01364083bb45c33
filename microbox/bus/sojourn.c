#include "microbox/bus/sojourn.h"

#include "microbox/bus/atomic.h"

enum { WORDS = sizeof(struct mb_sojourn) / sizeof(uint64_t) };

_Static_assert(sizeof(struct mb_sojourn) == 3 * 64, "a sojourn is three cache lines");
_Static_assert(sizeof((struct mb_sojourn){0}.part) == MB_SOJOURN_PARTS * sizeof(uint64_t),
               "each part has a time");

/* The first word is the packet's number: 0 while the others are written. */
void mb_sojourn_write(struct mb_sojourn *sojourns, const struct mb_sojourn *sojourn) {
    struct mb_sojourn *place = &sojourns[sojourn->packet % MB_SOJOURNS];
    uint64_t *words = &place->packet;
    const uint64_t *from = &sojourn->packet;
    mb_announce(&words[0], 0);
    for (unsigned i = 1; i < WORDS; i++)
        mb_store_relaxed(&words[i], from[i]);
    mb_store_release(&words[0], from[0]);
}

bool mb_sojourn_read(const struct mb_sojourn *sojourns, uint64_t packet,
                     struct mb_sojourn *sojourn) {
    const uint64_t *words = &sojourns[packet % MB_SOJOURNS].packet;
    uint64_t *to = &sojourn->packet;
    for (unsigned i = 0; i < WORDS; i++)
        to[i] = mb_load_acquire(&words[i]);
    return packet != 0 && to[0] == packet && mb_load_relaxed(&words[0]) == packet;
}
