#include "microbox/stack/fragments/defrag.h"

#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/fragments/datagram.h"
#include "microbox/stack/wire/ipv6.h"

enum { DATAGRAM_MAX = 65535, UNIT = 8 };

int mb_defrag_create(struct mb_stack *stack) {
    const struct mb_stack_config *config = &stack->config;
    int error = mb_fragment_table_create(&stack->defrag.table, config->fragmented_datagrams_max,
                                         config->fragments_per_datagram, config->hash_key);
    if (error != 0)
        return error;
    return mb_assembled_create(&stack->assembled, config->assembled_bytes, config->assembled_offset,
                               config->assembled_datagrams_max, stack->log);
}

void mb_defrag_destroy(struct mb_stack *stack) {
    mb_fragment_table_destroy(&stack->defrag.table);
    mb_assembled_destroy(&stack->assembled);
}

/* --- giving up --- */

/* Lets go of all fragments. */
static void release(struct mb_stack *stack, struct mb_datagram *datagram) {
    for (uint32_t i = 0; i < datagram->list.count; i++)
        mb_assembled_unpin(&stack->assembled, datagram->list.pieces[i].at);
    if (datagram->has_header)
        mb_assembled_unpin(&stack->assembled, datagram->header);
    stack->defrag.held -= datagram->held;
    datagram->list.count = 0;
    datagram->held = 0;
    datagram->has_header = false;
}

static void publish_incomplete(struct mb_stack *stack, const struct mb_datagram *datagram,
                               uint8_t reason) {
    const uint64_t *wanted = stack->subscriptions.type_mask[MB_TYPE_INCOMPLETE_DATAGRAM];
    if ((wanted[0] | wanted[1]) == 0)
        return;
    const struct mb_cause packet = stack->cause;
    mb_set_apart(stack, packet.flags & MB_WHEN);
    struct mb_entry *entry = mb_publish_plain(stack, wanted, MB_TYPE_INCOMPLETE_DATAGRAM);
    stack->cause = packet;
    if (entry == NULL)
        return;
    struct mb_incomplete_datagram *payload = &entry->payload.incomplete_datagram;
    const struct mb_datagram_key *key = &datagram->key;
    entry->reason = reason;
    memcpy(payload->tuple.source, key->source, sizeof key->source);
    memcpy(payload->tuple.destination, key->destination, sizeof key->destination);
    payload->tuple.protocol = key->protocol;
    payload->tuple.ip_version = key->ip_version;
    payload->tuple.vlan = key->vlan;
    payload->identification = key->identification;
    payload->received = datagram->covered;
    payload->fragments = datagram->fragments;
    payload->has_first = datagram->has_header;
    payload->has_last = datagram->has_end;
    payload->age = (uint32_t)stack->packets - datagram->began_with;
}

/* Says that the datagram will not become whole, and lets go of its fragments. */
static void give_up(struct mb_stack *stack, struct mb_datagram *datagram, uint8_t reason) {
    mb_count_reason(stack, reason);
    stack->counters.datagrams_incomplete++;
    publish_incomplete(stack, datagram, reason);
    release(stack, datagram);
}

/* RFC 5722: datagram and fragments, also those to come, are let go. */
static void refuse(struct mb_stack *stack, struct mb_datagram *datagram, uint8_t reason) {
    give_up(stack, datagram, reason);
    datagram->state = MB_DATAGRAM_REFUSED;
}

/* A fragment found no room: nor do those to come of its datagram, where the policy says so. */
static void refuse_at_cap(struct mb_stack *stack, struct mb_datagram *datagram,
                          enum mb_cap_policy policy) {
    if (policy != MB_AT_CAP_DROP_FLOW && policy != MB_AT_CAP_BYPASS)
        return;
    refuse(stack, datagram, MB_REASON_FRAGMENT_LIMIT);
    datagram->at_cap = (uint8_t)policy;
}

void mb_defrag_remove(struct mb_stack *stack, struct mb_datagram *datagram, uint8_t reason) {
    if (datagram->state == MB_DATAGRAM_COLLECTING)
        give_up(stack, datagram, reason);
    mb_datagram_remove(&stack->defrag.table, datagram);
}

static bool is_overdue(const struct mb_stack *stack, const struct mb_datagram *datagram) {
    return stack->gives_up_waiting ||
           stack->clock.now - datagram->began > stack->config.fragment_timeout;
}

