/* recurrence: the MM-Rec cell over time, sequential because both gates read the state before them.
 *
 *   a_t = s(Wg h_{t-1} + bg)     m_t = s(U z_t + Wh h_{t-1} + bm)     n_t = (1 - m_t) h_{t-1} + m_t z_t + gamma_t
 * h_{t-1} h_t = z_t a_t + gamma_t h_{t-1} + 0.1 n_t
 *
 * Backward is linear in g_t = dL/dh_t once the gates are known:
 *
 *   A = z a (1 - a)   M = 0.1 (z - h_{t-1}) m (1 - m)   c = gamma + 0.1 (1 - m + gamma)
 *   g_{t-1} = dh_{t-1} + c g_t + Wg^T (A g_t) + Wh^T (M g_t)
 *   dz = g (a + 0.1 m) + U^T (M g)      dgamma = 1.1 g h_{t-1}      dWg, dU, dWh, dbg, dbm: sums over all rows of A g,
 * M g
 *
 * Source: host/ops/recurrence.c.
 *
 *   z, gamma, h, n, m      (B, T, D)   float; rows may be slices of wider ones
 *   h0                     (B, D)      float
 *   Wg; [U Wh]             (D, D), (D, 2D)   float; bf16 = 1 rounds them, and what meets them in a product over h or z
 *   bg, bm                 (D)         float
 *   scratch                host/ops/recurrence_device.h; dz, dgamma, ...: as what they are gradients of
 *
 * Before the loop: U z + bm for all t in one product, into m, which replaces it (backward: Wg h for all t, into what
 * becomes A g). The loop: one kernel, persistent or launched once a step, in four regimes (recurrence_exchange.cuh);
 * which block, warp and thread does what is in recurrence_plan.h, recurrence_tile.cuh and recurrence_cell.cuh. After
 * it: the weights' gradients as products over all rows, the biases' as column sums. Row r of A g belongs to row r - 1
 * of h except at t = 0, where it belongs to h0: those rows are set apart, so that all others are one product and not B.
 *
 * Order of sums: h part over the inner axis, lanes and warps as recurrence_tile.cuh has it, fixed by D and the same in
 * all regimes; then U z + bm (bg) joins. Weights' gradients: h0's rows, then all others, as cuBLASLt has it.
 *
 * Considered: storing the gate a too (4 B T D bytes more) saves one of seven products backward. A copy of h shifted by
 * a step (4 B T D bytes) would save setting rows apart. Chunks of T would bound the scratch memory of A g and M g, 8 B
 * T D bytes, half of what z, gamma, h and m take, but make B products of one, or copies (docs/recurrence.md). */
#include "recurrence.h"

#include "columns.cuh"
#include "recurrence_cell.cuh"
#include "recurrence_pack.cuh"

#include <limits.h>

enum { IN_Z, IN_GAMMA, IN_H0, IN_GATE_WEIGHT, IN_GATE_BIAS, IN_MDI_WEIGHT, IN_MDI_BIAS };
enum { OUT_H, OUT_N };

template <typename Tile>
SIMT_KERNEL_ALONE(RECURRENCE_THREADS)
k_recurrence_fwd(recurrence_frame frame, forward_cell cell) {
    recurrence_run<Tile>(frame, cell);
}
template <typename Tile>
SIMT_KERNEL_ALONE(RECURRENCE_THREADS)
k_recurrence_bwd(recurrence_frame frame, backward_cell cell) {
    recurrence_run<Tile>(frame, cell);
}

/* One call on the host's side. */
struct recurrence_job {
    const mmrec_op_call *call; /* NULL when only asking */
    recurrence_sizes sizes;
    recurrence_layout layout;
    bool plain;    /* without tensor cores */
    int *clusters; /* not NULL: do not launch, only ask how many clusters the device holds at once */
    template <typename T> T *scratch(size_t at) const {
        return call ? reinterpret_cast<T *>(static_cast<unsigned char *>(call->scratch) + at) : nullptr;
    }
};

/* ---- views ---- */

