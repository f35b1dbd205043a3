/* The op `attention` as graphs of cuDNN's operations, which it runs in fused kernels: forward for bf16 in tiles with a
 * running maximum, as kernels/attention.cu does. What is saved is the same number, log sum exp of a query's scores, so
 * a forward pass here may have its backward pass there.
 *
 *   forward   S = scale Q K^T, masked; m = max S, E = exp(S - m), l = sum E; saved = m + log l; ctx = (E / l) V
 *   backward  D = sum (dctx ctx), P = exp(S - saved), dV = P^T dctx, dS = scale P (dctx V^T - D)
 *             dK = dS^T Q, dQ = dS K
 *
 * P and dS are rounded to bf16 before the second products, which the kernels do not do. dQ is one product of the graph,
 * without sums by atomics: the same bits for the same input, at the price of work memory of B H T M halves.
 *
 * Source: cuDNN's documentation of the graph API, "Fused Flash Attention fprop" and "bprop": its engines are found for
 * these operations in this order alone. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "cudnn_graph.h"

enum { IN_QUERY, IN_KEY, IN_VALUE, INPUTS };
enum { ATTR_CAUSAL = 1 };
enum { PLANS = 64 }; /* sizes and strides in use at a time, forward and backward */

/* What a plan was made for: nothing else of a call is in its graph. */
typedef struct attention_key {
    bool used, backward, causal;
    int64_t batch, heads, queries, keys, width;
    int64_t stride[INPUTS], ctx, saved, dctx, d_stride[INPUTS]; /* of rows; saved: 0 where nothing is */
} attention_key;

/* Numbers of tensors; 0 where the graph has none. */
typedef struct attention_ids {
    int in[INPUTS], ctx, saved, scale, hidden, one, dctx, inner, d_in[INPUTS];
} attention_ids;

typedef struct attention_plan {
    attention_key key;
    attention_ids ids;
    cudnn_plan plan;
    void *work;
} attention_plan;

static attention_plan table[PLANS];
static const cudnn_calls *library;

/* ---- the graphs ---- */

typedef struct builder {
    cudnn_graph graph;
    const attention_key *key;
    attention_ids *ids;
} builder;

/* Rows of a head: (B, H, rows, width) of a tensor whose rows hold all heads. `turned`: its last two axes exchanged. */
static int heads_of(builder *b, int64_t rows, int64_t stride, bool turned) {
    int64_t width = b->key->width;
    graph_shape shape = {{b->key->batch, b->key->heads, rows, width}, {rows * stride, width, stride, 1}};
    if (turned) {
        shape.size[2] = width, shape.size[3] = rows;
        shape.stride[2] = 1, shape.stride[3] = stride;
    }
    return graph_tensor(&b->graph, &shape, CUDNN_DATA_BFLOAT16, GRAPH_DEVICE);
}

/* A float for every query of every head, of which a row holds all queries. */
static int row_numbers(builder *b, int64_t stride, graph_place place) {
    int64_t heads = b->key->heads;
    const graph_shape shape = {{b->key->batch, heads, b->key->queries, 1}, {heads * stride, stride, 1, 1}};
    return graph_tensor(&b->graph, &shape, CUDNN_DATA_FLOAT, place);
}

/* Query i sees the keys 0 .. i. */
static int mask(builder *b, int scores) {
    cudnn_graph *g = &b->graph;
    if (!b->key->causal) return scores;
    int row = graph_index(g, scores, 2), column = graph_index(g, scores, 3);
    int seen = graph_pointwise(g, CUDNN_POINTWISE_CMP_GE, row, column, CUDNN_DATA_BOOLEAN);
    b->ids->hidden = graph_number(g, CUDNN_DATA_FLOAT);
    return graph_select(g, scores, b->ids->hidden, seen);
}

static int scores_of(builder *b) {
    int scores = graph_product(&b->graph, b->ids->in[IN_QUERY], b->ids->in[IN_KEY]);
    b->ids->scale = graph_number(&b->graph, CUDNN_DATA_FLOAT);
    return graph_pointwise(&b->graph, CUDNN_POINTWISE_MUL, scores, b->ids->scale, CUDNN_DATA_FLOAT);
}

/* What both passes read. Key is turned for its product with query, value for that of the backward pass with dctx. */
static void describe_inputs(builder *b) {
    const attention_key *k = b->key;
    attention_ids *ids = b->ids;
    ids->in[IN_QUERY] = heads_of(b, k->queries, k->stride[IN_QUERY], false);
    ids->in[IN_KEY] = heads_of(b, k->keys, k->stride[IN_KEY], true);
    ids->in[IN_VALUE] = heads_of(b, k->keys, k->stride[IN_VALUE], k->backward);
    ids->ctx = heads_of(b, k->queries, k->ctx, false);
}