static bool remove_oldest(struct mb_stack *stack, uint8_t reason) {
    struct mb_datagram *oldest = mb_datagram_oldest(&stack->defrag.table);
    if (oldest == NULL || stack->defrag.budget == 0)
        return false;
    stack->defrag.budget--;
    mb_defrag_remove(stack, oldest, reason);
    return true;
}

/* One that is overdue keeps no other out, although the packet in hand is the one to find it so.
 * False: none is. */
static bool remove_overdue(struct mb_stack *stack) {
    const struct mb_datagram *oldest = mb_datagram_oldest(&stack->defrag.table);
    return oldest != NULL && is_overdue(stack, oldest) &&
           remove_oldest(stack, MB_REASON_FRAGMENT_TIMEOUT);
}

static void add_ending(struct mb_stack *stack, uint32_t index) {
    const struct mb_datagram *datagram = &stack->defrag.table.datagrams[index];
    mb_endings_add(&stack->expiry.endings,
                   (struct mb_ending){.number = mb_datagram_number(datagram, stack->packets),
                                      .index = index,
                                      .kind = MB_ENDING_DATAGRAM});
}

void mb_defrag_gather_overdue(struct mb_stack *stack) {
    const struct mb_datagram *datagrams = stack->defrag.table.datagrams;
    uint32_t index = stack->defrag.table.oldest;
    for (; index != 0 && is_overdue(stack, &datagrams[index]); index = datagrams[index].newer)
        add_ending(stack, index);
}

void mb_defrag_gather_all(struct mb_stack *stack) {
    const struct mb_datagram *datagrams = stack->defrag.table.datagrams;
    for (uint32_t index = stack->defrag.table.oldest; index != 0; index = datagrams[index].newer)
        add_ending(stack, index);
}

/* --- a fragment by itself --- */

/* Bytes of the whole packet that count against its greatest length, besides the payload. */
static uint32_t counted_headers(const struct mb_decoded *fragment) {
    uint32_t headers = (uint32_t)fragment->payload_offset - fragment->network_offset;
    return fragment->tuple.ip_version == 4 ? headers
                                           : headers - MB_IPV6_SIZE - MB_IPV6_FRAGMENT_SIZE;
}

/* Linux cuts the odd bytes of an IPv4 fragment off (net/ipv4/ip_fragment.c); BSD drops it, and so
 * does RFC 8200 section 4.5. */
static uint32_t usable_length(const struct mb_decoded *fragment, enum mb_overlap_policy policy) {
    uint32_t length = fragment->payload_length;
    bool is_trimmed = fragment->fragment.has_more && fragment->tuple.ip_version == 4 &&
                      policy == MB_OVERLAP_LINUX;
    return is_trimmed ? length - length % UNIT : length;
}

/* Why receivers let go of the fragment whatever came before; MB_REASON_NONE: they do not. */
static uint8_t check(const struct mb_decoded *fragment, uint32_t length) {
    if (fragment->reason == MB_REASON_IPV6_FIRST_FRAGMENT_INCOMPLETE)
        return fragment->reason;
    if (fragment->payload_length == 0 || length == 0)
        return MB_REASON_FRAGMENT_ZERO_LENGTH;
    if (fragment->fragment.has_more && length % UNIT != 0)
        return MB_REASON_FRAGMENT_LENGTH;
    if (counted_headers(fragment) + fragment->fragment.start + length > DATAGRAM_MAX)
        return MB_REASON_FRAGMENT_TOO_LONG;
    if (fragment->payload_offset > MB_ASSEMBLED_HEADERS_MAX)
        return MB_REASON_HEADERS_TOO_LONG;
    return MB_REASON_NONE;
}

/* --- its datagram --- */

/* A whole datagram's identification is used again, or a fragment of it was sent twice: what comes
 * now are another datagram's, as for the receiver. */
static void begin_anew(struct mb_stack *stack, struct mb_datagram *datagram) {
    datagram->state = MB_DATAGRAM_COLLECTING;
    datagram->began_with = (uint32_t)stack->packets;
    datagram->has_end = false;
    datagram->covered = 0;
    datagram->length = 0;
    datagram->fragments = 0;
    datagram->overlapped = 0;
    mb_datagram_renew(&stack->defrag.table, datagram, stack->clock.now);
}

