/*
 * A fuzz target on inputs made by chance, the same in each run: it is built and does not fail where
 * nobody fuzzes.
 */
#include <stddef.h>
#include <stdint.h>

enum { INPUTS = 400, LONGEST = 2048 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t chance(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

int main(void) {
    static uint8_t input[LONGEST];
    uint64_t state = 1;
    for (unsigned i = 0; i < INPUTS; i++) {
        const size_t size = chance(&state) % LONGEST;
        const uint8_t mask = (uint8_t)(0xff >> i % 8); /* small numbers meet more often */
        for (size_t at = 0; at < size; at++)
            input[at] = (uint8_t)chance(&state) & mask;
        if (LLVMFuzzerTestOneInput(input, size) != 0)
            return 1;
    }
    return 0;
}
