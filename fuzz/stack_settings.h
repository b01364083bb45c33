/*
 * Settings that a target's input chooses, so that each policy meets each kind of traffic. An input
 * begins with them; all zeros are the defaults.
 */
#ifndef MICROBOX_FUZZ_STACK_SETTINGS_H
#define MICROBOX_FUZZ_STACK_SETTINGS_H

#include "microbox/stack/stack.h"

enum { STACK_SETTINGS_FORCED_SHIFT = 21 };

/* Each byte holds several choices, as digits of different bases, the first one lowest. */
struct stack_settings {
    uint8_t at_caps; /* flows, held segments, fragments: enum mb_cap_policy each */
    uint8_t forced;  /* the chance of each cap to be met, in 2,048ths */
    uint8_t hosts;   /* overlaps: 7 choices, 0 for hosts that nothing is known of; checksums: 3;
                        the urgent byte: 3; whether a handshake is needed: 2 */
    uint8_t judged;  /* of segments: enum mb_judgement; VLANs and tunnels that tell no flows apart:
                        4; whether packets are handled one by one: 2 */
};

static const struct mb_host_network stack_settings_hosts[MB_OVERLAP_POLICIES] = {
#define STACK_SETTINGS_HOST(policy)                                                                \
    [policy] = {.prefix_length = 0, .profile = {policy, policy, 3, 0}}
    STACK_SETTINGS_HOST(MB_OVERLAP_FIRST),   STACK_SETTINGS_HOST(MB_OVERLAP_LAST),
    STACK_SETTINGS_HOST(MB_OVERLAP_BSD),     STACK_SETTINGS_HOST(MB_OVERLAP_LINUX),
    STACK_SETTINGS_HOST(MB_OVERLAP_WINDOWS), STACK_SETTINGS_HOST(MB_OVERLAP_SOLARIS),
#undef STACK_SETTINGS_HOST
};

/* The lowest digit in `base`, taken off. */
static inline unsigned stack_settings_digit(unsigned *digits, unsigned base) {
    unsigned digit = *digits % base;
    *digits /= base;
    return digit;
}

static inline void stack_settings_choose_hosts(struct mb_stack_config *config, unsigned digits) {
    unsigned overlaps = stack_settings_digit(&digits, MB_OVERLAP_POLICIES + 1);
    if (overlaps != 0) {
        config->hosts = &stack_settings_hosts[overlaps - 1];
        config->host_count = 1;
    }
    config->checksums = (enum mb_checksums)stack_settings_digit(&digits, 3);
    config->urgent = (enum mb_urgent_policy)stack_settings_digit(&digits, 3);
    config->needs_handshake = stack_settings_digit(&digits, 2) != 0;
}

static inline void stack_settings_judge(struct mb_stack_config *config,
                                        enum mb_judgement judgement) {
    config->bad_checksum = judgement;
    config->low_ttl = judgement;
    config->unusual_ttl = judgement;
    config->unexpected_signature = judgement;
    config->old_timestamp = judgement;
    config->ack_out_of_window = judgement;
    config->unsent_acknowledgment = judgement;
    config->beyond_window = judgement;
}

static inline void stack_settings_choose(struct mb_stack_config *config,
                                         const struct stack_settings *settings) {
    unsigned digits = settings->at_caps;
    config->flows_at_cap = stack_settings_digit(&digits, MB_CAP_POLICIES);
    config->held_at_cap = stack_settings_digit(&digits, MB_CAP_POLICIES);
    config->fragments_at_cap = stack_settings_digit(&digits, MB_CAP_POLICIES);
    config->force_flows = config->force_held = config->force_fragments =
        (uint32_t)settings->forced << STACK_SETTINGS_FORCED_SHIFT;
    stack_settings_choose_hosts(config, settings->hosts);
    digits = settings->judged;
    stack_settings_judge(config, (enum mb_judgement)stack_settings_digit(&digits, 4));
    config->flow_key_ignores = stack_settings_digit(&digits, 4);
}

/* How many packets are handled in one call. */
static inline size_t stack_settings_batch(const struct stack_settings *settings) {
    return settings->judged / 16 % 2 ? 1 : MB_BATCH;
}

#endif