/* What the policy of the cap makes of a packet whose fragment is not kept. */
static void apply_policy(struct mb_stack *stack, enum mb_cap_policy policy, uint8_t reason) {
    if (policy == MB_AT_CAP_DROP_PACKET || policy == MB_AT_CAP_DROP_FLOW)
        mb_refuse_packet(stack, reason);
    stack->is_bypassed |= policy == MB_AT_CAP_BYPASS;
}

/* A limit on all datagrams is met. True where the oldest gave way. */
static bool make_way(struct mb_stack *stack) {
    enum mb_cap_policy policy = mb_cap_met(stack, MB_CAP_FRAGMENTS);
    if (policy == MB_AT_CAP_EVICT)
        return remove_oldest(stack, MB_REASON_FRAGMENT_LIMIT);
    apply_policy(stack, policy, MB_REASON_FRAGMENT_LIMIT);
    return false;
}

/* Sees to it that the fragment's bytes may be held too. */
static bool make_room(struct mb_stack *stack, const struct mb_decoded *fragment) {
    if (mb_cap_is_forced(stack, MB_CAP_FRAGMENTS) && !make_way(stack))
        return false;
    while (stack->defrag.held + fragment->payload_captured > stack->config.fragment_bytes_max)
        if (!remove_overdue(stack) && !make_way(stack))
            return false;
    return true;
}

static struct mb_datagram *begin(struct mb_stack *stack, const struct mb_decoded *fragment) {
    struct mb_fragment_table *table = &stack->defrag.table;
    if (table->used == table->capacity && !remove_overdue(stack) && !make_way(stack))
        return NULL;
    struct mb_datagram *datagram = mb_datagram_insert(table, fragment, stack->clock.now);
    datagram->began_with = (uint32_t)fragment->number;
    return datagram;
}

static enum mb_overlap_policy policy_for(const struct mb_stack *stack,
                                         const struct mb_decoded *fragment) {
    return (enum mb_overlap_policy)mb_hosts_find(&stack->hosts, fragment->tuple.destination)
        .fragments;
}

/* The datagram that the fragment belongs to, begun where there is none; NULL: there is no room. */
static struct mb_datagram *datagram_of(struct mb_stack *stack, const struct mb_decoded *fragment) {
    const bool has_room = make_room(stack, fragment);
    struct mb_datagram *datagram = mb_datagram_find(&stack->defrag.table, fragment);
    if (!has_room) {
        if (datagram != NULL && datagram->state == MB_DATAGRAM_COLLECTING)
            refuse_at_cap(stack, datagram, stack->caps[MB_CAP_FRAGMENTS].policy);
        return NULL;
    }
    if (datagram != NULL && is_overdue(stack, datagram)) {
        mb_defrag_remove(stack, datagram, MB_REASON_FRAGMENT_TIMEOUT);
        datagram = NULL;
    }
    if (datagram == NULL)
        datagram = begin(stack, fragment);
    else if (datagram->state == MB_DATAGRAM_WHOLE)
        begin_anew(stack, datagram);
    if (datagram != NULL && datagram->fragments < UINT16_MAX)
        datagram->fragments++;
    return datagram;
}

/* --- inserting --- */

/* Fragments that disagree about where the datagram ends: who came first counts. */
static bool contradicts_end(const struct mb_datagram *datagram, uint32_t end, bool has_more) {
    if (datagram->has_end)
        return has_more ? end > datagram->length : end != datagram->length;
    return !has_more && end < datagram->length;
}

static void note_end(struct mb_datagram *datagram, uint32_t end, bool has_more) {
    datagram->has_end |= !has_more;
    if (end > datagram->length)
        datagram->length = end;
}

static uint8_t overlap_reason(enum mb_fragment_overlap overlap) {
    switch (overlap) {
    case MB_FRAGMENT_APART:
        return MB_REASON_NONE;
    case MB_FRAGMENT_REPEATED:
        return MB_REASON_FRAGMENT_DUPLICATE;
    case MB_FRAGMENT_INSIDE:
        return MB_REASON_FRAGMENT_TEARDROP;
    case MB_FRAGMENT_SAME:
        return MB_REASON_FRAGMENT_OVERLAP;
    default:
        return MB_REASON_FRAGMENT_OVERLAP_INCONSISTENT;
    }
}

