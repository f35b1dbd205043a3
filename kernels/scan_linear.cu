/* scan_linear: h_t = gamma_t h_{t-1} + u_t, h_{-1} = h0. Backward, from the last step with r = 0: g_t = dh_t + r, du_t
 * = g_t, dgamma_t = g_t h_{t-1}, r = gamma_t g_t; in the end dh0 = r.
 *
 * Source: host/ops/scan_linear.c.
 *
 *   gamma, dgamma   (B, T, D)   float
 *   u, du           (B, T, D)   float or bf16
 *   h, dh           (B, T, D)   float: a decay near 1 would carry every rounding on
 *   h0, dh0         (B, D)      float
 *   scratch         (segments - 1, B, D) pairs (a, b) of float: what a segment does to the state, x -> a x + b
 *
 * How blocks, warps and threads share the work, the order of sums and what else was considered: scan.cuh. Memory-bound:
 * 12 bytes an element forward, 20 backward, 2 and 3 FLOPs. */
#include "scan.cuh"

enum { IN_GAMMA, IN_U, IN_H0 };
enum { ATTR_CHUNK };

/* x -> a x + b. */
struct affine {
    struct effect {
        float a, b;
    };
    SIMT_DEVICE static effect none() { return {1.0f, 0.0f}; }
    SIMT_DEVICE static effect chain(effect first, effect then) { return {then.a * first.a, then.a * first.b + then.b}; }
    SIMT_DEVICE static float apply(effect e, float x) { return e.a * x + e.b; }
};

template <typename T> struct linear_forward : affine {
    struct step {
        float gamma, u;
    };
    static constexpr bool BACK = false;
    matrix<const float> gamma, h0;
    matrix<const T> u;
    matrix<float> h;

    SIMT_DEVICE static effect extend(effect e, step s) { return {s.gamma * e.a, s.gamma * e.b + s.u}; }
    SIMT_DEVICE float begin(int64_t batch, int64_t d) const { return h0.row(batch)[d]; }
    SIMT_DEVICE step load(int64_t, int64_t, int64_t row, int64_t d) const {
        return {gamma.row(row)[d], simt_float(u.row(row)[d])};
    }
    SIMT_DEVICE float advance(step s, int64_t row, int64_t d, float x) const {
        x = s.gamma * x + s.u;
        h.row(row)[d] = x;
        return x;
    }
    SIMT_DEVICE void end(int64_t, int64_t, float) const {}
};

template <typename T> struct linear_backward : affine {
    struct step {
        float gamma, dh, before;
    };
    static constexpr bool BACK = true;
    matrix<const float> gamma, dh, h, h0;
    matrix<float> dgamma, dh0;
    matrix<T> du;
    bool add_gamma, add_u, add_h0;

    SIMT_DEVICE static effect extend(effect e, step s) { return {s.gamma * e.a, s.gamma * (s.dh + e.b)}; }
    SIMT_DEVICE float begin(int64_t, int64_t) const { return 0.0f; }
    SIMT_DEVICE step load(int64_t batch, int64_t t, int64_t row, int64_t d) const {
        return {gamma.row(row)[d], dh.row(row)[d], t > 0 ? h.row(row - 1)[d] : h0.row(batch)[d]};
    }
    SIMT_DEVICE float advance(step s, int64_t row, int64_t d, float r) const {
        float g = s.dh + r;
        if (du.data) deliver(&du.row(row)[d], g, add_u);
        if (dgamma.data) deliver(&dgamma.row(row)[d], g * s.before, add_gamma);
        return s.gamma * g;
    }
    SIMT_DEVICE void end(int64_t batch, int64_t d, float r) const {
        if (dh0.data) deliver(&dh0.row(batch)[d], r, add_h0);
    }
};

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    linear_forward<T> scan = {};
    scan.gamma = matrix_of<const float>(call->in[IN_GAMMA]);
    scan.u = matrix_of<const T>(call->in[IN_U]);
    scan.h0 = matrix_of<const float>(call->in[IN_H0]);
    scan.h = matrix_of<float>(call->out[0]);
    return scan_launch(scan, call, call->sizes->attr[ATTR_CHUNK], error);
}

template <typename T> static mmrec_status backward_as(const mmrec_op_call *call, mmrec_error *error) {
    linear_backward<T> scan = {};
    scan.gamma = matrix_of<const float>(call->in[IN_GAMMA]);
    scan.dh = matrix_of<const float>(call->d_out[0]);
    scan.h = matrix_of<const float>(call->out[0]);
    scan.h0 = matrix_of<const float>(call->in[IN_H0]);
    scan.dgamma = matrix_of<float>(call->d_in[IN_GAMMA]);
    scan.du = matrix_of<T>(call->d_in[IN_U]);
    scan.dh0 = matrix_of<float>(call->d_in[IN_H0]);
    scan.add_gamma = call_adds(call, IN_GAMMA);
    scan.add_u = call_adds(call, IN_U);
    scan.add_h0 = call_adds(call, IN_H0);
    return scan_launch(scan, call, call->sizes->attr[ATTR_CHUNK], error);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    SIMT_BY_DTYPE(call->in[IN_U], T, return forward_as<T>(call, error));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    SIMT_BY_DTYPE(call->d_in[IN_U], T, return backward_as<T>(call, error));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_scan_linear = {{forward, backward}};
