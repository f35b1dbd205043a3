/* The gated steps of the Neural State Machines, for any set of gates.
 *
 *   a, da        (S or B S, blocks of D)   float or bf16; state halves, a row for each state: one set of S for the
 *                                          batch or one for each sample
 *   u, du        (B, blocks of D)          the same type; input halves, the same for all states of a sample
 *   n, dn        (B S, D)                  the same type; state half of the candidate, where there is one
 *   s, ds        (S or B S, D)             the same type
 *   y, dy        (B S, D)                  the same type
 *
 * A Gates type says which blocks of a and u an op reads and has two functions of one element:
 *
 *   FIRST                      the first block that is read, of a and of u
 *   GATES, INPUTS              how many are read of a, of u; what u has more is the candidate's, whose other half is n
 *   BLOCKS_A, BLOCKS_U         how many there are
 *   CANDIDATE                  1 where there is n
 *   value(sum, s)              y, from the sums of both halves, block by block, and the state
 *   slope(sum, s, dy, slope)   slope[0 .. INPUTS): gradients of the sums; slope[INPUTS]: that of s
 *
 * Forward a thread has 16 bytes of a row of y (each.cuh). Backward there are two kernels. k_nsm_bwd_sample: a block has
 * 32 columns of one sample, a warp every 8th state, a lane one column: du are sums over the states, what belongs to a
 * state of the sample alone is written at once. k_nsm_bwd_state, where the batch shares its states: a block has 32
 * columns of one state, a warp every 8th sample: da and ds are sums over the batch. The second makes the gates again,
 * at most five exponentials an element, and reads dy again; shares of da and ds for every sample in scratch would be
 * written and read, 8 to 20 bytes an element more.
 *
 * The blocks of da and du that the op does not read become zero where they are not added to.
 *
 * Order of sums: every 8th state or sample in a warp, then the warps in order. Fixed. */
#ifndef MMREC_NSM_CUH
#define MMREC_NSM_CUH

#include "each.cuh"
#include "rows.cuh"

enum { NSM_THREADS = 256, NSM_WARPS = NSM_THREADS / 32 };

template <typename T> struct nsm_front {
    matrix<const T> a, u, n, s;
    int64_t batch, states;
    int width;
    bool shared; /* one set of states for the whole batch */
    SIMT_DEVICE int64_t own(int64_t b, int64_t state) const { return shared ? state : b * states + state; }
};

template <typename T, int N, typename Gates>
SIMT_KERNEL(EACH_THREADS)
k_nsm_fwd(nsm_front<T> f, matrix<T> y, each_loop loop) {
    for (EACH(at, loop)) {
        int64_t b = at.row / f.states, own = f.own(b, at.row - b * f.states);
        float half[N], sum[Gates::INPUTS][N], state[N];
        for (int k = 0; k < Gates::INPUTS; k++) {
            const T *other = k < Gates::GATES ? f.a.row(own) + (Gates::FIRST + k) * f.width : f.n.row(at.row);
            each_load(loop, at, f.u.row(b) + (Gates::FIRST + k) * f.width, sum[k]);
            each_load(loop, at, other, half);
            for (int i = 0; i < N; i++) sum[k][i] += half[i];
        }
        each_load(loop, at, f.s.row(own), state);
        for (int i = 0; i < N; i++) {
            float one[Gates::INPUTS];
            for (int k = 0; k < Gates::INPUTS; k++) one[k] = sum[k][i];
            state[i] = Gates::value(one, state[i]);
        }
        each_store(loop, at, y.row(at.row), state);
    }
}

template <typename T> struct nsm_back {
    nsm_front<T> front;
    matrix<const T> dy;
    matrix<T> da, du, dn, ds;
    bool add_a, add_u, add_n, add_s;
    unsigned strips; /* of 32 columns */
};

