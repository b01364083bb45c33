/*
 * Areas: their owner writes, nobody else can, and a reader maps nothing that is not sealed.
 */
#include "microbox/bus/area.h"

#include "microbox/bus/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 4 * MB_PAGE_SIZE };

static int create(void **state) {
    struct mb_area *area = malloc(sizeof *area);
    *state = area;
    return area == NULL ? -1 : mb_area_create(area, "microbox test", SIZE);
}

static int destroy(void **state) {
    mb_area_destroy(*state);
    free(*state);
    return 0;
}

static int reopen(int fd, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static void assert_not_writable(int fd) {
    errno = 0;
    assert_ptr_equal(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(errno, EPERM);
    errno = 0;
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(errno, EPERM);
    errno = 0;
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE), -1);
    assert_int_equal(errno, EPERM);
}

static void the_owner_writes_and_a_reader_sees_it(void **state) {
    struct mb_area *area = *state;
    assert_true(area->writable);
    struct mb_area reader;
    assert_int_equal(mb_area_map(&reader, area->fd, SIZE), 0);
    assert_false(reader.writable);
    assert_int_equal(reader.fd, -1);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(((uint8_t *)reader.base)[i], 0);
    ((uint8_t *)area->base)[SIZE - 1] = 42;
    assert_int_equal(((uint8_t *)reader.base)[SIZE - 1], 42);
    mb_area_destroy(&reader);
}

static void nobody_else_can_write(void **state) {
    struct mb_area *area = *state;
    assert_not_writable(area->fd);
}

static void reopening_does_not_help(void **state) {
    struct mb_area *area = *state;
    int fd = reopen(area->fd, O_RDWR);
    if (fd >= 0) {
        assert_not_writable(fd);
        close(fd);
    }
}

static void a_read_only_mapping_cannot_be_made_writable(void **state) {
    struct mb_area *area = *state;
    struct mb_area reader;
    assert_int_equal(mb_area_map(&reader, area->fd, SIZE), 0);
    assert_int_equal(mprotect(reader.base, SIZE, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(errno, EACCES);
    mb_area_destroy(&reader);
}

static void the_size_is_fixed(void **state) {
    struct mb_area *area = *state;
    assert_int_equal(ftruncate(area->fd, SIZE / 2), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(area->fd, 2 * SIZE), -1);
    assert_int_equal(errno, EPERM);
}

static void the_seals_stay(void **state) {
    struct mb_area *area = *state;
    assert_int_equal(fcntl(area->fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(errno, EPERM);
}

static void another_process_cannot_write_either(void **state) {
    struct mb_area *area = *state;
    pid_t child = fork();
    if (child == 0) {
        int fd = reopen(area->fd, O_RDWR);
        void *base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        _exit(base == MAP_FAILED ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_reader_refuses_what_is_not_sealed(void **state) {
    (void)state;
    struct mb_area reader;
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    assert_int_equal(mb_area_map(&reader, fd, SIZE), -EPERM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    assert_int_equal(mb_area_map(&reader, fd, SIZE), -EPERM);
    close(fd);
}

static void a_reader_refuses_what_is_no_memfd(void **state) {
    (void)state;
    struct mb_area reader;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(mb_area_map(&reader, ends[0], SIZE), -EPERM);
    assert_int_equal(mb_area_map(&reader, -1, SIZE), -EBADF);
    close(ends[0]);
    close(ends[1]);
}

static void a_reader_refuses_another_size(void **state) {
    struct mb_area *area = *state;
    struct mb_area reader;
    assert_int_equal(mb_area_map(&reader, area->fd, SIZE - MB_PAGE_SIZE), -EINVAL);
    assert_int_equal(mb_area_map(&reader, area->fd, SIZE + MB_PAGE_SIZE), -EINVAL);
    assert_int_equal(mb_area_map(&reader, area->fd, 0), -EINVAL);
}

static void a_size_is_whole_pages(void **state) {
    (void)state;
    struct mb_area area;
    assert_int_equal(mb_area_create(&area, "odd", MB_PAGE_SIZE + 1), -EINVAL);
    assert_int_equal(mb_area_create(&area, "empty", 0), -EINVAL);
    mb_area_destroy(&area);
    mb_area_destroy(&area);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_owner_writes_and_a_reader_sees_it, create, destroy),
        cmocka_unit_test_setup_teardown(nobody_else_can_write, create, destroy),
        cmocka_unit_test_setup_teardown(reopening_does_not_help, create, destroy),
        cmocka_unit_test_setup_teardown(a_read_only_mapping_cannot_be_made_writable, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(the_size_is_fixed, create, destroy),
        cmocka_unit_test_setup_teardown(the_seals_stay, create, destroy),
        cmocka_unit_test_setup_teardown(another_process_cannot_write_either, create, destroy),
        cmocka_unit_test(a_reader_refuses_what_is_not_sealed),
        cmocka_unit_test(a_reader_refuses_what_is_no_memfd),
        cmocka_unit_test_setup_teardown(a_reader_refuses_another_size, create, destroy),
        cmocka_unit_test(a_size_is_whole_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
