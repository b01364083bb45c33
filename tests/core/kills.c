/*
 * Passive NFs in C are killed: at named points of their way, at instructions behind those, and at
 * any moment. What the others write and what leaves the chain is that of an undisturbed run, byte
 * by byte.
 *
 *     kills CAPTURE
 *
 * MICROBOX_KILLS: how many (200); MICROBOX_SEED: of the random choices. The points are functions of
 * the reader, which the linker wraps (meson.build).
 */
#include "kills_parties.h"

#include "microbox/bus/frame_pool.h"
#include "microbox/c_nf/record_log.h"
#include "microbox/c_nf/runner.h"
#include "microbox/stack/worker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    SLOTS = MB_LOG_SLOTS_MIN,
    PACKETS = 3000,
    CAPACITY = 2 * MB_ENTRIES_PER_PACKET,
    SLICE = 200000,         /* nanoseconds of the worker between two looks at the NFs */
    POLL = 50000000,        /* nanoseconds */
    PATIENCE = 120,         /* seconds; then SIGALRM ends a run that hangs */
    INSTRUCTIONS_MAX = 400, /* behind a point */
    SLICES_MAX = 60         /* until a kill at any moment */
};

static void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "kills: %s\n", what);
    exit(EXIT_FAILURE);
}

/* --- how one dies --- */

#define POINTS(X)                                                                                  \
    X(poll)                                                                                        \
    X(look)                                                                                        \
    X(sleep)                                                                                       \
    X(take_event)                                                                                  \
    X(publish)                                                                                     \
    X(command)                                                                                     \
    X(advance)                                                                                     \
    X(move_cursor)

enum point {
#define POINT(name) AT_##name,
    POINTS(POINT)
#undef POINT
        POINTS_COUNT
};

static const char *const point_names[] = {
#define POINT(name) #name,
    POINTS(POINT)
#undef POINT
};

enum manner {
    LIVES,
    BEFORE_POINT,  /* when it comes to a point */
    BEHIND_POINT,  /* when it comes back from it */
    INSIDE_POINT,  /* some instructions behind its beginning */
    AT_ANY_MOMENT, /* the worker's process does it */
    MANNERS
};

static const char *const manner_names[] = {"lives", "before", "behind", "inside", "any moment"};

struct fate {
    enum manner manner;
    enum point point;
    uint32_t times;        /* that it comes to the point */
    uint32_t instructions; /* INSIDE_POINT */
    uint32_t slices;       /* AT_ANY_MOMENT */
};

/* Of this process: set once after fork. */
static struct fate own_fate;

static void die(void) {
    kill(getpid(), SIGKILL);
}

#ifdef __x86_64__
enum { TRAP_FLAG = 0x100 };

