#include "microbox/stack/partition.h"

#include "microbox/stack/decode/decode.h"
#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/icmp_error.h"

#include <string.h>

/* Enters no tunnel, so that the addresses are the outermost ones. */
static const struct mb_decoder outermost = {.tunnels_max = 0};

/* Later fragments of an error have no quote, so an error in fragments goes by its own pair. */
static bool quotes(const struct mb_decoded *packet, struct mb_icmp_quote *quote) {
    return packet->is_icmp_error && !packet->is_fragment && mb_icmp_quote_read(packet, quote);
}

uint32_t mb_partition_worker(const struct mb_partition *partition, const struct mb_frame *frame,
                             const uint8_t *bytes) {
    if (partition->workers == 1)
        return 0;
    struct mb_decoded packet;
    mb_decode(&outermost, &packet, frame, bytes, 0);
    if (packet.tuple.ip_version == 0)
        return 0;
    struct mb_icmp_quote quote;
    const struct mb_five_tuple *whole = quotes(&packet, &quote) ? &quote.tuple : &packet.tuple;
    struct mb_five_tuple pair = {0};
    memcpy(pair.source, whole->source, sizeof pair.source);
    memcpy(pair.destination, whole->destination, sizeof pair.destination);
    /* The high bits of the hash, as a fraction of the workers. */
    const uint64_t hash = mb_flow_hash(partition->key, &pair, 0);
    return (uint32_t)((hash >> 32) * partition->workers >> 32);
}
