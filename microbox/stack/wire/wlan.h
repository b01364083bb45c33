/*
 * IEEE 802.11 data frames, and what capturing machines put before them: radiotap, AVS, Prism. Only
 * what carries an LLC header in the clear is looked into.
 */
#ifndef MICROBOX_STACK_WIRE_WLAN_H
#define MICROBOX_STACK_WIRE_WLAN_H

#include "microbox/stack/wire/bytes.h"

#include <stdbool.h>

enum {
    MB_WLAN_SIZE = 24,
    MB_WLAN_ADDRESS_SIZE = 6, /* the fourth one, between access points */
    MB_WLAN_QOS_SIZE = 2,
    MB_WLAN_HT_SIZE = 4,
    MB_WLAN_SEQUENCE = 22, /* the low four bits: number of the fragment */

    MB_RADIOTAP_SIZE_MIN = 8,
    MB_RADIOTAP_LENGTH = 2,
    MB_RADIOTAP_PRESENT = 4,

    MB_CAPTURE_HEADER_LENGTH = 4, /* of AVS and Prism */
    MB_CAPTURE_HEADER_SIZE_MIN = 8,
    MB_AVS_MAGIC = 0x80211000 /* with the version in the low twelve bits */
};

/* Bits of the frame control field's two bytes (IEEE 802.11 clause 9.2.4.1). */
enum mb_wlan_control {
    MB_WLAN_TYPE = 0x0c, /* first byte */
    MB_WLAN_TYPE_DATA = 0x08,
    MB_WLAN_WITHOUT_DATA = 0x40,
    MB_WLAN_QOS = 0x80,

    MB_WLAN_BETWEEN_STATIONS = 0x03, /* second byte: to and from the distribution system */
    MB_WLAN_MORE_FRAGMENTS = 0x04,
    MB_WLAN_PROTECTED = 0x40,
    MB_WLAN_ORDER = 0x80
};

enum { MB_WLAN_QOS_AGGREGATE = 0x80 };

enum mb_radiotap_bit {
    MB_RADIOTAP_TIMESTAMP = 1 << 0, /* eight bytes, aligned */
    MB_RADIOTAP_FLAGS = 1 << 1,
    MB_RADIOTAP_MORE = 1 << 7, /* of a word's last byte: another word of bits follows */
    MB_RADIOTAP_PADDED = 0x20  /* of the flags: up to four bytes between header and data */
};

static inline uint16_t mb_radiotap_length(const uint8_t *header) {
    return (uint16_t)(header[MB_RADIOTAP_LENGTH] | header[MB_RADIOTAP_LENGTH + 1] << 8);
}

/* True where the 802.11 header is padded to a multiple of four bytes. `length`: of the radiotap
 * header, which is all there. */
static inline bool mb_radiotap_is_padded(const uint8_t *header, uint32_t length) {
    uint32_t at = MB_RADIOTAP_PRESENT;
    while (at + 4 <= length && (header[at + 3] & MB_RADIOTAP_MORE) != 0)
        at += 4;
    at += 4;
    if ((header[MB_RADIOTAP_PRESENT] & MB_RADIOTAP_FLAGS) == 0)
        return false;
    if ((header[MB_RADIOTAP_PRESENT] & MB_RADIOTAP_TIMESTAMP) != 0)
        at = (at + 7) / 8 * 8 + 8;
    return at < length && (header[at] & MB_RADIOTAP_PADDED) != 0;
}

/* Length of an AVS or Prism header, whose byte order is the capturing machine's (Prism) or the
 * network's (AVS); at least MB_CAPTURE_HEADER_SIZE_MIN bytes are there. */
static inline uint32_t mb_capture_header_length(const uint8_t *header) {
    uint32_t length = mb_read_32(header + MB_CAPTURE_HEADER_LENGTH);
    bool is_avs = (mb_read_32(header) & 0xfffff000) == MB_AVS_MAGIC;
    return is_avs || length <= UINT16_MAX ? length : __builtin_bswap32(length);
}

/* Length of the header of a data frame in the clear; 0: it is none, or not all there. */
static inline uint32_t mb_wlan_header_length(const uint8_t *frame, uint32_t length) {
    if (length < MB_WLAN_SIZE)
        return 0;
    const uint8_t kind = frame[0];
    const uint8_t flags = frame[1];
    if ((kind & MB_WLAN_TYPE) != MB_WLAN_TYPE_DATA || (kind & MB_WLAN_WITHOUT_DATA) != 0)
        return 0;
    if ((flags & (MB_WLAN_PROTECTED | MB_WLAN_MORE_FRAGMENTS)) != 0 ||
        (frame[MB_WLAN_SEQUENCE] & 0x0f) != 0)
        return 0;
    uint32_t size = MB_WLAN_SIZE;
    if ((flags & MB_WLAN_BETWEEN_STATIONS) == MB_WLAN_BETWEEN_STATIONS)
        size += MB_WLAN_ADDRESS_SIZE;
    if ((kind & MB_WLAN_QOS) == 0)
        return size <= length ? size : 0;
    if (size + MB_WLAN_QOS_SIZE > length || (frame[size] & MB_WLAN_QOS_AGGREGATE) != 0)
        return 0;
    size += MB_WLAN_QOS_SIZE;
    if ((flags & MB_WLAN_ORDER) != 0)
        size += MB_WLAN_HT_SIZE;
    return size <= length ? size : 0;
}

#endif
