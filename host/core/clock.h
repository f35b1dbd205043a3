/* The one clock of mmrec: monotonic and not slewed by the network, so that a second is a second. */
#ifndef MMREC_CORE_CLOCK_H
#define MMREC_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t core_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
