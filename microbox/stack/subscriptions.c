#include "microbox/stack/subscriptions.h"

#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"
#include "microbox/stack/wire/tcp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)MB_TYPES_BUILT_IN <= (int)MB_TYPES_MAX / 2,
               "leave room for the users' own types");
_Static_assert((int)MB_REASONS <= (int)MB_REASONS_MAX, "a reason is one byte in an entry");

static void set_bit(uint64_t mask[2], unsigned bit) {
    mask[bit / 64] |= UINT64_C(1) << bit % 64;
}

static void add(uint64_t mask[2], const uint64_t more[2]) {
    mask[0] |= more[0];
    mask[1] |= more[1];
}

static void take_away(uint64_t mask[2], const uint64_t less[2]) {
    mask[0] &= ~less[0];
    mask[1] &= ~less[1];
}

static bool intersects(const uint64_t a[2], const uint64_t b[2]) {
    return (a[0] & b[0]) | (a[1] & b[1]);
}

static struct mb_shared_filter *find(struct mb_shared_filter *filters, uint32_t count,
                                     const char *expression) {
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(filters[i].expression, expression) == 0)
            return &filters[i];
    return NULL;
}

static struct mb_shared_filter *compile(struct mb_subscriptions *subscriptions,
                                        const char *expression, uint32_t link_type,
                                        char error[MB_ERROR_SIZE]) {
    char complaint[MB_ERROR_SIZE];
    struct mb_filter *filter = mb_filter_compile(expression, link_type, complaint);
    if (filter == NULL) {
        snprintf(error, MB_ERROR_SIZE, "filter '%.80s': %.160s", expression, complaint);
        return NULL;
    }
    struct mb_shared_filter *shared =
        mb_filter_is_per_flow(filter)
            ? &subscriptions->flow_filters[subscriptions->flow_filter_count++]
            : &subscriptions->packet_filters[subscriptions->packet_filter_count++];
    shared->filter = filter;
    shared->expression = strdup(expression);
    if (shared->expression == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory for filter '%.80s'", expression);
        return NULL;
    }
    return shared;
}

static int take(struct mb_subscriptions *subscriptions, const struct mb_subscription *wanted,
                uint32_t link_type, char error[MB_ERROR_SIZE]) {
    if (wanted->bit >= MB_SUBSCRIPTIONS_MAX || wanted->nf >= MB_NFS_MAX) {
        snprintf(error, MB_ERROR_SIZE, "subscription of NF %u: bit %u is out of range", wanted->nf,
                 wanted->bit);
        return -EINVAL;
    }
    for (unsigned type = 0; type < MB_TYPES_MAX; type++)
        if (wanted->types[type / 64] >> type % 64 & 1)
            set_bit(subscriptions->type_mask[type], wanted->bit);
    set_bit(subscriptions->nf_mask[wanted->nf], wanted->bit);
    if (!mb_shares_set(&subscriptions->shares, wanted->bit, &wanted->share)) {
        snprintf(error, MB_ERROR_SIZE, "subscription of NF %u: %u is no share of %u", wanted->nf,
                 wanted->share.index, wanted->share.count);
        return -EINVAL;
    }
    if (wanted->filter == NULL || wanted->filter[0] == '\0') {
        set_bit(subscriptions->unfiltered, wanted->bit);
        return 0;
    }
    struct mb_shared_filter *shared =
        find(subscriptions->flow_filters, subscriptions->flow_filter_count, wanted->filter);
    if (shared == NULL)
        shared =
            find(subscriptions->packet_filters, subscriptions->packet_filter_count, wanted->filter);
    if (shared == NULL)
        shared = compile(subscriptions, wanted->filter, link_type, error);
    if (shared == NULL)
        return -EINVAL;
    set_bit(shared->mask, wanted->bit);
    set_bit(subscriptions->filtered, wanted->bit);
    if (!mb_filter_is_per_flow(shared->filter))
        set_bit(subscriptions->per_packet, wanted->bit);
    return 0;
}

/* Who wants a derived type needs those that it is derived from. A parent stands above its children,
 * whose bases are its own. */
static void follow_derived(struct mb_subscriptions *subscriptions,
                           const struct mb_derived_type *derived, uint32_t count) {
    for (uint32_t i = count; i-- > 0;) {
        const uint64_t *wanted = subscriptions->type_mask[derived[i].type];
        if (derived[i].parent != 0)
            add(subscriptions->type_mask[derived[i].parent], wanted);
        for (unsigned type = 0; type < MB_TYPES_MAX; type++)
            if (derived[i].bases[type / 64] >> type % 64 & 1)
                add(subscriptions->type_mask[type], wanted);
    }
}

/* Of an event and one that says the same more exactly, a subscriber to both gets the latter. */
static void unless(uint64_t mask[2], const uint64_t wanted[2], const uint64_t more_exact[2]) {
    mask[0] = wanted[0] & ~more_exact[0];
    mask[1] = wanted[1] & ~more_exact[1];
}

