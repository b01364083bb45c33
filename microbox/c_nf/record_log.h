/*
 * An NF's log: JSON lines as nf/records.py writes them, with the time and the flow of the event,
 * then the NF's own fields.
 *
 * What cannot be written (a full disk) is counted; the file always ends with a whole line.
 */
#ifndef MICROBOX_C_NF_RECORD_LOG_H
#define MICROBOX_C_NF_RECORD_LOG_H

#include "microbox/bus/reader.h"
#include "microbox/c_nf/abi.h"

/* Where a line was caused, as one process would come to it, and with one worker: at an entry of the
 * worker's log, or at what an NF published there (layout.h, "NF logs"). */
struct mb_record_place {
    uint64_t packet; /* when the worker published that: bus/moment.h */
    uint64_t order;
    uint64_t position; /* in its log */
    uint64_t among; /* 0: the worker's; else the NF, from 1, and the sequence number in its log */
};

#define MB_RECORD_SEQUENCE_BITS 48
#define MB_RECORD_SEQUENCE_MAX  ((UINT64_C(1) << MB_RECORD_SEQUENCE_BITS) - 1)

struct mb_record_log {
    const char *path; /* the caller's; the file is made at the first line. NULL: it is made */
    bool utc;         /* times as text instead of numbers */
    int fd;           /* of the file; -1: not made yet */
    bool begun;       /* what was in the file is gone */
    bool is_part;     /* of a log that several processes write: each line has its place in front */
    struct mb_record_place place; /* of the next line: never less than of the one before */
    int error;                    /* first errno of opening or writing; 0: none */
    uint64_t written;             /* lines in the file */
    uint64_t lost;                /* lines that could not be written */
    uint64_t good_size;           /* bytes up to the end of the last whole line */
    uint64_t lines;               /* in the buffer */
    size_t used;
    char *buffer;
};

/* How a payload begins. */
enum mb_tuple_kind {
    MB_TUPLE_NONE,     /* with no struct mb_five_tuple */
    MB_TUPLE_OF_FLOW,  /* as opened */
    MB_TUPLE_OF_PACKET /* as sent */
};

/* `fd`: of the file, where it is made already; it is taken. Else -1, and `path`. Returns 0 or
 * -ENOMEM. */
int mb_record_log_open(struct mb_record_log *log, const char *path, int fd, bool utc);

/* Of what a delivery of the last poll causes. */
struct mb_record_place mb_record_place_of(const struct mb_reader *reader,
                                          const struct mb_delivery *delivery);

/* Lines from now on are caused at `place`. One before that of the last line is not taken. */
void mb_record_log_come_to(struct mb_record_log *log, struct mb_record_place place);

/* Adds a line. `entry`: the event it is about, whose payload begins as `kind` says; NULL: none.
 * Returns what is wrong with the fields (a sentence), NULL: nothing; `*field`: with which. */
const char *mb_record_log_write(struct mb_record_log *log, uint64_t time,
                                const struct mb_entry *entry, enum mb_tuple_kind kind,
                                const struct mb_field *fields, size_t count);

void mb_record_log_flush(struct mb_record_log *log);

/* Writes what is buffered into the file as it was, and lines from now on into the file `fd`, which
 * is open for appending. Takes `fd`. */
void mb_record_log_go_on_in(struct mb_record_log *log, int fd);

void mb_record_log_close(struct mb_record_log *log);

#endif
