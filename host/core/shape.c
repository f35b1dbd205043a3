/* Element types and shapes. */
#include "mmrec/shape.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[MMREC_DTYPES] = {
    [MMREC_F32] = {"f32", 4}, [MMREC_F64] = {"f64", 8}, [MMREC_I32] = {"i32", 4}, [MMREC_BF16] = {"bf16", 2}};

size_t mmrec_dtype_bytes(mmrec_dtype dtype) { return (unsigned)dtype < MMREC_DTYPES ? dtypes[dtype].bytes : 0; }

const char *mmrec_dtype_name(mmrec_dtype dtype) { return (unsigned)dtype < MMREC_DTYPES ? dtypes[dtype].name : "?"; }

bool mmrec_shape_valid(const mmrec_shape *s) {
    if (s->ndim < 0 || s->ndim > MMREC_MAX_DIMS) return false;
    int64_t elements = 1;
    for (int i = 0; i < s->ndim; i++) {
        if (s->dim[i] <= 0 || __builtin_mul_overflow(elements, s->dim[i], &elements)) return false;
    }
    return elements < INT64_C(1) << 62;
}

bool mmrec_shape_equal(const mmrec_shape *a, const mmrec_shape *b) {
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++) {
        if (a->dim[i] != b->dim[i]) return false;
    }
    return true;
}

const char *mmrec_shape_text(const mmrec_shape *s, char *text, size_t size) {
    char whole[MMREC_MAX_DIMS * 24 + 3] = "("; /* a 64-bit number has at most 20 characters, a separator 2 */
    size_t used = 1;
    for (int i = 0; i < s->ndim && i < MMREC_MAX_DIMS; i++) {
        used += (size_t)snprintf(whole + used, sizeof whole - used, "%s%lld", i > 0 ? ", " : "", (long long)s->dim[i]);
    }
    whole[used] = ')';
    if (size > 0) (void)snprintf(text, size, "%s", whole);
    return size > 0 ? text : "";
}

uint16_t mmrec_bf16_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x0040u); /* quiet, so never cut to Inf */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

float mmrec_bf16_to_float(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}
