/* Tiles of attention for the float functions: 96 queries by 96 keys. A thread works on one at a time, in memory that
 * does not grow with T or M: 169 KiB forward and 302 KiB backward at a head width of 64, for the second cache.
 *
 * Weights lie with the keys as rows and the queries as columns. So the softmax of 96 queries runs over vectors of
 * queries, without a sum across a vector, and every product finds both factors as they lie:
 *
 *   scores  [keys][queries]   = keys [keys][width]            x query_down [width][queries]
 *   ctx     [width][queries] += values, read across [width]   x weights    [keys][queries]
 *   dkey    [keys][width]    += weights [keys][queries]       x query      [queries][width]
 *
 * "down": columns are queries. Only queries are turned (once a tile, for all keys). Rows of keys and values are copied
 * one by one, since rows 2 KiB apart would share eight sets of the first cache.
 * Sizes are rounded up to whole vectors and groups of rows: rows behind the end are zero in what is read as a factor
 * and never delivered. */
#ifndef MMREC_ATTENTION_TILE_H
#define MMREC_ATTENTION_TILE_H

#include "attention_product.h"
#include "fast_row.h"

/* Multiples of VECTORS * LANES in every instruction set and of LONE_GROUP. */
enum { QUERIES = 96, KEYS = 96 };
/* Queries whose vectors are in registers together. Of the last ones a tile's memory may hold more than it has: columns
 * of any content that nobody reads. */
enum { BLOCK = VECTORS * LANES };

/* A thread's memory. */
typedef struct tile {
    int64_t padded; /* floats of a row as wide as the head, a multiple of 16 */
    float *query_down, *mixed_down, *keys, *values, *weights, *keep;
    float *top, *sum, *carry;                                           /* forward: a number a query */
    float *query, *dctx, *dctx_down, *dweights, *part, *logsum, *inner; /* backward */
} tile;

static int64_t tile_padded(int64_t width) { return (width + 15) / 16 * 16; }

/* Floats of a thread: blocks as wide as the head, blocks of weights, and numbers of queries. */
static int64_t tile_floats(int64_t width, bool backward) {
    int64_t block = QUERIES * tile_padded(width), weights = QUERIES * KEYS;
    return backward ? 8 * block + 3 * weights + 5 * QUERIES : 4 * block + 2 * weights + 3 * QUERIES;
}

static float *tile_take(float **from, int64_t floats) {
    float *at = *from;
    *from += floats;
    return at;
}

static tile tile_of(float *memory, int64_t width, bool backward) {
    tile t = {.padded = tile_padded(width)};
    int64_t block = QUERIES * t.padded, weights = QUERIES * KEYS;
    t.query_down = tile_take(&memory, block);
    t.mixed_down = tile_take(&memory, block);
    t.keys = tile_take(&memory, block);
    t.values = tile_take(&memory, block);
    t.weights = tile_take(&memory, weights);
    t.keep = tile_take(&memory, weights);
    t.top = tile_take(&memory, QUERIES);
    t.sum = tile_take(&memory, QUERIES);
    t.carry = tile_take(&memory, QUERIES);
    if (!backward) return t;
    t.query = tile_take(&memory, block);
    t.dctx = tile_take(&memory, block);
    t.dctx_down = tile_take(&memory, block);
    t.part = tile_take(&memory, block);
    t.dweights = tile_take(&memory, weights);
    t.logsum = tile_take(&memory, QUERIES);
    t.inner = tile_take(&memory, QUERIES);
    return t;
}

/* Where a tile lies: `queries` queries from `first_query` on, `keys` keys from `first_key` on; query c sees the keys
 * 0 .. c + shift of the tile. */
typedef struct tile_place {
    int64_t first_query, queries, first_key, keys, shift;
} tile_place;

static int64_t round_up(int64_t count, int64_t unit) { return fast_blocks(count, unit) * unit; }

/* A block of queries of the tile: `vectors` vectors from query `first` on, `end` behind the last, which see `keys`
 * keys. */
typedef struct tile_block {
    int64_t first, end, keys;
    int vectors;
} tile_block;

/* The blocks of a tile, one after the other: `block` begins as zeros. What is done to the scores of one is done before
 * the next, while its 9 KiB are in the first cache: 4 % of the forward pass. */
static bool next_block(const tile_place *at, tile_block *block) {
    block->first = block->end;
    block->end = fast_min(block->first + BLOCK, at->queries);
    block->keys = block->end > at->keys - at->shift ? at->keys : block->end + at->shift;
    block->vectors = (int)fast_blocks(block->end - block->first, LANES);
    return block->vectors > 0;
}

/* The first query of a block that sees key j of the tile. */
static int64_t first_seeing(const tile_place *at, const tile_block *block, int64_t j) {
    int64_t first = j - at->shift;
    return first <= block->first ? block->first : fast_min(first, block->end);
}

/* Copies rows of a head, zeros behind them up to whole groups and vectors. */
static void load_rows(float *to, int64_t padded, const mmrec_view *from, int64_t row, const head_place *x,
                      int64_t count) {
    for (int64_t r = 0; r < round_up(count, LONE_GROUP); r++) {
        float *restrict at = to + r * padded;
        int64_t width = r < count ? x->width : 0;
        if (width) memcpy(at, head_row(from, row + r, x), (size_t)width * sizeof *at);
        for (int64_t d = width; d < padded; d++) at[d] = 0;
    }
}

static void scale_rows(float *restrict rows, int64_t count, float scale) {
    for (int64_t i = 0; i < count; i++) rows[i] *= scale;
}

