/* Products over all rows at once, [B T, D] x [D, D], with the panels and register tiles of the time step: U z, the
 * block gate's sums in the backward pass, and U^T (M g). The tiles run at 1.1 times OpenBLAS's sgemm on Zen 4, with
 * AVX512-BF16 at 2.2 times, and the state before each row is read where it lies.
 *
 * Threads share the panels and split the rows; each turns ROW_CHUNK rows at a time into state rows of its own. */
#ifndef MMREC_RECURRENCE_ROWS_H
#define MMREC_RECURRENCE_ROWS_H

#include "recurrence_step.h"

/* A panel is read from beyond the second-level cache once per chunk: 32 rows make that a byte for 8 multiply-adds. */
enum { ROW_CHUNK = 4 * ROWS };

typedef struct rows_product {
    stepper stepper; /* its batch is the size of the chunk at hand */
    precision precision;
    int64_t rows, width;
    float *panels, *chunks; /* chunks: ROW_CHUNK state rows per thread */
    const float *(*source)(const void *run, int64_t row);
    const void *run;
    mmrec_view to; /* one row of sums per row */
    bool add;
} rows_product;

static inline int64_t row_panels(int64_t width) { return divide_up(width, 2 * LANES); }
static inline int64_t row_chunk_floats(int64_t width, int threads) { return threads * ROW_CHUNK * state_words(width); }

static rows_product rows_start(const mmrec_op_call *call, precision p, float *panels, float *chunks) {
    rows_product product;
    int64_t width = MMREC_SIZE(call->sizes, D), depth = depth_words(width, p);
    stepper s = {product_for(p), panels, depth * 2 * LANES, state_words(width), depth, row_panels(width), 0};
    product.stepper = s;
    product.precision = p;
    product.rows = MMREC_SIZE(call->sizes, B) * MMREC_SIZE(call->sizes, T);
    product.width = width;
    product.panels = panels;
    product.chunks = chunks;
    product.add = false;
    return product;
}

/* Panels of this thread: the first D columns of `weight`, transposed for sums over its columns, as it is for sums over
 * its rows. */
static void rows_pack(const rows_product *product, const mmrec_view *weight, bool over_columns, int thread,
                      int threads) {
    range own = panels_of(&product->stepper, thread, threads);
    for (int64_t panel = own.first; panel < own.end; panel++) {
        float *to = product->panels + panel * product->stepper.panel_words;
        int64_t unit = panel * 2 * LANES;
        if (over_columns) {
            pack_turned(to, 0, weight, 0, unit, product->width, product->precision);
            pack_turned(to, 1, weight, 0, unit + LANES, product->width, product->precision);
        } else {
            pack_rows(to, weight, 0, unit, product->width, product->precision);
        }
    }
}

/* A tile's place counts rows from `t`, the first row of the chunk. */
static void rows_prepare(const void *context, const place *at) {
    const rows_product *product = context;
    int64_t unit = 2 * at->panel * LANES;
    for (int r = 0; r < at->rows; r++) __builtin_prefetch(view_row(&product->to, at->t + at->row + r) + unit, 1);
}

static void rows_finish(const void *context, const place *at, const vec *sums) {
    const rows_product *product = context;
    for (int v = 0; v < 2 * at->blocks; v++) {
        int64_t unit = (2 * at->panel + v) * LANES, count = product->width - unit;
        if (count <= 0) return;
        for (int r = 0; r < at->rows; r++) {
            float *to = view_row(&product->to, at->t + at->row + r) + unit;
            vec_deliver(to, sums[v * at->rows + r], count, product->add);
        }
    }
}

/* Rows [first, first + count) of the source into state rows. */
static void rows_load(const rows_product *product, int64_t first, int64_t count, float *chunk) {
    for (int64_t i = 0; i < count; i++) {
        const float *from = product->source(product->run, first + i);
        for (int64_t unit = 0; unit < product->width; unit += LANES) {
            vec value = vec_load(from + unit, product->width - unit);
            state_store(chunk + i * product->stepper.row_words, unit, value, product->precision);
        }
    }
}

/* The panels are packed when it begins and free again when it returns. */
static void rows_run(const rows_product *product, team_sync *team, int thread, int threads) {
    const tile_actions actions = {rows_prepare, rows_finish};
    stepper s = product->stepper;
    range all = {0, s.panel_count};
    float *chunk = product->chunks + thread * ROW_CHUNK * s.row_words;
    int64_t end = product->rows * (thread + 1) / threads;
    team_meet(team, threads);
    for (int64_t first = product->rows * thread / threads; first < end; first += ROW_CHUNK) {
        s.batch = end - first < ROW_CHUNK ? end - first : ROW_CHUNK;
        rows_load(product, first, s.batch, chunk);
        step_range(&s, all, chunk, s.depth, first, &actions, product);
    }
    team_meet(team, threads);
}

#endif
