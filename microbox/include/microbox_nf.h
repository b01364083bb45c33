/*
 * For NFs in C: one file, one struct, one callback a handler.
 *
 *     #include "microbox/include/microbox_nf.h"
 *
 *     static enum mb_verdict see(struct mb_nf *nf, const struct mb_event *event) { ... }
 *
 *     const struct mb_nf_descriptor microbox_nf = {
 *         .abi = MB_NF_ABI,
 *         .name = "count",
 *         .handlers = {{.name = "see", .types = {"packet"}, .call = see}},
 *     };
 *
 * and in a chain `nf: ./count.c`. See docs/guide/c-nfs.md. The NF runs in a process of its own, one
 * thread; it links with nothing of microbox. In C++ declare the descriptor `extern "C"`.
 */
#ifndef MICROBOX_NF_H
#define MICROBOX_NF_H

#include "microbox/c_nf/abi.h"
#include "microbox/events/event_types.h"

#include <string.h>

#define MB_NF_ABI                                                                                  \
    {                                                                                              \
        MB_NF_ABI_VERSION, sizeof(struct mb_nf_descriptor), sizeof(struct mb_entry),               \
            sizeof(struct mb_event)                                                                \
    }

#ifdef __cplusplus
extern "C" {
#endif

extern const struct mb_nf_descriptor microbox_nf;

/* --- the event --- */

/* 0: sent by the flow's originator, 1: by its responder. */
static inline unsigned mb_event_direction(const struct mb_event *event) {
    return event->entry->flags & MB_FROM_RESPONDER;
}

/* The payload as the struct of the event's type: MB_PAYLOAD(event, struct mb_tcp_data)->offset */
#define MB_PAYLOAD(event, type) ((const type *)(const void *)(event)->payload)

/* The bytes of a text field and, in *length, how many they are. Not zero-terminated. */
static inline const char *mb_event_text(const struct mb_event *event, const struct mb_text *field,
                                        uint32_t *length) {
    /* The payload may lie in memory that another NF can write: read once, then check. */
    const volatile struct mb_text *foreign = field;
    const uint32_t offset = foreign->offset;
    const uint32_t bytes = foreign->length;
    const bool is_within =
        offset <= event->payload_length && bytes <= event->payload_length - offset;
    *length = is_within ? bytes : 0;
    return (const char *)event->payload + (is_within ? offset : 0);
}

/* --- fields --- */

static inline struct mb_field mb_int(const char *name, int64_t value) {
    struct mb_field field = {name, MB_FIELD_INTEGER, 0, {0}};
    field.value.integer = value;
    return field;
}

static inline struct mb_field mb_uint(const char *name, uint64_t value) {
    struct mb_field field = {name, MB_FIELD_NATURAL, 0, {0}};
    field.value.natural = value;
    return field;
}

static inline struct mb_field mb_float(const char *name, double value) {
    struct mb_field field = {name, MB_FIELD_REAL, 0, {0}};
    field.value.real = value;
    return field;
}

static inline struct mb_field mb_bool(const char *name, bool value) {
    struct mb_field field = {name, MB_FIELD_FLAG, 0, {0}};
    field.value.natural = value;
    return field;
}

static inline struct mb_field mb_bytes(const char *name, const void *bytes, uint32_t length) {
    struct mb_field field = {name, MB_FIELD_TEXT, length, {0}};
    field.value.text = (const char *)bytes;
    return field;
}

static inline struct mb_field mb_string(const char *name, const char *text) {
    return mb_bytes(name, text, (uint32_t)strlen(text));
}

/* --- what an NF may do ---
 *
 * What cannot be done (a type that is not declared, a field that the type has not, ...) is told by
 * the runtime with the handler's name, and the handler counts as failed: with `on_error: stop` the
 * NF ends, with `skip` the event is skipped. The functions then return -1; nobody need look. */

/* Publishes an event of a type in `publishes`. It is about `cause`, the event in hand: time, flow,
 * frame, and the fields that both types have, come from there; `fields` are set beside. */
static inline int mb_publish_fields(struct mb_nf *nf, const struct mb_event *cause,
                                    const char *type, const struct mb_field *fields, size_t count) {
    return nf->services->publish(nf, cause, type, fields, count);
}

/* Reports to people. `severity`: 1 information, 2 notice, 3 warning, 4 critical. */
static inline int mb_alert(struct mb_nf *nf, const struct mb_event *cause, const char *message,
                           const char *signature, int severity) {
    return nf->services->alert(nf, cause, message, signature, severity);
}

/* Writes a line of JSON to the NF's log: time and flow of `event` (NULL: the time alone), then the
 * fields. */
static inline int mb_record_fields(struct mb_nf *nf, const struct mb_event *event,
                                   const struct mb_field *fields, size_t count) {
    return nf->services->record(nf, event, fields, count);
}

/* Adds to what the run's summary shows of this NF. */
static inline int mb_summarize_fields(struct mb_nf *nf, const struct mb_field *fields,
                                      size_t count) {
    return nf->services->summarize(nf, fields, count);
}

/* No more events of this event's flow. The descriptor says `.leaves_flows = true`. */
static inline int mb_unsubscribe(struct mb_nf *nf, const struct mb_event *event) {
    return nf->services->unsubscribe(nf, event);
}

/* The event's packet goes on with these fields, checksums repaired: to later NFs and to the output.
 * `edit->fields` says which of them count; with `tags_popped` and `tags_pushed` VLAN tags come off
 * and on. The descriptor says `.edits`. See docs/guide/writing-an-nf.md, "Editing a packet". */
static inline int mb_edit_packet(struct mb_nf *nf, const struct mb_event *event,
                                 const struct mb_edit *edit) {
    return nf->services->edit(nf, event, edit);
}

/* Likewise with other bytes in the place of as many of the event's, those from `at` on. The
 * descriptor says `.edits = MB_NF_EDITS_PAYLOAD`. */
static inline int mb_replace_bytes(struct mb_nf *nf, const struct mb_event *event, uint32_t at,
                                   const void *bytes, uint32_t length) {
    return nf->services->replace(nf, event, at, bytes, length);
}

/* The NF's own block for the event's flow: `flow_state_size` bytes, zeros at first; gone when the
 * flow has ended. NULL where the event has no flow, or flow_states_max flows have a block already
 * (which is counted, and told at the end). */
static inline void *mb_flow_state(struct mb_nf *nf, const struct mb_event *event) {
    return nf->services->flow_state(nf, event);
}

/* The handler cannot do its work: `reason` is told. */
static inline int mb_fail(struct mb_nf *nf, const char *reason) {
    return nf->services->fail(nf, reason);
}

/* The same with the fields written out: mb_record(nf, event, mb_int("bytes", 3), ...). */
#ifndef __cplusplus
#define MB_FIELDS(...)                                                                             \
    (const struct mb_field[]){__VA_ARGS__},                                                        \
        sizeof((const struct mb_field[]){__VA_ARGS__}) / sizeof(struct mb_field)
#define mb_publish(nf, cause, type, ...)                                                           \
    mb_publish_fields((nf), (cause), (type), MB_FIELDS(__VA_ARGS__))
#define mb_record(nf, event, ...) mb_record_fields((nf), (event), MB_FIELDS(__VA_ARGS__))
#define mb_summarize(nf, ...)     mb_summarize_fields((nf), MB_FIELDS(__VA_ARGS__))
#endif

#ifdef __cplusplus
}
#endif

#endif
