/*
 * The last words of an NF that crashes. Only async-signal-safe functions are called
 * (signal-safety(7)).
 */
#include "microbox/c_nf/runner_private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STACK_SIZE = 65536 };

static const struct {
    int number;
    const char *name;
} crashes[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGILL, "SIGILL"},   {SIGABRT, "SIGABRT"},
};

/* A signal handler is given no pointer of ours: this is how it finds the process's only runner.
 * Written once, before the handler is installed. */
static const struct mb_c_nf_runner *reported;

static void say(const char *text) {
    /* Nothing can be done about a message that cannot be written. */
    const ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void say_number(uint64_t number) {
    char text[24];
    char *at = text + sizeof text - 1;
    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    say(at);
}

static const char *name_of(int signal_number) {
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (crashes[i].number == signal_number)
            return crashes[i].name;
    return "a signal";
}

/* The signal is the default one again (SA_RESETHAND): the process dies of it on return, since what
 * caused it is done again, or is raised here. */
static void report(int signal_number) {
    const char *running = reported->running;
    say("crashed with ");
    say(name_of(signal_number));
    say(running != NULL ? " in " : ", outside of its handlers");
    say(running != NULL ? running : "");
    if (running != NULL && reported->delivery != NULL) {
        say(", at packet ");
        say_number(reported->event.entry->packet);
    }
    say("\n");
    raise(signal_number);
}

int mb_c_nf_report_crashes(const struct mb_c_nf_runner *runner) {
    /* The NF's own stack may be what it ran out of. */
    const stack_t stack = {.ss_sp = malloc(STACK_SIZE), .ss_size = STACK_SIZE};
    if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0)
        return -errno;
    reported = runner;
    struct sigaction action = {.sa_handler = report, .sa_flags = SA_ONSTACK | SA_RESETHAND};
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (sigaction(crashes[i].number, &action, NULL) != 0)
            return -errno;
    return 0;
}