static void describe_forward(builder *b) {
    const attention_key *k = b->key;
    attention_ids *ids = b->ids;
    cudnn_graph *g = &b->graph;
    describe_inputs(b);
    int scores = mask(b, scores_of(b));
    int top = graph_reduce(g, CUDNN_REDUCE_TENSOR_MAX, scores);
    int below = graph_pointwise(g, CUDNN_POINTWISE_SUB, scores, top, CUDNN_DATA_FLOAT);
    int exps = graph_pointwise(g, CUDNN_POINTWISE_EXP, below, 0, CUDNN_DATA_FLOAT);
    int sum = graph_reduce(g, CUDNN_REDUCE_TENSOR_ADD, exps);
    int logs = graph_pointwise(g, CUDNN_POINTWISE_LOG, sum, 0, CUDNN_DATA_FLOAT);
    /* No engine does without. */
    ids->saved = k->saved ? row_numbers(b, k->saved, GRAPH_DEVICE) : row_numbers(b, k->queries, GRAPH_VIRTUAL);
    graph_pointwise_into(g, CUDNN_POINTWISE_ADD, top, logs, ids->saved);
    int weights = graph_pointwise(g, CUDNN_POINTWISE_DIV, exps, sum, CUDNN_DATA_BFLOAT16);
    graph_product_into(g, weights, ids->in[IN_VALUE], ids->ctx);
}

/* D, which stays in memory between the kernels. */
static void describe_inner(builder *b) {
    attention_ids *ids = b->ids;
    cudnn_graph *g = &b->graph;
    int products = graph_pointwise(g, CUDNN_POINTWISE_MUL, ids->dctx, ids->ctx, CUDNN_DATA_FLOAT);
    int sums = graph_reduce(g, CUDNN_REDUCE_TENSOR_ADD, products);
    ids->one = graph_number(g, CUDNN_DATA_FLOAT);
    ids->inner = row_numbers(b, b->key->queries, GRAPH_DEVICE);
    graph_pointwise_into(g, CUDNN_POINTWISE_MUL, sums, ids->one, ids->inner);
}

static void describe_backward(builder *b) {
    const attention_key *k = b->key;
    attention_ids *ids = b->ids;
    cudnn_graph *g = &b->graph;
    describe_inputs(b);
    ids->dctx = heads_of(b, k->queries, k->dctx, false);
    ids->saved = row_numbers(b, k->saved, GRAPH_DEVICE);
    for (int i = 0; i < INPUTS; i++)
        ids->d_in[i] = heads_of(b, i == IN_QUERY ? k->queries : k->keys, k->d_stride[i], false);
    describe_inner(b);
    int below = graph_pointwise(g, CUDNN_POINTWISE_SUB, scores_of(b), ids->saved, CUDNN_DATA_FLOAT);
    int weights = graph_pointwise(g, CUDNN_POINTWISE_EXP, mask(b, below), 0, CUDNN_DATA_FLOAT);
    graph_product_into(g, graph_turn(g, weights, CUDNN_DATA_BFLOAT16), ids->dctx, ids->d_in[IN_VALUE]);
    int slopes = graph_product(g, ids->dctx, ids->in[IN_VALUE]);
    slopes = graph_pointwise(g, CUDNN_POINTWISE_SUB, slopes, ids->inner, CUDNN_DATA_FLOAT);
    slopes = graph_pointwise(g, CUDNN_POINTWISE_MUL, slopes, weights, CUDNN_DATA_FLOAT);
    slopes = graph_pointwise(g, CUDNN_POINTWISE_MUL, slopes, ids->scale, CUDNN_DATA_BFLOAT16);
    graph_product_into(g, graph_turn(g, slopes, CUDNN_DATA_BFLOAT16), ids->in[IN_QUERY], ids->d_in[IN_KEY]);
    graph_product_into(g, slopes, graph_turn(g, ids->in[IN_KEY], CUDNN_DATA_BFLOAT16), ids->d_in[IN_QUERY]);
}

static mmrec_status make_plan(attention_plan *p, cudnnHandle_t handle, mmrec_error *error) {
    builder b = {.key = &p->key, .ids = &p->ids};
    graph_begin(&b.graph, library, &p->plan);
    if (p->key.backward)
        describe_backward(&b);
    else
        describe_forward(&b);
    return graph_plan(&b.graph, handle, error);
}

/* ---- the table ---- */

/* The plan of that key, else a free place; NULL: the table is full. */
static attention_plan *find_place(const attention_key *key) {
    attention_plan *free_place = NULL;
    for (int i = 0; i < PLANS; i++) {
        if (!table[i].key.used && !free_place) free_place = &table[i];
        if (memcmp(&table[i].key, key, sizeof *key) == 0) return &table[i];
    }
    return free_place;
}

