/*
 * Does a filter look only at what a flow's packets have in common?
 *
 * The compiled program is run on abstract values: of accumulator and index register we know not
 * the number but what kind of thing it is. Branches are taken both ways. What a load gives depends
 * on what earlier branches established: byte 9 is the protocol in IPv4 and a part of the source
 * address in IPv6, and two bytes behind the IPv4 header are a port in TCP but not in ICMP.
 *
 * Jumps go forward only (those of "protochain" also go back: not per flow), so one pass in program
 * order meets each instruction after all that lead to it. `reached` holds, for each instruction,
 * the set of states it may be entered in.
 */
#include "microbox/io/filter_scope.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* What the accumulator or the index register holds. */
enum value {
    VARIES, /* may differ between packets of a flow */
    FIXED,  /* the same in all packets of a flow's direction */
    VERSION_AND_LENGTH,
    VERSION,
    PROTOCOL,
    FRAGMENT,      /* flags and offset of IPv4 */
    HEADER_LENGTH, /* of IPv4, in bytes: good as an index only */
    VALUES
};

/* What branches established so far. */
enum version { VERSION_UNKNOWN, VERSION_4, VERSION_6, VERSIONS };
enum protocol { PROTOCOL_UNKNOWN, PROTOCOL_WITH_PORTS, PROTOCOL_IPV6_FRAGMENT, PROTOCOLS };

struct state {
    enum version version;
    enum protocol protocol;
    enum value accumulator;
    enum value index;
};

enum { STATES = VERSIONS * PROTOCOLS * VALUES * VALUES };

static unsigned state_number(struct state state) {
    return ((state.version * PROTOCOLS + state.protocol) * VALUES + state.accumulator) * VALUES +
           state.index;
}

static struct state state_of_number(unsigned number) {
    struct state state;
    state.index = (enum value)(number % VALUES);
    number /= VALUES;
    state.accumulator = (enum value)(number % VALUES);
    number /= VALUES;
    state.protocol = (enum protocol)(number % PROTOCOLS);
    state.version = (enum version)(number / PROTOCOLS);
    return state;
}

static unsigned load_size(const struct bpf_insn *instruction) {
    switch (BPF_SIZE(instruction->code)) {
    case BPF_W:
        return 4;
    case BPF_H:
        return 2;
    default:
        return 1;
    }
}

static bool within(uint64_t offset, unsigned size, unsigned begin, unsigned end) {
    return offset >= begin && offset + size <= end;
}

/* RFC 791 section 3.1. */
static enum value load_ipv4(uint32_t offset, unsigned size) {
    enum { FRAGMENT_FIELD = 6, PROTOCOL_FIELD = 9, ADDRESSES = 12, ADDRESSES_END = 20 };
    if (offset == PROTOCOL_FIELD && size == 1)
        return PROTOCOL;
    if (offset == FRAGMENT_FIELD && size == 2)
        return FRAGMENT;
    return within(offset, size, ADDRESSES, ADDRESSES_END) ? FIXED : VARIES;
}

/* RFC 8200 section 3. */
static enum value load_ipv6(uint32_t offset, unsigned size, enum protocol protocol) {
    enum { NEXT_HEADER = 6, ADDRESSES = 8, HEADER_END = 40, PORTS_END = 44 };
    if (offset == NEXT_HEADER && size == 1)
        return PROTOCOL;
    if (within(offset, size, ADDRESSES, HEADER_END))
        return FIXED;
    if (protocol == PROTOCOL_WITH_PORTS && within(offset, size, HEADER_END, PORTS_END))
        return FIXED;
    /* The fragment header's own next header. */
    if (protocol == PROTOCOL_IPV6_FRAGMENT && offset == HEADER_END && size == 1)
        return FIXED;
    return VARIES;
}

static enum value load_absolute(const struct bpf_insn *instruction, struct state state) {
    const unsigned size = load_size(instruction);
    if (instruction->k == 0 && size == 1)
        return VERSION_AND_LENGTH;
    if (state.version == VERSION_4)
        return load_ipv4(instruction->k, size);
    if (state.version == VERSION_6)
        return load_ipv6(instruction->k, size, state.protocol);
    return VARIES;
}

static enum value load(const struct bpf_insn *instruction, struct state state) {
    switch (BPF_MODE(instruction->code)) {
    case BPF_IMM:
        return FIXED;
    case BPF_ABS:
        return load_absolute(instruction, state);
    case BPF_IND: {
        const bool ports = state.version == VERSION_4 && state.protocol == PROTOCOL_WITH_PORTS &&
                           state.index == HEADER_LENGTH;
        return ports && within(instruction->k, load_size(instruction), 0, 4) ? FIXED : VARIES;
    }
    default: /* the packet's length, scratch memory */
        return VARIES;
    }
}

static enum value load_index(const struct bpf_insn *instruction, struct state state) {
    if (BPF_MODE(instruction->code) == BPF_IMM)
        return FIXED;
    const bool header_length =
        BPF_MODE(instruction->code) == BPF_MSH && instruction->k == 0 && state.version == VERSION_4;
    return header_length ? HEADER_LENGTH : VARIES;
}

