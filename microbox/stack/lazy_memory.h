/*
 * Memory for as much as there may ever be, of which what is not touched takes none: all zero, page
 * by page as it is used.
 */
#ifndef MICROBOX_STACK_LAZY_MEMORY_H
#define MICROBOX_STACK_LAZY_MEMORY_H

#include <stddef.h>

/* `size` bytes, above 0, at a page's beginning; NULL: there are not so many addresses. The caller
 * gives them back. */
void *mb_lazy_map(size_t size);

/* `memory` may be NULL; `size` as mapped. */
void mb_lazy_unmap(void *memory, size_t size);

#endif
