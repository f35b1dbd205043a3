/* Builds safetensors files byte by byte, right or wrong, for the tests. */
#ifndef MMREC_TESTS_SAFETENSORS_BUILD_H
#define MMREC_TESTS_SAFETENSORS_BUILD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct built {
    unsigned char *bytes;
    size_t size;
} built;

/* A header of `header_size` bytes that says it has `claimed`, and `data_size` bytes 0, 1, 2, ... */
static inline built build_file(uint64_t claimed, const char *header, size_t header_size, size_t data_size) {
    built file = {calloc(1, 8 + header_size + data_size + 1), 8 + header_size + data_size};
    if (!file.bytes) abort();
    for (int i = 0; i < 8; i++) file.bytes[i] = (unsigned char)(claimed >> 8 * i);
    memcpy(file.bytes + 8, header, header_size);
    for (size_t i = 0; i < data_size; i++) file.bytes[8 + header_size + i] = (unsigned char)i;
    return file;
}

#endif