static void work_out_flow_masks(struct mb_subscriptions *subscriptions) {
    static const uint16_t own_start[MB_TRANSPORTS] = {
        [MB_TRANSPORT_TCP] = MB_TYPE_TCP_START,
        [MB_TRANSPORT_UDP] = MB_TYPE_UDP_START,
        [MB_TRANSPORT_ICMP] = MB_TYPE_ICMP_START,
    };
    static const uint16_t own_end[MB_TRANSPORTS] = {
        [MB_TRANSPORT_TCP] = MB_TYPE_TCP_END,
        [MB_TRANSPORT_UDP] = MB_TYPE_UDP_END,
        [MB_TRANSPORT_ICMP] = MB_TYPE_ICMP_END,
    };
    static const uint64_t nobody[2];
    const uint64_t(*wanted)[2] = subscriptions->type_mask;
    for (unsigned transport = MB_TRANSPORT_TCP; transport < MB_TRANSPORTS; transport++) {
        bool has_own = own_start[transport] != 0;
        unless(subscriptions->flow_start[transport], wanted[MB_TYPE_FLOW_START],
               has_own ? wanted[own_start[transport]] : nobody);
        unless(subscriptions->flow_end[transport], wanted[MB_TYPE_FLOW_END],
               has_own ? wanted[own_end[transport]] : nobody);
    }
}

static void work_out_module_masks(struct mb_subscriptions *subscriptions) {
    work_out_flow_masks(subscriptions);
    memset(subscriptions->module_mask, 0, sizeof subscriptions->module_mask);
    const struct mb_module_set *set = subscriptions->modules;
    for (unsigned type = 0; type < MB_TYPES_MAX; type++) {
        for (unsigned module = 0; module < set->count; module++)
            if (set->of_type[type] >> module & 1)
                add(subscriptions->module_mask[module], subscriptions->type_mask[type]);
    }
}

int mb_subscriptions_create(struct mb_subscriptions *subscriptions,
                            const struct mb_module_set *modules,
                            const struct mb_subscription *wanted, uint32_t count,
                            const struct mb_derived_type *derived, uint32_t derived_count,
                            uint32_t link_type, char error[MB_ERROR_SIZE]) {
    memset(subscriptions, 0, sizeof *subscriptions);
    subscriptions->epoch = 1;
    subscriptions->modules = modules;
    if (count > MB_SUBSCRIPTIONS_MAX) {
        snprintf(error, MB_ERROR_SIZE, "%u subscriptions, at most %d are possible", count,
                 MB_SUBSCRIPTIONS_MAX);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < count; i++)
        if (take(subscriptions, &wanted[i], link_type, error) != 0)
            return -EINVAL;
    memcpy(subscriptions->own_mask, subscriptions->type_mask, sizeof subscriptions->own_mask);
    follow_derived(subscriptions, derived, derived_count);
    work_out_module_masks(subscriptions);
    return 0;
}

static void release(struct mb_shared_filter *filters, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        mb_filter_destroy(filters[i].filter);
        free(filters[i].expression);
    }
}

void mb_subscriptions_destroy(struct mb_subscriptions *subscriptions) {
    release(subscriptions->flow_filters, subscriptions->flow_filter_count);
    release(subscriptions->packet_filters, subscriptions->packet_filter_count);
    memset(subscriptions, 0, sizeof *subscriptions);
}

void mb_subscriptions_remove(struct mb_subscriptions *subscriptions, uint32_t nf) {
    const uint64_t *gone = subscriptions->nf_mask[nf];
    for (unsigned type = 0; type < MB_TYPES_MAX; type++) {
        take_away(subscriptions->type_mask[type], gone);
        take_away(subscriptions->own_mask[type], gone);
    }
    for (uint32_t i = 0; i < subscriptions->flow_filter_count; i++)
        take_away(subscriptions->flow_filters[i].mask, gone);
    for (uint32_t i = 0; i < subscriptions->packet_filter_count; i++)
        take_away(subscriptions->packet_filters[i].mask, gone);
    take_away(subscriptions->unfiltered, gone);
    take_away(subscriptions->filtered, gone);
    take_away(subscriptions->per_packet, gone);
    work_out_module_masks(subscriptions);
    subscriptions->epoch++;
}

/* What a filter is run on: an IP packet, and the frame that it is in. */
struct filtered {
    const uint8_t *network; /* NULL: the frame carries no IP */
    uint32_t network_length;
    const uint8_t *frame;
    uint32_t frame_length;
    uint32_t wire_length;
};

static struct filtered whole(const struct mb_decoded *packet) {
    return (struct filtered){
        .network = packet->network_length == 0 ? NULL : packet->bytes + packet->network_offset,
        .network_length = packet->network_length,
        .frame = packet->bytes,
        .frame_length = packet->length,
        .wire_length = packet->wire_length,
    };
}

static uint32_t run(const struct mb_shared_filter *filters, uint32_t count,
                    const struct filtered *it, uint64_t mask[2]) {
    uint32_t runs = 0;
    for (uint32_t i = 0; i < count; i++) {
        if ((filters[i].mask[0] | filters[i].mask[1]) == 0)
            continue;
        runs++;
        if (mb_filter_match(filters[i].filter, it->frame, it->frame_length, it->wire_length,
                            it->network, it->network_length))
            add(mask, filters[i].mask);
    }
    return runs;
}