static uint32_t length_of(const struct mb_fragment_piece *pieces, uint32_t count) {
    uint32_t length = 0;
    for (uint32_t i = 0; i < count; i++)
        length += (uint32_t)pieces[i].end - pieces[i].start;
    return length;
}

/* Moves the pins along with the pieces. */
static void repin(struct mb_stack *stack, const struct mb_fragment_list *list,
                  const struct mb_fragment_change *change) {
    for (uint32_t i = 0; i < change->count; i++)
        mb_assembled_pin(&stack->assembled, change->pieces[i].at);
    for (uint32_t i = 0; i < change->removed; i++)
        mb_assembled_unpin(&stack->assembled, list->pieces[change->first + i].at);
}

static bool insert_apart(struct mb_stack *stack, struct mb_datagram *datagram,
                         const struct mb_fragment_piece *piece, uint32_t place) {
    struct mb_fragment_table *table = &stack->defrag.table;
    if (datagram->list.count == table->fragments_max)
        return false;
    mb_datagram_make_room(table, datagram, datagram->list.count + 1);
    mb_assembled_pin(&stack->assembled, piece->at);
    datagram->covered += (uint32_t)piece->end - piece->start;
    mb_fragment_list_insert(&datagram->list, piece, place);
    return true;
}

/* Apart from the other: what plans a change takes kilobytes of stack. */
__attribute__((noinline)) static bool insert_over(struct mb_stack *stack,
                                                  struct mb_datagram *datagram,
                                                  const struct mb_fragment_piece *piece,
                                                  enum mb_overlap_policy policy) {
    struct mb_fragment_change change;
    struct mb_fragment_table *table = &stack->defrag.table;
    struct mb_fragment_list *list = &datagram->list;
    mb_fragment_list_plan(list, policy, piece, &change);
    uint32_t pieces = list->count - change.removed + change.count;
    if (pieces > table->fragments_max)
        return false;
    mb_datagram_make_room(table, datagram, pieces);
    repin(stack, list, &change);
    datagram->covered += length_of(change.pieces, change.count);
    datagram->covered -= length_of(&list->pieces[change.first], change.removed);
    return mb_fragment_list_apply(list, &change);
}

static void note_header(struct mb_stack *stack, struct mb_datagram *datagram,
                        const struct mb_decoded *fragment) {
    if (fragment->fragment.start != 0 || datagram->has_header)
        return;
    datagram->has_header = true;
    datagram->header = fragment->frame;
    datagram->network_offset = fragment->network_offset;
    datagram->payload_offset = fragment->payload_offset;
    datagram->next_header = fragment->fragment.next_header;
    datagram->protocol = fragment->tuple.protocol;
    mb_assembled_pin(&stack->assembled, fragment->frame);
}

static struct mb_fragment_piece piece_of(const struct mb_decoded *fragment, uint32_t length) {
    uint32_t captured = fragment->payload_captured < length ? fragment->payload_captured : length;
    return (struct mb_fragment_piece){
        .at = fragment->frame + (captured != 0 ? fragment->payload_offset : 0),
        .start = fragment->fragment.start,
        .end = (uint16_t)(fragment->fragment.start + length),
        .captured = (uint16_t)captured,
    };
}

/* The datagram has as many pieces as it may. */
static uint8_t meet_piece_limit(struct mb_stack *stack, struct mb_datagram *datagram) {
    enum mb_cap_policy policy = mb_cap_met(stack, MB_CAP_FRAGMENTS);
    apply_policy(stack, policy, MB_REASON_FRAGMENT_LIMIT);
    refuse_at_cap(stack, datagram, policy);
    return MB_REASON_FRAGMENT_LIMIT;
}

/* A fragment costs a step for each piece that it lies over. Who sends many of those again and again
 * is let do so as often as the datagram may have pieces, so that on average a fragment costs some
 * steps at most. */
static bool overlaps_too_often(const struct mb_stack *stack, const struct mb_datagram *datagram,
                               const struct mb_fragment_piece *piece, uint32_t place) {
    const struct mb_fragment_list *list = &datagram->list;
    return datagram->overlapped >= stack->defrag.table.fragments_max && place < list->count &&
           list->pieces[place].start < piece->end;
}