static mmrec_view dense(void *data, mmrec_dtype dtype, int64_t rows, int64_t columns, int64_t stride) {
    mmrec_view v = mmrec_view_dense(data, dtype, mmrec_shape2(rows, columns));
    v.stride = stride;
    return v;
}
/* `rows` rows of a view from `first` on; columns from `column`. */
static mmrec_view part_of(const mmrec_view &of, int64_t first, int64_t rows, int64_t column, int64_t columns) {
    return dense(static_cast<float *>(of.data) + first * of.stride + column, of.dtype, rows, columns, of.stride);
}
static int64_t rows_of(const recurrence_job &job) { return job.sizes.batch * job.sizes.steps; }

static mmrec_view gate_weight(const recurrence_job &job) { return job.call->in[IN_GATE_WEIGHT]; }
static mmrec_view mdi_half(const recurrence_job &job, const mmrec_view &mdi, int half) {
    return part_of(mdi, 0, job.sizes.width, half * job.sizes.width, job.sizes.width);
}

/* ---- products for all steps at once ---- */

static mmrec_status rounded(const mmrec_view &from, size_t at, const recurrence_job &job, mmrec_view *to,
                            mmrec_error *error) {
    int64_t rows = mmrec_shape_rows(&from.shape), columns = mmrec_shape_columns(&from.shape);
    *to = dense(job.scratch<simt_bf16>(at), MMREC_BF16, rows, columns, job.sizes.half_stride);
    simt_shape shape = {grid_for(rows * columns, PACK_THREADS, PACK_WAVES), PACK_THREADS, 0, SIMT_FREE, 0};
    return SIMT_LAUNCH(k_recurrence_round, shape, error, matrix_of<const float>(from), matrix_of<simt_bf16>(*to),
                       columns, rows * columns);
}

/* to = x w (or its transpose) + bias [+ to], both factors rounded where the call says so. */
static mmrec_status product(const recurrence_job &job, const mmrec_view &x, const mmrec_view &w, bool transpose,
                            const mmrec_view &to, const float *bias, bool add, mmrec_error *error) {
    mmrec_view left = x, right = w;
    if (job.sizes.bf16) {
        MMREC_TRY(rounded(x, job.sizes.half, job, &left, error));
        MMREC_TRY(rounded(w, job.sizes.half_weight, job, &right, error));
    }
    return mmrec_cuda_gemm(&left, false, &right, transpose, &to, bias, add, error);
}

/* ---- the loop ---- */

static mmrec_status pack_weights(const recurrence_job &job, mmrec_error *error) {
    const recurrence_sizes &r = job.sizes;
    recurrence_weights w = {matrix_of<const float>(job.call->in[IN_GATE_WEIGHT]),
                            matrix_of<const float>(job.call->in[IN_MDI_WEIGHT]), static_cast<int>(r.width),
                            static_cast<int>(r.part), r.backward};
    int64_t fragments = r.outputs * r.depth * recurrence_element(&r) / RECURRENCE_FRAGMENT;
    int64_t per_tile = fragments / (r.depth / recurrence_tile(&r));
    int64_t words = RECURRENCE_BUFFERS * r.batch * r.depth * (r.bf16 ? 4 : 8) / 16;
    uint4 *panel = job.scratch<uint4>(r.panel), *exchange = job.scratch<uint4>(r.exchange);
    unsigned *barrier = mmrec_cuda_now()->barrier;
    simt_shape shape = {grid_for(fragments * 32, PACK_THREADS, PACK_WAVES), PACK_THREADS, 0, SIMT_FREE, 0};
    if (r.bf16) {
        return SIMT_LAUNCH((k_recurrence_pack<true>), shape, error, w, panel, fragments, per_tile, exchange, words,
                           barrier);
    }
    return SIMT_LAUNCH((k_recurrence_pack<false>), shape, error, w, panel, fragments, per_tile, exchange, words,
                       barrier);
}

