#include "microbox/c_nf/open.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const uint32_t parameter_sizes[MB_PARAMETER_TYPES] = {
    [MB_PARAMETER_INT] = sizeof(int64_t),
    [MB_PARAMETER_FLOAT] = sizeof(double),
    [MB_PARAMETER_TEXT] = sizeof(const char *),
    [MB_PARAMETER_BOOL] = sizeof(bool),
};

/* --- checks: each returns what is wrong, NULL: nothing --- */

static bool is_word(const char *text) {
    if (!isalpha((unsigned char)text[0]) && text[0] != '_')
        return false;
    for (const char *at = text; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && *at != '_')
            return false;
    return strlen(text) < MB_NF_NAME_SIZE;
}

static const char *wrong_with_parameter(const struct mb_nf_parameter *parameter,
                                        uint32_t state_size) {
    if (!is_word(parameter->name))
        return "a parameter's name is no word";
    if (parameter->type < MB_PARAMETER_INT || parameter->type >= MB_PARAMETER_TYPES)
        return "a parameter's type is none of enum mb_nf_parameter_type";
    const uint32_t size = parameter_sizes[parameter->type];
    if (parameter->offset % size != 0 || state_size < size || parameter->offset > state_size - size)
        return "a parameter lies outside the state: write .state_size = sizeof(struct ...), "
               ".offset = offsetof(struct ..., ...)";
    return NULL;
}

static const char *wrong_with_handler(const struct mb_nf_handler *handler) {
    if (!is_word(handler->name))
        return "a handler's name is no word";
    if (handler->call == NULL)
        return "a handler has no `call`";
    if ((handler->types[0] == NULL) == (handler->every == 0))
        return "a handler has either `types` or `every`";
    if (handler->every != 0 && handler->filter != NULL)
        return "a handler with `every` has no filter";
    return NULL;
}

static const char *wrong_with_type(const struct mb_nf_type *type) {
    for (uint32_t i = 0; i < MB_NF_FIELDS_MAX && type->fields[i].name != NULL; i++)
        if (!is_word(type->fields[i].name) || type->fields[i].type == NULL)
            return "a declared type has a field without a name that is a word, or without a type";
    return NULL;
}

static const char *wrong_with_sizes(const struct mb_nf_descriptor *nf) {
    if (nf->state_size > MB_NF_STATE_MAX)
        return "its state is larger than 1 GiB";
    if (nf->flow_state_size > MB_NF_FLOW_STATE_MAX)
        return "its state of a flow is larger than 65,536 bytes";
    if (nf->flow_states_max > MB_NF_FLOW_STATES_MAX)
        return "flow_states_max is more than 16,777,216";
    return NULL;
}

static const char *wrong_with(const struct mb_nf_descriptor *nf) {
    if (nf->name == NULL || !is_word(nf->name))
        return "its name is no word";
    if (nf->handlers[0].name == NULL)
        return "it handles nothing";
    const char *wrong = wrong_with_sizes(nf);
    for (uint32_t i = 0; wrong == NULL && i < MB_NF_PARAMETERS_MAX && nf->parameters[i].name; i++)
        wrong = wrong_with_parameter(&nf->parameters[i], nf->state_size);
    for (uint32_t i = 0; wrong == NULL && i < MB_NF_HANDLERS_MAX && nf->handlers[i].name; i++)
        wrong = wrong_with_handler(&nf->handlers[i]);
    for (uint32_t i = 0; wrong == NULL && i < MB_NF_DECLARES_MAX && nf->declares[i].name; i++)
        wrong = wrong_with_type(&nf->declares[i]);
    return wrong;
}

/* Nothing else of the descriptor may be read before this is known. */
static bool is_of_this_abi(const struct mb_nf_abi *abi, char error[MB_ERROR_SIZE]) {
    if (abi->version != MB_NF_ABI_VERSION) {
        snprintf(error, MB_ERROR_SIZE,
                 "it was built for version %u of microbox_nf.h, this is version %u; build it anew",
                 abi->version, MB_NF_ABI_VERSION);
        return false;
    }
    if (abi->descriptor_size == sizeof(struct mb_nf_descriptor) &&
        abi->entry_size == sizeof(struct mb_entry) && abi->event_size == sizeof(struct mb_event))
        return true;
    snprintf(error, MB_ERROR_SIZE,
             "it was built with structs of %u, %u and %u bytes, these are %zu, %zu and %zu: for "
             "another machine, or without .abi = MB_NF_ABI",
             abi->descriptor_size, abi->entry_size, abi->event_size,
             sizeof(struct mb_nf_descriptor), sizeof(struct mb_entry), sizeof(struct mb_event));
    return false;
}

const struct mb_nf_descriptor *mb_c_nf_open(const char *path, char error[MB_ERROR_SIZE]) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *reason = dlerror();
        snprintf(error, MB_ERROR_SIZE, "%.240s", reason != NULL ? reason : path);
        return NULL;
    }
    const struct mb_nf_descriptor *nf = dlsym(handle, "microbox_nf");
    if (nf == NULL) {
        snprintf(error, MB_ERROR_SIZE, "it exports no `const struct mb_nf_descriptor microbox_nf`");
        return NULL;
    }
    if (!is_of_this_abi(&nf->abi, error))
        return NULL;
    const char *wrong = wrong_with(nf);
    if (wrong == NULL)
        return nf;
    snprintf(error, MB_ERROR_SIZE, "%s", wrong);
    return NULL;
}
