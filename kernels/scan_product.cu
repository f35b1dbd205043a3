/* scan_product: y_t = product over i <= t of gamma_i, as exp(cumsum(clamp(log(gamma + 1e-8), -50, 0))); backward
 * dgamma_i = (sum over t >= i of dy_t y_t) / (gamma_i + 1e-8), zero where the clamp acts.
 *
 * Source: host/ops/scan_product.c.
 *
 *   gamma, dgamma   (B, T, D)   float
 *   y, dy           (B, T, D)   float
 *   scratch         (segments - 1, B, D) float: the sum over a segment
 *
 * How blocks, warps and threads share the work, the order of sums and what else was considered: scan.cuh. Memory-bound:
 * 8 bytes an element forward and 16 backward, against one logarithm and one exponential. */
#include "scan.cuh"

enum { IN_GAMMA };
enum { ATTR_CHUNK };

#define GAMMA_EPSILON 1e-8f
#define LOG_MIN -50.0f
#define SMALLEST 1.928749847963918e-22f /* e^-50 */

/* x -> x + sum. */
struct shift_by {
    struct effect {
        float sum;
    };
    SIMT_DEVICE static effect none() { return {0.0f}; }
    SIMT_DEVICE static effect chain(effect first, effect then) { return {first.sum + then.sum}; }
    SIMT_DEVICE static float apply(effect e, float x) { return x + e.sum; }
};

struct product_forward : shift_by {
    struct step {
        float logarithm;
    };
    static constexpr bool BACK = false;
    matrix<const float> gamma;
    matrix<float> y;

    SIMT_DEVICE static effect extend(effect e, step s) { return {e.sum + s.logarithm}; }
    SIMT_DEVICE float begin(int64_t, int64_t) const { return 0.0f; }
    /* NaN stays NaN: it passes neither comparison. */
    SIMT_DEVICE step load(int64_t, int64_t, int64_t row, int64_t d) const {
        float l = logf(gamma.row(row)[d] + GAMMA_EPSILON);
        l = l < LOG_MIN ? LOG_MIN : l;
        return {l > 0.0f ? 0.0f : l};
    }
    SIMT_DEVICE float advance(step s, int64_t row, int64_t d, float x) const {
        x += s.logarithm;
        y.row(row)[d] = expf(x);
        return x;
    }
    SIMT_DEVICE void end(int64_t, int64_t, float) const {}
};

struct product_backward : shift_by {
    struct step {
        float product, gamma; /* dy y */
    };
    static constexpr bool BACK = true;
    matrix<const float> gamma, y, dy;
    matrix<float> dgamma;
    bool add;

    SIMT_DEVICE static effect extend(effect e, step s) { return {e.sum + s.product}; }
    SIMT_DEVICE float begin(int64_t, int64_t) const { return 0.0f; }
    SIMT_DEVICE step load(int64_t, int64_t, int64_t row, int64_t d) const {
        return {dy.row(row)[d] * y.row(row)[d], gamma.row(row)[d] + GAMMA_EPSILON};
    }
    SIMT_DEVICE float advance(step s, int64_t row, int64_t d, float x) const {
        x += s.product;
        bool clamped = s.gamma < SMALLEST || s.gamma > 1.0f;
        deliver(&dgamma.row(row)[d], clamped ? 0.0f : x / s.gamma, add);
        return x;
    }
    SIMT_DEVICE void end(int64_t, int64_t, float) const {}
};

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    product_forward scan;
    scan.gamma = matrix_of<const float>(call->in[IN_GAMMA]);
    scan.y = matrix_of<float>(call->out[0]);
    return scan_launch(scan, call, call->sizes->attr[ATTR_CHUNK], error);
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    if (!call->d_in[IN_GAMMA].data) return MMREC_OK;
    product_backward scan;
    scan.gamma = matrix_of<const float>(call->in[IN_GAMMA]);
    scan.y = matrix_of<const float>(call->out[0]);
    scan.dy = matrix_of<const float>(call->d_out[0]);
    scan.dgamma = matrix_of<float>(call->d_in[IN_GAMMA]);
    scan.add = call_adds(call, IN_GAMMA);
    return scan_launch(scan, call, call->sizes->attr[ATTR_CHUNK], error);
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_scan_product = {{forward, backward}};
