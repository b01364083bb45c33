/*
 * JSON as Python's encoder writes it, so that an NF's log does not tell in which language the NF
 * is: ", " and ": " between, UTF-8 as it is, floats in their shortest form.
 */
#ifndef MICROBOX_C_NF_JSON_H
#define MICROBOX_C_NF_JSON_H

#include "microbox/c_nf/abi.h"

/* Text that grows up to `capacity` bytes, in the caller's memory. What does not fit sets
 * `overflowed` and leaves `length` as it was. */
struct mb_json {
    char *bytes;
    size_t capacity;
    size_t length;
    bool overflowed;
};

void mb_json_raw(struct mb_json *json, const char *text);

/* Appends `, "name": value` for each field. Returns what is wrong with one (a sentence), NULL:
 * nothing. */
const char *mb_json_fields(struct mb_json *json, const struct mb_field *fields, size_t count);

#endif
