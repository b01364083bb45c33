/*
 * What an NF in C may do, as nf/runner.py has it for Python's.
 */
#include "microbox/bus/layout.h"
#include "microbox/c_nf/runner_private.h"

#include <errno.h>
#include <string.h>

enum { BOTH_SIDES = 3, SEVERITIES = 4 };

static struct mb_c_nf_runner *runner_of(struct mb_nf *nf) {
    return (struct mb_c_nf_runner *)(void *)nf;
}

static bool is_in_hand(const struct mb_c_nf_runner *runner, const struct mb_event *event) {
    return event == &runner->event && runner->delivery != NULL;
}

/* --- publishing --- */

static const struct mb_publishable *find_type(const struct mb_c_nf_runner *runner,
                                              const char *name) {
    for (uint32_t i = 0; name != NULL && i < runner->config.publishable_count; i++) {
        const struct mb_publishable *one = &runner->config.publishable[i];
        if (strcmp(one->written, name) == 0 || strcmp(one->name, name) == 0)
            return one;
    }
    return NULL;
}

static const char *refusal(int error) {
    switch (-error) {
    case ENOBUFS:
        return "too many publications for one event";
    case EMSGSIZE:
        return "its payload is longer than a quarter of the ring";
    case EINTR:
        return "the run was cancelled";
    default:
        return strerror(-error);
    }
}

static int send(struct mb_c_nf_runner *runner, const struct mb_event *cause,
                const struct mb_publishable *type, const struct mb_field *fields, size_t count) {
    if (runner->delivery == NULL) {
        mb_c_nf_fail(runner, "nothing can be published without an event in hand");
        return -1;
    }
    if (cause != NULL && !is_in_hand(runner, cause)) {
        mb_c_nf_fail(runner, "the cause of a publication is the event that is being handled");
        return -1;
    }
    const char *field = "";
    uint32_t length = 0;
    const struct mb_event *event = &runner->event;
    const char *wrong = mb_pack(type, event->entry, event->payload, event->payload_length, fields,
                                count, runner->payload, &length, &field);
    if (wrong != NULL) {
        mb_c_nf_fail(runner, "publish('%.64s'): field '%.64s' %s", type->name, field, wrong);
        return -1;
    }
    mb_reader_set_position(runner->config.reader, runner->delivery->position);
    const int error = mb_reader_publish(runner->config.reader, runner->delivery, type->type, 0,
                                        runner->payload, length, runner->config.cancelled);
    if (error == 0)
        return 0;
    mb_c_nf_fail(runner, "publish('%.64s'): %s", type->name, refusal(error));
    return -1;
}

static int publish(struct mb_nf *nf, const struct mb_event *cause, const char *name,
                   const struct mb_field *fields, size_t count) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    const struct mb_publishable *type = find_type(runner, name);
    if (type != NULL)
        return send(runner, cause, type, fields, count);
    mb_c_nf_fail(runner, "publish('%.64s'): the type is not declared; add it to .publishes",
                 name != NULL ? name : "");
    return -1;
}

static struct mb_field text_field(const char *name, const char *text) {
    return (struct mb_field){
        .name = name,
        .kind = MB_FIELD_TEXT,
        .length = text != NULL ? (uint32_t)strlen(text) : 0,
        .value.text = text,
    };
}

static int alert(struct mb_nf *nf, const struct mb_event *cause, const char *message,
                 const char *signature, int severity) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    const struct mb_publishable *type = find_type(runner, "alert");
    if (type == NULL) {
        mb_c_nf_fail(runner, "alert: write .publishes = {\"alert\"}");
        return -1;
    }
    if (severity < 1 || severity > SEVERITIES) {
        mb_c_nf_fail(runner, "alert: severity is 1, 2, 3 or 4, not %d", severity);
        return -1;
    }
    const struct mb_field fields[] = {
        text_field("message", message),
        text_field("signature", signature),
        text_field("nf", runner->config.name),
        {.name = "severity", .kind = MB_FIELD_NATURAL, .value.natural = (uint64_t)severity},
    };
    if (send(runner, cause, type, fields, sizeof fields / sizeof *fields) != 0)
        return -1;
    runner->counters->alerts++;
    return 0;
}

/* --- records and summary --- */

static int record(struct mb_nf *nf, const struct mb_event *event, const struct mb_field *fields,
                  size_t count) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    if (event != NULL && !is_in_hand(runner, event)) {
        mb_c_nf_fail(runner, "record: this is not the event that is being handled");
        return -1;
    }
    if (runner->records.buffer == NULL)
        return 0;
    const struct mb_entry *entry = event != NULL ? event->entry : NULL;
    const uint8_t kind =
        entry != NULL ? runner->config.tuple_kind[entry->type % MB_TYPES_MAX] : MB_TUPLE_NONE;
    if (runner->records.is_part && runner->delivery != NULL)
        mb_record_log_come_to(&runner->records,
                              mb_record_place_of(runner->config.reader, runner->delivery));
    const char *wrong = mb_record_log_write(&runner->records, runner->time, entry,
                                            (enum mb_tuple_kind)kind, fields, count);
    if (wrong != NULL) {
        mb_c_nf_fail(runner, "record: a field %s", wrong);
        return -1;
    }
    runner->counters->records++;
    return 0;
}

