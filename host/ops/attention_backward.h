/* The float backward pass of attention: for every tile of queries all tiles of keys. Weights come again from the scores
 * and logsum. A tile's shares of dkey and dvalue are added to the gradients at once, in the order of the queries;
 * dquery is complete when the queries have met all keys.
 *
 * A thread takes a whole head of one batch row: 5 products a pair. Where there are fewer of those than threads, tiles
 * of queries (for dquery) and of keys (for dkey and dvalue) are shared out instead: 7 products, and the same sums in
 * the same order, so the same bits. */
#ifndef MMREC_ATTENTION_BACKWARD_H
#define MMREC_ATTENTION_BACKWARD_H

#include "attention_tile.h"

/* A thread's share: which tiles meet, and what comes of it. */
typedef struct back_task {
    int64_t first_query, end_query, first_key, end_key;
    bool dquery, dkey, dvalue;
} back_task;

/* What a tile of queries needs for all its keys. */
static void start_back(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
    float scale = (float)score_scale(call->sizes);
    const mmrec_view *query = &call->in[IN_QUERY], *dctx = &call->d_out[0];
    int64_t row = x->query + at->first_query;
    turn_rows(t->query_down, query, row, x, at->queries, scale);
    turn_rows(t->dctx_down, dctx, row, x, at->queries, 1.0f);
    load_rows(t->query, t->padded, query, row, x, at->queries);
    load_rows(t->dctx, t->padded, dctx, row, x, at->queries);
    scale_rows(t->query, at->queries * t->padded, scale);
    for (int64_t c = 0; c < at->queries; c++) {
        const float *restrict to = head_row(dctx, row + c, x), *restrict ctx = head_row(&call->out[0], row + c, x);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < x->width; d++) sum += to[d] * ctx[d];
        t->inner[c] = sum;
        t->logsum[c] = view_row(&call->saved[0], x->pair)[at->first_query + c];
    }
    memset(t->mixed_down, 0, (size_t)(t->padded * QUERIES) * sizeof(float));
}

/* Scores become weights. */
static void weights_again(const tile *t, const tile_block *block) {
    const float *logsum = t->logsum + block->first;
    for (int64_t j = 0; j < block->keys; j++) {
        float *weight = t->weights + j * QUERIES + block->first;
        row_vec e[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) e[v] = row_at(weight + v * LANES) - row_at(logsum + v * LANES);
        row_exp_below(e, VECTORS);
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) row_put(weight + v * LANES, e[v], false);
    }
}

/* The gradients of the weights become those of the scores, but for the scale, which is in the queries. */
static void score_gradient(const tile *t, const tile_place *at, const tile_block *block) {
    const float *restrict inner = t->inner;
    for (int64_t j = 0; j < at->keys; j++) {
        const float *restrict weight = t->weights + j * QUERIES;
        float *restrict dweight = t->dweights + j * QUERIES;
        for (int64_t c = first_seeing(at, block, j) / LANES * LANES; c < block->end; c++) {
            dweight[c] = weight[c] * (dweight[c] - inner[c]);
        }
    }
}

/* weights x rows of a tile to its rows of a gradient; `add`: to what other queries have left there. Where they do not
 * fill whole vectors and groups of rows they go through `part`. */
static void deliver_rows(const tile *t, const tile_place *at, const float *weights, const float *rows,
                         const mmrec_view *to, int64_t row, const head_place *x, bool add) {
    if (at->keys % LONE_GROUP == 0 && x->width % LANES == 0) {
        multiply_rows(t, at, weights, rows, x->width, head_row(to, row, x), to->stride, add);
        return;
    }
    multiply_rows(t, at, weights, rows, x->width, t->part, t->padded, false);
    for (int64_t r = 0; r < at->keys; r++) {
        float *restrict own = head_row(to, row + r, x);
        const float *restrict part = t->part + r * t->padded;
        for (int64_t d = 0; d < x->width; d++) deliver(&own[d], part[d], add);
    }
}

/* The shares of one tile in dkey and dvalue. */
static void deliver_keys(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at,
                         const back_task *task) {
    int64_t row = x->key + at->first_key;
    const mmrec_view *d_in = call->d_in;
    bool later = at->first_query > (is_causal(call->sizes) ? at->first_key / QUERIES * QUERIES : 0);
    if (task->dvalue) {
        bool add = later || accumulates(call, IN_VALUE);
        deliver_rows(t, at, t->weights, t->dctx, &d_in[IN_VALUE], row, x, add);
    }
    if (task->dkey) {
        bool add = later || accumulates(call, IN_KEY);
        deliver_rows(t, at, t->dweights, t->query, &d_in[IN_KEY], row, x, add);
    }
}

