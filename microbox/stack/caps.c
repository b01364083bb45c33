#include "microbox/stack/caps.h"

#include "microbox/stack/core.h"

/* splitmix64: each bit of the result depends on each bit of `word`. */
static uint64_t mixed(uint64_t word) {
    word += UINT64_C(0x9e3779b97f4a7c15);
    word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
    return word ^ word >> 31;
}

/* By the packet's number, so that which packets are concerned does not depend on how they were
 * batched or on what was drawn before. */
bool mb_cap_is_forced(struct mb_stack *stack, enum mb_cap cap) {
    uint32_t chance = stack->caps[cap].forced;
    if (chance == 0)
        return false;
    uint64_t drawn = mixed(mixed(stack->config.force_seed + cap) ^ stack->cause.packet);
    if (drawn >> 32 >= chance)
        return false;
    stack->counters.caps_forced++;
    return true;
}

enum mb_cap_policy mb_cap_met(struct mb_stack *stack, enum mb_cap cap) {
    enum mb_cap_policy policy = stack->caps[cap].policy;
    stack->counters.caps_met[cap][policy]++;
    return policy;
}
