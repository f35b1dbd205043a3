/* cross_entropy: loss = mean over rows of logsumexp(logits) - logits[target];
 *   share = (softmax(logits) - onehot(target)) / rows;  dlogits = share dloss.
 *
 * Source: host/ops/cross_entropy.c.
 *
 *   logits, dlogits   (rows, V)   float or bf16
 *   share             (rows, V)   the same type, saved; may be the memory of logits, and dlogits that of share. Absent
 *                                 where no backward pass follows
 *   targets           (rows)      int32 in [0, V); another is reported (MMREC_CUDA_FAULT_ID) and never read through
 *   loss, dloss       (1)         float
 *   scratch           (rows)      double, forward: the losses of the rows
 *
 * Forward is one pass. Rows of up to 8192 classes stay in registers between maximum, sum and share: a warp has a row,
 * a block where V > 1024 (rows.cuh). Wider rows have a block of 1024 threads: each carries the maximum of its logits
 * and their sum of exponentials, rescaled when the maximum grows, and then reads the same logits again for share. The
 * grid has so few blocks that the rows in work fill half of the second-level cache, where that second reading finds
 * them: 125 rows of 50000 classes on 132 multiprocessors with 50 MB. From 33 blocks on, 64 KiB in flight in each are
 * what 3.35 TB/s need at 0.6 us; with fewer, the second reading may go to memory instead. One block adds the rows'
 * losses in double.
 *
 * Backward reads dloss, and ends if it is 1 and dlogits lies over share; else each thread scales 16 bytes (each.cuh).
 *
 * In place no logit is read after another thread has written there: a thread writes the columns it has read itself,
 * and the loss of a row is made by the thread that has the target's column.
 *
 * Traffic in bytes a logit, float: the product writes 4, forward reads 4 and writes 4, backward has nothing to do in
 * place with dloss = 1: 12, and N V 4 bytes of memory for logits, share and gradient together. With another dloss 8
 * more. Considered: 16, and N V 4 bytes more memory, for keeping maximum and sum and taking the exponentials again.
 *
 * Order of sums: a row's by lanes, then over lanes and warps; rows by 1024 threads, then a tree. Fixed. */
#include "each.cuh"
#include "rows.cuh"

enum { IN_LOGITS, IN_TARGETS };
enum { AHEAD = 4, WIDE_THREADS = 1024, LOSS_THREADS = 1024 };

/* Targets have the logits' leading axes, so their rows are shorter. */
struct target_list {
    matrix<const int32_t> at;
    int64_t columns, classes;
    mmrec_cuda_fault *fault;
    /* -1, and a report, where the target is none. */
    SIMT_DEVICE int of(int64_t r, bool reports) const {
        int32_t target = at.row(r / columns)[r % columns];
        if (target >= 0 && target < classes) return target;
        if (reports) report_fault(fault, MMREC_CUDA_FAULT_ID, MMREC_OP_cross_entropy, r, target, classes);
        return -1;
    }
};

template <typename T> struct classifier {
    matrix<const T> logits;
    matrix<T> share; /* data NULL: not wanted */
    target_list targets;
    double *losses;
    int64_t rows;
    int classes;
    float rate; /* 1 / rows */
    bool wide;
};

/* The loss of row r, by the thread whose column the target is; by the first one where it is none. */
template <bool WARP, typename T>
SIMT_DEVICE void give_loss(const classifier<T> &a, int64_t r, int target, float top, float sum) {
    int owner = target < 0 ? 0 : target / PACK % row_lanes<WARP>();
    if (row_lane<WARP>() != owner) return;
    float hit = target < 0 ? top : simt_float(a.logits.row(r)[target]);
    a.losses[r] = static_cast<double>(top) - static_cast<double>(hit) + static_cast<double>(logf(sum));
}

/* Turns four exponentials into shares and stores them. */
template <typename T>
SIMT_DEVICE void give_share(const classifier<T> &a, int64_t r, int at, float (&e)[PACK], float scale, int target) {
    for (int j = 0; j < PACK; j++) e[j] = e[j] * scale - (at + j == target ? a.rate : 0.0f);
    pack_deliver(a.share.row(r), at, a.classes, a.wide, e, false);
}

