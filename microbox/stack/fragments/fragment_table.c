#include "microbox/stack/fragments/fragment_table.h"

#include "microbox/stack/lazy_memory.h"
#include "microbox/stack/siphash.h"

#include <errno.h>
#include <string.h>

enum { LINE = 64 };

static size_t datagrams_size(const struct mb_fragment_table *table) {
    return ((size_t)table->capacity + 1) * sizeof *table->datagrams;
}

static size_t pieces_size(const struct mb_fragment_table *table) {
    return ((size_t)table->capacity + 1) * table->fragments_max * sizeof *table->pieces;
}

static size_t buckets_size(const struct mb_fragment_table *table) {
    return ((size_t)table->bucket_mask + 1) * sizeof *table->buckets;
}

/* At least twice as many buckets as datagrams, so that a chain is rarely longer than one. */
static uint32_t bucket_mask_for(uint32_t capacity) {
    uint64_t buckets = 64;
    while (buckets < 2 * (uint64_t)capacity && buckets < UINT64_C(1) << 31)
        buckets *= 2;
    return (uint32_t)(buckets - 1);
}

static struct mb_fragment_table shape_of(uint32_t capacity, uint32_t fragments_max) {
    return (struct mb_fragment_table){
        .capacity = capacity,
        .fragments_max = fragments_max,
        .bucket_mask = bucket_mask_for(capacity),
        .unused = 1,
    };
}

size_t mb_fragment_table_bytes(uint32_t capacity, uint32_t fragments_max) {
    const struct mb_fragment_table table = shape_of(capacity, fragments_max);
    return datagrams_size(&table) + pieces_size(&table) + buckets_size(&table);
}

int mb_fragment_table_create(struct mb_fragment_table *table, uint32_t capacity,
                             uint32_t fragments_max, const uint64_t key[2]) {
    *table = shape_of(capacity, fragments_max);
    table->key[0] = key[0];
    table->key[1] = key[1];
    table->datagrams = mb_lazy_map(datagrams_size(table));
    table->pieces = mb_lazy_map(pieces_size(table));
    table->buckets = mb_lazy_map(buckets_size(table));
    if (table->datagrams != NULL && table->pieces != NULL && table->buckets != NULL)
        return 0;
    mb_fragment_table_destroy(table);
    return -ENOMEM;
}

void mb_fragment_table_destroy(struct mb_fragment_table *table) {
    mb_lazy_unmap(table->datagrams, datagrams_size(table));
    mb_lazy_unmap(table->pieces, pieces_size(table));
    mb_lazy_unmap(table->buckets, buckets_size(table));
    memset(table, 0, sizeof *table);
}

/* --- finding --- */

static uint8_t protocol_of(const struct mb_decoded *fragment) {
    return fragment->tuple.ip_version == 4 ? fragment->tuple.protocol : 0;
}

static struct mb_datagram_key key_of(const struct mb_decoded *fragment) {
    struct mb_datagram_key key = {
        .identification = fragment->fragment.identification,
        .domain = fragment->domain,
        .tunnel_identifier = fragment->tunnel_identifier,
        .vlan = fragment->tuple.vlan,
        .tunnel = fragment->tunnel,
        .depth = fragment->depth,
        .protocol = protocol_of(fragment),
        .ip_version = fragment->tuple.ip_version,
    };
    memcpy(key.source, fragment->tuple.source, sizeof key.source);
    memcpy(key.destination, fragment->tuple.destination, sizeof key.destination);
    return key;
}

static bool is_key_of(const struct mb_datagram_key *key, const struct mb_decoded *fragment) {
    return key->identification == fragment->fragment.identification &&
           memcmp(key->source, fragment->tuple.source, sizeof key->source) == 0 &&
           memcmp(key->destination, fragment->tuple.destination, sizeof key->destination) == 0 &&
           key->domain == fragment->domain &&
           key->tunnel_identifier == fragment->tunnel_identifier &&
           key->vlan == fragment->tuple.vlan && key->tunnel == fragment->tunnel &&
           key->depth == fragment->depth && key->protocol == protocol_of(fragment) &&
           key->ip_version == fragment->tuple.ip_version;
}

static void absorb_ipv4(struct mb_siphash *sip, const struct mb_five_tuple *tuple) {
    uint32_t addresses[2];
    memcpy(&addresses[0], tuple->source + 12, sizeof addresses[0]);
    memcpy(&addresses[1], tuple->destination + 12, sizeof addresses[1]);
    mb_siphash_absorb(sip, (uint64_t)addresses[0] << 32 | addresses[1]);
}

static void absorb_ipv6(struct mb_siphash *sip, const struct mb_five_tuple *tuple) {
    uint64_t words[4];
    memcpy(words, tuple->source, 16);
    memcpy(words + 2, tuple->destination, 16);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        mb_siphash_absorb(sip, words[i]);
}

