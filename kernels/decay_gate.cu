/* decay_gate: gamma = sigmoid(a) [sigmoid(b)], clamped to [1e-6, 1 - 1e-6]; with s = dgamma gamma, 0 where clamped:
 *   da = s (1 - sigmoid(a)),   db = s (1 - sigmoid(b)).
 *
 * Source: host/ops/decay_gate.c.
 *
 *   a, b, da, db    (rows, columns)   float or bf16, rows may be slices of wider ones; b and db may be absent
 *   gamma, dgamma   (rows, columns)   float always: 1 - 1e-6 has no neighbour in bf16
 *
 * A thread has 16 bytes of a row of a (each.cuh): activation, product and clamp in one pass, 12 bytes an element
 * forward and 20 backward in float. Kept is only what the decay networks made; gamma would be 4 bytes instead of two
 * expf. 1 - sigmoid is taken as sigmoid of the opposite sign: the difference would keep few digits where a gate is
 * nearly open. No sums. */
#include "each.cuh"

enum { IN_A, IN_B };

/* sigmoid(x) and sigmoid(-x), both without overflow: e = exp(-|x|) is at most 1. */
struct sigmoids {
    float with, against;
};
SIMT_DEVICE sigmoids sigmoids_of(float x) {
    float e = expf(-fabsf(x)), large = 1.0f / (1.0f + e), small = e * large;
    return x < 0.0f ? sigmoids{small, large} : sigmoids{large, small};
}

SIMT_DEVICE bool clamped(float p) { return p < 1e-6f || p > 0.999999f; }
SIMT_DEVICE float clamp(float p) {
    p = p < 1e-6f ? 1e-6f : p; /* selections that NaN passes through */
    return p > 0.999999f ? 0.999999f : p;
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_decay_gate_fwd(matrix<const T> a, matrix<const T> b, matrix<float> gamma, each_loop loop) {
    for (EACH(at, loop)) {
        float p[N], other[N];
        each_load(loop, at, a.row(at.row), p);
        for (int i = 0; i < N; i++) p[i] = sigmoids_of(p[i]).with;
        if (b.data) {
            each_load(loop, at, b.row(at.row), other);
            for (int i = 0; i < N; i++) p[i] *= sigmoids_of(other[i]).with;
        }
        for (int i = 0; i < N; i++) p[i] = clamp(p[i]);
        each_store(loop, at, gamma.row(at.row), p);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_decay_gate_bwd(matrix<const T> a, matrix<const T> b, matrix<const float> dgamma, matrix<T> da, matrix<T> db,
                 each_loop loop, bool add_a, bool add_b) {
    for (EACH(at, loop)) {
        float in_a[N], in_b[N], slope[N];
        each_load(loop, at, a.row(at.row), in_a);
        if (b.data) each_load(loop, at, b.row(at.row), in_b);
        each_load(loop, at, dgamma.row(at.row), slope);
        for (int i = 0; i < N; i++) {
            sigmoids sa = sigmoids_of(in_a[i]), sb = {1.0f, 0.0f};
            if (b.data) sb = sigmoids_of(in_b[i]);
            float p = sa.with * sb.with;
            slope[i] = clamped(p) ? 0.0f : slope[i] * p;
            in_a[i] = slope[i] * sa.against;
            in_b[i] = slope[i] * sb.against;
        }
        if (da.data) each_deliver(loop, at, da.row(at.row), in_a, add_a);
        if (db.data) each_deliver(loop, at, db.row(at.row), in_b, add_b);
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &a = call->in[IN_A], &b = call->in[IN_B], &gamma = call->out[0];
    each_loop loop = each_over({&a, &b, &gamma}, each_most());
    EACH_BY_TYPE(loop, a, T, N,
                 return SIMT_LAUNCH((k_decay_gate_fwd<T, N>), each_shape(loop), error, matrix_of<const T>(a),
                                    matrix_of<const T>(b), matrix_of<float>(gamma), loop));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &a = call->in[IN_A], &b = call->in[IN_B], &dgamma = call->d_out[0];
    const mmrec_view &da = call->d_in[IN_A], &db = call->d_in[IN_B];
    each_loop loop = each_over({&a, &b, &dgamma, &da, &db}, each_most());
    EACH_BY_TYPE(loop, a, T, N,
                 return SIMT_LAUNCH((k_decay_gate_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(a),
                                    matrix_of<const T>(b), matrix_of<const float>(dgamma), matrix_of<T>(da),
                                    matrix_of<T>(db), loop, call_adds(call, IN_A), call_adds(call, IN_B)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_decay_gate = {{forward, backward}};