/* Each instruction ends with SIGTRAP from here on. */
static void step(int signal_number, siginfo_t *information, void *context) {
    (void)signal_number;
    (void)information;
    ucontext_t *interrupted = context;
    if (own_fate.instructions-- == 0)
        die();
    interrupted->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void die_soon(void) {
    const struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    raise(SIGTRAP);
}
#else
static void die_soon(void) {
    die();
}
#endif

static void come_to(enum point point) {
    if (own_fate.manner == LIVES || own_fate.manner == AT_ANY_MOMENT || own_fate.point != point)
        return;
    if (own_fate.times > 0 && --own_fate.times > 0)
        return;
    if (own_fate.manner == BEFORE_POINT)
        die();
    if (own_fate.manner == INSIDE_POINT)
        die_soon();
}

static void come_back_from(enum point point) {
    if (own_fate.manner == BEHIND_POINT && own_fate.point == point && own_fate.times == 0)
        die();
}

/* --- the points: functions of the reader --- */

struct mb_peer;
struct mb_window;

int __real_mb_reader_poll(struct mb_reader *reader, struct mb_delivery *deliveries,
                          uint32_t capacity, uint64_t timeout_ns, uint32_t *broken_nf);
int __wrap_mb_reader_poll(struct mb_reader *reader, struct mb_delivery *deliveries,
                          uint32_t capacity, uint64_t timeout_ns, uint32_t *broken_nf);
int __wrap_mb_reader_poll(struct mb_reader *reader, struct mb_delivery *deliveries,
                          uint32_t capacity, uint64_t timeout_ns, uint32_t *broken_nf) {
    come_to(AT_poll);
    const int count = __real_mb_reader_poll(reader, deliveries, capacity, timeout_ns, broken_nf);
    come_back_from(AT_poll);
    return count;
}

int __real_mb_reader_publish(struct mb_reader *reader, const struct mb_delivery *cause,
                             uint16_t type, uint8_t reason, const uint8_t *payload, uint32_t length,
                             const volatile bool *cancelled);
int __wrap_mb_reader_publish(struct mb_reader *reader, const struct mb_delivery *cause,
                             uint16_t type, uint8_t reason, const uint8_t *payload, uint32_t length,
                             const volatile bool *cancelled);
int __wrap_mb_reader_publish(struct mb_reader *reader, const struct mb_delivery *cause,
                             uint16_t type, uint8_t reason, const uint8_t *payload, uint32_t length,
                             const volatile bool *cancelled) {
    come_to(AT_publish);
    const int status =
        __real_mb_reader_publish(reader, cause, type, reason, payload, length, cancelled);
    come_back_from(AT_publish);
    return status;
}

int __real_mb_reader_command(struct mb_reader *reader, const struct mb_delivery *cause,
                             enum mb_command_kind kind, uint32_t subscriptions, unsigned sides);
int __wrap_mb_reader_command(struct mb_reader *reader, const struct mb_delivery *cause,
                             enum mb_command_kind kind, uint32_t subscriptions, unsigned sides);
int __wrap_mb_reader_command(struct mb_reader *reader, const struct mb_delivery *cause,
                             enum mb_command_kind kind, uint32_t subscriptions, unsigned sides) {
    come_to(AT_command);
    const int status = __real_mb_reader_command(reader, cause, kind, subscriptions, sides);
    come_back_from(AT_command);
    return status;
}

void __real_mb_reader_advance(struct mb_reader *reader);
void __wrap_mb_reader_advance(struct mb_reader *reader);
void __wrap_mb_reader_advance(struct mb_reader *reader) {
    come_to(AT_advance);
    __real_mb_reader_advance(reader);
    come_back_from(AT_advance);
}

void __real_mb_reader_move_cursor(struct mb_reader *reader, uint64_t position);
void __wrap_mb_reader_move_cursor(struct mb_reader *reader, uint64_t position);
void __wrap_mb_reader_move_cursor(struct mb_reader *reader, uint64_t position) {
    come_to(AT_move_cursor);
    __real_mb_reader_move_cursor(reader, position);
    come_back_from(AT_move_cursor);
}

void __real_mb_reader_sleep(struct mb_reader *reader, const struct mb_window *window,
                            uint64_t timeout_ns);
void __wrap_mb_reader_sleep(struct mb_reader *reader, const struct mb_window *window,
                            uint64_t timeout_ns);
void __wrap_mb_reader_sleep(struct mb_reader *reader, const struct mb_window *window,
                            uint64_t timeout_ns) {
    come_to(AT_sleep);
    __real_mb_reader_sleep(reader, window, timeout_ns);
    come_back_from(AT_sleep);
}

void __real_mb_nf_log_look(struct mb_reader *reader, struct mb_peer *peer);
void __wrap_mb_nf_log_look(struct mb_reader *reader, struct mb_peer *peer);
void __wrap_mb_nf_log_look(struct mb_reader *reader, struct mb_peer *peer) {
    come_to(AT_look);
    __real_mb_nf_log_look(reader, peer);
    come_back_from(AT_look);
}

const struct mb_nf_entry *__real_mb_nf_log_take(struct mb_reader *reader,
                                                const struct mb_peer **peer);
const struct mb_nf_entry *__wrap_mb_nf_log_take(struct mb_reader *reader,
                                                const struct mb_peer **peer);
const struct mb_nf_entry *__wrap_mb_nf_log_take(struct mb_reader *reader,
                                                const struct mb_peer **peer) {
    come_to(AT_take_event);
    const struct mb_nf_entry *entry = __real_mb_nf_log_take(reader, peer);
    come_back_from(AT_take_event);
    return entry;
}

/* --- the chain --- */

struct party {
    struct mb_reader *reader;
    pid_t process; /* 0: gone */
    int pidfd;
    int log; /* what it writes down */
    struct fate fate;
};

struct chain {
    const char *capture;
    struct mb_source *source;
    struct mb_sink *sink;
    struct mb_worker *worker;
    struct mb_frame_pool pool;
    int output;
    struct party party[PARTIES];
};

static struct mb_nf_geometry geometry_of(uint32_t index) {
    const struct role *role = &roles[index];
    return (struct mb_nf_geometry){.log_slots = SLOTS,
                                   .own_slots = role->own_slots,
                                   .ring_bytes = role->ring_bytes,
                                   .command_slots = role->command_slots,
                                   .is_inline = descriptors[index].is_inline};
}

static void add_type(uint64_t types[8], uint16_t type) {
    types[type / 64] |= UINT64_C(1) << type % 64;
}

static void make_reader(struct party *party, uint32_t index) {
    struct mb_reader_config config = {
        .nf = index,
        .log_slots = SLOTS,
        .geometry = geometry_of(index),
        .subscriptions = 1,
        .bit = {(uint8_t)index},
        .switchable = roles[index].command_slots != 0,
        .command_delay = roles[index].command_slots != 0 ? COMMAND_DELAY : 0,
        .wait_policy = mb_wait_policy_default(),
    };
    add_type(config.types[0], MB_TYPE_SYSTEM_END_OF_INPUT);
    for (uint32_t i = 0; i < 8 && roles[index].types[i] != 0; i++)
        add_type(config.types[0], roles[index].types[i]);
    int error = 0;
    party->reader = mb_reader_create(&config, &error);
    must(party->reader != NULL, "mb_reader_create");
}

static bool waits_for(uint32_t index, uint32_t other) {
    return other < index && (other == JUDGE || (roles[index].publishers >> other & 1) != 0);
}

static void introduce(struct chain *chain, uint32_t index, uint32_t other) {
    const struct mb_neighbour neighbour = {
        .index = other,
        .fd = mb_reader_area_fd(chain->party[other].reader),
        .geometry = geometry_of(other),
        .mask = {UINT64_C(1) << other, 0},
        .barrier = waits_for(index, other),
        .publishes = (roles[index].publishers >> other & 1) != 0,
    };
    must(mb_reader_map_neighbour(chain->party[index].reader, &neighbour) == 0, "map_neighbour");
}

static void subscribe(struct chain *chain) {
    char error[MB_ERROR_SIZE];
    struct mb_subscription wanted[PARTIES] = {0};
    for (uint32_t index = 0; index < PARTIES; index++) {
        wanted[index] = (struct mb_subscription){.nf = index, .bit = (uint8_t)index};
        add_type(wanted[index].types, MB_TYPE_SYSTEM_END_OF_INPUT);
        for (uint32_t i = 0; i < 8 && roles[index].types[i] != 0; i++)
            if (roles[index].types[i] != MB_TYPE_HTTP_REQUEST &&
                roles[index].types[i] != MB_TYPE_TLS_CLIENT_HELLO)
                add_type(wanted[index].types, roles[index].types[i]);
    }
    must(mb_worker_subscribe(chain->worker, wanted, PARTIES, NULL, 0, error) == 0, error);
    const struct mb_switch leaver = {.nf = LEAVER, .mask = {UINT64_C(1) << LEAVER, 0}};
    must(mb_worker_accept_commands(chain->worker, &leaver, 1, error) == 0, error);
}

static void open_chain(struct chain *chain) {
    char error[MB_ERROR_SIZE];
    const int capture = open(chain->capture, O_RDONLY | O_CLOEXEC);
    must(capture >= 0, "the capture cannot be opened");
    chain->source = mb_source_open(capture, chain->capture, error);
    close(capture);
    must(chain->source != NULL, error);
    chain->output = memfd_create("output", MFD_CLOEXEC);
    const uint32_t link_type = mb_source_link_type(chain->source);
    chain->sink = mb_sink_open(dup(chain->output), link_type, error);
    const struct mb_worker_config config = {
        .stack = {.link_type = link_type, .command_delay = COMMAND_DELAY},
        .log_slots = SLOTS,
        .packet_limit = PACKETS,
    };
    chain->worker = mb_worker_create(&config, chain->source, chain->sink, error);
    must(chain->worker != NULL, error);
    const struct mb_pool_part frames = {.fd = mb_source_pool_fd(chain->source),
                                        .size = mb_source_pool_size(chain->source)};
    const struct mb_pool_part assembled = {.fd = mb_worker_assembled_fd(chain->worker),
                                           .size = mb_worker_assembled_size(chain->worker)};
    must(mb_frame_pool_map(&chain->pool, frames, assembled, (struct mb_pool_part){.size = 0}) == 0,
         "frame pool");
    for (uint32_t index = 0; index < PARTIES; index++) {
        struct party *party = &chain->party[index];
        make_reader(party, index);
        party->log = memfd_create("log", MFD_CLOEXEC);
        const struct mb_nf_geometry shape = geometry_of(index);
        must(mb_worker_attach(chain->worker, index, mb_reader_area_fd(party->reader), &shape,
                              false) == 0,
             "mb_worker_attach");
        must(mb_reader_map_log(party->reader, mb_worker_log_fd(chain->worker)) == 0, "map_log");
    }
    for (uint32_t index = 0; index < PARTIES; index++)
        for (uint32_t other = 0; other < PARTIES; other++)
            if (waits_for(index, other) || waits_for(other, index))
                introduce(chain, index, other);
    subscribe(chain);
}

static void close_chain(struct chain *chain) {
    for (uint32_t index = 0; index < PARTIES; index++) {
        mb_reader_destroy(chain->party[index].reader);
        close(chain->party[index].log);
    }
    mb_frame_pool_unmap(&chain->pool);
    mb_worker_destroy(chain->worker);
    mb_sink_close(chain->sink);
    mb_source_close(chain->source);
    close(chain->output);
}

/* --- the process of an NF --- */

/* What payloads are at least; texts are looked at where they are used. */
static void describe_payloads(struct mb_payload_shape shapes[MB_TYPES_MAX]) {
    shapes[MB_TYPE_HTTP_REQUEST] = (struct mb_payload_shape){
        .size = sizeof(struct mb_http_request),
        .texts = 1,
        .text = {offsetof(struct mb_http_request, host)},
    };
    shapes[MB_TYPE_TLS_CLIENT_HELLO] = (struct mb_payload_shape){
        .size = sizeof(struct mb_tls_client_hello),
        .texts = 1,
        .text = {offsetof(struct mb_tls_client_hello, server_name)},
    };
}

static void run_nf(const struct chain *chain, uint32_t index) {
    static struct mb_delivery deliveries[CAPACITY];
    static struct mb_payload_shape shapes[MB_TYPES_MAX];
    static uint8_t tuple_kinds[MB_TYPES_MAX];
    static struct mb_c_nf_route routes[8];
    const struct role *role = &roles[index];
    struct memory memory = {0};
    struct mb_c_nf_config config = {
        .descriptor = &descriptors[index],
        .name = descriptors[index].name,
        .state = &memory,
        .reader = chain->party[index].reader,
        .deliveries = deliveries,
        .capacity = CAPACITY,
        .pool = chain->pool.bytes,
        .pool_size = chain->pool.size,
        .shapes = shapes,
        .routes = routes,
        .own_subscriptions = 1,
        .end_of_input = MB_TYPE_SYSTEM_END_OF_INPUT,
        .publishable = &publishables[index],
        .publishable_count = publishables[index].name != NULL,
        .tuple_kind = tuple_kinds,
        .log_fd = chain->party[index].log,
        .stops = true,
    };
    describe_payloads(shapes);
    for (; config.route_count < 8 && role->types[config.route_count] != 0; config.route_count++)
        routes[config.route_count] = (struct mb_c_nf_route){role->types[config.route_count],
                                                            role->handlers[config.route_count], 1};
    struct mb_c_nf_runner *runner = mb_c_nf_create(&config);
    must(runner != NULL, "mb_c_nf_create");
    enum mb_c_nf_outcome outcome = MB_C_NF_GOES_ON;
    while (outcome == MB_C_NF_GOES_ON)
        outcome = mb_c_nf_run(runner, POLL);
    if (outcome == MB_C_NF_FAILED)
        fprintf(stderr, "%s: %s\n", descriptors[index].name, mb_c_nf_failure(runner, 0)->reason);
    must(outcome == MB_C_NF_ENDED, "an NF failed");
    mb_reader_advance(config.reader);
    mb_c_nf_close_records(runner);
}

static void start_process(struct chain *chain, uint32_t index) {
    struct party *party = &chain->party[index];
    party->process = fork();
    must(party->process >= 0, "fork");
    if (party->process == 0) {
        alarm(PATIENCE);
        own_fate = party->fate;
        run_nf(chain, index);
        _exit(EXIT_SUCCESS);
    }
    party->pidfd = (int)syscall(SYS_pidfd_open, party->process, 0);
    must(party->pidfd >= 0, "pidfd_open");
}

/* --- the worker's and the controller's part --- */

struct tally {
    uint64_t kills;
    uint64_t by_manner[MANNERS];
    uint64_t by_point[POINTS_COUNT];
    uint64_t by_party[PARTIES];
};

static void bury(struct chain *chain, uint32_t index, int status, struct tally *tally) {
    struct party *party = &chain->party[index];
    party->process = 0;
    close(party->pidfd);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
        return;
    must(roles[index].dies && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
         "an NF that was not killed did not end well");
    tally->kills++;
    tally->by_manner[party->fate.manner]++;
    tally->by_party[index]++;
    if (party->fate.manner != AT_ANY_MOMENT)
        tally->by_point[party->fate.point]++;
    mb_worker_detach(chain->worker, index, -SIGKILL);
}

static void look_after(struct chain *chain, uint64_t slice, struct tally *tally) {
    for (uint32_t index = 0; index < PARTIES; index++) {
        struct party *party = &chain->party[index];
        if (party->process == 0)
            continue;
        if (party->fate.manner == AT_ANY_MOMENT && party->fate.slices == slice)
            syscall(SYS_pidfd_send_signal, party->pidfd, SIGKILL, NULL, 0);
        int status;
        if (waitpid(party->process, &status, WNOHANG) == party->process)
            bury(chain, index, status, tally);
    }
}

static void wait_for_all(struct chain *chain, struct tally *tally) {
    for (uint32_t index = 0; index < PARTIES; index++) {
        int status;
        if (chain->party[index].process == 0)
            continue;
        must(waitpid(chain->party[index].process, &status, 0) > 0, "waitpid");
        bury(chain, index, status, tally);
    }
}

/* --- what is left of a run --- */

struct bytes {
    uint8_t *at;
    size_t length;
};

struct traces {
    struct bytes log[PARTIES]; /* of those who live */
    struct bytes output;
};

static struct bytes read_all(int fd) {
    struct bytes bytes = {.length = (size_t)lseek(fd, 0, SEEK_END)};
    bytes.at = malloc(bytes.length + 1);
    must(bytes.at != NULL, "no memory");
    must(pread(fd, bytes.at, bytes.length, 0) == (ssize_t)bytes.length, "read");
    return bytes;
}

static struct traces run_chain(const char *capture, const struct fate fates[PARTIES],
                               struct tally *tally) {
    struct chain chain = {.capture = capture};
    alarm(PATIENCE);
    open_chain(&chain);
    for (uint32_t index = 0; index < PARTIES; index++) {
        chain.party[index].fate = fates[index];
        start_process(&chain, index);
    }
    enum mb_worker_status status = MB_WORKER_RUNNING;
    for (uint64_t slice = 0; status == MB_WORKER_RUNNING; slice++) {
        status = mb_worker_run(chain.worker, SLICE);
        look_after(&chain, slice, tally);
    }
    must(status == MB_WORKER_DONE, mb_worker_complaint(chain.worker));
    wait_for_all(&chain, tally);
    struct traces traces = {.output = read_all(chain.output)};
    for (uint32_t index = 0; index < PARTIES; index++)
        if (!roles[index].dies)
            traces.log[index] = read_all(chain.party[index].log);
    close_chain(&chain);
    alarm(0);
    return traces;
}

static bool are_equal(const struct bytes *one, const struct bytes *other) {
    return one->length == other->length && memcmp(one->at, other->at, one->length) == 0;
}

static bool compare(const struct traces *run, const struct traces *undisturbed) {
    bool equal = are_equal(&run->output, &undisturbed->output);
    if (!equal)
        fprintf(stderr, "kills: the output differs\n");
    for (uint32_t index = 0; index < PARTIES; index++) {
        if (roles[index].dies || are_equal(&run->log[index], &undisturbed->log[index]))
            continue;
        equal = false;
        fprintf(stderr, "kills: what %s wrote differs: %zu bytes, expected %zu\n",
                descriptors[index].name, run->log[index].length, undisturbed->log[index].length);
    }
    return equal;
}

static void release(struct traces *traces) {
    free(traces->output.at);
    for (uint32_t index = 0; index < PARTIES; index++)
        free(traces->log[index].at);
}

/* --- chance --- */

static uint64_t draw(uint64_t *chance, uint64_t below) {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    return *chance % below;
}

/* Points that the NF never comes to are left out. */
static enum point draw_point(uint64_t *chance, uint32_t index) {
    for (;;) {
        const enum point point = (enum point)draw(chance, POINTS_COUNT);
        const bool publishes = roles[index].own_slots != 0;
        const bool commands = roles[index].command_slots != 0;
        const bool reads_nfs = roles[index].publishers != 0;
        if ((point == AT_publish && !publishes) || (point == AT_command && !commands) ||
            ((point == AT_take_event || point == AT_look) && !reads_nfs))
            continue;
        return point;
    }
}

/* Most come to a point soon, some late. */
static struct fate draw_fate(uint64_t *chance, uint32_t index) {
    if (!roles[index].dies)
        return (struct fate){.manner = LIVES};
    const uint64_t often = draw(chance, 4) == 0 ? 400 : 12;
    return (struct fate){
        .manner = (enum manner)(BEFORE_POINT + draw(chance, MANNERS - BEFORE_POINT)),
        .point = draw_point(chance, index),
        .times = 1 + (uint32_t)draw(chance, often),
        .instructions = (uint32_t)draw(chance, INSTRUCTIONS_MAX),
        .slices = (uint32_t)draw(chance, SLICES_MAX),
    };
}

static void print_fates(const struct fate fates[PARTIES]) {
    for (uint32_t index = 0; index < PARTIES; index++)
        if (fates[index].manner != LIVES)
            fprintf(stderr, "  %s: %s %s, time %u, %u instructions, slice %u\n",
                    descriptors[index].name, manner_names[fates[index].manner],
                    point_names[fates[index].point], fates[index].times, fates[index].instructions,
                    fates[index].slices);
}

static void print_tally(const struct tally *tally, uint64_t runs) {
    printf("%" PRIu64 " kills in %" PRIu64 " runs:", tally->kills, runs);
    for (uint32_t manner = BEFORE_POINT; manner < MANNERS; manner++)
        printf(" %s %" PRIu64, manner_names[manner], tally->by_manner[manner]);
    printf("\nby point:");
    for (uint32_t point = 0; point < POINTS_COUNT; point++)
        printf(" %s %" PRIu64, point_names[point], tally->by_point[point]);
    printf("\nby NF:");
    for (uint32_t index = 0; index < PARTIES; index++)
        if (roles[index].dies)
            printf(" %s %" PRIu64, descriptors[index].name, tally->by_party[index]);
    printf("\n");
}

static uint64_t number_of(const char *variable, uint64_t otherwise) {
    const char *text = getenv(variable);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

int main(int count, char **arguments) {
    must(count == 2, "usage: kills CAPTURE");
    const uint64_t wanted = number_of("MICROBOX_KILLS", 200);
    uint64_t chance = number_of("MICROBOX_SEED", 88172645463325252);
    struct tally tally = {0};
    struct fate fates[PARTIES] = {{.manner = LIVES}};
    struct traces undisturbed = run_chain(arguments[1], fates, &tally);
    must(tally.kills == 0, "somebody died in the undisturbed run");
    must(undisturbed.log[WITNESS].length > PACKETS, "the undisturbed run wrote nothing");
    uint64_t runs = 0;
    bool equal = true;
    for (; tally.kills < wanted && equal; runs++) {
        const uint64_t seed = chance;
        for (uint32_t index = 0; index < PARTIES; index++)
            fates[index] = draw_fate(&chance, index);
        struct traces run = run_chain(arguments[1], fates, &tally);
        equal = compare(&run, &undisturbed);
        release(&run);
        if (equal)
            continue;
        fprintf(stderr, "run %" PRIu64 ", MICROBOX_SEED=%" PRIu64 ":\n", runs, seed);
        print_fates(fates);
    }
    release(&undisturbed);
    print_tally(&tally, runs);
    return equal ? EXIT_SUCCESS : EXIT_FAILURE;
}