/* Gradients of one element, from the state's halves and the sample's. */
template <typename Gates, typename T>
SIMT_DEVICE void nsm_slope(const nsm_back<T> &f, int64_t b, int64_t state, int column,
                           float (&slope)[Gates::INPUTS + 1]) {
    const nsm_front<T> &in = f.front;
    int64_t own = in.own(b, state), row = b * in.states + state;
    float sum[Gates::INPUTS];
    for (int k = 0; k < Gates::INPUTS; k++) {
        int at = (Gates::FIRST + k) * in.width + column;
        sum[k] = simt_float(in.u.row(b)[at]) + simt_float(k < Gates::GATES ? in.a.row(own)[at] : in.n.row(row)[column]);
    }
    Gates::slope(sum, simt_float(in.s.row(own)[column]), simt_float(f.dy.row(row)[column]), slope);
}

/* What belongs to one state of one sample, or has been summed over the samples: gradients of a and s. */
template <typename Gates, typename T>
SIMT_DEVICE void nsm_deliver_state(const nsm_back<T> &f, int64_t own, int column, const float *gates, float state) {
    int width = f.front.width;
    for (int k = 0; k < Gates::BLOCKS_A && f.da.data; k++) {
        bool mine = k >= Gates::FIRST && k < Gates::FIRST + Gates::GATES;
        deliver(&f.da.row(own)[k * width + column], mine ? gates[k - Gates::FIRST] : 0.0f, f.add_a);
    }
    if (f.ds.data) deliver(&f.ds.row(own)[column], state, f.add_s);
}

/* Sums over the block's warps, in order, for the first of them. */
template <int COUNT> SIMT_DEVICE void nsm_join(float (&sum)[COUNT]) {
    float *shared = simt_shared<float>();
    for (int k = 0; k < COUNT; k++) shared[(k * NSM_WARPS + simt_warp()) * 32 + simt_lane()] = sum[k];
    simt_block_sync();
    for (int k = 0; k < COUNT; k++) {
        sum[k] = 0.0f;
        for (int w = 0; w < NSM_WARPS; w++) sum[k] += shared[(k * NSM_WARPS + w) * 32 + simt_lane()];
    }
}

template <typename T, typename Gates> SIMT_KERNEL(NSM_THREADS) k_nsm_bwd_sample(nsm_back<T> f) {
    int64_t b = blockIdx.x / f.strips;
    int column = static_cast<int>(blockIdx.x % f.strips) * 32 + simt_lane(), width = f.front.width;
    float sum[Gates::INPUTS] = {}, slope[Gates::INPUTS + 1];
    for (int64_t s = simt_warp(); s < f.front.states && column < width; s += NSM_WARPS) {
        nsm_slope<Gates>(f, b, s, column, slope);
        for (int k = 0; k < Gates::INPUTS; k++) sum[k] += slope[k];
        if (Gates::CANDIDATE && f.dn.data) {
            deliver(&f.dn.row(b * f.front.states + s)[column], slope[Gates::INPUTS - 1], f.add_n);
        }
        if (!f.front.shared) {
            nsm_deliver_state<Gates>(f, f.front.own(b, s), column, slope, slope[Gates::INPUTS]);
        }
    }
    nsm_join(sum);
    if (simt_warp() != 0 || column >= width || !f.du.data) return;
    for (int k = 0; k < Gates::BLOCKS_U; k++) {
        bool mine = k >= Gates::FIRST && k < Gates::FIRST + Gates::INPUTS;
        deliver(&f.du.row(b)[k * width + column], mine ? sum[k - Gates::FIRST] : 0.0f, f.add_u);
    }
}

template <typename T, typename Gates> SIMT_KERNEL(NSM_THREADS) k_nsm_bwd_state(nsm_back<T> f) {
    int64_t s = blockIdx.x / f.strips;
    int column = static_cast<int>(blockIdx.x % f.strips) * 32 + simt_lane();
    float sum[Gates::INPUTS + 1] = {}, slope[Gates::INPUTS + 1];
    for (int64_t b = simt_warp(); b < f.front.batch && column < f.front.width; b += NSM_WARPS) {
        nsm_slope<Gates>(f, b, s, column, slope);
        for (int k = 0; k <= Gates::INPUTS; k++) sum[k] += slope[k];
    }
    nsm_join(sum);
    if (simt_warp() != 0 || column >= f.front.width) return;
    nsm_deliver_state<Gates>(f, s, column, sum, sum[Gates::INPUTS]);
}

/* Inputs of these ops: a and u, then n where there is a candidate, then s. */
template <typename Gates> constexpr int nsm_states() { return 2 + Gates::CANDIDATE; }
enum { NSM_A, NSM_U, NSM_N };