template <typename T, int ITEMS, bool WARP> SIMT_KERNEL(ROW_THREADS) k_cross_entropy_fwd(classifier<T> a) {
    float *shared = simt_shared<float>();
    for (int64_t r = row_first<WARP>(); r < a.rows; r += row_step<WARP>()) {
        float e[ITEMS][PACK], top = -INFINITY, sum = 0.0f;
        for (int i = 0; i < ITEMS; i++) {
            pack_load(e[i], a.logits.row(r), row_column<WARP>(i), a.classes, a.wide, -INFINITY);
            top = pack_max(e[i], top);
        }
        int target = a.targets.of(r, row_lane<WARP>() == 0);
        top = row_max<WARP>(top, shared);
        for (int i = 0; i < ITEMS; i++) sum += pack_exp(e[i], top);
        sum = row_sum<WARP>(sum, shared);
        give_loss<WARP>(a, r, target, top, sum);
        if (!a.share.data) continue;
        for (int i = 0; i < ITEMS; i++) give_share(a, r, row_column<WARP>(i), e[i], a.rate / sum, target);
    }
}

/* ---- rows wider than the registers of a block ---- */

/* Of some logits: the maximum, and the sum of exp(logit - maximum). None: -inf and 0. */
struct logit_sum {
    float top, sum;
};

/* The sum about another maximum; that of no logit, or of none above -inf, stays. */
SIMT_DEVICE float rebased(logit_sum s, float top) { return s.top == -INFINITY ? s.sum : s.sum * expf(s.top - top); }

SIMT_DEVICE logit_sum joined(logit_sum a, logit_sum b) {
    float top = fmaxf(a.top, b.top);
    return {top, rebased(a, top) + rebased(b, top)};
}

SIMT_DEVICE logit_sum warp_joined(logit_sum s) {
    for (int mask = 16; mask > 0; mask >>= 1) {
        s = joined(s, {simt_shuffle_xor(s.top, mask), simt_shuffle_xor(s.sum, mask)});
    }
    return s;
}

/* Over the block; every thread gets the result. `shared`: two floats a warp. */
SIMT_DEVICE logit_sum block_joined(logit_sum s, float *shared) {
    s = warp_joined(s);
    if (simt_lane() == 0) {
        shared[2 * simt_warp()] = s.top;
        shared[2 * simt_warp() + 1] = s.sum;
    }
    simt_block_sync();
    logit_sum none = {-INFINITY, 0.0f};
    if (simt_lane() < WIDE_THREADS / 32) none = {shared[2 * simt_lane()], shared[2 * simt_lane() + 1]};
    s = warp_joined(none);
    simt_block_sync();
    return s;
}

/* The thread's packs i to i + AHEAD - 1 of a row, all loaded before any is used. */
template <typename T> SIMT_DEVICE void load_ahead(const classifier<T> &a, int64_t r, int i, float (&x)[AHEAD][PACK]) {
    for (int k = 0; k < AHEAD; k++) {
        pack_load(x[k], a.logits.row(r), row_column<false>(i + k), a.classes, a.wide, -INFINITY);
    }
}

/* Takes in what was loaded; a NaN among it reaches the sum. */
SIMT_DEVICE logit_sum extended(logit_sum s, const float (&x)[AHEAD][PACK]) {
    float top = s.top;
    for (int k = 0; k < AHEAD; k++) top = pack_max(x[k], top);
    float sum = rebased(s, top);
    for (int k = 0; k < AHEAD; k++) {
        for (int j = 0; j < PACK; j++) sum += x[k][j] == -INFINITY ? 0.0f : expf(x[k][j] - top);
    }
    return {top, sum};
}

template <typename T> SIMT_KERNEL(WIDE_THREADS) k_cross_entropy_fwd_wide(classifier<T> a) {
    float *shared = simt_shared<float>(), x[AHEAD][PACK];
    for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
        logit_sum s = {-INFINITY, 0.0f};
        for (int i = 0; row_column<false>(i) < a.classes; i += AHEAD) {
            load_ahead(a, r, i, x);
            s = extended(s, x);
        }
        int target = a.targets.of(r, threadIdx.x == 0);
        s = block_joined(s, shared);
        give_loss<false>(a, r, target, s.top, s.sum);
        float scale = a.rate / s.sum;
        for (int i = 0; a.share.data && row_column<false>(i) < a.classes; i += AHEAD) {
            load_ahead(a, r, i, x);
            for (int k = 0; k < AHEAD; k++) {
                pack_exp(x[k], s.top);
                give_share(a, r, row_column<false>(i + k), x[k], scale, target);
            }
        }
    }
}

