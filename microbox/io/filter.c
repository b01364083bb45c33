/*
 * Compiles packet filters with libpcap, once for the innermost IP packet and once for the whole
 * frame, and finds out how often each has to be evaluated.
 */
#include "microbox/io/filter.h"

#include "microbox/io/filter_scope.h"

#include <ctype.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SNAP_LENGTH = 262144, LINK_TYPE_RAW = 101 };

struct mb_filter {
    struct bpf_program network; /* for the innermost IP packet; empty: it is of the link layer */
    struct bpf_program frame;   /* for the whole frame; empty: libpcap has none for the link type */
    bool is_per_flow;
};

/* Words of pcap-filter(7) that speak of the link layer. Compiled for raw IP they would quietly mean
 * "no packet", or other bytes. */
static const char *const link_words[] = {
    "aarp",     "arp",     "atalk",  "clnp",    "csnp", "decnet", "es-is", "esis", "ether",
    "fddi",     "gateway", "iih",    "inbound", "ipx",  "is-is",  "isis",  "iso",  "l1",
    "l2",       "lat",     "link",   "llc",     "lsp",  "mopdl",  "moprc", "mpls", "netbeui",
    "outbound", "ppp",     "pppoed", "pppoes",  "psnp", "radio",  "rarp",  "sca",  "slip",
    "snp",      "stp",     "tr",     "vlan",    "wlan",
};

static bool is_link_word(const char *word, size_t length) {
    for (size_t i = 0; i < sizeof link_words / sizeof *link_words; i++)
        if (strlen(link_words[i]) == length && memcmp(link_words[i], word, length) == 0)
            return true;
    return false;
}

static bool is_word_byte(char byte) {
    return isalnum((unsigned char)byte) || strchr("_-.:", byte);
}

static bool names_link_layer(const char *expression) {
    while (*expression) {
        size_t length = 0;
        while (expression[length] && is_word_byte(expression[length]))
            length++;
        if (is_link_word(expression, length))
            return true;
        expression += length ? length : 1;
    }
    return false;
}

/* Files and libpcap's compiler number some link types differently. */
static int compiler_link_type(uint32_t link_type) {
    static const struct {
        uint32_t in_files;
        int in_compiler;
    } differing[] = {
        {100, DLT_ATM_RFC1483}, {LINK_TYPE_RAW, DLT_RAW}, {102, DLT_SLIP_BSDOS},
        {103, DLT_PPP_BSDOS},   {106, DLT_ATM_CLIP},
    };
    for (size_t i = 0; i < sizeof differing / sizeof *differing; i++)
        if (differing[i].in_files == link_type)
            return differing[i].in_compiler;
    return (int)link_type;
}

static bool compile(const char *expression, int link_type, struct bpf_program *program,
                    char error[MB_ERROR_SIZE]) {
    pcap_t *handle = pcap_open_dead(link_type, SNAP_LENGTH);
    if (!handle) {
        snprintf(error, MB_ERROR_SIZE, "no memory");
        return false;
    }
    const bool compiled = pcap_compile(handle, program, expression, 1, PCAP_NETMASK_UNKNOWN) == 0;
    if (!compiled)
        snprintf(error, MB_ERROR_SIZE, "%s", pcap_geterr(handle));
    pcap_close(handle);
    return compiled;
}

static bool compile_both(struct mb_filter *filter, const char *expression, uint32_t link_type,
                         char error[MB_ERROR_SIZE]) {
    char frame_error[MB_ERROR_SIZE];
    char network_error[MB_ERROR_SIZE];
    const bool for_frame =
        compile(expression, compiler_link_type(link_type), &filter->frame, frame_error);
    const bool for_network = !names_link_layer(expression) &&
                             compile(expression, DLT_RAW, &filter->network, network_error);
    if (for_network && mb_filter_looks_at_flow_only(&filter->network, &filter->is_per_flow) != 0) {
        snprintf(error, MB_ERROR_SIZE, "no memory");
        return false;
    }
    if (!for_frame && !for_network)
        memcpy(error, frame_error, MB_ERROR_SIZE);
    return for_frame || for_network;
}

struct mb_filter *mb_filter_compile(const char *expression, uint32_t link_type,
                                    char error[MB_ERROR_SIZE]) {
    struct mb_filter *filter = calloc(1, sizeof *filter);
    if (!filter) {
        snprintf(error, MB_ERROR_SIZE, "no memory");
        return NULL;
    }
    if (compile_both(filter, expression, link_type, error))
        return filter;
    mb_filter_destroy(filter);
    return NULL;
}

void mb_filter_destroy(struct mb_filter *filter) {
    if (!filter)
        return;
    pcap_freecode(&filter->network);
    pcap_freecode(&filter->frame);
    free(filter);
}

bool mb_filter_is_per_flow(const struct mb_filter *filter) {
    return filter->is_per_flow;
}

static bool run(const struct bpf_program *program, const uint8_t *bytes, uint32_t length,
                uint32_t wire_length) {
    const struct pcap_pkthdr header = {.caplen = length, .len = wire_length};
    return program->bf_len && pcap_offline_filter(program, &header, bytes) != 0;
}

bool mb_filter_match(const struct mb_filter *filter, const uint8_t *frame, uint32_t frame_length,
                     uint32_t wire_length, const uint8_t *network, uint32_t network_length) {
    if (network && filter->network.bf_len)
        return run(&filter->network, network, network_length, wire_length);
    return run(&filter->frame, frame, frame_length, wire_length);
}
