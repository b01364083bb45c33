/*
 * Flows: found in both directions, expired in order, never more than there is room for.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/flows/flow_table.h"

static const uint64_t KEY[2] = {0x0123456789abcdef, 0xfedcba9876543210};

static struct mb_five_tuple tuple(uint32_t client, uint16_t port) {
    struct mb_five_tuple it = {.source_port = port,
                               .destination_port = 80,
                               .protocol = 6,
                               .ip_version = 4,
                               .source = {[10] = 0xff, 0xff, 10, 0, 0, 0},
                               .destination = {[10] = 0xff, 0xff, 192, 168, 0, 1}};
    it.source[14] = (uint8_t)(client >> 8);
    it.source[15] = (uint8_t)client;
    return it;
}

static struct mb_five_tuple reversed(const struct mb_five_tuple *it) {
    struct mb_five_tuple other = *it;
    memcpy(other.source, it->destination, 16);
    memcpy(other.destination, it->source, 16);
    other.source_port = it->destination_port;
    other.destination_port = it->source_port;
    return other;
}

static void open_table(struct mb_flow_table *table, uint32_t capacity) {
    assert_int_equal(mb_flow_table_create(table, capacity, KEY), 0);
    for (unsigned each = 0; each < MB_TIMEOUT_CLASSES; each++)
        mb_flow_table_set_timeout(table, (enum mb_timeout_class)each, 160);
}

static void set_time(struct mb_flow_table *table, uint64_t now) {
    table->now = now;
    table->seen = now;
}

static struct mb_flow_entry *insert(struct mb_flow_table *table, uint32_t client,
                                    enum mb_timeout_class timeout_class) {
    struct mb_five_tuple it = tuple(client, 1000);
    return mb_flow_insert(table, &it, 0, mb_flow_hash(KEY, &it, 0), client + 1, timeout_class);
}

static struct mb_flow_entry *find(struct mb_flow_table *table, uint32_t client) {
    struct mb_five_tuple it = tuple(client, 1000);
    unsigned direction;
    return mb_flow_find(table, &it, 0, mb_flow_hash(KEY, &it, 0), &direction);
}

static struct mb_flow_entry *overdue(struct mb_flow_table *table,
                                     enum mb_timeout_class timeout_class) {
    uint32_t looks = 8;
    return mb_flow_overdue(table, timeout_class, &looks);
}

static void what_was_taken_at_once_stays_taken(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 16);
    assert_int_equal(mb_flow_table_peak(&table), 0);
    for (uint32_t client = 0; client < 3; client++)
        insert(&table, client, MB_TIMEOUT_OPEN);
    for (uint32_t client = 0; client < 3; client++)
        mb_flow_remove(&table, find(&table, client));
    insert(&table, 7, MB_TIMEOUT_OPEN);
    assert_int_equal(table.active, 1);
    assert_int_equal(mb_flow_table_peak(&table), 3);
    mb_flow_table_destroy(&table);
}

static void both_directions_have_one_hash(void **state) {
    (void)state;
    for (uint32_t client = 0; client < 1000; client++) {
        struct mb_five_tuple there = tuple(client, (uint16_t)(client * 31));
        struct mb_five_tuple back = reversed(&there);
        assert_int_equal(mb_flow_hash(KEY, &there, 0), mb_flow_hash(KEY, &back, 0));
        there.ip_version = 6;
        back.ip_version = 6;
        assert_int_equal(mb_flow_hash(KEY, &there, 0), mb_flow_hash(KEY, &back, 0));
    }
}

static void the_hash_depends_on_every_part(void **state) {
    (void)state;
    const struct mb_five_tuple it = tuple(1, 1000);
    uint64_t hash = mb_flow_hash(KEY, &it, 0);
    struct mb_five_tuple other = it;
    other.protocol = 17;
    assert_int_not_equal(mb_flow_hash(KEY, &other, 0), hash);
    other = it;
    other.ip_version = 6;
    assert_int_not_equal(mb_flow_hash(KEY, &other, 0), hash);
    other = it;
    other.source_port++;
    assert_int_not_equal(mb_flow_hash(KEY, &other, 0), hash);
    other = it; /* the same two ports, the other way round */
    other.source_port = it.destination_port;
    other.destination_port = it.source_port;
    assert_int_not_equal(mb_flow_hash(KEY, &other, 0), hash);
    other = it;
    other.vlan = 7;
    assert_int_equal(mb_flow_hash(KEY, &other, 0), hash);
    other = it; /* an address is no other's */
    memcpy(other.source, it.destination, 16);
    assert_int_not_equal(mb_flow_hash(KEY, &other, 0), hash);
    const uint64_t another_key[2] = {KEY[0], KEY[1] + 1};
    assert_int_not_equal(mb_flow_hash(another_key, &it, 0), hash);
}