static recurrence_frame frame_of(const recurrence_job &job, int total) {
    const recurrence_sizes &r = job.sizes;
    const recurrence_layout &l = job.layout;
    const mmrec_cuda *device = mmrec_cuda_now();
    int held = r.bf16 ? recurrence_held(l.tiles) * RECURRENCE_WARPS : 0;
    recurrence_frame f = {};
    f.way = l.way, f.last = f.total = total;
    f.batch = static_cast<int>(r.batch), f.steps = static_cast<int>(r.steps), f.width = static_cast<int>(r.width);
    f.part = static_cast<int>(r.part), f.depth = static_cast<int>(r.depth), f.units = recurrence_units(&r, l.tiles);
    f.blocks = l.blocks, f.cluster = l.cluster, f.rows = l.rows, f.chunks = l.chunks, f.groups = l.groups;
    f.stage = l.stage, f.shared_first = held, f.resident = l.resident;
    f.per_tile = r.outputs / (r.bf16 ? RECURRENCE_TILE_SUMS : 1);
    f.panel = job.scratch<const uint4>(r.panel);
    f.exchange = job.scratch<unsigned char>(r.exchange);
    f.barrier = device->barrier, f.fault = device->fault, f.spin_limit = device->spin_limit;
    return f;
}

/* All iterations: in one launch, or one each. */
template <typename Cell>
static mmrec_status launch(void (*kernel)(recurrence_frame, Cell), const char *name, const recurrence_job &job,
                           recurrence_frame frame, const Cell &cell, mmrec_error *error) {
    const recurrence_layout &l = job.layout;
    bool waits = l.way == MMREC_RECURRENCE_GRID || l.way == MMREC_RECURRENCE_BARRIER;
    bool cluster = l.way == MMREC_RECURRENCE_CLUSTER;
    simt_shape shape = {static_cast<unsigned>(l.groups * (cluster ? l.cluster : l.blocks)), RECURRENCE_THREADS,
                        static_cast<size_t>(l.shared_bytes), waits ? SIMT_RESIDENT : SIMT_FREE,
                        cluster ? static_cast<unsigned>(l.cluster) : 0};
    if (job.clusters) {
        *job.clusters = simt_clusters_at_once(kernel, shape);
        return MMREC_OK;
    }
    if (l.way != MMREC_RECURRENCE_GRAPH) return simt_start(kernel, name, shape, error, frame, cell);
    for (int i = 0; i < frame.total; i++) {
        frame.first = i, frame.last = i + 1;
        MMREC_TRY(simt_start(kernel, name, shape, error, frame, cell));
    }
    return MMREC_OK;
}

template <typename Tile>
static mmrec_status launch_tile(const recurrence_job &job, const forward_cell &cell, mmrec_error *error) {
    recurrence_frame frame = frame_of(job, static_cast<int>(job.sizes.steps) + 1);
    return launch(k_recurrence_fwd<Tile>, "k_recurrence_fwd", job, frame, cell, error);
}
/* The last iteration only makes the gradient of h0. */
template <typename Tile>
static mmrec_status launch_tile(const recurrence_job &job, const backward_cell &cell, mmrec_error *error) {
    recurrence_frame frame = frame_of(job, static_cast<int>(job.sizes.steps) + (cell.dh0.data ? 1 : 0));
    return launch(k_recurrence_bwd<Tile>, "k_recurrence_bwd", job, frame, cell, error);
}

template <int TILES, typename Cell>
static mmrec_status launch_tiles(const recurrence_job &job, const Cell &cell, mmrec_error *error) {
    if (!job.sizes.bf16) return launch_tile<float_tile<TILES>>(job, cell, error);
    return launch_tile<tensor_tile<TILES>>(job, cell, error);
}

template <typename Cell> static mmrec_status sweep(const recurrence_job &job, const Cell &cell, mmrec_error *error) {
    if (job.plain && job.sizes.bf16) return launch_tile<plain_tile<1>>(job, cell, error);
    if constexpr (Cell::MOST_TILES == 8) {
        if (job.layout.tiles == 8) return launch_tiles<8>(job, cell, error);
    }
    if (job.layout.tiles == 4) return launch_tiles<4>(job, cell, error);
    if (job.layout.tiles == 2) return launch_tiles<2>(job, cell, error);
    return launch_tiles<1>(job, cell, error);
}

