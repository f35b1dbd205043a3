/* Addressing by content, which memory_read, memory_write and memory_write_shared have in common:
 *
 *   w_n = softmax over n of beta cos(key, memory_n),  cos(u, v) = u . v / (max(|u|, 1e-12) max(|v|, 1e-12)),
 *   beta = sp(strength), or sp(sp(strength)),  sp(x) = log(1 + exp(x)).
 *
 * Backward, from dw, the gradient of the weights (s_n: the cosine; sums over n):
 *   da_n = w_n (dw_n - sum dw w),  dbeta = sum da s,  g_n = beta da_n / (|key| |memory_n|),
 *   dkey = sum g_n memory_n - (beta dbeta / |key|^2) key,  dmemory_n = g_n key - (beta da_n s_n / |memory_n|^2)
 * memory_n. A clamped norm is a constant: the second term is not there.
 *
 * One memory serves the whole batch, or each sample has its own. The functions here take one sample, or one row of a
 * memory; in float, threads share these, and there are no other fast functions. The gradient of a shared row adds the
 * samples in their order. Order of sums: element by element; in float, within a row, in vector lanes. */
#ifndef MMREC_CONTENT_ADDRESS_H
#define MMREC_CONTENT_ADDRESS_H

#include "memory_rows.h"

#if MMREC_REAL_F32
#include "fast_loop.h"
#include "fast_math.h"
#define ADDRESS_SUM _Pragma("omp simd reduction(+ : sum)")
#define ADDRESS_EXP fast_expf
#else
#define ADDRESS_SUM
#define ADDRESS_EXP real_exp
#endif

/* Norms below this are taken to be this. */
#define ADDRESS_LEAST ((real)1e-12)

/* The arguments by their places: first inputs, saved tensors. */
enum { ADDRESS_KEY, ADDRESS_STRENGTH };
enum { ADDRESS_WEIGHTS, ADDRESS_SIMILARITIES, ADDRESS_ROW_NORMS, ADDRESS_KEY_NORMS };

/* `weights` and `similarities` (B, N), `row_norms` (memories, N) and `key_norms` (B, 1) are written by the forward
 * pass. The norms are those divided by. */
typedef struct content_address {
    mmrec_view key, strength, memory;
    mmrec_view weights, similarities, row_norms, key_norms;
    int64_t batch, slots, width, memories;
    bool twice; /* softplus */
} content_address;

/* What is read; where the results go is left open. */
static inline content_address address_inputs(const mmrec_op_call *call, int memory, bool twice) {
    content_address a;
    a.key = call->in[ADDRESS_KEY];
    a.strength = call->in[ADDRESS_STRENGTH];
    a.memory = call->in[memory];
    a.batch = MMREC_SIZE(call->sizes, B);
    a.slots = MMREC_SIZE(call->sizes, N);
    a.width = MMREC_SIZE(call->sizes, M);
    a.memories = memory_count(call->sizes);
    a.twice = twice;
    return a;
}

/* Of an op that saves all four. */
static inline content_address address_of(const mmrec_op_call *call, int memory, bool twice) {
    content_address a = address_inputs(call, memory, twice);
    a.weights = call->saved[ADDRESS_WEIGHTS];
    a.similarities = call->saved[ADDRESS_SIMILARITIES];
    a.row_norms = call->saved[ADDRESS_ROW_NORMS];
    a.key_norms = call->saved[ADDRESS_KEY_NORMS];
    return a;
}

/* Row n of the memory that sample b reads, and its norm. */
static inline int64_t address_row(const content_address *a, int64_t b, int64_t n) {
    return (a->memories == 1 ? 0 : b) * a->slots + n;
}
static inline real address_row_norm(const content_address *a, int64_t b, int64_t n) {
    return view_row(&a->row_norms, a->memories == 1 ? 0 : b)[n];
}

static inline real address_dot(const real *u, const real *v, int64_t count) {
    real sum = (real)0;
    ADDRESS_SUM
    for (int64_t i = 0; i < count; i++) sum += u[i] * v[i];
    return sum;
}

/* to += factor from */
static inline void address_add(real *to, real factor, const real *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += factor * from[i];
}

