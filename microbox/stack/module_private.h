/*
 * A user's module as loader and set share it.
 */
#ifndef MICROBOX_STACK_MODULE_PRIVATE_H
#define MICROBOX_STACK_MODULE_PRIVATE_H

#include "microbox/stack/module.h"

enum { MB_MODULE_NAME_SIZE = 64 };

struct mb_loaded_module {
    void *handle; /* of the dynamic linker; NULL: the module is part of the program */
    const struct mb_module *module;
    uint16_t type_number[MB_MODULE_TYPES_MAX]; /* the catalog's */
};

#endif
