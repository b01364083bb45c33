#include "microbox/stack/partition.h"

#include "microbox/stack/decode/decode.h"
#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/icmp_error.h"

#include <string.h>

/* Not that of shares (share.c): instances of a worker's NF are to share out all its flows. */
static const uint64_t partition_key[2] = {UINT64_C(0x6d6963726f626f78), UINT64_C(0x776f726b657273)};

/* Enters no tunnel, so that the addresses are the outermost ones. */
static const struct mb_decoder outermost = {.tunnels_max = 0};

/* Later fragments of an error have no quote, so an error in fragments goes by its own pair. */
static bool quotes(const struct mb_decoded *packet, struct mb_icmp_quote *quote) {
    return packet->is_icmp_error && !packet->is_fragment && mb_icmp_quote_read(packet, quote);
}

uint64_t mb_partition_hash(const uint64_t key[2], const struct mb_five_tuple *tuple) {
    struct mb_five_tuple pair = {0};
    memcpy(pair.source, tuple->source, sizeof pair.source);
    memcpy(pair.destination, tuple->destination, sizeof pair.destination);
    return mb_flow_hash(key, &pair, 0);
}

uint32_t mb_partition_worker(uint32_t workers, const struct mb_frame *frame, const uint8_t *bytes) {
    if (workers == 1)
        return 0;
    struct mb_decoded packet;
    mb_decode(&outermost, &packet, frame, bytes, 0);
    if (packet.tuple.ip_version == 0)
        return 0;
    struct mb_icmp_quote quote;
    const struct mb_five_tuple *whole = quotes(&packet, &quote) ? &quote.tuple : &packet.tuple;
    return mb_partition_part(mb_partition_hash(partition_key, whole), workers);
}
