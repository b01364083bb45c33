#include "microbox/stack/module.h"

#include "microbox/stack/modules/modules.h"

const struct mb_module *const mb_modules[MB_MODULES] = {
    &mb_module_tcp_monitor, &mb_module_tcp_stream, &mb_module_udp, &mb_module_icmp, &mb_module_flow,
};

/* Producers, as types.def names them. What NFs, parsers and the core itself publish needs no
 * module: who publishes it subscribes to what it needs. */
enum {
    PRODUCER_abstract = 0,
    PRODUCER_core = 0,
    PRODUCER_worker = 0,
    PRODUCER_nf = 0,
    PRODUCER_parser_http = 0,
    PRODUCER_parser_tls = 0,
    PRODUCER_parser_dns = 0,
    PRODUCER_tcp_monitor = MB_MODULE_TCP_MONITOR,
    PRODUCER_tcp_stream = MB_MODULE_TCP_STREAM | MB_MODULE_TCP_MONITOR,
    PRODUCER_udp = MB_MODULE_UDP,
    PRODUCER_icmp = MB_MODULE_ICMP,
    PRODUCER_flow = MB_MODULE_FLOW
};

static const uint16_t type_modules[MB_TYPES_BUILT_IN] = {
#define EVENT(symbol, name, parent, payload, producer, sentence)                                   \
    [MB_TYPE_##symbol] = PRODUCER_##producer,
#include "microbox/events/types.def"
#undef EVENT
};

uint32_t mb_modules_of_type(uint16_t type) {
    return type < MB_TYPES_BUILT_IN ? type_modules[type] : 0;
}