static void release(attention_plan *p) {
    cuda_free_own(p->work, p->plan.work_bytes);
    graph_plan_end(library, &p->plan);
    memset(p, 0, sizeof *p);
}

static mmrec_status make(attention_plan *p, cudnnHandle_t handle, mmrec_error *error) {
    MMREC_TRY(make_plan(p, handle, error));
    if (!p->plan.run || p->plan.work_bytes == 0) return MMREC_OK;
    return cuda_alloc_own(p->plan.work_bytes, &p->work, "cudaMalloc for cuDNN", error);
}

/* Of a full table what is required hears; the rest is for the kernels, and `place` NULL. */
static mmrec_status check_place(const attention_plan *place, bool required, mmrec_error *error) {
    if (!place && required) {
        MMREC_FAIL(error, MMREC_UNSUPPORTED,
                   "%d sizes of attention are the most that cuDNN can run at a time; use --attention kernels", PLANS);
    }
    return place && !place->key.used ? cudnn_not_recording(error) : MMREC_OK;
}

static mmrec_status fill_place(attention_plan *place, const attention_key *key, cudnnHandle_t handle,
                               mmrec_error *error) {
    if (place->key.used) return MMREC_OK;
    place->key = *key;
    mmrec_status status = make(place, handle, error);
    if (status != MMREC_OK) release(place);
    return status;
}

void cuda_attention_free(void) {
    for (int i = 0; i < PLANS; i++) {
        if (table[i].key.used) release(&table[i]);
    }
    library = NULL;
    cudnn_look_again();
}

/* ---- a call ---- */

static attention_key key_of(mmrec_pass pass, const mmrec_op_call *call) {
    const mmrec_op_sizes *s = call->sizes;
    bool backward = pass == MMREC_BACKWARD;
    attention_key key;
    memset(&key, 0, sizeof key); /* the gaps too: keys are compared as bytes */
    key.used = true;
    key.backward = backward;
    key.causal = s->attr[ATTR_CAUSAL] != 0;
    key.batch = MMREC_SIZE(s, B);
    key.heads = MMREC_SIZE(s, H);
    key.queries = MMREC_SIZE(s, T);
    key.keys = MMREC_SIZE(s, M);
    key.width = MMREC_SIZE(s, D) / key.heads;
    key.ctx = call->out[0].stride;
    key.saved = call->saved[0].data ? call->saved[0].stride : 0;
    key.dctx = backward ? call->d_out[0].stride : 0;
    for (int i = 0; i < INPUTS; i++) {
        key.stride[i] = call->in[i].stride;
        key.d_stride[i] = backward ? call->d_in[i].stride : 0;
    }
    return key;
}

/* The numbers that a graph takes from the host: read when a run is queued. */
typedef struct attention_numbers {
    float scale, hidden, one;
} attention_numbers;

static graph_places places_of(const attention_ids *ids, const mmrec_op_call *call, const attention_numbers *numbers,
                              const attention_key *key) {
    graph_places at = {.count = 0};
    for (int i = 0; i < INPUTS; i++) graph_at(&at, ids->in[i], call->in[i].data);
    graph_at(&at, ids->ctx, call->out[0].data);
    if (key->saved) graph_at(&at, ids->saved, call->saved[0].data);
    graph_at(&at, ids->scale, &numbers->scale);
    if (ids->hidden) graph_at(&at, ids->hidden, &numbers->hidden);
    if (!key->backward) return at;
    graph_at(&at, ids->one, &numbers->one);
    graph_at(&at, ids->dctx, call->d_out[0].data);
    graph_at(&at, ids->inner, call->scratch);
    for (int i = 0; i < INPUTS; i++) graph_at(&at, ids->d_in[i], call->d_in[i].data);
    return at;
}

mmrec_status cuda_attention_run(mmrec_pass pass, const mmrec_op_call *call, bool required, bool *done,
                                mmrec_error *error) {
    const attention_key key = key_of(pass, call);
    attention_numbers numbers = {.scale = (float)(1.0 / sqrt((double)key.width)), .hidden = -FLT_MAX, .one = 1.0f};
    cudnnHandle_t handle = NULL;
    attention_plan *p = find_place(&key);
    *done = false;
    MMREC_TRY(cudnn_find("attention", required, &library, &handle, error));
    if (!handle) return MMREC_OK;
    MMREC_TRY(check_place(p, required, error));
    if (!p) return MMREC_OK;
    MMREC_TRY(fill_place(p, &key, handle, error));
    if (!p->plan.run) return MMREC_OK;
    *done = true;
    graph_places at = places_of(&p->ids, call, &numbers, &key);
    return graph_run(library, handle, &p->plan, &at, p->work, error);
}
