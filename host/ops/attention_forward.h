/* The float forward pass of attention: a thread takes 96 queries of one head and goes through their keys, 96 at a time,
 * with a running maximum and sum per query. Every tile of queries is its own result: any thread may have any. */
#ifndef MMREC_ATTENTION_FORWARD_H
#define MMREC_ATTENTION_FORWARD_H

#include "attention_tile.h"

/* top = the maximum so far, carry = what older sums and results are multiplied by for it. A query that has seen nothing
 * yet keeps -infinity and has nothing to carry. */
static void raise_top(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
    float *restrict top = t->top, *restrict carry = t->carry;
    memcpy(carry, top, (size_t)at->queries * sizeof *carry);
    for (int64_t j = 0; j < at->keys; j++) {
        const float *restrict score = t->weights + j * QUERIES;
        for (int64_t c = first_query_of(call, x, at, j); c < at->queries; c++) {
            top[c] = score[c] > top[c] ? score[c] : top[c];
        }
    }
    for (int64_t c = 0; c < at->queries; c++) {
        float from = top[c] == -INFINITY ? 0.0f : top[c];
        carry[c] = fast_expf(carry[c] - from);
    }
}

/* Scores become weights, to be divided by the sum at the end. */
static void take_weights(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
    float *restrict sum = t->sum;
    const float *restrict top = t->top, *restrict carry = t->carry;
    for (int64_t c = 0; c < at->queries; c++) sum[c] *= carry[c];
    for (int64_t j = 0; j < at->keys; j++) {
        float *restrict weight = t->weights + j * QUERIES;
        int64_t first = first_query_of(call, x, at, j);
        for (int64_t c = 0; c < first; c++) weight[c] = 0;
        for (int64_t c = first; c < at->queries; c++) {
            float w = fast_exp_belowf(weight[c] - top[c]);
            weight[c] = w;
            sum[c] += w;
        }
    }
}

/* ctx and logsum of a tile of queries. Where nothing was seen both are NaN. */
static void finish_queries(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
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
    start_queries(call, x, t, &at);
    while (next_keys(call->sizes, MMREC_SIZE(call->sizes, M), &at)) {
        load_rows(t->keys, t->padded, &call->in[IN_KEY], x->key + at.first_key, x, at.keys);
        load_rows(t->values, t->padded, &call->in[IN_VALUE], x->key + at.first_key, x, at.keys);
        multiply_pairs(t, &at, t->keys, t->query_down, x->width, t->weights);
        raise_top(call, x, t, &at);
        take_weights(call, x, t, &at);
        if (call->sizes->attr[ATTR_P] > 0) {
            draw_mask(call, x, t, &at);
            apply_mask(t, &at, t->weights);
        }
        multiply_down(t, &at, t->values, t->weights, x->width, t->carry, t->mixed_down);
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
