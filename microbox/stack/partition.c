#include "microbox/stack/partition.h"

#include "microbox/stack/decode/decode.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/icmp_error.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/link_types.h"

#include <string.h>

/* Not that of shares (share.c): instances of a worker's NF are to share out all its flows. */
static const uint64_t partition_key[2] = {UINT64_C(0x6d6963726f626f78), UINT64_C(0x776f726b657273)};

/* Enters no tunnel, so that the addresses are the outermost ones. */
static const struct mb_decoder outermost = {.tunnels_max = 0};

/* Later fragments of an error have no quote, so an error in fragments goes by its own pair. */
static bool quotes(const struct mb_decoded *packet, struct mb_icmp_quote *quote) {
    return packet->is_icmp_error && !packet->is_fragment && mb_icmp_quote_read(packet, quote);
}

/* The finalizer of MurmurHash3 (Appleby, public domain): each bit of `word` changes half of all. */
static uint64_t mix(uint64_t word) {
    word ^= word >> 33;
    word *= UINT64_C(0xff51afd7ed558ccd);
    word ^= word >> 33;
    word *= UINT64_C(0xc4ceb9fe1a85ec53);
    return word ^ word >> 33;
}

static uint64_t address_hash(const uint64_t key[2], const uint8_t address[16]) {
    uint64_t words[2];
    memcpy(words, address, sizeof words);
    return mix(mix(words[0] ^ key[0]) + words[1]);
}

uint64_t mb_partition_hash(const uint64_t key[2], const struct mb_five_tuple *tuple) {
    /* A sum is the same in both directions, and not 0 for a host that speaks to itself. */
    return mix(key[1] + address_hash(key, tuple->source) + address_hash(key, tuple->destination));
}

/* Writes the pair of nearly all frames into `pair`, all 0 before, which lies where it always does:
 * TCP or UDP right behind IPv4 right behind Ethernet. False: not such a frame; what it is the
 * decoder has to say. */
static bool take_plain_pair(struct mb_five_tuple *pair, const struct mb_frame *frame,
                            const uint8_t *bytes) {
    if (frame->link_type != MB_LINK_ETHERNET ||
        frame->length < MB_ETHERNET_SIZE + MB_IPV4_SIZE_MIN ||
        mb_ethernet_type(bytes) != MB_ETHER_TYPE_IPV4)
        return false;
    const uint8_t *header = bytes + MB_ETHERNET_SIZE;
    const uint8_t protocol = mb_ipv4_protocol(header);
    if ((protocol != MB_PROTOCOL_TCP && protocol != MB_PROTOCOL_UDP) ||
        mb_ipv4_check(header, frame->length - MB_ETHERNET_SIZE) != MB_REASON_NONE)
        return false;
    mb_ipv4_addresses(header, pair->source, pair->destination);
    return true;
}

uint32_t mb_partition_worker(uint32_t workers, const struct mb_frame *frame, const uint8_t *bytes) {
    if (workers == 1)
        return 0;
    struct mb_five_tuple plain = {0};
    if (take_plain_pair(&plain, frame, bytes))
        return mb_partition_part(mb_partition_hash(partition_key, &plain), workers);
    struct mb_decoded packet;
    mb_decode(&outermost, &packet, frame, bytes, 0);
    if (packet.tuple.ip_version == 0)
        return 0;
    struct mb_icmp_quote quote;
    const struct mb_five_tuple *whole = quotes(&packet, &quote) ? &quote.tuple : &packet.tuple;
    return mb_partition_part(mb_partition_hash(partition_key, whole), workers);
}
