/*
 * What an NF in C and its runtime know of each other: descriptor, event, fields, services.
 *
 * NFs include microbox_nf.h, which adds functions to call. Plain C, read by Python as
 * events/payloads.h is, and C++-safe. Whatever changes here, or in what an event points at, gives
 * MB_NF_ABI_VERSION a new number: a shared object that was built for another one is refused.
 */
#ifndef MICROBOX_C_NF_ABI_H
#define MICROBOX_C_NF_ABI_H

#include "microbox/bus/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MB_NF_ABI_VERSION = 2,
    MB_NF_PARAMETERS_MAX = 32,
    MB_NF_HANDLERS_MAX = 32,
    MB_NF_HANDLER_TYPES_MAX = 8,
    MB_NF_PUBLISHES_MAX = 16,
    MB_NF_DECLARES_MAX = 8,
    MB_NF_FIELDS_MAX = 16,           /* own fields of a declared type */
    MB_NF_NAME_SIZE = 64,            /* of any name here, its end included */
    MB_NF_STATE_MAX = 1 << 30,       /* bytes of an NF's own state */
    MB_NF_FLOW_STATE_MAX = 65536,    /* bytes of its state of one flow */
    MB_NF_FLOW_STATES = 1 << 20,     /* flows with a state at a time, where it says nothing */
    MB_NF_FLOW_STATES_MAX = 1 << 24, /* the most that it may say */
    MB_NF_RECORD_MAX = 65536,        /* bytes of a record's line */
    MB_NF_PUBLICATION_MAX = 1 << 18, /* bytes of a published payload */
    MB_NF_SUMMARY_MAX = 50000        /* bytes of a summary as JSON */
};

/* What it was built for. The first member of the descriptor, in every version. */
struct mb_nf_abi {
    uint32_t version;
    uint32_t descriptor_size;
    uint32_t entry_size;
    uint32_t event_size;
};

/* An event as a handler is given it, valid until the handler returns. All ranges are checked.
 *
 * Times, flow, type, reason and direction are in the entry (bus/layout.h). `payload` is the type's
 * struct (events/payloads.h), at least as long as the type's fields; with the fields of a declared
 * type behind those of its parent, as C lays them out. `data`: the event's bytes, such as the
 * stretch of a stream; `frame`: the packet as captured; both as earlier NFs left them. */
struct mb_event {
    const struct mb_entry *entry;
    const uint8_t *payload;
    const uint8_t *data;
    const uint8_t *frame;
    uint32_t payload_length;
    uint32_t data_length;
    uint32_t frame_length;
    uint32_t reserved;
};

enum mb_field_kind {
    MB_FIELD_INTEGER, /* signed */
    MB_FIELD_NATURAL, /* unsigned */
    MB_FIELD_REAL,
    MB_FIELD_TEXT, /* `length` bytes; UTF-8 in records */
    MB_FIELD_FLAG, /* `natural` is 0 or 1 */
    MB_FIELD_KINDS
};

union mb_field_value {
    int64_t integer;
    uint64_t natural;
    double real;
    const char *text;
};

/* A name and a value: of a publication, a record, a summary. Both are copied. */
struct mb_field {
    const char *name;
    enum mb_field_kind kind;
    uint32_t length;
    union mb_field_value value;
};

struct mb_nf;

/* What the runtime does for an NF. Each returns 0, or -1 after which the runtime takes the handler
 * for failed and says why; see microbox_nf.h. */