/* SipHash-1-3 by its authors' reference code, over the words that the tuple is written as. */
static void the_hash_is_siphash(void **state) {
    (void)state;
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    struct mb_five_tuple zero = {.ip_version = 6};
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    const uint64_t words[] = {0, 0, 0, 0, 6 << 8};
    for (unsigned i = 0; i < 5 + 3; i++) {
        uint64_t word = i < 5 ? words[i] : 0;
        v[2] ^= i == 5 ? 0xff : 0;
        v[3] ^= word;
        v[0] += v[1], v[1] = v[1] << 13 | v[1] >> 51, v[1] ^= v[0], v[0] = v[0] << 32 | v[0] >> 32;
        v[2] += v[3], v[3] = v[3] << 16 | v[3] >> 48, v[3] ^= v[2];
        v[0] += v[3], v[3] = v[3] << 21 | v[3] >> 43, v[3] ^= v[0];
        v[2] += v[1], v[1] = v[1] << 17 | v[1] >> 47, v[1] ^= v[2], v[2] = v[2] << 32 | v[2] >> 32;
        v[0] ^= word;
    }
    assert_int_equal(mb_flow_hash(key, &zero, 0), v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static void four_at_once_hash_as_each_alone(void **state) {
    (void)state;
    for (uint32_t client = 0; client < 1000; client += MB_FLOW_HASHES) {
        struct mb_five_tuple them[MB_FLOW_HASHES];
        const struct mb_five_tuple *tuples[MB_FLOW_HASHES];
        uint64_t hashes[MB_FLOW_HASHES];
        for (uint32_t i = 0; i < MB_FLOW_HASHES; i++) {
            const struct mb_five_tuple there = tuple(client + i, (uint16_t)((client + i) * 31));
            them[i] = i % 2 == 0 ? there : reversed(&there);
            them[i].protocol = (uint8_t)(client + i);
            tuples[i] = &them[i];
        }
        mb_flow_hashes(KEY, tuples, hashes);
        for (unsigned i = 0; i < MB_FLOW_HASHES; i++)
            assert_int_equal(hashes[i], mb_flow_hash(KEY, &them[i], 0));
    }
}

static void flows_are_found_in_both_directions(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 500);
    for (uint32_t client = 0; client < 500; client++)
        assert_non_null(insert(&table, client, MB_TIMEOUT_OPEN));
    assert_null(insert(&table, 500, MB_TIMEOUT_OPEN));
    for (uint32_t client = 0; client < 500; client++) {
        struct mb_five_tuple there = tuple(client, 1000);
        struct mb_five_tuple back = reversed(&there);
        uint64_t hash = mb_flow_hash(KEY, &there, 0);
        unsigned direction = 2;
        assert_int_equal(mb_flow_find(&table, &there, 0, hash, &direction)->number, client + 1);
        assert_int_equal(direction, 0);
        assert_int_equal(mb_flow_find(&table, &back, 0, hash, &direction)->number, client + 1);
        assert_int_equal(direction, 1);
    }
    for (uint32_t client = 0; client < 500; client += 2)
        mb_flow_remove(&table, find(&table, client));
    for (uint32_t client = 0; client < 500; client++)
        assert_int_equal(find(&table, client) != NULL, client % 2);
    assert_int_equal(table.active, 250);
    for (uint32_t client = 500; client < 750; client++)
        assert_non_null(insert(&table, client, MB_TIMEOUT_OPEN));
    mb_flow_table_destroy(&table);
}

static void a_flow_in_a_tunnel_is_another(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 8);
    struct mb_five_tuple it = tuple(1, 1000);
    uint64_t hash = mb_flow_hash(KEY, &it, 0);
    unsigned direction;
    struct mb_flow_entry *outside = mb_flow_insert(&table, &it, 0, hash, 1, MB_TIMEOUT_OPEN);
    assert_null(mb_flow_find(&table, &it, 1, hash, &direction));
    struct mb_flow_entry *inside = mb_flow_insert(&table, &it, 1, hash, 2, MB_TIMEOUT_OPEN);
    assert_ptr_equal(mb_flow_find(&table, &it, 0, hash, &direction), outside);
    assert_ptr_equal(mb_flow_find(&table, &it, 1, hash, &direction), inside);
    mb_flow_table_destroy(&table);
}

/* All in one chain: as if somebody had found out the key. */
static void flows_with_one_hash_are_told_apart(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 64);
    for (uint32_t client = 0; client < MB_FLOW_CHAIN_MAX; client++) {
        struct mb_five_tuple it = tuple(client, 1000);
        mb_flow_insert(&table, &it, 0, 42, client + 1, MB_TIMEOUT_OPEN);
    }
    for (uint32_t client = 0; client < MB_FLOW_CHAIN_MAX; client += 3) {
        struct mb_five_tuple it = tuple(client, 1000);
        unsigned direction;
        struct mb_flow_entry *flow = mb_flow_find(&table, &it, 0, 42, &direction);
        assert_int_equal(flow->number, client + 1);
        mb_flow_remove(&table, flow);
        assert_null(mb_flow_find(&table, &it, 0, 42, &direction));
    }
    mb_flow_table_destroy(&table);
}

