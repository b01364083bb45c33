/*
 * Users' modules: shared objects, opened and checked before anything of them runs.
 *
 * Opening one runs its constructors: that is the user's code, with all rights of the process.
 */
#ifndef MICROBOX_STACK_MODULE_LOAD_H
#define MICROBOX_STACK_MODULE_LOAD_H

#include "microbox/io/source.h"

#include <stdint.h>

struct mb_loaded_module;

/* Returns NULL with a sentence in `error`: what was found, what was expected. */
struct mb_loaded_module *mb_module_open(const char *path, char error[MB_ERROR_SIZE]);
void mb_module_close(struct mb_loaded_module *loaded);

/* What it says of itself. Texts live as long as the module. Indexes are in range. */
const char *mb_module_name(const struct mb_loaded_module *loaded);
const char *mb_module_sentence(const struct mb_loaded_module *loaded);
uint32_t mb_module_transport(const struct mb_loaded_module *loaded); /* enum mb_transport */
uint32_t mb_module_needs(const struct mb_loaded_module *loaded);     /* enum mb_module_bit */
uint32_t mb_module_flow_state_size(const struct mb_loaded_module *loaded);
uint32_t mb_module_type_count(const struct mb_loaded_module *loaded);
const char *mb_module_type_name(const struct mb_loaded_module *loaded, uint32_t type);
const char *mb_module_type_sentence(const struct mb_loaded_module *loaded, uint32_t type);
uint32_t mb_module_field_count(const struct mb_loaded_module *loaded, uint32_t type);
const char *mb_module_field_name(const struct mb_loaded_module *loaded, uint32_t type,
                                 uint32_t field);
const char *mb_module_field_type(const struct mb_loaded_module *loaded, uint32_t type,
                                 uint32_t field);

/* Which number the catalog gave a type. Before the stack is made. */
void mb_module_number_type(struct mb_loaded_module *loaded, uint32_t type, uint16_t number);

#endif