/* ---- forward ---- */

static mmrec_status forward_run(const recurrence_job &job, mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    const float *bias = static_cast<const float *>(call->in[IN_MDI_BIAS].data);
    mmrec_view u = mdi_half(job, call->in[IN_MDI_WEIGHT], 0);
    MMREC_TRY(pack_weights(job, error));
    MMREC_TRY(product(job, call->in[IN_Z], u, true, call->saved[0], bias, false, error));
    forward_cell cell = {
        matrix_of<const float>(call->in[IN_Z]),  matrix_of<const float>(call->in[IN_GAMMA]),
        matrix_of<const float>(call->in[IN_H0]), static_cast<const float *>(call->in[IN_GATE_BIAS].data),
        matrix_of<float>(call->out[OUT_H]),      matrix_of<float>(call->out[OUT_N]),
        matrix_of<float>(call->saved[0])};
    return sweep(job, cell, error);
}

/* ---- backward ---- */

/* Wg h for all steps, into the place of A g; Wg h0. */
static mmrec_status gate_sums(const recurrence_job &job, mmrec_error *error) {
    const recurrence_sizes &r = job.sizes;
    mmrec_view later = dense(job.scratch<float>(r.gated), MMREC_F32, rows_of(job), r.width, r.width);
    mmrec_view first = dense(job.scratch<float>(r.first), MMREC_F32, r.batch, r.width, r.width);
    if (r.steps > 1) {
        MMREC_TRY(product(job, job.call->out[OUT_H], gate_weight(job), true, later, nullptr, false, error));
    }
    return product(job, job.call->in[IN_H0], gate_weight(job), true, first, nullptr, false, error);
}

static backward_cell backward_cell_of(const recurrence_job &job) {
    const mmrec_op_call *call = job.call;
    const recurrence_sizes &r = job.sizes;
    backward_cell cell = {};
    cell.z = matrix_of<const float>(call->in[IN_Z]);
    cell.gamma = matrix_of<const float>(call->in[IN_GAMMA]);
    cell.h0 = matrix_of<const float>(call->in[IN_H0]);
    cell.h = matrix_of<const float>(call->out[OUT_H]);
    cell.m = matrix_of<const float>(call->saved[0]);
    cell.dh = matrix_of<const float>(call->d_out[OUT_H]);
    cell.gate_bias = static_cast<const float *>(call->in[IN_GATE_BIAS].data);
    cell.dz = matrix_of<float>(call->d_in[IN_Z]);
    cell.dgamma = matrix_of<float>(call->d_in[IN_GAMMA]);
    cell.dh0 = matrix_of<float>(call->d_in[IN_H0]);
    cell.add_z = call_adds(call, IN_Z), cell.add_gamma = call_adds(call, IN_GAMMA),
    cell.add_h0 = call_adds(call, IN_H0);
    cell.gated = job.scratch<float>(r.gated), cell.mixed = job.scratch<float>(r.mixed);
    cell.first = job.scratch<float>(r.first), cell.carry = job.scratch<float>(r.carry);
    return cell;
}

static mmrec_status bias_gradients(const recurrence_job &job, const mmrec_view &gated, const mmrec_view &mixed,
                                   mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    row_pieces pieces = pieces_of_bias(rows_of(job), job.sizes.width);
    float *sums = job.scratch<float>(job.sizes.sums), *more = sums + pieces.count * pieces.stride;
    float *gate = static_cast<float *>(call->d_in[IN_GATE_BIAS].data);
    float *mdi = static_cast<float *>(call->d_in[IN_MDI_BIAS].data);
    if (gate) MMREC_TRY(columns_part<float>(gated, 1, pieces, sums, error));
    if (mdi) MMREC_TRY(columns_part<float>(mixed, 1, pieces, more, error));
    return columns_join({sums, gate, call_adds(call, IN_GATE_BIAS)}, {more, mdi, call_adds(call, IN_MDI_BIAS)}, pieces,
                        error);
}

