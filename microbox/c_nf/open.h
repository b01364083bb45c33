/*
 * Shared objects of NFs: opened, and checked before anything of them is called.
 *
 * Opening one runs its constructors: that is the user's code, and belongs into the NF's process.
 */
#ifndef MICROBOX_C_NF_OPEN_H
#define MICROBOX_C_NF_OPEN_H

#include "microbox/c_nf/abi.h"
#include "microbox/io/source.h"

/* Opens `path` for good: what an NF is is never closed while its process lives. Returns NULL with a
 * sentence in `error`: what was found, what was expected. */
const struct mb_nf_descriptor *mb_c_nf_open(const char *path, char error[MB_ERROR_SIZE]);

#endif
