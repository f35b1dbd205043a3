/* What a fuzz target and the program that drives it agree on: the names are libFuzzer's. */
#ifndef MMREC_TESTS_FUZZ_H
#define MMREC_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The target: must accept any bytes. Breaks a rule -> FUZZ_CHECK stops the program. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One random change within `capacity` bytes; returns the new size. Given by the driver. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);

/* A target may change its inputs itself, to keep them whole enough to get past the first check. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);

/* A rule that must hold for every input. abort, so that any driver notices and keeps the input. */
#define FUZZ_CHECK(rule)                                                                                               \
    do {                                                                                                               \
        if (!(rule)) {                                                                                                 \
            (void)fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #rule);                                   \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