/* to = slope^T h_{t-1} over all rows: those of t = 0 first, which lie in `first`. */
static mmrec_status state_gradient(const recurrence_job &job, const mmrec_view &slope, const mmrec_view &first,
                                   const mmrec_view &to, bool add, mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    int64_t rows = rows_of(job), width = job.sizes.width;
    MMREC_TRY(mmrec_cuda_gemm(&first, true, &call->in[IN_H0], false, &to, nullptr, add, error));
    if (job.sizes.steps == 1) return MMREC_OK;
    mmrec_view later = part_of(slope, 1, rows - 1, 0, width), before = part_of(call->out[OUT_H], 0, rows - 1, 0, width);
    return mmrec_cuda_gemm(&later, true, &before, false, &to, nullptr, true, error);
}

static mmrec_status weight_gradients(const recurrence_job &job, const mmrec_view &gated, const mmrec_view &mixed,
                                     mmrec_error *error) {
    const mmrec_op_call *call = job.call;
    const recurrence_sizes &r = job.sizes;
    const mmrec_view &gate = call->d_in[IN_GATE_WEIGHT], &mdi = call->d_in[IN_MDI_WEIGHT];
    bool add = call_adds(call, IN_MDI_WEIGHT);
    if (mdi.data) {
        mmrec_view du = mdi_half(job, mdi, 0);
        MMREC_TRY(mmrec_cuda_gemm(&mixed, true, &call->in[IN_Z], false, &du, nullptr, add, error));
    }
    if (!gate.data && !mdi.data) return MMREC_OK;
    float *first = job.scratch<float>(r.first);
    simt_shape shape = {grid_for(r.batch * r.width, PACK_THREADS, PACK_WAVES), PACK_THREADS, 0, SIMT_FREE, 0};
    MMREC_TRY(SIMT_LAUNCH(k_recurrence_first, shape, error, job.scratch<float>(r.gated), job.scratch<float>(r.mixed),
                          first, r.batch, r.steps, r.width));
    mmrec_view first_gated = dense(first, MMREC_F32, r.batch, r.width, r.width);
    mmrec_view first_mixed = dense(first + r.batch * r.width, MMREC_F32, r.batch, r.width, r.width);
    if (gate.data) {
        MMREC_TRY(state_gradient(job, gated, first_gated, gate, call_adds(call, IN_GATE_WEIGHT), error));
    }
    if (!mdi.data) return MMREC_OK;
    return state_gradient(job, mixed, first_mixed, mdi_half(job, mdi, 1), add, error);
}

static mmrec_status backward_run(const recurrence_job &job, mmrec_error *error) {
    const recurrence_sizes &r = job.sizes;
    mmrec_view gated = dense(job.scratch<float>(r.gated), MMREC_F32, rows_of(job), r.width, r.width);
    mmrec_view mixed = dense(job.scratch<float>(r.mixed), MMREC_F32, rows_of(job), r.width, r.width);
    MMREC_TRY(pack_weights(job, error));
    MMREC_TRY(gate_sums(job, error));
    MMREC_TRY(sweep(job, backward_cell_of(job), error));
    if (job.call->d_in[IN_Z].data) {
        mmrec_view u = mdi_half(job, job.call->in[IN_MDI_WEIGHT], 0);
        MMREC_TRY(product(job, mixed, u, false, job.call->d_in[IN_Z], nullptr, true, error));
    }
    MMREC_TRY(bias_gradients(job, gated, mixed, error));
    return weight_gradients(job, gated, mixed, error);
}

/* ---- choice ---- */

static recurrence_limits limits_of(const mmrec_cuda *device) {
    return {device->sms, device->capability, device->max_cluster, device->max_shared_bytes, 0};
}

static mmrec_status check_sizes(const recurrence_sizes &r, mmrec_error *error) {
    if (r.batch < INT_MAX / 2 && r.steps < INT_MAX / 2 && r.width < (1 << 24)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED,
               "recurrence: the kernels take B and T below 2^30 and D below 2^24, got B = %lld, "
               "T = %lld, D = %lld",
               (long long)r.batch, (long long)r.steps, (long long)r.width);
}