/* ---- the loss, and backward ---- */

SIMT_KERNEL(LOSS_THREADS) k_cross_entropy_loss(const double *losses, float *loss, int64_t rows) {
    double *shared = simt_shared<double>(), sum = 0;
    for (int64_t r = threadIdx.x; r < rows; r += LOSS_THREADS) sum += losses[r];
    shared[threadIdx.x] = sum;
    for (unsigned half = LOSS_THREADS / 2; half > 0; half /= 2) {
        simt_block_sync();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *loss = static_cast<float>(shared[0] / static_cast<double>(rows));
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_cross_entropy_bwd(matrix<const T> share, const float *dloss, matrix<T> dlogits, each_loop loop, bool add) {
    float by = *dloss;
    if (dlogits.data == share.data && by == 1.0f) return;
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, share.row(at.row), v);
        for (int i = 0; i < N; i++) v[i] *= by;
        each_deliver(loop, at, dlogits.row(at.row), v, add);
    }
}

/* ---- launchers ---- */

/* Blocks for rows beyond registers, as said above. */
static unsigned wide_grid(const mmrec_view &logits) {
    const mmrec_cuda *now = mmrec_cuda_now();
    size_t row_bytes = static_cast<size_t>(logits.stride) * mmrec_dtype_bytes(logits.dtype);
    int64_t cached = static_cast<int64_t>(now->l2_bytes / 2 / row_bytes), rows = mmrec_shape_rows(&logits.shape);
    unsigned most = grid_for(rows, 1, 2);
    return cached >= now->sms / 4 && cached < most ? static_cast<unsigned>(cached) : most;
}

template <typename T>
static mmrec_status launch_rows(const classifier<T> &a, bool registers, unsigned grid, mmrec_error *error) {
    if (!registers) {
        simt_shape shape = {grid, WIDE_THREADS, 2 * WIDE_THREADS / 32 * sizeof(float), SIMT_FREE, 0};
        return SIMT_LAUNCH((k_cross_entropy_fwd_wide<T>), shape, error, a);
    }
    simt_shape shape = {grid, ROW_THREADS, 32 * sizeof(float), SIMT_FREE, 0};
    ROWS_BY_WIDTH(a.classes, ITEMS, WARP, return SIMT_LAUNCH((k_cross_entropy_fwd<T, ITEMS, WARP>), shape, error, a));
}

template <typename T> static mmrec_status forward_as(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &logits = call->in[IN_LOGITS], &targets = call->in[IN_TARGETS], &share = call->saved[0];
    int64_t rows = mmrec_shape_rows(&logits.shape), classes = MMREC_SIZE(call->sizes, V);
    double *losses = static_cast<double *>(call->scratch);
    target_list list = {matrix_of<const int32_t>(targets), mmrec_shape_columns(&targets.shape), classes,
                        mmrec_cuda_now()->fault};
    classifier<T> a = {
        matrix_of<const T>(logits),      matrix_of<T>(share),          list, losses, rows, static_cast<int>(classes),
        1.0f / static_cast<float>(rows), packs(logits) && packs(share)};
    bool registers = classes <= ROW_THREADS * PACK * ROW_MANY;
    MMREC_TRY(launch_rows(a, registers, registers ? row_grid(rows, classes) : wide_grid(logits), error));
    simt_shape one = {1, LOSS_THREADS, LOSS_THREADS * sizeof(double), SIMT_FREE, 0};
    return SIMT_LAUNCH(k_cross_entropy_loss, one, error, losses, static_cast<float *>(call->out[0].data), rows);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(row_check("cross_entropy", MMREC_SIZE(call->sizes, V), error));
    SIMT_BY_DTYPE(call->in[IN_LOGITS], T, return forward_as<T>(call, error));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &share = call->saved[0], &dlogits = call->d_in[IN_LOGITS];
    if (!dlogits.data) return MMREC_OK;
    each_loop loop = each_over({&share, &dlogits}, each_most());
    EACH_BY_TYPE(loop, share, T, N,
                 return SIMT_LAUNCH((k_cross_entropy_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(share),
                                    static_cast<const float *>(call->d_out[0].data), matrix_of<T>(dlogits), loop,
                                    call_adds(call, IN_LOGITS)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_cross_entropy = {{forward, backward}};
