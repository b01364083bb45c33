/*
 * Sojourn times: how long single packets were in the stack, as the worker measures it while
 * somebody traces their flow.
 *
 * They lie in the worker's counter area, written by the worker alone, each where the packet's
 * number says. One is there when the packet's entries can be read, until that of another packet
 * takes its place.
 */
#ifndef MICROBOX_BUS_SOJOURN_H
#define MICROBOX_BUS_SOJOURN_H

#include <stdbool.h>
#include <stdint.h>

enum { MB_SOJOURNS = 64, MB_SOJOURN_PARTS = 16 };

/* One packet's. Times are in nanoseconds, without what it took to measure them. */
struct mb_sojourn {
    uint64_t packet;   /* its number; 0: there is none */
    uint64_t flow;     /* its flow's */
    uint64_t whole;    /* from when the worker began with the packets that it handled together with
                          this one, until their entries could be read: at least the next two */
    uint64_t decoding; /* of this packet alone */
    uint64_t handling; /* likewise, behind that: at least all parts together */
    uint64_t parts;    /* bit k: part[k] of the handling took place */
    uint64_t part[16];
    uint64_t reserved[2];
};

/* `sojourns`: MB_SOJOURNS of them. To be called before the packet's entries become readable. */
void mb_sojourn_write(struct mb_sojourn *sojourns, const struct mb_sojourn *sojourn);

/* That of a packet; false where there is none. From any process. */
bool mb_sojourn_read(const struct mb_sojourn *sojourns, uint64_t packet,
                     struct mb_sojourn *sojourn);

#endif
