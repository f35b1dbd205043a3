/* Element types, shapes and views: how a block of memory is read.
 *
 * Layout is written last-fastest, (B, T, D). Every tensor is a matrix to the ops: the leading axes are rows, the last
 * axis is a row's columns, and `stride` elements lie between the starts of two rows. A slice of columns of a wider
 * tensor is therefore a view without a copy.
 *
 * The letters used for axes everywhere:
 *   B batch   T time   D model width   H heads   K width per head   V vocabulary   L layers
 *   S memory slots   P positional width   R low rank   F feed-forward width   I inner width of the decay networks */
#ifndef MMREC_SHAPE_H
#define MMREC_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_dtype { MMREC_F32, MMREC_F64, MMREC_I32, MMREC_BF16, MMREC_DTYPES } mmrec_dtype;

enum { MMREC_MAX_DIMS = 4 };

typedef struct mmrec_shape {
    int ndim; /* 0: a scalar, one element */
    int64_t dim[MMREC_MAX_DIMS];
} mmrec_shape;

typedef struct mmrec_view {
    void *data; /* NULL: absent */
    mmrec_dtype dtype;
    mmrec_shape shape;
    int64_t stride; /* elements from one row to the next, >= columns */
} mmrec_view;

/* Bytes of one element, and "f32", "f64", "i32", "bf16". */
size_t mmrec_dtype_bytes(mmrec_dtype dtype);
const char *mmrec_dtype_name(mmrec_dtype dtype);

/* Shape of 1 to 3 axes. */
static inline mmrec_shape mmrec_shape1(int64_t a) {
    mmrec_shape s = {1, {a, 0, 0, 0}};
    return s;
}
static inline mmrec_shape mmrec_shape2(int64_t a, int64_t b) {
    mmrec_shape s = {2, {a, b, 0, 0}};
    return s;
}
static inline mmrec_shape mmrec_shape3(int64_t a, int64_t b, int64_t c) {
    mmrec_shape s = {3, {a, b, c, 0}};
    return s;
}

/* Elements, columns (last axis; 1 for a scalar) and rows (all other axes). Dims are positive and the product fits
 * 62 bits: mmrec_shape_valid says so, and the graph refuses any other shape. */
static inline int64_t mmrec_shape_columns(const mmrec_shape *s) { return s->ndim > 0 ? s->dim[s->ndim - 1] : 1; }
static inline int64_t mmrec_shape_rows(const mmrec_shape *s) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < s->ndim; i++) rows *= s->dim[i];
    return rows;
}
static inline int64_t mmrec_shape_elements(const mmrec_shape *s) {
    return mmrec_shape_rows(s) * mmrec_shape_columns(s);
}
bool mmrec_shape_valid(const mmrec_shape *s);
bool mmrec_shape_equal(const mmrec_shape *a, const mmrec_shape *b);

/* Writes "(2, 9, 32)" into `text`, always terminated; returns `text`. */
const char *mmrec_shape_text(const mmrec_shape *s, char *text, size_t size);

/* A dense view of `data`. */
static inline mmrec_view mmrec_view_dense(void *data, mmrec_dtype dtype, mmrec_shape shape) {
    mmrec_view v = {data, dtype, shape, 0};
    v.stride = mmrec_shape_columns(&shape);
    return v;
}

/* bfloat16 <-> float: round to nearest even; NaN stays NaN. */
uint16_t mmrec_bf16_from_float(float value);
float mmrec_bf16_to_float(uint16_t value);

/* Element i of memory that holds `dtype`, as a double; writing rounds to the type, and cuts a number to an id. */
static inline double mmrec_element_get(mmrec_dtype dtype, const void *memory, int64_t i) {
    if (dtype == MMREC_F64) return ((const double *)memory)[i];
    if (dtype == MMREC_F32) return (double)((const float *)memory)[i];
    if (dtype == MMREC_BF16) return (double)mmrec_bf16_to_float(((const uint16_t *)memory)[i]);
    return (double)((const int32_t *)memory)[i];
}
static inline void mmrec_element_set(mmrec_dtype dtype, void *memory, int64_t i, double value) {
    if (dtype == MMREC_F64)
        ((double *)memory)[i] = value;
    else if (dtype == MMREC_F32)
        ((float *)memory)[i] = (float)value;
    else if (dtype == MMREC_BF16)
        ((uint16_t *)memory)[i] = mmrec_bf16_from_float((float)value);
    else
        ((int32_t *)memory)[i] = (int32_t)value;
}

#ifdef __cplusplus
}
#endif
#endif
