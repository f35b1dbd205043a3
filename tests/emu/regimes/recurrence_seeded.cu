/* The kernels of the recurrence with an exchange that the test can break. */
#include "recurrence_case.h"
#include "simt.h"

test_break test_broken = TEST_WHOLE;

static bool lost() { return test_broken == TEST_LOSES && blockIdx.x == 1 && threadIdx.x == 0; }

static inline void seeded_store_word(uint64_t *at, uint64_t word) {
    if (!lost()) simt_store_word(at, test_broken == TEST_FLIPS_WORD ? word ^ 0x10000u : word);
}
template <typename T> static inline void seeded_store_async(T *peer, T value, simt_mbarrier *peers) {
    if (!lost()) simt_store_async(peer, test_broken == TEST_FLIPS_ASYNC ? value ^ 0x10000u : value, peers);
}
#define simt_store_word seeded_store_word
#define simt_store_async seeded_store_async
#include "recurrence.cu"