struct mb_nf_services {
    int (*publish)(struct mb_nf *nf, const struct mb_event *cause, const char *type,
                   const struct mb_field *fields, size_t count);
    int (*alert)(struct mb_nf *nf, const struct mb_event *cause, const char *message,
                 const char *signature, int severity);
    int (*record)(struct mb_nf *nf, const struct mb_event *event, const struct mb_field *fields,
                  size_t count);
    int (*summarize)(struct mb_nf *nf, const struct mb_field *fields, size_t count);
    int (*unsubscribe)(struct mb_nf *nf, const struct mb_event *event);
    void *(*flow_state)(struct mb_nf *nf, const struct mb_event *event);
    int (*fail)(struct mb_nf *nf, const char *reason);
    int (*edit)(struct mb_nf *nf, const struct mb_event *event, const struct mb_edit *edit);
    int (*replace)(struct mb_nf *nf, const struct mb_event *event, uint32_t at, const void *bytes,
                   uint32_t length);
};

/* One running NF, as it sees itself. */
struct mb_nf {
    const struct mb_nf_services *services;
    void *state; /* `state_size` bytes: zeros, and the parameters */
};

enum mb_nf_parameter_type {
    MB_PARAMETER_INT = 1, /* int64_t */
    MB_PARAMETER_FLOAT,   /* double */
    MB_PARAMETER_TEXT,    /* const char *, zero-terminated, the runtime's */
    MB_PARAMETER_BOOL,    /* bool */
    MB_PARAMETER_TYPES
};

/* A value that the chain may set: it is in the state before `start` is called. */
struct mb_nf_parameter {
    const char *name;
    enum mb_nf_parameter_type type;
    uint32_t offset;     /* in the state */
    const char *or_else; /* the default as one writes it in a chain: "20", "0.5", "yes, all",
                            "true"; NULL: the chain must set it */
    const char *doc;
};

typedef enum mb_verdict (*mb_nf_call)(struct mb_nf *nf, const struct mb_event *event);

/* `call` gets the events of these types and of those below them that pass the filter, in order; or
 * with `every`, a period in nanoseconds, is called that often in packet time. */
struct mb_nf_handler {
    const char *name;
    const char *types[8]; /* MB_NF_HANDLER_TYPES_MAX */
    const char *filter;   /* NULL: none */
    uint64_t every;
    mb_nf_call call;
};

/* `type`: u8, u16, u32, u64, i64, f64 or text. */
struct mb_nf_field {
    const char *name;
    const char *type;
};

/* An event type of the NF's own: the fields extend the payload of its parent. */
struct mb_nf_type {
    const char *name;
    struct mb_nf_field fields[16]; /* MB_NF_FIELDS_MAX */
};

/* What it changes of packets: each includes what is before it. */
enum mb_nf_edits { MB_NF_EDITS_NOTHING, MB_NF_EDITS_HEADERS, MB_NF_EDITS_PAYLOAD };

/* An NF: its shared object exports `const struct mb_nf_descriptor microbox_nf`. Arrays end at their
 * first element without a name. */
struct mb_nf_descriptor {
    struct mb_nf_abi abi; /* MB_NF_ABI */
    const char *name;
    const char *doc;
    struct mb_nf_parameter parameters[32]; /* MB_NF_PARAMETERS_MAX */
    struct mb_nf_handler handlers[32];     /* MB_NF_HANDLERS_MAX */
    const char *publishes[16];             /* MB_NF_PUBLISHES_MAX; "alert" to give alerts */
    struct mb_nf_type declares[8];         /* MB_NF_DECLARES_MAX */
    bool is_inline;                        /* may return MB_DROP, MB_DROP_FLOW, MB_RESET */
    bool leaves_flows; /* unsubscribes, or gives verdicts on flows that the stack is to be told of:
                          later packets of such a flow then cost it nothing */
    enum mb_nf_edits edits; /* of single packets; packets then wait for it */
    uint32_t state_size;
    uint32_t flow_state_size;         /* bytes; 0: it keeps nothing of flows */
    uint32_t flow_states_max;         /* flows with a state at a time; 0: MB_NF_FLOW_STATES */
    void (*start)(struct mb_nf *nf);  /* before the first event; NULL: nothing to do */
    void (*finish)(struct mb_nf *nf); /* after the last one; NULL: nothing to do */
};

#endif