/* Puts the fragment into its datagram. `is_kept`: it is in. */
static uint8_t keep(struct mb_stack *stack, struct mb_datagram *datagram,
                    const struct mb_decoded *fragment, enum mb_overlap_policy policy,
                    const struct mb_fragment_piece *piece, bool *is_kept) {
    bool has_more = fragment->fragment.has_more;
    if (contradicts_end(datagram, piece->end, has_more))
        return MB_REASON_FRAGMENT_END;
    const struct mb_fragment_list *list = &datagram->list;
    uint32_t place = mb_fragment_list_find(list, piece);
    if (overlaps_too_often(stack, datagram, piece, place))
        return meet_piece_limit(stack, datagram);
    uint32_t overlapped = mb_fragment_list_overlapped(list, piece, place);
    datagram->overlapped = (uint16_t)(datagram->overlapped + overlapped);
    uint8_t reason =
        overlap_reason(mb_fragment_list_compare(list, piece, place, overlapped, stack->pool));
    if (reason == MB_REASON_FRAGMENT_DUPLICATE) {
        note_end(datagram, piece->end, has_more);
        *is_kept = true;
        return reason;
    }
    if (reason != MB_REASON_NONE && fragment->tuple.ip_version == 6) {
        refuse(stack, datagram, reason);
        return reason;
    }
    if (!(overlapped == 0 ? insert_apart(stack, datagram, piece, place)
                          : insert_over(stack, datagram, piece, policy)))
        return meet_piece_limit(stack, datagram);
    note_end(datagram, piece->end, has_more);
    note_header(stack, datagram, fragment);
    datagram->held += fragment->payload_captured;
    stack->defrag.held += fragment->payload_captured;
    *is_kept = true;
    return reason;
}

uint8_t mb_defrag_add(struct mb_stack *stack, const struct mb_decoded *fragment,
                      struct mb_datagram **datagram, bool *is_complete) {
    enum mb_overlap_policy policy = policy_for(stack, fragment);
    uint32_t length = usable_length(fragment, policy);
    uint8_t reason = check(fragment, length);
    bool is_kept = false;
    *datagram = NULL;
    *is_complete = false;
    if (reason == MB_REASON_NONE) {
        *datagram = datagram_of(stack, fragment);
        if (*datagram == NULL) {
            reason = MB_REASON_FRAGMENT_LIMIT;
        } else if ((*datagram)->state == MB_DATAGRAM_REFUSED) {
            reason = MB_REASON_FRAGMENT_REFUSED;
            apply_policy(stack, (enum mb_cap_policy)(*datagram)->at_cap, reason);
        } else {
            const struct mb_fragment_piece piece = piece_of(fragment, length);
            reason = keep(stack, *datagram, fragment, policy, &piece, &is_kept);
        }
    }
    if (!is_kept) {
        stack->counters.fragments_refused++;
        return reason;
    }
    *is_complete = (*datagram)->has_end && (*datagram)->covered == (*datagram)->length;
    return reason;
}

/* --- making it whole --- */

bool mb_defrag_assemble(struct mb_stack *stack, struct mb_datagram *datagram,
                        const struct mb_decoded *fragment, struct mb_decoded *whole) {
    uint32_t wire_length = mb_datagram_headers(datagram) + datagram->length;
    struct mb_frame frame = {.time = fragment->time, .wire_length = wire_length};
    if (!mb_assembled_take(&stack->assembled, wire_length, &frame.offset)) {
        refuse(stack, datagram, MB_REASON_FRAGMENT_LIMIT);
        return false;
    }
    uint8_t *bytes = mb_assembled_bytes(&stack->assembled, frame.offset);
    frame.length = mb_datagram_write(datagram, stack->pool, bytes);
    mb_decode_datagram(&stack->decoder, whole, fragment, &frame, bytes, datagram->network_offset);
    whole->fragments = datagram->fragments < UINT8_MAX ? (uint8_t)datagram->fragments : UINT8_MAX;
    release(stack, datagram);
    datagram->state = MB_DATAGRAM_WHOLE;
    datagram->completed = fragment->number;
    mb_datagram_renew(&stack->defrag.table, datagram, stack->clock.now);
    stack->counters.datagrams_reassembled++;
    return true;
}
