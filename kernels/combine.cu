/* combine: y = c0 x0 + dropout(c1 x1 + ... + c7 x7), absent inputs count as zero, p = 0: no dropout; dx0 = c0 dy,
 * dxi = ci dropout(dy).
 *
 * Source: host/ops/combine.c; the mask: mask.cuh.
 *
 *   x0 .. x7, y, dy, dx0 .. dx7   (rows, columns)   float or bf16, rows may be slices of wider ones
 *
 * A thread has 16 bytes of a row (each.cuh) of all the tensors: they are read and written once, so the residual sum of
 * five inputs costs 6 transfers an element instead of the 12 of four sums of two and a dropout.
 * Order of sums: x0 .. x7; with p > 0 x1 .. x7, then x0. */
#include "mask.cuh"

enum { ATTR_P = MMREC_MAX_IN };

/* The inputs, or their gradients, that are there, and the first of those that are dropped out. */
template <typename T> struct combine_terms {
    matrix<T> x[MMREC_MAX_IN];
    float factor[MMREC_MAX_IN];
    unsigned adds; /* backward: bit i, gradient i is added to what is there */
};

/* v = c_i x_i or, from the second term on, v + c_i x_i. */
template <int N, typename T>
SIMT_DEVICE void add_term(const each_loop &loop, const each_at &at, const combine_terms<const T> &in, int i,
                          float (&v)[N]) {
    float x[N];
    if (!in.x[i].data) return;
    each_load(loop, at, in.x[i].row(at.row), x);
    for (int k = 0; k < N; k++) v[k] += in.factor[i] * x[k];
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_combine_fwd(combine_terms<const T> in, matrix<T> y, each_loop loop, mask m) {
    bool drops = m.p > 0.0f;
    for (EACH(at, loop)) {
        float v[N] = {};
        if (!drops) add_term(loop, at, in, 0, v);
        for (int i = 1; i < MMREC_MAX_IN; i++) add_term(loop, at, in, i, v);
        if (drops) {
            mask_pass(m, each_number<N>(loop, at), v);
            add_term(loop, at, in, 0, v);
        }
        each_store(loop, at, y.row(at.row), v);
    }
}

template <int N, typename T>
SIMT_DEVICE void give_term(const each_loop &loop, const each_at &at, const combine_terms<T> &to, int i,
                           const float (&g)[N]) {
    float v[N];
    if (!to.x[i].data) return;
    for (int k = 0; k < N; k++) v[k] = to.factor[i] * g[k];
    each_deliver(loop, at, to.x[i].row(at.row), v, ((to.adds >> i) & 1u) != 0);
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_combine_bwd(matrix<const T> dy, combine_terms<T> to, each_loop loop, mask m) {
    for (EACH(at, loop)) {
        float g[N];
        each_load(loop, at, dy.row(at.row), g);
        give_term(loop, at, to, 0, g);
        mask_pass(m, each_number<N>(loop, at), g);
        for (int i = 1; i < MMREC_MAX_IN; i++) give_term(loop, at, to, i, g);
    }
}

template <typename T> static combine_terms<T> terms_of(const mmrec_op_call *call, const mmrec_view *views) {
    combine_terms<T> terms = {};
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        terms.x[i] = matrix_of<T>(views[i]);
        terms.factor[i] = static_cast<float>(call->sizes->attr[i]);
    }
    terms.adds = call->accumulate;
    return terms;
}

/* y, or dy, and the eight inputs, or their gradients. */
static each_loop loop_over(const mmrec_view &y, const mmrec_view *x) {
    return each_over({&y, &x[0], &x[1], &x[2], &x[3], &x[4], &x[5], &x[6], &x[7]}, each_most());
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0];
    each_loop loop = loop_over(y, call->in);
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_combine_fwd<T, N>), each_shape(loop), error, terms_of<const T>(call, call->in),
                                    matrix_of<T>(y), loop, mask_of(call, ATTR_P)));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dy = call->d_out[0];
    each_loop loop = loop_over(dy, call->d_in);
    EACH_BY_TYPE(loop, dy, T, N,
                 return SIMT_LAUNCH((k_combine_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(dy),
                                    terms_of<T>(call, call->d_in), loop, mask_of(call, ATTR_P)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_combine = {{forward, backward}};