/* Sends for rows of a head: a loop that turns them, one after the other, would wait for each. */
static void fetch_rows(const mmrec_view *view, int64_t row, const head_place *x, int64_t count) {
    for (int64_t r = 0; r < count; r++) {
        for (int64_t d = 0; d < x->width; d += ROW_LINE) __builtin_prefetch(head_row(view, row + r, x) + d);
    }
}

/* Turns `count` rows into columns of `down`, times a factor; columns behind them up to a whole vector are zero. */
static void turn_rows(float *restrict down, const mmrec_view *from, int64_t row, const head_place *x, int64_t count,
                      float scale) {
    fetch_rows(from, row, x, count);
    for (int64_t c = 0; c < count; c++) {
        const float *restrict at = head_row(from, row + c, x);
        for (int64_t d = 0; d < x->width; d++) down[d * QUERIES + c] = scale * at[d];
    }
    for (int64_t d = 0; d < x->width; d++) {
        for (int64_t c = count; c < round_up(count, LANES); c++) down[d * QUERIES + c] = 0;
    }
}

/* to [keys][queries] = rows [keys][width] down [width][queries], for the keys that the block sees. */
static void multiply_pairs(const tile *t, const tile_block *block, const float *rows, const float *down, int64_t width,
                           float *to) {
    product x = {.a = rows, .b = down + block->first, .c = to + block->first};
    x.a_stride = t->padded;
    x.b_stride = x.c_stride = QUERIES;
    x.rows = round_up(block->keys, LONE_GROUP);
    x.inner = width;
    x.shift = NO_DIAGONAL;
    product_run(&x, false, block->vectors);
}

/* to [width][queries] = to carry + rows^T [width][keys] weights [keys][queries]. */
static void multiply_down(const tile *t, const tile_block *block, const float *rows, const float *weights,
                          int64_t width, const float *carry, float *to) {
    product x = {.a = rows, .b = weights + block->first, .c = to + block->first};
    x.a_stride = t->padded;
    x.b_stride = x.c_stride = QUERIES;
    x.rows = round_up(width, LONE_GROUP);
    x.inner = block->keys;
    x.shift = NO_DIAGONAL;
    x.carry = carry ? carry + block->first : NULL;
    x.add = true;
    product_run(&x, true, block->vectors);
}

/* to [keys][width], rows `stride` apart, = weights [keys][queries] rows [queries][width]; with `add` added to what is
 * there. The vectors of a row are shared out evenly: 8 are 3, 3 and 2, but 4 are 2 and 2. */
static void multiply_rows(const tile *t, const tile_place *at, const float *weights, const float *rows, int64_t width,
                          float *to, int64_t stride, bool add) {
    int64_t left = fast_blocks(width, LANES), d = 0;
    for (int64_t parts = fast_blocks(left, VECTORS); parts > 0; parts--) {
        int64_t vectors = fast_blocks(left, parts);
        product x = {.a = weights, .b = rows + d, .c = to + d, .a_stride = QUERIES, .b_stride = t->padded};
        x.c_stride = stride;
        x.rows = round_up(at->keys, LONE_GROUP);
        x.inner = at->queries;
        x.shift = at->shift;
        x.add = add;
        product_run(&x, false, (int)vectors);
        left -= vectors;
        d += vectors * LANES;
    }
}

/* The factor of every weight of the tile, 0 or 1 / (1 - p), to `keep`. */
static void draw_mask(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
    mask m = mask_of(call, ATTR_P);
    for (int64_t c = 0; c < at->queries; c++) {
        float drawn[KEYS];
        for (int64_t j = 0; j < at->keys; j++) drawn[j] = 1.0f;
        mask_span(&m, weight_number(call->sizes, x, at->first_query + c) + at->first_key, at->keys, drawn);
        for (int64_t j = 0; j < at->keys; j++) t->keep[j * QUERIES + c] = drawn[j];
    }
}

/* rows [keys][queries] *= keep. */
static void apply_mask(const tile *t, const tile_place *at, const tile_block *block, float *rows) {
    for (int64_t j = 0; j < at->keys; j++) {
        float *restrict row = rows + j * QUERIES;
        const float *restrict keep = t->keep + j * QUERIES;
        for (int64_t c = first_seeing(at, block, j); c < block->end; c++) row[c] *= keep[c];
    }
}

/* Sets what rows [keys][queries] hold of pairs that do not meet. */
static void hide_pairs(const mmrec_op_call *call, const head_place *x, const tile_place *at, const tile_block *block,
                       float *rows, float value) {
    if (!call->in[IN_VISIBLE].data && first_seeing(at, block, at->keys - 1) == block->first) return;
    for (int64_t j = 0; j < at->keys; j++) {
        int64_t first = key_hidden(call, x, at->first_key + j) ? block->end : first_seeing(at, block, j);
        for (int64_t c = block->first; c < first; c++) rows[j * QUERIES + c] = value;
    }
}

/* The tiles of keys that a tile of queries meets, one after the other: `at` begins before the first. */
static bool next_keys(const mmrec_op_sizes *sizes, int64_t end, tile_place *at) {
    at->first_key += at->keys;
    if (is_causal(sizes)) end = fast_min(end, at->first_query + at->queries);
    at->keys = fast_min(KEYS, end - at->first_key);
    at->shift = is_causal(sizes) ? at->first_query - at->first_key : NO_DIAGONAL;
    return at->keys > 0;
}

#endif
