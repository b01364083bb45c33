/* A sojourn time is read whole, or not at all, while others take its place. */
#include "microbox/bus/sojourn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { PACKETS = 200000 };

/* All its numbers are made of the packet's. */
static struct mb_sojourn sojourn_of(uint64_t packet) {
    struct mb_sojourn sojourn = {
        .packet = packet,
        .flow = packet + 1,
        .whole = packet + 2,
        .decoding = packet + 3,
        .handling = packet + 4,
        .parts = packet + 5,
    };
    for (unsigned part = 0; part < MB_SOJOURN_PARTS; part++)
        sojourn.part[part] = packet + 6 + part;
    return sojourn;
}

static bool is_whole(const struct mb_sojourn *sojourn) {
    const struct mb_sojourn expected = sojourn_of(sojourn->packet);
    bool is_same = sojourn->flow == expected.flow && sojourn->whole == expected.whole &&
                   sojourn->decoding == expected.decoding &&
                   sojourn->handling == expected.handling && sojourn->parts == expected.parts;
    for (unsigned part = 0; part < MB_SOJOURN_PARTS; part++)
        is_same &= sojourn->part[part] == expected.part[part];
    return is_same;
}

static void what_was_written_is_read(void **state) {
    (void)state;
    struct mb_sojourn sojourns[MB_SOJOURNS] = {0};
    struct mb_sojourn read;
    assert_false(mb_sojourn_read(sojourns, 0, &read));
    assert_false(mb_sojourn_read(sojourns, 7, &read));
    mb_sojourn_write(sojourns, &(struct mb_sojourn){.packet = 7, .whole = 1});
    const struct mb_sojourn next = sojourn_of(8);
    mb_sojourn_write(sojourns, &next);
    assert_true(mb_sojourn_read(sojourns, 7, &read));
    assert_int_equal(read.whole, 1);
    assert_true(mb_sojourn_read(sojourns, 8, &read));
    assert_true(is_whole(&read));
}

static void a_later_packet_takes_its_place(void **state) {
    (void)state;
    struct mb_sojourn sojourns[MB_SOJOURNS] = {0};
    struct mb_sojourn read;
    const struct mb_sojourn first = sojourn_of(7);
    const struct mb_sojourn later = sojourn_of(7 + MB_SOJOURNS);
    mb_sojourn_write(sojourns, &first);
    mb_sojourn_write(sojourns, &later);
    assert_false(mb_sojourn_read(sojourns, 7, &read));
    assert_true(mb_sojourn_read(sojourns, 7 + MB_SOJOURNS, &read));
}

struct writing {
    struct mb_sojourn sojourns[MB_SOJOURNS];
    atomic_uint_fast64_t last;
};

/* All in one place. */
static void *write_all(void *argument) {
    struct writing *writing = argument;
    for (uint64_t i = 1; i <= PACKETS; i++) {
        const struct mb_sojourn sojourn = sojourn_of(i * MB_SOJOURNS);
        mb_sojourn_write(writing->sojourns, &sojourn);
        atomic_store(&writing->last, sojourn.packet);
    }
    return NULL;
}

static void what_is_read_meanwhile_is_whole(void **state) {
    (void)state;
    struct writing *writing = calloc(1, sizeof *writing);
    assert_non_null(writing);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_all, writing), 0);
    uint64_t last = 0;
    while (last < (uint64_t)PACKETS * MB_SOJOURNS) {
        struct mb_sojourn read;
        last = atomic_load(&writing->last);
        if (mb_sojourn_read(writing->sojourns, last, &read))
            assert_true(is_whole(&read));
    }
    pthread_join(thread, NULL);
    struct mb_sojourn read;
    assert_true(mb_sojourn_read(writing->sojourns, last, &read));
    free(writing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_later_packet_takes_its_place),
        cmocka_unit_test(what_is_read_meanwhile_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
