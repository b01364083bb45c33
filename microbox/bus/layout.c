/*
 * The shared layouts, checked: sizes, and that each word with a writer or a rhythm of its own has
 * a cache line to itself.
 */
#include "microbox/bus/layout.h"

#include <assert.h>
#include <stddef.h>

#define OFFSET(type, field)      offsetof(struct type, field)
#define BEGINS_LINE(type, field) (OFFSET(type, field) % MB_CACHE_LINE == 0)
#define SAME_LINE(type, one, two)                                                                  \
    (OFFSET(type, one) / MB_CACHE_LINE == OFFSET(type, two) / MB_CACHE_LINE)
#define SIZE_OF_FIELD(type, field) sizeof(((struct type *)0)->field)

static_assert(sizeof(union mb_payload) == MB_PAYLOAD_SIZE, "an entry holds the payload");
static_assert(sizeof(struct mb_snapshot) == MB_CACHE_LINE, "the snapshot is one line");

static_assert(sizeof(struct mb_entry) == MB_ENTRY_SIZE, "readers step by this");
static_assert(BEGINS_LINE(mb_entry, sequence), "header");
static_assert(SAME_LINE(mb_entry, sequence, mask), "who it is for is told by the first line alone");
static_assert(SAME_LINE(mb_entry, sequence, flags), "and so is where a packet ends");
static_assert(BEGINS_LINE(mb_entry, frame_length), "payload");
static_assert(BEGINS_LINE(mb_entry, snapshot), "snapshot");

static_assert(sizeof(struct mb_provenance) == MB_CACHE_LINE, "provenance is one line");
static_assert(sizeof(struct mb_nf_entry) == MB_NF_ENTRY_SIZE, "readers step by this");
static_assert(BEGINS_LINE(mb_nf_entry, provenance), "after the entry");

static_assert(sizeof(struct mb_rewrite) == MB_CACHE_LINE, "pages of them have no rest");
static_assert(sizeof(struct mb_edit) == 2 * MB_CACHE_LINE, "pages of them have no rest");
static_assert(sizeof(struct mb_replacement) == 8, "and are aligned as the ring is");
static_assert(SIZE_OF_FIELD(mb_edit, tags) / sizeof(struct mb_vlan_tag) == MB_EDIT_TAGS_MAX,
              "one a tag");
static_assert((int)MB_VERDICTS <= (int)MB_LEFT_EDIT, "marks stand beside the verdict");

static_assert(sizeof(struct mb_log_page) <= MB_PAGE_SIZE, "slots follow on the next page");
static_assert(BEGINS_LINE(mb_log_page, head), "moves with each batch");
static_assert(BEGINS_LINE(mb_log_page, asleep), "moves when the log is full");
static_assert(BEGINS_LINE(mb_log_page, floor), "moves when skipping NFs lose something");
static_assert(BEGINS_LINE(mb_log_page, due), "moves with each batch");
static_assert(BEGINS_LINE(mb_log_page, from), "moves when the worker looks at cursors");
static_assert(BEGINS_LINE(mb_log_page, gone_at), "moves when an NF dies");
static_assert(SIZE_OF_FIELD(mb_log_page, due) / sizeof(uint64_t) == MB_NFS_MAX, "one an NF");
static_assert(SIZE_OF_FIELD(mb_log_page, from) / sizeof(uint64_t) == MB_NFS_MAX, "one an NF");
static_assert(SIZE_OF_FIELD(mb_log_page, gone_at) / sizeof(uint64_t) == MB_NFS_MAX, "one an NF");
static_assert(SIZE_OF_FIELD(mb_log_page, named_before) / sizeof(uint64_t) == MB_NFS_MAX,
              "one an NF");
static_assert(SIZE_OF_FIELD(mb_log_page, fails_closed) == MB_NFS_MAX, "one an NF");
static_assert(SIZE_OF_FIELD(mb_log_page, applied) / sizeof(uint64_t) == MB_NFS_MAX, "one an NF");
static_assert(BEGINS_LINE(mb_log_page, applied), "moves when edits are applied");
static_assert((int)MB_ASLEEP_APPLIED == (int)MB_ASLEEP_CURSOR + (int)MB_NFS_MAX,
              "the two kinds of sleep do not meet");

static_assert(sizeof(struct mb_nf_page) <= MB_PAGE_SIZE, "counters follow on the next page");
static_assert(BEGINS_LINE(mb_nf_page, cursor), "moves with each batch");
static_assert(SAME_LINE(mb_nf_page, cursor, asleep), "who looks at one looks at the other");
static_assert(BEGINS_LINE(mb_nf_page, log_head), "moves with each publication");

static_assert(sizeof(struct mb_nf_counters) <= 2 * MB_PAGE_SIZE,
              "verdicts follow on the page after");
static_assert(BEGINS_LINE(mb_nf_counters, published_by_type),
              "the named counters fill their lines");
static_assert(SIZE_OF_FIELD(mb_nf_counters, published_by_type) / sizeof(uint64_t) == MB_TYPES_MAX,
              "one a type");
static_assert(SIZE_OF_FIELD(mb_nf_counters, verdicts) / sizeof(uint64_t) >= MB_VERDICTS,
              "one a verdict");
static_assert(MB_LOG_SLOTS_MIN >= 4 * MB_ENTRIES_PER_PACKET, "a packet fits beside a batch");