/* A row that will be added to starts from zero, or from what it is to be added to. */
static inline void address_start(real *to, int64_t count, bool add) {
    for (int64_t i = 0; i < count && !add; i++) to[i] = (real)0;
}

static inline real address_norm(const real *v, int64_t count) {
    real norm = real_sqrt(address_dot(v, v, count));
    return norm < ADDRESS_LEAST ? ADDRESS_LEAST : norm;
}

/* Large x: x itself, as exp(x) is not formed. */
static inline real address_softplus(real x) {
    return (x > (real)0 ? x : (real)0) + real_log((real)1 + real_exp(x > (real)0 ? -x : x));
}

static inline real address_beta(const content_address *a, int64_t b) {
    real once = address_softplus(*view_row(&a->strength, b));
    return a->twice ? address_softplus(once) : once;
}

/* dbeta / dstrength: the slope of softplus is the sigmoid. */
static inline real address_beta_slope(const content_address *a, int64_t b) {
    real raw = *view_row(&a->strength, b), slope = real_sigmoid(raw);
    return a->twice ? slope * real_sigmoid(address_softplus(raw)) : slope;
}

static inline void address_row_norms(const content_address *a, int64_t own) {
    real *norms = view_row(&a->row_norms, own);
    for (int64_t n = 0; n < a->slots; n++) norms[n] = address_norm(view_row(&a->memory, own * a->slots + n), a->width);
}

/* w = softmax of beta s. The largest s has the largest logit, as beta is not negative. */
static inline void address_softmax(const real *s, real beta, real *w, int64_t count) {
    real top = s[0], sum = (real)0;
    for (int64_t n = 1; n < count; n++) top = s[n] > top ? s[n] : top;
    ADDRESS_SUM
    for (int64_t n = 0; n < count; n++) {
        w[n] = ADDRESS_EXP(beta * (s[n] - top));
        sum += w[n];
    }
    for (int64_t n = 0; n < count; n++) w[n] = w[n] / sum;
}

/* Everything that sample b saves. The norms of a shared memory are there already. */
static inline void address_sample(const content_address *a, int64_t b) {
    const real *key = view_row(&a->key, b);
    real *s = view_row(&a->similarities, b), norm = address_norm(key, a->width);
    *view_row(&a->key_norms, b) = norm;
    if (a->memories > 1) address_row_norms(a, b);
    for (int64_t n = 0; n < a->slots; n++) {
        real product = address_dot(key, view_row(&a->memory, address_row(a, b, n)), a->width);
        s[n] = product / norm / address_row_norm(a, b, n);
    }
    address_softmax(s, address_beta(a, b), view_row(&a->weights, b), a->slots);
}

/* What an op does with a sample, or with a row of all memories. */
typedef void (*address_one)(const mmrec_op_call *call, const content_address *a, int64_t i);

static inline void address_each(const mmrec_op_call *call, const content_address *a, int64_t count, address_one one) {
#if MMREC_REAL_F32
    bool worth = a->batch * a->slots * a->width >= FAST_SERIAL;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (worth)
#endif
    for (int64_t i = 0; i < count; i++) one(call, a, i);
}

/* A pass over all samples, of which `sample` calls address_sample. */
static inline void address_samples(const mmrec_op_call *call, const content_address *a, address_one sample) {
    if (a->memories == 1) address_row_norms(a, 0);
    address_each(call, a, a->batch, sample);
}

/* The backward pass: `sample` gives what belongs to a sample, then `row` the gradient of a row of the memory, which is
 * this input. */
static inline void address_backward(const mmrec_op_call *call, const content_address *a, address_one sample, int memory,
                                    address_one row) {
    address_each(call, a, a->batch, sample);
    if (call->d_in[memory].data) address_each(call, a, a->memories * a->slots, row);
}

/* The gradient of the weights of sample b becomes g, in place. Returns dbeta. */
static inline real address_back(const content_address *a, int64_t b, real *dw) {
    const real *w = view_row(&a->weights, b), *s = view_row(&a->similarities, b);
    const real *norms = view_row(&a->row_norms, a->memories == 1 ? 0 : b);
    real mean = address_dot(dw, w, a->slots), scale = address_beta(a, b) / *view_row(&a->key_norms, b);
    real sum = (real)0;
    ADDRESS_SUM
    for (int64_t n = 0; n < a->slots; n++) {
        real da = w[n] * (dw[n] - mean);
        sum += da * s[n];
        dw[n] = scale * da / norms[n];
    }
    return sum;
}

