#include "microbox/c_nf/publication.h"

#include <string.h>

static void turn_round(struct mb_five_tuple *tuple) {
    const struct mb_five_tuple before = *tuple;
    memcpy(tuple->source, before.destination, sizeof tuple->source);
    memcpy(tuple->destination, before.source, sizeof tuple->destination);
    tuple->source_port = before.destination_port;
    tuple->destination_port = before.source_port;
}

static void inherit(const struct mb_publishable *type, const struct mb_entry *cause,
                    const uint8_t *cause_payload, uint32_t cause_length, uint8_t *payload) {
    uint32_t size = type->inherited[cause->type % MB_TYPES_MAX];
    if (size > cause_length)
        size = cause_length;
    if (size > type->size)
        size = type->size;
    memcpy(payload, cause_payload, size);
    if (type->is_turned[cause->type % MB_TYPES_MAX] == 0 || size < sizeof(struct mb_five_tuple) ||
        !(cause->flags & MB_FROM_RESPONDER))
        return;
    struct mb_five_tuple tuple;
    memcpy(&tuple, payload, sizeof tuple);
    turn_round(&tuple);
    memcpy(payload, &tuple, sizeof tuple);
}

static const struct mb_place *find_place(const struct mb_publishable *type, const char *name) {
    for (uint32_t i = 0; name != NULL && i < type->places; i++)
        if (strcmp(type->place[i].name, name) == 0)
            return &type->place[i];
    return NULL;
}

static bool is_whole_number(const struct mb_field *field) {
    return field->kind == MB_FIELD_INTEGER || field->kind == MB_FIELD_NATURAL ||
           field->kind == MB_FIELD_FLAG;
}

static bool fits_unsigned(const struct mb_field *field, uint16_t size) {
    if (field->kind == MB_FIELD_INTEGER && field->value.integer < 0)
        return false;
    return size == 8 || field->value.natural >> (8 * size) == 0;
}

static bool fits_signed(const struct mb_field *field, uint16_t size) {
    if (field->kind != MB_FIELD_INTEGER && field->value.natural > INT64_MAX)
        return false;
    const int64_t most = size == 8 ? INT64_MAX : (INT64_C(1) << (8 * size - 1)) - 1;
    return field->value.integer <= most && field->value.integer >= -most - 1;
}

/* The low `size` bytes of the number: sizes are 1, 2, 4 and 8. */
static void store(uint8_t *at, uint64_t number, uint16_t size) {
    const uint8_t one = (uint8_t)number;
    const uint16_t two = (uint16_t)number;
    const uint32_t four = (uint32_t)number;
    const void *from = size == 1   ? (const void *)&one
                       : size == 2 ? (const void *)&two
                       : size == 4 ? (const void *)&four
                                   : (const void *)&number;
    memcpy(at, from, size);
}

static const char *put_number(const struct mb_place *place, const struct mb_field *field,
                              uint8_t *at) {
    if (!is_whole_number(field))
        return "is a whole number; another kind was given";
    const bool fits = place->kind == MB_PLACE_SIGNED ? fits_signed(field, place->size)
                                                     : fits_unsigned(field, place->size);
    if (!fits)
        return "cannot hold a number as large as was given";
    store(at, field->value.natural, place->size);
    return NULL;
}

static const char *put_real(const struct mb_field *field, uint8_t *at) {
    if (field->kind != MB_FIELD_REAL && !is_whole_number(field))
        return "is a number; another kind was given";
    const double value = field->kind == MB_FIELD_REAL      ? field->value.real
                         : field->kind == MB_FIELD_INTEGER ? (double)field->value.integer
                                                           : (double)field->value.natural;
    memcpy(at, &value, sizeof value);
    return NULL;
}

/* IPv4 mapped (RFC 4291 section 2.5.5.2). */
static const char *put_address(const struct mb_field *field, uint8_t *at) {
    if (field->kind != MB_FIELD_TEXT || (field->length != 16 && field->length != 4))
        return "is an address: 16 bytes, or 4 for IPv4";
    memset(at, 0, 10);
    memset(at + 10, 0xff, 2);
    memcpy(at + 16 - field->length, field->value.text, field->length);
    return NULL;
}

static const char *put_text(const struct mb_field *field, uint8_t *payload, uint32_t offset,
                            uint32_t *length) {
    if (field->kind != MB_FIELD_TEXT || (field->value.text == NULL && field->length != 0))
        return "is a text; another kind was given";
    if (field->length > MB_NF_PUBLICATION_MAX - *length)
        return "makes the payload longer than 262,144 bytes";
    const struct mb_text text = {.offset = *length, .length = field->length};
    memcpy(payload + offset, &text, sizeof text);
    if (field->length != 0)
        memcpy(payload + *length, field->value.text, field->length);
    *length += field->length;
    return NULL;
}

static const char *put(const struct mb_place *place, const struct mb_field *field, uint8_t *payload,
                       uint32_t *length) {
    switch (place->kind) {
    case MB_PLACE_REAL:
        return put_real(field, payload + place->offset);
    case MB_PLACE_ADDRESS:
        return put_address(field, payload + place->offset);
    case MB_PLACE_TEXT:
        return put_text(field, payload, place->offset, length);
    default:
        return put_number(place, field, payload + place->offset);
    }
}

const char *mb_pack(const struct mb_publishable *type, const struct mb_entry *cause,
                    const uint8_t *cause_payload, uint32_t cause_length,
                    const struct mb_field *fields, size_t count, uint8_t *payload, uint32_t *length,
                    const char **field) {
    memset(payload, 0, type->size);
    inherit(type, cause, cause_payload, cause_length, payload);
    *length = type->size;
    for (size_t i = 0; i < count; i++) {
        *field = fields[i].name != NULL ? fields[i].name : "(without a name)";
        const struct mb_place *place = find_place(type, fields[i].name);
        const char *wrong =
            place != NULL ? put(place, &fields[i], payload, length) : "is no field of the type";
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}
