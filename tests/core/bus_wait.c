/*
 * Futexes on words that somebody else writes, asleep by name.
 */
#include "microbox/bus/wait.h"

#include "microbox/bus/area.h"
#include "microbox/bus/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t LONG = 20000000000, SHORT = 5000000; /* nanoseconds */

static void a_word_that_moved_before_does_not_put_to_sleep(void **state) {
    (void)state;
    uint64_t word = 7;
    uint64_t start = mb_monotonic_time();
    assert_true(mb_futex_wait(&word, 6, LONG, mb_waiter(0)));
    assert_true(mb_monotonic_time() - start < LONG / 2);
}

static void a_wait_ends_with_the_time(void **state) {
    (void)state;
    uint64_t word = 7;
    uint64_t start = mb_monotonic_time();
    assert_false(mb_futex_wait(&word, 7, SHORT, mb_waiter(0)));
    assert_true(mb_monotonic_time() - start >= SHORT);
}

/* A child maps the area read-only and sleeps on its first word. Exit status 0: it was woken. */
static pid_t sleeper(int fd, uint32_t waiter, uint64_t timeout_ns) {
    pid_t child = fork();
    if (child != 0)
        return child;
    struct mb_area area;
    if (mb_area_map(&area, fd, MB_PAGE_SIZE) != 0)
        _exit(2);
    _exit(mb_futex_wait(area.base, 0, timeout_ns, waiter) ? 0 : 1);
}

static int status_of(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void a_sleeper_with_a_read_only_mapping_is_woken_by_name(void **state) {
    (void)state;
    struct mb_area area;
    assert_int_equal(mb_area_create(&area, "microbox test", MB_PAGE_SIZE), 0);
    pid_t named = sleeper(area.fd, mb_waiter(3), LONG);
    pid_t other = sleeper(area.fd, mb_waiter(4), 40 * SHORT);
    int status = -1;
    while (waitpid(named, &status, WNOHANG) == 0) { /* it may not be asleep yet */
        usleep(1000);
        mb_futex_wake(area.base, mb_waiter(3));
    }
    assert_int_equal(status, 0);
    assert_int_equal(status_of(other), 1); /* slept until its time was over */
    mb_area_destroy(&area);
}

static void every_nf_has_a_bit_and_the_worker_one_of_its_own(void **state) {
    (void)state;
    for (uint32_t nf = 0; nf < MB_NFS_MAX; nf++) {
        assert_int_equal(__builtin_popcount(mb_waiter(nf)), 1);
        assert_int_not_equal(mb_waiter(nf), MB_WAITER_WORKER);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_that_moved_before_does_not_put_to_sleep),
        cmocka_unit_test(a_wait_ends_with_the_time),
        cmocka_unit_test(a_sleeper_with_a_read_only_mapping_is_woken_by_name),
        cmocka_unit_test(every_nf_has_a_bit_and_the_worker_one_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
