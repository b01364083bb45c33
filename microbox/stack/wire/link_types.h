/*
 * LINKTYPE_ values of captures, as the registry of tcpdump.org has them.
 */
#ifndef MICROBOX_STACK_WIRE_LINK_TYPES_H
#define MICROBOX_STACK_WIRE_LINK_TYPES_H

enum mb_link_type {
    MB_LINK_NULL = 0,
    MB_LINK_ETHERNET = 1,
    MB_LINK_PPP = 9,
    MB_LINK_FDDI = 10,
    MB_LINK_RAW_BSD = 12,
    MB_LINK_RAW_OPENBSD = 14,
    MB_LINK_RAW = 101,
    MB_LINK_WLAN = 105,
    MB_LINK_LOOP = 108,
    MB_LINK_LINUX_COOKED = 113,
    MB_LINK_PRISM = 119,
    MB_LINK_RADIOTAP = 127,
    MB_LINK_AVS = 163,
    MB_LINK_IPV4 = 228,
    MB_LINK_IPV6 = 229,
    MB_LINK_NFLOG = 239,
    MB_LINK_LINUX_COOKED_2 = 276
};

#endif