static int summarize(struct mb_nf *nf, const struct mb_field *fields, size_t count) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    const size_t before = runner->summary.length;
    const char *wrong = mb_json_fields(&runner->summary, fields, count);
    if (wrong == NULL && !runner->summary.overflowed)
        return 0;
    runner->summary.length = before;
    runner->summary.overflowed = false;
    mb_c_nf_fail(runner, "the summary: a field %s",
                 wrong != NULL ? wrong : "makes it longer than 50,000 bytes");
    return -1;
}

/* --- flows --- */

static int unsubscribe(struct mb_nf *nf, const struct mb_event *event) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    if (!is_in_hand(runner, event)) {
        mb_c_nf_fail(runner, "unsubscribe: this is not the event that is being handled");
        return -1;
    }
    const int error =
        mb_reader_command(runner->config.reader, runner->delivery, MB_COMMAND_UNSUBSCRIBE,
                          runner->config.own_subscriptions, BOTH_SIDES);
    switch (-error) {
    case 0:
        runner->commanded = true;
        mb_flow_states_end(&runner->states, event->entry->flow);
        return 0;
    case EPERM:
        mb_c_nf_fail(runner, "unsubscribe: write .leaves_flows = true");
        return -1;
    case ENOENT:
        mb_c_nf_fail(runner, "unsubscribe: this event has no flow; look at event->entry->flow");
        return -1;
    case ENOBUFS:
        mb_c_nf_fail(runner, "too many commands about flows: more than four a packet");
        return -1;
    default:
        mb_c_nf_fail(runner, "unsubscribe: %s", strerror(-error));
        return -1;
    }
}

static void *flow_state(struct mb_nf *nf, const struct mb_event *event) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    if (!is_in_hand(runner, event)) {
        mb_c_nf_fail(runner, "flow_state: this is not the event that is being handled");
        return NULL;
    }
    if (runner->states.size == 0) {
        mb_c_nf_fail(runner, "flow_state: write .flow_state_size = sizeof(struct ...)");
        return NULL;
    }
    const uint64_t flow = event->entry->flow;
    return flow != 0 ? mb_flow_states_get(&runner->states, flow) : NULL;
}

/* --- packets --- */

static const char *why_not_edited(int error) {
    switch (-error) {
    case EPERM:
        return "write .edits = MB_NF_EDITS_HEADERS, or MB_NF_EDITS_PAYLOAD to replace bytes";
    case EINVAL:
        return "a field that there is not, or a number out of its range";
    case ENOENT:
        return "this event is not about a packet";
    case EXDEV:
        return "this event was published with another packet than its own";
    case E2BIG:
        return "too many tags, or replacements, for one event";
    case ERANGE:
        return "these are not bytes of the event";
    case ENOBUFS:
        return "more bytes than there is room for with one packet";
    default:
        return strerror(-error);
    }
}

static int end_edit(struct mb_c_nf_runner *runner, int error) {
    if (error == 0)
        return 0;
    mb_c_nf_fail(runner, "edit: %s", why_not_edited(error));
    return -1;
}

static bool may_edit(struct mb_c_nf_runner *runner, const struct mb_event *event) {
    if (!is_in_hand(runner, event))
        mb_c_nf_fail(runner, "edit: this is not the event that is being handled");
    return is_in_hand(runner, event);
}

static int edit(struct mb_nf *nf, const struct mb_event *event, const struct mb_edit *edit) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    if (!may_edit(runner, event))
        return -1;
    return end_edit(runner, mb_reader_edit(runner->config.reader, runner->delivery, edit));
}

static int replace(struct mb_nf *nf, const struct mb_event *event, uint32_t at, const void *bytes,
                   uint32_t length) {
    struct mb_c_nf_runner *runner = runner_of(nf);
    if (!may_edit(runner, event))
        return -1;
    return end_edit(runner, mb_reader_replace(runner->config.reader, runner->delivery, at, bytes,
                                              length, runner->config.cancelled));
}

static int fail(struct mb_nf *nf, const char *reason) {
    mb_c_nf_fail(runner_of(nf), "%.240s", reason != NULL ? reason : "it failed");
    return -1;
}

const struct mb_nf_services mb_c_nf_services = {
    .publish = publish,
    .alert = alert,
    .record = record,
    .summarize = summarize,
    .unsubscribe = unsubscribe,
    .flow_state = flow_state,
    .fail = fail,
    .edit = edit,
    .replace = replace,
};
