#include "microbox/c_nf/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 17 significant digits tell any two doubles apart. */
enum { DIGITS_MAX = 17, NUMBER_SIZE = 48 };

static void append(struct mb_json *json, const char *bytes, size_t length) {
    if (json->overflowed || length > json->capacity - json->length) {
        json->overflowed = true;
        return;
    }
    memcpy(json->bytes + json->length, bytes, length);
    json->length += length;
}

void mb_json_raw(struct mb_json *json, const char *text) {
    append(json, text, strlen(text));
}

/* --- texts --- */

/* How many bytes at `at` are one character of UTF-8 (RFC 3629 section 4); 0: they are not. */
static size_t character_length(const uint8_t *at, size_t left) {
    const uint8_t first = at[0];
    if (first < 0x80)
        return 1;
    const size_t length = first < 0xc2   ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf5 ? 4
                                         : 0;
    if (length == 0 || length > left)
        return 0;
    /* The second byte's range: no overlong form, no surrogate, nothing past U+10FFFF. */
    const uint8_t lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const uint8_t highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < lowest || at[1] > highest)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static void append_character(struct mb_json *json, const uint8_t *at, size_t length) {
    static const char *const escapes[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    char text[8];
    if (length == 0) {
        snprintf(text, sizeof text, "\\\\x%02x", at[0]);
        mb_json_raw(json, text);
    } else if (*at == '"' || *at == '\\') {
        snprintf(text, sizeof text, "\\%c", *at);
        mb_json_raw(json, text);
    } else if (*at < sizeof escapes / sizeof *escapes && escapes[*at] != NULL) {
        mb_json_raw(json, escapes[*at]);
    } else if (*at < 0x20) {
        snprintf(text, sizeof text, "\\u%04x", *at);
        mb_json_raw(json, text);
    } else {
        append(json, (const char *)at, length);
    }
}

static void append_text(struct mb_json *json, const char *text, size_t length) {
    const uint8_t *bytes = (const uint8_t *)text;
    append(json, "\"", 1);
    for (size_t i = 0; i < length && !json->overflowed;) {
        const size_t character = character_length(bytes + i, length - i);
        append_character(json, bytes + i, character);
        i += character != 0 ? character : 1;
    }
    append(json, "\"", 1);
}

/* --- numbers --- */

/* The digits of `value` (finite, not 0) without a point, as few as give it back, and the exponent
 * of the first of them. */
static int shortest_digits(double value, char digits[DIGITS_MAX + 1]) {
    char text[NUMBER_SIZE];
    for (int count = 1; count <= DIGITS_MAX; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    size_t length = 0;
    const char *at = text;
    for (; *at != 'e'; at++)
        if (*at != '.')
            digits[length++] = *at;
    while (length > 1 && digits[length - 1] == '0')
        length--;
    digits[length] = '\0';
    return atoi(at + 1);
}

/* As Python's repr: with an exponent below 1e-4 and from 1e16 on. */
static void append_real(struct mb_json *json, double value) {
    char digits[DIGITS_MAX + 1] = "0";
    char text[NUMBER_SIZE];
    const int exponent = value != 0 ? shortest_digits(fabs(value), digits) : 0;
    const int count = (int)strlen(digits);
    if (signbit(value))
        mb_json_raw(json, "-");
    if (exponent < -4 || exponent >= 16)
        snprintf(text, sizeof text, "%c%s%se%c%02d", digits[0], count > 1 ? "." : "", digits + 1,
                 exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        snprintf(text, sizeof text, "0.%.*s%s", -exponent - 1, "0000", digits);
    else if (count <= exponent + 1)
        snprintf(text, sizeof text, "%s%.*s.0", digits, exponent + 1 - count, "0000000000000000");
    else
        snprintf(text, sizeof text, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    mb_json_raw(json, text);
}

/* --- fields --- */

static const char *append_value(struct mb_json *json, const struct mb_field *field) {
    char text[NUMBER_SIZE];
    switch (field->kind) {
    case MB_FIELD_INTEGER:
        snprintf(text, sizeof text, "%" PRId64, field->value.integer);
        mb_json_raw(json, text);
        return NULL;
    case MB_FIELD_NATURAL:
        snprintf(text, sizeof text, "%" PRIu64, field->value.natural);
        mb_json_raw(json, text);
        return NULL;
    case MB_FIELD_REAL:
        if (!isfinite(field->value.real))
            return "is no finite number: JSON has no word for it";
        append_real(json, field->value.real);
        return NULL;
    case MB_FIELD_TEXT:
        if (field->value.text == NULL && field->length != 0)
            return "is a text at NULL";
        append_text(json, field->value.text, field->length);
        return NULL;
    case MB_FIELD_FLAG:
        mb_json_raw(json, field->value.natural != 0 ? "true" : "false");
        return NULL;
    default:
        return "is of no kind of enum mb_field_kind";
    }
}

const char *mb_json_fields(struct mb_json *json, const struct mb_field *fields, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (fields[i].name == NULL)
            return "has no name";
        mb_json_raw(json, ", ");
        append_text(json, fields[i].name, strlen(fields[i].name));
        mb_json_raw(json, ": ");
        const char *wrong = append_value(json, &fields[i]);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}
