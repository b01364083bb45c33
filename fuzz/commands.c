/*
 * An NF that switches its subscriptions on and off for a flow, at any segment, says what makes no
 * sense, or dies: modules and streams begin and end anywhere in the life of a connection. Nine
 * bytes of input make a segment, handled alone, and what is said of it (struct below).
 *
 * Offsets jump where bytes were left out. Within one event bytes follow each other.
 */
#include "fuzz/checked_stack.h"
#include "fuzz/segment_recipe.h"

enum { STEPS_MAX = 256, SLOTS = 16, SWITCHES = 3, DIES = 3 };

/* How the input is read. */
struct step {
    struct segment_recipe segment;
    uint8_t command; /* bits 0 to 1: sides; 2 to 4: subscriptions; 5 to 6: enum mb_command_kind,
                        0: nothing is said; DIES */
    uint8_t wrong;   /* added to the flow's number, where its low four bits are set */
};

/* The NF, which has passed everything, as it is in no log. */
struct speaker {
    struct mb_nf_page page;
    struct mb_command commands[SLOTS];
};

static struct mb_subscription wanting(uint8_t bit, const char *filter, uint16_t first,
                                      uint16_t last) {
    struct mb_subscription subscription = {.bit = bit, .filter = filter};
    for (uint16_t type = first; type <= last; type++)
        subscription.types[type / 64] |= UINT64_C(1) << type % 64;
    return subscription;
}

/* Streams, what is told of connections, and packets: each can be had without the others. */
static void create(struct checked_stack *checked, const uint8_t *pool, uint64_t pool_size,
                   const struct stack_settings *settings, const struct speaker *speaker) {
    const struct mb_subscription wanted[SWITCHES] = {
        wanting(0, "", MB_TYPE_TCP_DATA, MB_TYPE_TCP_GAP),
        wanting(1, "tcp dst port 80", MB_TYPE_TCP_START, MB_TYPE_TCP_END),
        wanting(2, "tcp[13] & 16 != 0", MB_TYPE_PACKET, MB_TYPE_PACKET_MALFORMED),
    };
    const struct mb_command_ring ring = {
        .page = &speaker->page, .slots = speaker->commands, .count = SLOTS};
    struct mb_switch switches[SWITCHES] = {{0}};
    for (uint32_t i = 0; i < SWITCHES; i++)
        switches[i] = (struct mb_switch){.subscription = i,
                                         .mask = {UINT64_C(1) << i},
                                         .is_off_at_first = settings->judged >> (5 + i) & 1};
    checked_stack_create_for(checked, pool, pool_size, 1, settings, wanted, SWITCHES);
    checked_stack_require(mb_stack_accept_commands(checked->stack, switches, SWITCHES, &ring, 1) ==
                          0);
}

static uint16_t kind_of(const struct step *step) {
    return step->command >> 5 & 3;
}

static void say(struct speaker *speaker, const struct step *step, const struct mb_handled *about) {
    speaker->commands[speaker->page.command_head++ % SLOTS] = (struct mb_command){
        .flow = about->flow + ((step->wrong & 15) == 15 ? step->wrong >> 4 : 0),
        .packet = about->packet,
        .seen = about->packet,
        .subscriptions = step->command >> 2 & 7,
        .kind = kind_of(step),
        .sides = step->command & 3,
    };
}

static void look(void *context, const struct mb_entry *entry) {
    const struct checked_stack *checked = context;
    const uint8_t *bytes = checked->pool + entry->frame + entry->data_offset;
    if (entry->type != MB_TYPE_TCP_DATA)
        return;
    for (uint32_t i = 1; i < entry->data_length; i++)
        checked_stack_require(bytes[i] == (uint8_t)(bytes[i - 1] + 1));
}

static void handle(struct checked_stack *checked, const struct mb_frame *frame,
                   const struct step *step, struct speaker *speaker) {
    struct mb_handled handled;
    uint32_t nf;
    uint64_t position;
    checked_stack_require(mb_stack_room(checked->stack, &nf, &position) > 0);
    checked_stack_require(mb_stack_handle(checked->stack, checked->pool, frame, 1, &handled) == 1);
    checked_stack_look(checked);
    if (kind_of(step) == DIES)
        mb_stack_detach(checked->stack, 0, 1, step->wrong & 1);
    else if (kind_of(step) != 0)
        say(speaker, step, &handled);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t pool[STEPS_MAX * FRAME_SIZE];
    static struct mb_frame frames[STEPS_MAX];
    struct step steps[STEPS_MAX];
    struct checked_stack checked;
    struct stack_settings settings;
    struct speaker speaker;
    uint64_t time = 0;

    if (size < sizeof settings)
        return 0;
    memcpy(&settings, data, sizeof settings);
    size_t count = (size - sizeof settings) / sizeof(struct step);
    if (count > STEPS_MAX)
        count = STEPS_MAX;
    memcpy(steps, data + sizeof settings, count * sizeof(struct step));
    for (size_t i = 0; i < count; i++) {
        write_segment(pool + i * FRAME_SIZE, &steps[i].segment);
        time += segment_recipe_wait(&steps[i].segment);
        frames[i] = (struct mb_frame){.offset = i * FRAME_SIZE,
                                      .time = time,
                                      .length = FRAME_SIZE,
                                      .wire_length = FRAME_SIZE,
                                      .link_type = 1};
    }
    memset(&speaker, 0, sizeof speaker);
    create(&checked, pool, sizeof pool, &settings, &speaker);
    checked.look = look;
    checked.context = &checked;
    for (size_t i = 0; i < count; i++)
        handle(&checked, &frames[i], &steps[i], &speaker);
    mb_stack_end_commands(checked.stack);
    checked_stack_destroy(&checked);
    return 0;
}