/* The last word says the version and whether there is a domain, so the forms of input, which differ
 * in length, cannot be taken for one another. */
uint64_t mb_datagram_hash(const struct mb_fragment_table *table,
                          const struct mb_decoded *fragment) {
    struct mb_siphash sip = mb_siphash_begin(table->key);
    const bool is_ipv4 = fragment->tuple.ip_version == 4;
    if (fragment->domain != 0)
        mb_siphash_absorb(&sip, fragment->domain);
    if (is_ipv4)
        absorb_ipv4(&sip, &fragment->tuple);
    else
        absorb_ipv6(&sip, &fragment->tuple);
    mb_siphash_absorb(&sip, (uint64_t)fragment->fragment.identification << 32 |
                                fragment->tunnel_identifier);
    mb_siphash_absorb(&sip, (uint64_t)fragment->tuple.vlan << 48 |
                                (uint64_t)fragment->tunnel << 40 | (uint64_t)fragment->depth << 32 |
                                (uint64_t)(fragment->domain != 0) << 16 | (uint64_t)is_ipv4 << 8 |
                                protocol_of(fragment));
    return mb_siphash_end(&sip);
}

struct mb_datagram *mb_datagram_find(struct mb_fragment_table *table,
                                     const struct mb_decoded *fragment) {
    uint32_t hash = (uint32_t)fragment->hash;
    uint32_t index = table->buckets[hash & table->bucket_mask];
    for (; index != 0; index = table->datagrams[index].chain) {
        struct mb_datagram *datagram = &table->datagrams[index];
        if (datagram->hash == hash && is_key_of(&datagram->key, fragment))
            return datagram;
    }
    return NULL;
}

/* --- the list by age --- */

static void append(struct mb_fragment_table *table, uint32_t index) {
    table->datagrams[index].older = table->newest;
    table->datagrams[index].newer = 0;
    if (table->newest != 0)
        table->datagrams[table->newest].newer = index;
    else
        table->oldest = index;
    table->newest = index;
}

static void take_out(struct mb_fragment_table *table, const struct mb_datagram *datagram) {
    if (datagram->older != 0)
        table->datagrams[datagram->older].newer = datagram->newer;
    else
        table->oldest = datagram->newer;
    if (datagram->newer != 0)
        table->datagrams[datagram->newer].older = datagram->older;
    else
        table->newest = datagram->older;
}

void mb_datagram_renew(struct mb_fragment_table *table, struct mb_datagram *datagram,
                       uint64_t now) {
    datagram->began = now;
    take_out(table, datagram);
    append(table, (uint32_t)(datagram - table->datagrams));
}

/* --- inserting and removing --- */

static uint32_t take(struct mb_fragment_table *table) {
    uint32_t index = table->free;
    if (index != 0)
        table->free = table->datagrams[index].chain;
    else
        index = table->unused++;
    table->used++;
    return index;
}

/* Line by line: of the whole the compiler makes a string instruction, which takes longer to begin
 * than all the rest of an insertion. */
static void clear(struct mb_datagram *datagram) {
    uint8_t *bytes = (uint8_t *)datagram;
    for (size_t line = 0; line < sizeof *datagram; line += LINE)
        memset(bytes + line, 0, LINE);
}

struct mb_datagram *mb_datagram_insert(struct mb_fragment_table *table,
                                       const struct mb_decoded *fragment, uint64_t now) {
    uint32_t index = take(table);
    uint32_t hash = (uint32_t)fragment->hash;
    uint32_t *bucket = &table->buckets[hash & table->bucket_mask];
    struct mb_datagram *datagram = &table->datagrams[index];
    clear(datagram);
    datagram->key = key_of(fragment);
    datagram->hash = hash;
    datagram->chain = *bucket;
    datagram->began = now;
    datagram->list.pieces = datagram->few;
    datagram->list.capacity = MB_FEW_FRAGMENTS;
    *bucket = index;
    append(table, index);
    return datagram;
}

void mb_datagram_make_room(struct mb_fragment_table *table, struct mb_datagram *datagram,
                           uint32_t pieces) {
    struct mb_fragment_list *list = &datagram->list;
    if (pieces <= list->capacity)
        return;
    size_t index = (size_t)(datagram - table->datagrams);
    list->pieces = &table->pieces[index * table->fragments_max];
    list->capacity = table->fragments_max;
    memcpy(list->pieces, datagram->few, list->count * sizeof *list->pieces);
}

void mb_datagram_remove(struct mb_fragment_table *table, struct mb_datagram *datagram) {
    uint32_t index = (uint32_t)(datagram - table->datagrams);
    uint32_t *link = &table->buckets[datagram->hash & table->bucket_mask];
    while (*link != index)
        link = &table->datagrams[*link].chain;
    *link = datagram->chain;
    take_out(table, datagram);
    datagram->chain = table->free;
    table->free = index;
    table->used--;
}
