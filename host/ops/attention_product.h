/* Products of tiles for the float functions of attention: c = a b, c += a b or c = c carry + a b, with b read in rows
 * of vectors and a one number at a time, along its rows or across them.
 *
 * A register tile is GROUP rows by up to VECTORS vectors of c: 12 sums (AVX2) or 24 (AVX-512), of the 8 that are needed
 * to keep two multiply-adds of 4 cycles a cycle going. A step of the inner index loads VECTORS vectors and GROUP
 * numbers. Nothing is packed for it: the tiles lie as they are made, and are small enough for the second cache.
 *
 * Every result is one chain of multiply-adds in the order of the inner index, then added to what was there. */
#ifndef MMREC_ATTENTION_PRODUCT_H
#define MMREC_ATTENTION_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__AVX512F__)
enum { LANES = 16, VECTORS = 3, GROUP = 8 };
#elif defined(__AVX__)
enum { LANES = 8, VECTORS = 3, GROUP = 4 };
#else
enum { LANES = 4, VECTORS = 2, GROUP = 4 };
#endif

/* Rows of every tile are a multiple of this: a group where only one vector is left. */
enum { LONE_GROUP = 8 };

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), may_alias));
typedef float vec_anywhere __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

static inline vec vec_at(const float *p) { return *(const vec_anywhere *)p; }

/* More than any row: nothing is left out. */
#define NO_DIAGONAL (INT64_MAX / 2)

/* c [rows][columns] from a and b [inner][columns]. Element (r, k) of a lies at r a_stride + k, or at k a_stride + r
 * where it is read across. */
typedef struct product {
    const float *a, *b;
    float *c;
    int64_t a_stride, b_stride, c_stride;
    int64_t rows, inner;
    int64_t shift;      /* row r of a is zero before inner index r - shift: left out */
    const float *carry; /* what a column of c is multiplied by first; NULL: 1 */
    bool add;           /* false: c is overwritten */
} product;

static inline __attribute__((always_inline)) void product_store(const product *x, float *c, int v, vec sum) {
    vec old = vec_at(c + v * LANES);
    if (x->carry) {
        sum += old * vec_at(x->carry + v * LANES);
    } else if (x->add) {
        sum += old;
    }
    *(vec_anywhere *)(c + v * LANES) = sum;
}

/* `group` rows from r on, `vectors` vectors. */
static inline __attribute__((always_inline)) void product_group(const product *x, int64_t r, const bool across,
                                                                const int vectors, const int group) {
    vec sum[VECTORS * LONE_GROUP], right[VECTORS];
    int64_t first = r <= x->shift ? 0 : r - x->shift < x->inner ? r - x->shift : x->inner;
    const int64_t a_stride = x->a_stride, b_stride = x->b_stride;
    const float *a = x->a + (across ? r + first * a_stride : r * a_stride + first), *b = x->b + first * b_stride;
#pragma GCC unroll 24
    for (int i = 0; i < group * vectors; i++) sum[i] = (vec){0};
    for (int64_t k = first; k < x->inner; k++) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) right[v] = vec_at(b + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < group; i++) {
            float left = across ? a[i] : a[i * a_stride];
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) sum[i * vectors + v] += left * right[v];
        }
        a += across ? a_stride : 1;
        b += b_stride;
    }
#pragma GCC unroll 8
    for (int i = 0; i < group; i++) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) product_store(x, x->c + (r + i) * x->c_stride, v, sum[i * vectors + v]);
    }
}

static inline __attribute__((always_inline)) void product_groups(const product *x, const bool across,
                                                                 const int vectors) {
    const int group = vectors == 1 ? LONE_GROUP : GROUP;
    for (int64_t r = 0; r < x->rows; r += group) product_group(x, r, across, vectors, group);
}

/* A product of up to VECTORS vectors of columns. */
static void product_run(const product *x, bool across, int vectors) {
    if (across) {
        if (vectors == 1) product_groups(x, true, 1);
        if (vectors == 2) product_groups(x, true, 2);
        if (vectors == 3) product_groups(x, true, VECTORS);
    } else {
        if (vectors == 1) product_groups(x, false, 1);
        if (vectors == 2) product_groups(x, false, 2);
        if (vectors == 3) product_groups(x, false, VECTORS);
    }
}

#endif
