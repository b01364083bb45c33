#include "microbox/stack/module_load.h"

#include "microbox/stack/module_private.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const field_types[] = {"u8", "u16", "u32", "u64", "i64", "f64"};

/* --- checks: each returns what is wrong, NULL: nothing --- */

static bool is_name(const char *text) {
    if (text == NULL || !islower((unsigned char)text[0]))
        return false;
    size_t length = 0;
    for (; text[length] != '\0'; length++) {
        const unsigned char it = (unsigned char)text[length];
        if (!islower(it) && !isdigit(it) && it != '_' && it != '.')
            return false;
    }
    return length < MB_MODULE_NAME_SIZE;
}

static bool is_field_type(const char *text) {
    for (size_t i = 0; text != NULL && i < sizeof field_types / sizeof *field_types; i++)
        if (strcmp(text, field_types[i]) == 0)
            return true;
    return false;
}

static uint32_t count_fields(const struct mb_module_type *type) {
    uint32_t count = 0;
    while (count < MB_MODULE_FIELDS_MAX && type->fields[count].name != NULL)
        count++;
    return count;
}

static const char *wrong_with_type(const struct mb_module_type *type) {
    if (!is_name(type->name) || strchr(type->name, '.') == NULL)
        return "an event type has no dotted name such as flow.tcp.response";
    if (type->sentence == NULL)
        return "an event type has no sentence";
    const uint32_t fields = count_fields(type);
    for (uint32_t i = 0; i < fields; i++) {
        if (!is_name(type->fields[i].name) || strchr(type->fields[i].name, '.') != NULL)
            return "a field's name is no lower-case word";
        if (!is_field_type(type->fields[i].type))
            return "a field's type is none of u8, u16, u32, u64, i64, f64";
    }
    return NULL;
}

static const char *wrong_with(const struct mb_module *module) {
    if (module->abi != MB_MODULE_ABI)
        return "it was built against other headers; build it anew against those of this version";
    if (!is_name(module->name))
        return "its name is no lower-case word";
    if (module->bit != 0)
        return "it chooses its bit itself; expected 0";
    if (module->packet == NULL)
        return "it has no hook `packet`";
    if (module->sentence == NULL)
        return "it has no sentence";
    if (module->transport <= MB_TRANSPORT_NONE || module->transport >= MB_TRANSPORTS)
        return "its transport is none of enum mb_transport";
    if (module->needs >> MB_MODULES_BUILT_IN != 0)
        return "it needs a module that is not built in";
    if (module->flow_state_size > MB_MODULE_FLOW_STATE_MAX)
        return "it wants to keep more of a flow than MB_MODULE_FLOW_STATE_MAX bytes";
    if (module->type_count == 0 || module->type_count > MB_MODULE_TYPES_MAX ||
        module->types == NULL)
        return "it publishes no event type, or more than MB_MODULE_TYPES_MAX";
    for (uint32_t i = 0; i < module->type_count; i++) {
        const char *wrong = wrong_with_type(&module->types[i]);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

/* --- opening --- */

static const struct mb_module *find_symbol(void *handle) {
    return dlsym(handle, "microbox_module");
}

struct mb_loaded_module *mb_module_open(const char *path, char error[MB_ERROR_SIZE]) {
    struct mb_loaded_module *loaded = calloc(1, sizeof *loaded);
    if (loaded == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory for module %.160s", path);
        return NULL;
    }
    loaded->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (loaded->handle == NULL) {
        const char *reason = dlerror();
        snprintf(error, MB_ERROR_SIZE, "%.240s", reason != NULL ? reason : path);
        mb_module_close(loaded);
        return NULL;
    }
    loaded->module = find_symbol(loaded->handle);
    const char *wrong = loaded->module == NULL ? "it exports no `const struct mb_module "
                                                 "microbox_module`"
                                               : wrong_with(loaded->module);
    if (wrong == NULL)
        return loaded;
    snprintf(error, MB_ERROR_SIZE, "%.120s is no module: %s", path, wrong);
    mb_module_close(loaded);
    return NULL;
}

void mb_module_close(struct mb_loaded_module *loaded) {
    if (loaded == NULL)
        return;
    if (loaded->handle != NULL)
        dlclose(loaded->handle);
    free(loaded);
}

/* --- what it says of itself --- */

const char *mb_module_name(const struct mb_loaded_module *loaded) {
    return loaded->module->name;
}

const char *mb_module_sentence(const struct mb_loaded_module *loaded) {
    return loaded->module->sentence;
}

uint32_t mb_module_transport(const struct mb_loaded_module *loaded) {
    return loaded->module->transport;
}

uint32_t mb_module_needs(const struct mb_loaded_module *loaded) {
    return loaded->module->needs;
}

uint32_t mb_module_flow_state_size(const struct mb_loaded_module *loaded) {
    return loaded->module->flow_state_size;
}

uint32_t mb_module_type_count(const struct mb_loaded_module *loaded) {
    return loaded->module->type_count;
}

const char *mb_module_type_name(const struct mb_loaded_module *loaded, uint32_t type) {
    return loaded->module->types[type].name;
}

const char *mb_module_type_sentence(const struct mb_loaded_module *loaded, uint32_t type) {
    return loaded->module->types[type].sentence;
}

uint32_t mb_module_field_count(const struct mb_loaded_module *loaded, uint32_t type) {
    return count_fields(&loaded->module->types[type]);
}

const char *mb_module_field_name(const struct mb_loaded_module *loaded, uint32_t type,
                                 uint32_t field) {
    return loaded->module->types[type].fields[field].name;
}

const char *mb_module_field_type(const struct mb_loaded_module *loaded, uint32_t type,
                                 uint32_t field) {
    return loaded->module->types[type].fields[field].type;
}

void mb_module_number_type(struct mb_loaded_module *loaded, uint32_t type, uint16_t number) {
    loaded->type_number[type] = number;
}