static void a_chain_has_an_end(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 64);
    for (uint32_t client = 0; client < MB_FLOW_CHAIN_MAX; client++) {
        assert_false(mb_flow_table_is_full(&table, 42));
        struct mb_five_tuple it = tuple(client, 1000);
        mb_flow_insert(&table, &it, 0, 42, client + 1,
                       client == 7 ? MB_TIMEOUT_OPENING : MB_TIMEOUT_OPEN);
    }
    const struct mb_five_tuple one_more = tuple(MB_FLOW_CHAIN_MAX, 1000);
    assert_true(mb_flow_table_is_full(&table, 42));
    assert_false(mb_flow_table_is_full(&table, 43));
    assert_null(mb_flow_insert(&table, &one_more, 0, 42, 99, MB_TIMEOUT_OPENING));
    assert_int_equal(mb_flow_to_evict(&table, 42)->number, 8); /* of this chain */
    mb_flow_remove(&table, mb_flow_to_evict(&table, 42));
    assert_non_null(mb_flow_insert(&table, &one_more, 0, 42, 99, MB_TIMEOUT_OPENING));
    assert_int_equal(table.longest, MB_FLOW_CHAIN_MAX);
    mb_flow_table_destroy(&table);
}

static void who_was_seen_since_is_not_the_oldest(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 8);
    struct mb_flow_entry *busy = insert(&table, 1, MB_TIMEOUT_OPEN);
    set_time(&table, 2);
    struct mb_flow_entry *idle = insert(&table, 2, MB_TIMEOUT_OPEN);
    set_time(&table, 4); /* under a sixteenth of the timeout: it stays where it was queued */
    mb_flow_touch(&table, busy);
    set_time(&table, 5);
    assert_ptr_equal(mb_flow_to_evict(&table, 0), idle);
    mb_flow_table_destroy(&table);
}

static void silence_makes_overdue(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 8);
    struct mb_flow_entry *talks = insert(&table, 1, MB_TIMEOUT_OPEN);
    struct mb_flow_entry *is_silent = insert(&table, 2, MB_TIMEOUT_OPEN);
    for (uint64_t now = 0; now <= 160; now += 8) {
        set_time(&table, now);
        mb_flow_touch(&table, talks);
    }
    assert_null(overdue(&table, MB_TIMEOUT_OPEN));
    set_time(&table, 160 + 11); /* the timeout, and a sixteenth */
    assert_ptr_equal(overdue(&table, MB_TIMEOUT_OPEN), is_silent);
    mb_flow_remove(&table, is_silent);
    assert_null(overdue(&table, MB_TIMEOUT_OPEN));
    assert_null(overdue(&table, MB_TIMEOUT_UDP));
    mb_flow_table_destroy(&table);
}

static void a_flow_seen_shortly_before_is_never_overdue(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 8);
    struct mb_flow_entry *flow = insert(&table, 1, MB_TIMEOUT_OPEN);
    for (uint64_t now = 0; now < 5000; now += 1 + now % 13) {
        set_time(&table, now);
        assert_null(overdue(&table, MB_TIMEOUT_OPEN));
        mb_flow_touch(&table, flow);
    }
    mb_flow_table_destroy(&table);
}

static void the_least_needed_flow_goes_first(void **state) {
    (void)state;
    struct mb_flow_table table;
    open_table(&table, 8);
    struct mb_flow_entry *open = insert(&table, 1, MB_TIMEOUT_OPEN);
    set_time(&table, 1);
    struct mb_flow_entry *udp = insert(&table, 2, MB_TIMEOUT_UDP);
    set_time(&table, 2);
    struct mb_flow_entry *opening = insert(&table, 3, MB_TIMEOUT_OPENING);
    set_time(&table, 3);
    struct mb_flow_entry *closed = insert(&table, 4, MB_TIMEOUT_CLOSED);
    set_time(&table, 4);
    struct mb_flow_entry *unanswered = insert(&table, 5, MB_TIMEOUT_TCP_UNANSWERED);
    struct mb_flow_entry *order[] = {closed, opening, unanswered, open, udp};
    for (unsigned i = 0; i < 5; i++) {
        assert_ptr_equal(mb_flow_to_evict(&table, 0), order[i]);
        mb_flow_remove(&table, order[i]);
    }
    assert_null(mb_flow_to_evict(&table, 0));
    mb_flow_table_destroy(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_taken_at_once_stays_taken),
        cmocka_unit_test(both_directions_have_one_hash),
        cmocka_unit_test(the_hash_depends_on_every_part),
        cmocka_unit_test(the_hash_is_siphash),
        cmocka_unit_test(four_at_once_hash_as_each_alone),
        cmocka_unit_test(flows_are_found_in_both_directions),
        cmocka_unit_test(a_flow_in_a_tunnel_is_another),
        cmocka_unit_test(flows_with_one_hash_are_told_apart),
        cmocka_unit_test(a_chain_has_an_end),
        cmocka_unit_test(who_was_seen_since_is_not_the_oldest),
        cmocka_unit_test(silence_makes_overdue),
        cmocka_unit_test(a_flow_seen_shortly_before_is_never_overdue),
        cmocka_unit_test(the_least_needed_flow_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
