/* The float forward pass of attention: a thread takes 96 queries of one head and goes through their keys, 96 at a time,
 * with a running maximum and sum per query. Every tile of queries is its own result: any thread may have any. */
#ifndef MMREC_ATTENTION_FORWARD_H
#define MMREC_ATTENTION_FORWARD_H

#include "attention_tile.h"

/* The softmax of a block of queries goes on over the keys that they see: top = the maximum so far, carry = what older
 * sums and results are multiplied by for it, and scores become weights, to be divided by the sum at the end. A query
 * that has seen nothing yet keeps -infinity and has nothing to carry. */
static void weigh_block(const tile *t, const tile_block *block) {
    row_vec top[VECTORS], from[VECTORS], carry[VECTORS], sum[VECTORS];
    int64_t c = block->first, seen = block->keys;
    for (int v = 0; v < VECTORS; v++) top[v] = row_at(t->top + c + v * LANES);
    for (int v = 0; v < VECTORS; v++) carry[v] = top[v];
    for (int64_t j = 0; j < seen; j++) {
        const float *score = t->weights + j * QUERIES + c;
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) top[v] = row_larger(row_at(score + v * LANES), top[v]);
    }
    for (int v = 0; v < VECTORS; v++) {
        from[v] = row_larger(top[v], (row_vec){0} - FLT_MAX);
        carry[v] -= from[v];
    }
    row_exp_below(carry, VECTORS);
    for (int v = 0; v < VECTORS; v++) sum[v] = row_at(t->sum + c + v * LANES) * carry[v];
    for (int64_t j = 0; j < seen; j++) {
        float *weight = t->weights + j * QUERIES + c;
        row_vec e[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) e[v] = row_at(weight + v * LANES) - from[v];
        row_exp_below(e, VECTORS);
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) {
            row_put(weight + v * LANES, e[v], false);
            sum[v] += e[v];
        }
    }
    for (int v = 0; v < VECTORS; v++) {
        row_put(t->top + c + v * LANES, top[v], false);
        row_put(t->carry + c + v * LANES, carry[v], false);
        row_put(t->sum + c + v * LANES, sum[v], false);
    }
}

/* ctx and logsum of a tile of queries. Where nothing was seen both are NaN. */
static void finish_queries(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
    fetch_rows(&call->out[0], x->query + at->first_query, x, at->queries);
    for (int64_t c = 0; c < at->queries; c++) {
        float *restrict ctx = head_row(&call->out[0], x->query + at->first_query + c, x);
        float inverse = 1.0f / t->sum[c];
        for (int64_t d = 0; d < x->width; d++) ctx[d] = t->mixed_down[d * QUERIES + c] * inverse;
    }
    if (!call->saved[0].data) return;
    float *logsum = view_row(&call->saved[0], x->pair) + at->first_query;
    for (int64_t c = 0; c < at->queries; c++) logsum[c] = t->sum[c] > 0.0f ? t->top[c] + logf(t->sum[c]) : NAN;
}

static void start_queries(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
    turn_rows(t->query_down, &call->in[IN_QUERY], x->query + at->first_query, x, at->queries,
              (float)score_scale(call->sizes));
    memset(t->mixed_down, 0, (size_t)(t->padded * QUERIES) * sizeof(float));
    for (int64_t c = 0; c < QUERIES; c++) {
        t->top[c] = -INFINITY;
        t->sum[c] = 0;
        t->carry[c] = 0; /* of the columns behind the last query too */
    }
}

static void attend_tile(const mmrec_op_call *call, const head_place *x, const tile *t, int64_t first) {
    tile_place at = {.first_query = first, .queries = fast_min(QUERIES, MMREC_SIZE(call->sizes, T) - first)};
    bool drops = call->sizes->attr[ATTR_P] > 0;
    start_queries(call, x, t, &at);
    while (next_keys(call->sizes, MMREC_SIZE(call->sizes, M), &at)) {
        load_rows(t->keys, t->padded, &call->in[IN_KEY], x->key + at.first_key, x, at.keys);
        load_rows(t->values, t->padded, &call->in[IN_VALUE], x->key + at.first_key, x, at.keys);
        if (drops) draw_mask(call, x, t, &at);
        for (tile_block block = {0}; next_block(&at, &block);) {
            multiply_pairs(t, &block, t->keys, t->query_down, x->width, t->weights);
            hide_pairs(call, x, &at, &block, t->weights, -INFINITY);
            weigh_block(t, &block);
            if (drops) apply_mask(t, &at, &block, t->weights);
            multiply_down(t, &block, t->values, t->weights, x->width, t->carry, t->mixed_down);
        }
    }
    finish_queries(call, x, t, &at);
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t heads = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, H), width = MMREC_SIZE(sizes, D) / MMREC_SIZE(sizes, H);
    int64_t tiles = fast_blocks(MMREC_SIZE(sizes, T), QUERIES), floats = tile_floats(width, false);
#pragma omp parallel for num_threads(sizes->threads) schedule(dynamic) if (worth_threads(sizes))
    for (int64_t i = 0; i < heads * tiles; i++) {
        tile t = tile_of((float *)call->scratch + omp_get_thread_num() * floats, width, false);
        head_place x = head_place_of(sizes, i / tiles);
        attend_tile(call, &x, &t, (tiles - 1 - i % tiles) * QUERIES); /* long causal ones first */
    }
    return MMREC_OK;
}

#endif