template <typename T, typename Gates> static nsm_front<T> nsm_front_of(const mmrec_op_call *call) {
    const mmrec_op_sizes *sizes = call->sizes;
    nsm_front<T> f;
    f.a = matrix_of<const T>(call->in[NSM_A]);
    f.u = matrix_of<const T>(call->in[NSM_U]);
    f.n = Gates::CANDIDATE ? matrix_of<const T>(call->in[NSM_N]) : matrix<const T>{nullptr, 0};
    f.s = matrix_of<const T>(call->in[nsm_states<Gates>()]);
    f.batch = MMREC_SIZE(sizes, B);
    f.states = MMREC_SIZE(sizes, S);
    f.width = static_cast<int>(MMREC_SIZE(sizes, D));
    f.shared = sizes->star.ndim == 0;
    return f;
}

/* Blocks of a row must start on 16 bytes too where a thread shall have so many. */
template <typename Gates> static each_loop nsm_loop(const mmrec_op_call *call) {
    const mmrec_view &y = call->out[0], &s = call->in[nsm_states<Gates>()];
    int64_t rows = mmrec_shape_rows(&y.shape), width = mmrec_shape_columns(&y.shape);
    each_loop loop =
        each_rows(rows, width, y.dtype,
                  {&call->in[NSM_A], &call->in[NSM_U], &call->in[nsm_states<Gates>() - 1], &s, &y}, each_most());
    bool blocks = static_cast<size_t>(width) * mmrec_dtype_bytes(y.dtype) % 16 == 0;
    return blocks ? loop : each_cut(rows, width, y.dtype, false, each_most());
}

template <typename Gates>
static mmrec_status nsm_forward(const char *op, const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0];
    MMREC_TRY(row_check(op, Gates::BLOCKS_U * MMREC_SIZE(call->sizes, D), error));
    each_loop loop = nsm_loop<Gates>(call);
    EACH_BY_TYPE(loop, y, T, N,
                 return SIMT_LAUNCH((k_nsm_fwd<T, N, Gates>), each_shape(loop), error, (nsm_front_of<T, Gates>(call)),
                                    matrix_of<T>(y), loop));
}

template <typename T, typename Gates>
static mmrec_status nsm_backward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view *d_in = call->d_in;
    constexpr int states = nsm_states<Gates>();
    nsm_back<T> f;
    f.front = nsm_front_of<T, Gates>(call);
    f.dy = matrix_of<const T>(call->d_out[0]);
    f.da = matrix_of<T>(d_in[NSM_A]);
    f.du = matrix_of<T>(d_in[NSM_U]);
    f.dn = Gates::CANDIDATE ? matrix_of<T>(d_in[NSM_N]) : matrix<T>{nullptr, 0};
    f.ds = matrix_of<T>(d_in[states]);
    f.add_a = call_adds(call, NSM_A);
    f.add_u = call_adds(call, NSM_U);
    f.add_n = call_adds(call, NSM_N);
    f.add_s = call_adds(call, states);
    f.strips = (static_cast<unsigned>(f.front.width) + 31) / 32;
    bool of_state = f.da.data || f.ds.data, of_sample = f.du.data || f.dn.data || (of_state && !f.front.shared);
    simt_shape shape = {static_cast<unsigned>(f.front.batch) * f.strips, NSM_THREADS,
                        (Gates::INPUTS + 1) * NSM_THREADS * sizeof(float), SIMT_FREE, 0};
    if (of_sample) MMREC_TRY(SIMT_LAUNCH((k_nsm_bwd_sample<T, Gates>), shape, error, f));
    shape.grid = static_cast<unsigned>(f.front.states) * f.strips;
    if (of_state && f.front.shared) MMREC_TRY(SIMT_LAUNCH((k_nsm_bwd_state<T, Gates>), shape, error, f));
    return MMREC_OK;
}

template <typename Gates>
static mmrec_status nsm_backward(const char *op, const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(row_check(op, Gates::BLOCKS_U * MMREC_SIZE(call->sizes, D), error));
    SIMT_BY_DTYPE(call->d_out[0], T, return (nsm_backward_as<T, Gates>(call, error)));
}

#endif
