/*
 * Payloads of events that an NF publishes: what the cause's has in common, the fields, then the
 * texts. As nf/publication.py makes them.
 */
#ifndef MICROBOX_C_NF_PUBLICATION_H
#define MICROBOX_C_NF_PUBLICATION_H

#include "microbox/c_nf/abi.h"

enum { MB_PUBLISHABLE_FIELDS_MAX = 64 };

/* What a field of a payload is made of. */
enum mb_place_kind {
    MB_PLACE_UNSIGNED,
    MB_PLACE_SIGNED,
    MB_PLACE_REAL,
    MB_PLACE_ADDRESS, /* 16 bytes in network byte order, or 4 for IPv4 */
    MB_PLACE_TEXT
};

struct mb_place {
    const char *name;
    uint32_t offset;
    uint16_t size;
    uint16_t kind; /* enum mb_place_kind */
};

/* A type that an NF may publish. */
struct mb_publishable {
    const char *name;    /* its full name */
    const char *written; /* as the descriptor has it */
    uint16_t type;
    uint16_t places;
    uint32_t size;             /* of the fixed part */
    struct mb_place place[64]; /* MB_PUBLISHABLE_FIELDS_MAX */
    uint16_t inherited[512];   /* by type of the cause: bytes that both payloads begin with */
    uint8_t is_turned[512];    /* 1: the cause's five-tuple is as sent, this one's as opened */
};

/* Writes the payload to `payload` (MB_NF_PUBLICATION_MAX bytes) and its length to *length. `cause`:
 * the entry's type and flags are read, and `cause_payload` of `cause_length` bytes. Returns what is
 * wrong (a sentence about *field), NULL: nothing. */
const char *mb_pack(const struct mb_publishable *type, const struct mb_entry *cause,
                    const uint8_t *cause_payload, uint32_t cause_length,
                    const struct mb_field *fields, size_t count, uint8_t *payload, uint32_t *length,
                    const char **field);

#endif
