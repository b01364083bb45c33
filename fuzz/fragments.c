/*
 * Well-formed fragments of a few datagrams, in any order, of any place and length, twice and over
 * each other: deeper in the defragmentation than any bytes get. Four bytes of input make one
 * fragment (struct below).
 *
 * Each byte of payload follows from its place in the datagram. So whatever was repeated or
 * overlapped, a datagram that was put together has at each place the byte that belongs there.
 */
#include "fuzz/checked_stack.h"

enum {
    FRAGMENTS_MAX = 256,
    ETHERNET = 14,
    IPV4_HEADER = 20,
    IPV6_HEADERS = 40 + 8,
    PAYLOAD_MAX = 64,
    FRAME_SIZE = ETHERNET + IPV6_HEADERS + PAYLOAD_MAX,
    UNIT = 8,
    PROTOCOL = 253 /* for experiments (RFC 3692): the payload is nobody's header */
};

/* How the input is read. */
struct recipe {
    uint8_t kind;   /* bit 0: which datagram; 1: IPv6; 2: more follow; 3 to 7: seconds */
    uint8_t start;  /* in units of 8 bytes, ... */
    uint8_t high;   /* ... and of 4096 bytes where its low four bits are all set */
    uint8_t length; /* of the payload, modulo PAYLOAD_MAX + 1 */
};

static uint8_t byte_at(uint32_t place) {
    return (uint8_t)(place * 3 + (place >> 8));
}

static uint32_t start_of(const struct recipe *recipe) {
    uint32_t far = (recipe->high & 15) == 15 ? (recipe->high >> 4) * UINT32_C(512) : 0;
    return (recipe->start % 32 + far) * UNIT;
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t write_ipv4(uint8_t *network, const struct recipe *recipe, uint32_t length) {
    network[0] = 0x45;
    put16(network + 2, IPV4_HEADER + length);
    put16(network + 4, recipe->kind & 1);
    put16(network + 6, start_of(recipe) / UNIT | (recipe->kind & 4 ? 0x2000 : 0));
    network[8] = 64;
    network[9] = PROTOCOL;
    network[15] = 1;
    network[19] = 2;
    return IPV4_HEADER;
}

static uint32_t write_ipv6(uint8_t *network, const struct recipe *recipe, uint32_t length) {
    network[0] = 0x60;
    put16(network + 4, UNIT + length);
    network[6] = 44;
    network[7] = 64;
    network[23] = 1;
    network[39] = 2;
    network[40] = PROTOCOL;
    put16(network + 42, start_of(recipe) | (recipe->kind & 4 ? 1 : 0));
    network[47] = recipe->kind & 1;
    return IPV6_HEADERS;
}

/* Returns the frame's length. */
static uint32_t write_frame(uint8_t *frame, const struct recipe *recipe) {
    const bool is_ipv6 = (recipe->kind & 2) != 0;
    const uint32_t length = recipe->length % (PAYLOAD_MAX + 1);
    memset(frame, 0, FRAME_SIZE);
    put16(frame + 12, is_ipv6 ? 0x86dd : 0x0800);
    uint8_t *network = frame + ETHERNET;
    const uint32_t headers =
        is_ipv6 ? write_ipv6(network, recipe, length) : write_ipv4(network, recipe, length);
    for (uint32_t i = 0; i < length; i++)
        network[headers + i] = byte_at(start_of(recipe) + i);
    return ETHERNET + headers + length;
}

static void look(void *context, const struct mb_entry *entry) {
    const struct checked_stack *checked = context;
    if (entry->type != MB_TYPE_PACKET_IP || entry->payload.packet.fragments == 0)
        return;
    const uint8_t *bytes = checked->pool + entry->frame + entry->data_offset;
    for (uint32_t i = 0; i < entry->data_length; i++)
        checked_stack_require(bytes[i] == byte_at(i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t pool[FRAGMENTS_MAX * FRAME_SIZE];
    static struct mb_frame frames[FRAGMENTS_MAX];
    struct checked_stack checked;
    struct stack_settings settings;
    uint64_t time = 0;

    if (size < sizeof settings)
        return 0;
    memcpy(&settings, data, sizeof settings);
    data += sizeof settings;
    size_t count = (size - sizeof settings) / sizeof(struct recipe);
    if (count > FRAGMENTS_MAX)
        count = FRAGMENTS_MAX;
    for (size_t i = 0; i < count; i++) {
        struct recipe recipe;
        memcpy(&recipe, data + i * sizeof recipe, sizeof recipe);
        const uint32_t length = write_frame(pool + i * FRAME_SIZE, &recipe);
        time += (recipe.kind >> 3) * UINT64_C(1000000000);
        frames[i] = (struct mb_frame){.offset = i * FRAME_SIZE,
                                      .time = time,
                                      .length = length,
                                      .wire_length = length,
                                      .link_type = 1};
    }
    checked_stack_create(&checked, pool, sizeof pool, 1, &settings);
    checked.look = look;
    checked.context = &checked;
    checked_stack_handle(&checked, frames, count);
    checked_stack_destroy(&checked);
    return 0;
}