static mmrec_status run_layout(const mmrec_op_call *call, mmrec_pass pass, const recurrence_sizes &sizes,
                               const recurrence_layout &layout, bool plain, mmrec_error *error) {
    recurrence_job job = {call, sizes, layout, plain, nullptr};
    if (!layout.possible) {
        static const char *const names[] = {"auto", "cluster", "grid", "barrier", "graph"};
        MMREC_FAIL(error, MMREC_UNSUPPORTED,
                   "recurrence: regime %s cannot run D = %lld here: it needs %d blocks at once "
                   "and %lld bytes of shared memory each; --recurrence auto chooses one that can",
                   names[layout.way], (long long)sizes.width, layout.blocks, (long long)layout.shared_bytes);
    }
    return pass == MMREC_FORWARD ? forward_run(job, error) : backward_run(job, error);
}

/* Registers, shared memory and where multiprocessors lie decide how many clusters run at once: only the device knows.
 * An H100 may have places for 7 of 16 blocks, not for the 8 that its 132 multiprocessors suggest; batch rows are shared
 * out accordingly. */
static recurrence_layout fitted(const recurrence_sizes &sizes, recurrence_limits limits, recurrence_layout layout,
                                mmrec_error *error) {
    if (layout.way != MMREC_RECURRENCE_CLUSTER || !layout.possible || layout.cluster == 1) return layout;
    recurrence_job job = {nullptr, sizes, layout, false, &limits.clusters};
    mmrec_status asked = sizes.backward ? sweep(job, backward_cell(), error) : sweep(job, forward_cell(), error);
    if (asked == MMREC_OK && limits.clusters > 0)
        return recurrence_layout_of(&sizes, &limits, MMREC_RECURRENCE_CLUSTER);
    layout.possible = false;
    return layout;
}

mmrec_status mmrec_recurrence_run(const mmrec_op_call *call, mmrec_pass pass, mmrec_recurrence_regime way, bool plain,
                                  mmrec_error *error) {
    recurrence_sizes sizes = recurrence_sizes_of(call->sizes, pass);
    recurrence_limits limits = limits_of(mmrec_cuda_now());
    MMREC_TRY(check_sizes(sizes, error));
    if (plain) limits.sms = INT_MAX / 4; /* one tile a block: the only size there is of the plain kernel */
    recurrence_layout layout = fitted(sizes, limits, recurrence_layout_of(&sizes, &limits, way), error);
    return run_layout(call, pass, sizes, layout, plain, error);
}

static mmrec_status run(const mmrec_op_call *call, mmrec_pass pass, mmrec_error *error) {
    const mmrec_cuda *device = mmrec_cuda_now();
    if (device->recurrence != MMREC_RECURRENCE_AUTO) {
        return mmrec_recurrence_run(call, pass, device->recurrence, false, error);
    }
    recurrence_sizes sizes = recurrence_sizes_of(call->sizes, pass);
    recurrence_limits limits = limits_of(device);
    MMREC_TRY(check_sizes(sizes, error));
    unsigned proven = mmrec_recurrence_proven();
    if (sizes.bf16 && !((proven >> MMREC_RECURRENCE_GRAPH) & 1u)) {
        return mmrec_recurrence_run(call, pass, MMREC_RECURRENCE_GRAPH, true, error);
    }
    recurrence_layout layout = fitted(sizes, limits, recurrence_layout_auto(&sizes, &limits, proven), error);
    if (!layout.possible) {
        layout = recurrence_layout_auto(&sizes, &limits, proven & ~(1u << MMREC_RECURRENCE_CLUSTER));
    }
    return run_layout(call, pass, sizes, layout, false, error);
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) { return run(call, MMREC_FORWARD, error); }
static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) { return run(call, MMREC_BACKWARD, error); }

extern "C" const mmrec_cuda_op mmrec_cuda_op_recurrence = {{forward, backward}};