/* Values that may be compared and reckoned with. */
static bool is_fixed(enum value value) {
    return value == FIXED || value == VERSION || value == PROTOCOL;
}

/* Flows have no fragments past the first: their offset is 0, and only the offset is so. */
static bool is_fragment_offset(enum value value, uint32_t mask) {
    return value == FRAGMENT && (mask & ~UINT32_C(0x1fff)) == 0;
}

static enum value reckon(const struct bpf_insn *instruction, struct state state) {
    const bool is_constant = BPF_SRC(instruction->code) == BPF_K;
    if (BPF_OP(instruction->code) == BPF_AND && is_constant) {
        const uint32_t mask = instruction->k;
        if (state.accumulator == VERSION_AND_LENGTH && mask == 0xf0)
            return VERSION;
        if (is_fragment_offset(state.accumulator, mask))
            return FIXED;
    }
    if (!is_fixed(state.accumulator) || (!is_constant && !is_fixed(state.index)))
        return VARIES;
    return FIXED;
}

static bool may_branch_on(const struct bpf_insn *instruction, struct state state) {
    if (BPF_SRC(instruction->code) == BPF_X)
        return is_fixed(state.accumulator) && is_fixed(state.index);
    if (BPF_OP(instruction->code) == BPF_JSET &&
        is_fragment_offset(state.accumulator, instruction->k))
        return true;
    return is_fixed(state.accumulator);
}

static bool has_ports(uint32_t protocol) {
    enum { TCP = 6, UDP = 17, SCTP = 132 };
    return protocol == TCP || protocol == UDP || protocol == SCTP;
}

/* What the accumulator being equal to a constant says. */
static struct state learn(struct state state, uint32_t constant) {
    enum { IPV6_FRAGMENT = 44 };
    if (state.accumulator == VERSION && constant == 0x40)
        state.version = VERSION_4;
    if (state.accumulator == VERSION && constant == 0x60)
        state.version = VERSION_6;
    if (state.accumulator == PROTOCOL && has_ports(constant))
        state.protocol = PROTOCOL_WITH_PORTS;
    if (state.accumulator == PROTOCOL && constant == IPV6_FRAGMENT)
        state.protocol = PROTOCOL_IPV6_FRAGMENT;
    return state;
}

/* The sets of states, a row of STATES flags an instruction. */
struct pass {
    const struct bpf_program *program;
    bool *reached;
};

/* False where the target is no instruction further on. */
static bool reach(struct pass *pass, uint32_t from, uint64_t target, struct state state) {
    if (target <= from || target >= pass->program->bf_len)
        return false;
    pass->reached[target * STATES + state_number(state)] = true;
    return true;
}

static bool step_jump(struct pass *pass, uint32_t at, struct state state) {
    const struct bpf_insn *instruction = &pass->program->bf_insns[at];
    const uint64_t next = (uint64_t)at + 1;
    if (BPF_OP(instruction->code) == BPF_JA)
        return reach(pass, at, next + instruction->k, state);
    if (!may_branch_on(instruction, state))
        return false;
    struct state taken = state;
    if (BPF_OP(instruction->code) == BPF_JEQ && BPF_SRC(instruction->code) == BPF_K)
        taken = learn(state, instruction->k);
    return reach(pass, at, next + instruction->jt, taken) &&
           reach(pass, at, next + instruction->jf, state);
}

/* Follows one instruction from one state. False: it looks at what varies within a flow. */
static bool step(struct pass *pass, uint32_t at, struct state state) {
    const struct bpf_insn *instruction = &pass->program->bf_insns[at];
    switch (BPF_CLASS(instruction->code)) {
    case BPF_RET:
        return BPF_RVAL(instruction->code) == BPF_K;
    case BPF_JMP:
        return step_jump(pass, at, state);
    case BPF_LD:
        state.accumulator = load(instruction, state);
        break;
    case BPF_LDX:
        state.index = load_index(instruction, state);
        break;
    case BPF_ALU:
        state.accumulator = reckon(instruction, state);
        break;
    case BPF_MISC:
        if (BPF_MISCOP(instruction->code) == BPF_TAX)
            state.index = state.accumulator;
        else
            state.accumulator = state.index;
        break;
    default: /* stores: what is loaded from there counts as varying */
        break;
    }
    return reach(pass, at, (uint64_t)at + 1, state);
}

int mb_filter_looks_at_flow_only(const struct bpf_program *program, bool *answer) {
    *answer = false;
    if (program->bf_len == 0)
        return 0;
    struct pass pass = {program, calloc((size_t)program->bf_len * STATES, sizeof(bool))};
    if (!pass.reached)
        return -ENOMEM;
    pass.reached[state_number((struct state){.accumulator = FIXED, .index = FIXED})] = true;
    bool flow_only = true;
    for (uint32_t at = 0; flow_only && at < program->bf_len; at++)
        for (unsigned number = 0; flow_only && number < STATES; number++)
            if (pass.reached[(size_t)at * STATES + number])
                flow_only = step(&pass, at, state_of_number(number));
    free(pass.reached);
    *answer = flow_only;
    return 0;
}