static inline void address_strength_gradient(const content_address *a, const mmrec_op_call *call, int64_t b,
                                             real dbeta) {
    const mmrec_view *to = &call->d_in[ADDRESS_STRENGTH];
    if (to->data) deliver(view_row(to, b), dbeta * address_beta_slope(a, b), accumulates(call, ADDRESS_STRENGTH));
}

static inline void address_key_gradient(const content_address *a, const mmrec_op_call *call, int64_t b, real dbeta,
                                        const real *g) {
    const mmrec_view *to = &call->d_in[ADDRESS_KEY];
    if (!to->data) return;
    real *dkey = view_row(to, b), norm = *view_row(&a->key_norms, b), pull = address_beta(a, b) * dbeta / norm / norm;
    address_start(dkey, a->width, accumulates(call, ADDRESS_KEY));
    for (int64_t n = 0; n < a->slots; n++) {
        address_add(dkey, g[n], view_row(&a->memory, address_row(a, b, n)), a->width);
    }
    address_add(dkey, norm > ADDRESS_LEAST ? -pull : (real)0, view_row(&a->key, b), a->width);
}

/* The share of sample b in the gradient of the norm of its row n, by that norm: beta da_n s_n / |memory_n|^2. */
static inline real address_row_pull(const content_address *a, int64_t b, int64_t n, real g) {
    real s = view_row(&a->similarities, b)[n];
    return g * s * *view_row(&a->key_norms, b) / address_row_norm(a, b, n);
}

/* Takes the shares of all samples from a row's gradient. */
static inline void address_pull_row(const content_address *a, int64_t row, real pull, real *to) {
    bool free_norm = view_row(&a->row_norms, row / a->slots)[row % a->slots] > ADDRESS_LEAST;
    address_add(to, free_norm ? -pull : (real)0, view_row(&a->memory, row), a->width);
}

/* The samples that read the memory of a row: [first, end). */
static inline int64_t address_first(const content_address *a, int64_t row) {
    return a->memories == 1 ? 0 : row / a->slots;
}
static inline int64_t address_end(const content_address *a, int64_t row) {
    return a->memories == 1 ? a->batch : row / a->slots + 1;
}

static inline mmrec_work address_work_of(double flops, double transcendentals) {
    mmrec_work w = {flops, transcendentals, 0};
    return w;
}

/* What a softplus and a sigmoid cost: 2 and 3 FLOPs, 2 functions and 1. */
static inline mmrec_work address_forward_work(const mmrec_op_sizes *sizes, bool twice) {
    double batch = (double)MMREC_SIZE(sizes, B), slots = (double)MMREC_SIZE(sizes, N);
    double width = (double)MMREC_SIZE(sizes, M), rows = (double)memory_count(sizes) * slots, times = twice ? 2 : 1;
    return address_work_of(rows * 2 * width + batch * (2 * width + 2 * times + slots * (2 * width + 6)),
                           rows + batch * (1 + 2 * times + slots));
}

/* From dw to all three gradients; that of the memory but for what a sample adds to an element: 2 FLOPs for g key. */
static inline mmrec_work address_backward_work(const mmrec_op_sizes *sizes, bool twice) {
    double batch = (double)MMREC_SIZE(sizes, B), slots = (double)MMREC_SIZE(sizes, N);
    double width = (double)MMREC_SIZE(sizes, M), rows = (double)memory_count(sizes) * slots, times = twice ? 2 : 1;
    double back = 2 * times + 1 + 8 * slots, strength = twice ? 10 : 4;
    double key = 2 * times + 3 + 2 * slots * width + 2 * width, pulls = slots * 4;
    return address_work_of(batch * (back + strength + key + pulls + slots * width * 2) + rows * 2 * width,
                           batch * (4 * times + (twice ? 4 : 1)));
}

#endif