/* --- what all packets of a flow's direction have in common, as a packet --- */

enum { COMMON_SIZE = MB_IPV6_SIZE + MB_TCP_SIZE_MIN };

static void write_16(uint8_t *at, uint16_t value) {
    value = __builtin_bswap16(value);
    memcpy(at, &value, sizeof value);
}

/* An IP header and the ports behind it, without options and extension headers: libpcap looks for
 * ports right behind an IPv6 header only, and some packets of a flow have others in between. */
static struct filtered common(const struct mb_five_tuple *tuple, uint8_t bytes[COMMON_SIZE]) {
    uint32_t header = tuple->ip_version == 4 ? MB_IPV4_SIZE_MIN : MB_IPV6_SIZE;
    uint32_t length = header + MB_TCP_SIZE_MIN;
    memset(bytes, 0, COMMON_SIZE);
    if (tuple->ip_version == 4) {
        bytes[0] = 0x45;
        write_16(bytes + MB_IPV4_TOTAL_LENGTH, (uint16_t)length);
        bytes[MB_IPV4_PROTOCOL] = tuple->protocol;
        memcpy(bytes + MB_IPV4_SOURCE, tuple->source + 12, 4);
        memcpy(bytes + MB_IPV4_DESTINATION, tuple->destination + 12, 4);
    } else {
        bytes[0] = 0x60;
        write_16(bytes + MB_IPV6_PAYLOAD_LENGTH, MB_TCP_SIZE_MIN);
        bytes[MB_IPV6_NEXT_HEADER] = tuple->protocol;
        memcpy(bytes + MB_IPV6_SOURCE, tuple->source, 16);
        memcpy(bytes + MB_IPV6_DESTINATION, tuple->destination, 16);
    }
    write_16(bytes + header + MB_TCP_SOURCE_PORT, tuple->source_port);
    write_16(bytes + header + MB_TCP_DESTINATION_PORT, tuple->destination_port);
    return (struct filtered){.network = bytes,
                             .network_length = length,
                             .frame = bytes,
                             .frame_length = length,
                             .wire_length = length};
}

uint32_t mb_subscriptions_of_flow(const struct mb_subscriptions *subscriptions,
                                  const struct mb_decoded *packet, uint64_t mask[2]) {
    uint8_t bytes[COMMON_SIZE];
    mask[0] = subscriptions->unfiltered[0];
    mask[1] = subscriptions->unfiltered[1];
    uint32_t runs = 0;
    if (subscriptions->flow_filter_count != 0) {
        const struct filtered it =
            packet->transport == MB_TRANSPORT_NONE ? whole(packet) : common(&packet->tuple, bytes);
        runs = run(subscriptions->flow_filters, subscriptions->flow_filter_count, &it, mask);
    }
    mb_shares_leave_out(&subscriptions->shares, &packet->tuple, mask);
    return runs;
}

uint32_t mb_subscriptions_of_tuple(const struct mb_subscriptions *subscriptions,
                                   const struct mb_five_tuple *tuple, uint64_t mask[2]) {
    uint8_t bytes[COMMON_SIZE];
    mask[0] = subscriptions->unfiltered[0];
    mask[1] = subscriptions->unfiltered[1];
    const struct filtered it = common(tuple, bytes);
    const uint32_t runs =
        run(subscriptions->flow_filters, subscriptions->flow_filter_count, &it, mask);
    mb_shares_leave_out(&subscriptions->shares, tuple, mask);
    return runs;
}

uint32_t mb_subscriptions_of_packet(const struct mb_subscriptions *subscriptions,
                                    const struct mb_decoded *packet, uint64_t mask[2]) {
    const struct filtered it = whole(packet);
    mask[0] = 0;
    mask[1] = 0;
    const uint32_t runs =
        run(subscriptions->packet_filters, subscriptions->packet_filter_count, &it, mask);
    mb_shares_leave_out(&subscriptions->shares, &packet->tuple, mask);
    return runs;
}

void mb_subscriptions_of_module(const struct mb_subscriptions *subscriptions, unsigned module,
                                enum mb_transport transport, uint64_t mask[2]) {
    mask[0] = 0;
    mask[1] = 0;
    if (module == __builtin_ctz(MB_MODULE_FLOW)) {
        add(mask, subscriptions->flow_start[transport]);
        add(mask, subscriptions->flow_end[transport]);
    } else if (subscriptions->modules->module[module]->transport == transport) {
        add(mask, subscriptions->module_mask[module]);
    }
}

uint16_t mb_subscriptions_modules(const struct mb_subscriptions *subscriptions,
                                  const uint64_t mask[2], enum mb_transport transport) {
    const struct mb_module_set *set = subscriptions->modules;
    uint32_t modules = 0;
    for (unsigned module = 0; module < set->count; module++) {
        uint64_t readers[2];
        mb_subscriptions_of_module(subscriptions, module, transport, readers);
        if (intersects(mask, readers))
            modules |= 1u << module;
    }
    return (uint16_t)modules;
}
