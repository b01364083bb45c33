#include "microbox/stack/decode/layers.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/fddi.h"
#include "microbox/stack/wire/link_types.h"
#include "microbox/stack/wire/linux_cooked.h"
#include "microbox/stack/wire/loopback.h"
#include "microbox/stack/wire/mpls.h"
#include "microbox/stack/wire/nflog.h"
#include "microbox/stack/wire/ppp.h"
#include "microbox/stack/wire/wlan.h"

void mb_decode_ethernet(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *frame = mb_rest_next(rest);
    uint8_t reason = mb_ethernet_check(frame, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    uint16_t ether_type = mb_ethernet_type(frame);
    rest->at += MB_ETHERNET_SIZE;
    if (ether_type != MB_ETHER_TYPE_IPV4)
        return mb_decode_network(decoded, rest, ether_type);
    /* Nearly all frames: straight on. */
    decoded->ether_type = ether_type;
    mb_decode_ipv4(decoded, rest);
}

static void decode_loopback(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *frame = mb_rest_next(rest);
    uint8_t reason = mb_loopback_check(frame, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    rest->at += MB_LOOPBACK_SIZE;
    mb_decode_network(decoded, rest, mb_loopback_ether_type(frame));
}

static void decode_linux_cooked(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *frame = mb_rest_next(rest);
    uint8_t reason = mb_linux_cooked_check(frame, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    rest->at += MB_LINUX_COOKED_SIZE;
    mb_decode_network(decoded, rest, mb_linux_cooked_type(frame));
}

static void decode_linux_cooked_2(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *frame = mb_rest_next(rest);
    uint8_t reason = mb_linux_cooked_2_check(frame, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    rest->at += MB_LINUX_COOKED_2_SIZE;
    mb_decode_network(decoded, rest, mb_linux_cooked_2_type(frame));
}

static void decode_fddi(struct mb_decoded *decoded, struct mb_rest *rest) {
    uint8_t reason = mb_fddi_check(mb_rest_next(rest), mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    rest->at += MB_FDDI_SIZE;
    mb_decode_network(decoded, rest, mb_take_llc(rest));
}

static void decode_ppp(struct mb_decoded *decoded, struct mb_rest *rest) {
    if (mb_rest_captured(rest) > MB_PPP_HDLC_SIZE && *mb_rest_next(rest) == MB_PPP_HDLC_ADDRESS)
        rest->at += MB_PPP_HDLC_SIZE;
    uint16_t ether_type = mb_take_ppp(decoded, rest);
    mb_decode_network(decoded, rest, ether_type);
}

static void decode_nflog(struct mb_decoded *decoded, struct mb_rest *rest) {
    uint8_t reason = mb_nflog_check(mb_rest_next(rest), mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    uint32_t packet = mb_nflog_packet(mb_rest_next(rest), mb_rest_captured(rest));
    if (packet == 0)
        return;
    rest->at += packet;
    rest->may_be_cut = true; /* to the size that the rule's target was given */
    mb_decode_network(decoded, rest, mb_ip_ether_type(mb_rest_next(rest), mb_rest_captured(rest)));
}

/* What is not looked into is no error: most of the air is management, or encrypted. */
static void decode_wlan(struct mb_decoded *decoded, struct mb_rest *rest, bool is_padded) {
    uint32_t size = mb_wlan_header_length(mb_rest_next(rest), mb_rest_captured(rest));
    if (is_padded)
        size = (size + 3) / 4 * 4;
    if (size == 0 || size > mb_rest_captured(rest)) {
        decoded->reason = MB_REASON_WLAN_SKIPPED;
        return;
    }
    rest->at += size;
    mb_decode_network(decoded, rest, mb_take_llc(rest));
}

static void decode_radiotap(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    uint32_t length = mb_rest_captured(rest);
    if (length < MB_RADIOTAP_SIZE_MIN || mb_radiotap_length(header) < MB_RADIOTAP_SIZE_MIN ||
        mb_radiotap_length(header) > length)
        return mb_malformed(decoded, MB_REASON_FRAME_TRUNCATED);
    length = mb_radiotap_length(header);
    rest->at += length;
    decode_wlan(decoded, rest, mb_radiotap_is_padded(header, length));
}

/* AVS or Prism. */
static void decode_wlan_behind_header(struct mb_decoded *decoded, struct mb_rest *rest) {
    uint32_t captured = mb_rest_captured(rest);
    if (captured < MB_CAPTURE_HEADER_SIZE_MIN)
        return mb_malformed(decoded, MB_REASON_FRAME_TRUNCATED);
    uint32_t length = mb_capture_header_length(mb_rest_next(rest));
    if (length < MB_CAPTURE_HEADER_SIZE_MIN || length > captured)
        return mb_malformed(decoded, MB_REASON_FRAME_TRUNCATED);
    rest->at += length;
    decode_wlan(decoded, rest, false);
}

/* No link header: the first four bits say which IP it is. */
static void decode_raw(struct mb_decoded *decoded, struct mb_rest *rest) {
    if (mb_rest_captured(rest) == 0)
        return mb_malformed(decoded, MB_REASON_FRAME_TRUNCATED);
    uint16_t ether_type = *mb_rest_next(rest) >> 4 == 6 ? MB_ETHER_TYPE_IPV6 : MB_ETHER_TYPE_IPV4;
    mb_decode_network(decoded, rest, ether_type);
}

void mb_decode_link(struct mb_decoded *decoded, struct mb_rest *rest, uint32_t link_type) {
    if (link_type == MB_LINK_ETHERNET)
        return mb_decode_ethernet(decoded, rest);
    switch (link_type) {
    case MB_LINK_RAW_BSD:
    case MB_LINK_RAW_OPENBSD:
    case MB_LINK_RAW:
        return decode_raw(decoded, rest);
    case MB_LINK_IPV4:
        return mb_decode_network(decoded, rest, MB_ETHER_TYPE_IPV4);
    case MB_LINK_IPV6:
        return mb_decode_network(decoded, rest, MB_ETHER_TYPE_IPV6);
    case MB_LINK_NULL:
    case MB_LINK_LOOP:
        return decode_loopback(decoded, rest);
    case MB_LINK_PPP:
        return decode_ppp(decoded, rest);
    case MB_LINK_FDDI:
        return decode_fddi(decoded, rest);
    case MB_LINK_NFLOG:
        return decode_nflog(decoded, rest);
    case MB_LINK_WLAN:
        return decode_wlan(decoded, rest, false);
    case MB_LINK_RADIOTAP:
        return decode_radiotap(decoded, rest);
    case MB_LINK_PRISM:
    case MB_LINK_AVS:
        return decode_wlan_behind_header(decoded, rest);
    case MB_LINK_LINUX_COOKED:
        return decode_linux_cooked(decoded, rest);
    case MB_LINK_LINUX_COOKED_2:
        return decode_linux_cooked_2(decoded, rest);
    default:
        decoded->reason = MB_REASON_LINK_TYPE_UNKNOWN;
    }
}