/* Weights and the gradients of scores of a block of queries, and its share in dquery. */
static void back_block(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at,
                       const tile_block *block, const back_task *task) {
    bool drops = call->sizes->attr[ATTR_P] > 0;
    multiply_pairs(t, block, t->keys, t->query_down, x->width, t->weights);
    weights_again(t, block);
    hide_pairs(call, x, at, block, t->weights, 0);
    if (task->dquery || task->dkey) {
        multiply_pairs(t, block, t->values, t->dctx_down, x->width, t->dweights);
        if (drops) apply_mask(t, at, block, t->dweights);
        score_gradient(t, at, block);
        hide_pairs(call, x, at, block, t->dweights, 0);
    }
    if (drops) apply_mask(t, at, block, t->weights);
    if (task->dquery) multiply_down(t, block, t->keys, t->dweights, x->width, NULL, t->mixed_down);
}

static void back_tile(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at,
                      const back_task *task) {
    load_rows(t->keys, t->padded, &call->in[IN_KEY], x->key + at->first_key, x, at->keys);
    if (task->dquery || task->dkey)
        load_rows(t->values, t->padded, &call->in[IN_VALUE], x->key + at->first_key, x, at->keys);
    if (call->sizes->attr[ATTR_P] > 0) draw_mask(call, x, t, at);
    for (tile_block block = {0}; next_block(at, &block);) back_block(call, x, t, at, &block, task);
    deliver_keys(call, x, t, at, task);
}

static void deliver_queries(const mmrec_op_call *call, const head_place *x, const tile *t, const tile_place *at) {
    float scale = (float)score_scale(call->sizes);
    bool add = accumulates(call, IN_QUERY);
    for (int64_t c = 0; c < at->queries; c++) {
        float *restrict to = head_row(&call->d_in[IN_QUERY], x->query + at->first_query + c, x);
        for (int64_t d = 0; d < x->width; d++) deliver(&to[d], scale * t->mixed_down[d * QUERIES + c], add);
    }
}

static void run_task(const mmrec_op_call *call, const head_place *x, const tile *t, const back_task *task) {
    int64_t first = is_causal(call->sizes) ? task->first_key / QUERIES * QUERIES : 0;
    if (first < task->first_query) first = task->first_query;
    for (; first < task->end_query; first += QUERIES) {
        tile_place at = {.first_query = first, .queries = fast_min(QUERIES, task->end_query - first)};
        at.first_key = task->first_key;
        start_back(call, x, t, &at);
        while (next_keys(call->sizes, task->end_key, &at)) back_tile(call, x, t, &at, task);
        if (task->dquery) deliver_queries(call, x, t, &at);
    }
}

/* Tasks that one head of one batch row is cut into. */
static int64_t tasks_of(const mmrec_op_sizes *sizes) {
    bool whole = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, H) >= sizes->threads;
    return whole ? 1 : fast_blocks(MMREC_SIZE(sizes, T), QUERIES) + fast_blocks(MMREC_SIZE(sizes, M), KEYS);
}

static back_task task_of(const mmrec_op_call *call, int64_t i) {
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t queries = MMREC_SIZE(sizes, T), keys = MMREC_SIZE(sizes, M), tiles = fast_blocks(queries, QUERIES);
    const mmrec_view *d_in = call->d_in;
    back_task task = {
        0, queries, 0, keys, d_in[IN_QUERY].data != NULL, d_in[IN_KEY].data != NULL, d_in[IN_VALUE].data != NULL};
    if (tasks_of(sizes) == 1) return task;
    if (i < tiles) {
        task.first_query = i * QUERIES;
        task.end_query = fast_min(queries, task.first_query + QUERIES);
        task.dkey = task.dvalue = false;
    } else {
        task.first_key = (i - tiles) * KEYS;
        task.end_key = fast_min(keys, task.first_key + KEYS);
        task.dquery = false;
    }
    return task;
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_op_sizes *sizes = call->sizes;
    int64_t heads = MMREC_SIZE(sizes, B) * MMREC_SIZE(sizes, H), width = MMREC_SIZE(sizes, D) / MMREC_SIZE(sizes, H);
    int64_t tasks = tasks_of(sizes), floats = tile_floats(width, true);
#pragma omp parallel for num_threads(sizes->threads) schedule(dynamic) if (worth_threads(sizes))
    for (int64_t i = 0; i < heads * tasks; i++) {
        back_task task = task_of(call, i % tasks);
        if (!task.dquery && !task.dkey && !task.dvalue) continue;
        tile t = tile_of((float *)call->scratch + omp_get_thread_num() * floats, width, true);
        head_place x = head_place_of(sizes, i / tasks);
        run_task(call, &x, &t, &task);
    }
    return MMREC_OK;
}

#endif
