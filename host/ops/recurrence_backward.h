/* Fast backward: the block gate's sums for all rows as one product, the linear sweep from the last step to the first
 * with one packed product [rows, 2D] x [2D, D] per step and everything elementwise in the same pass, U^T (M g) for all
 * rows as one product, then the weights' gradients as GEMMs with the depth B T.
 *
 * h_{t-1} of all rows is copied into one matrix: h one row up, h0 in each sequence's first row. Reading h shifted in
 * place instead needs a second, thin GEMM per weight for the first rows: 2 % slower at B = 4, T = 128, D = 1024, and
 * equal at B = 16. */
#ifndef MMREC_RECURRENCE_BACKWARD_H
#define MMREC_RECURRENCE_BACKWARD_H

#include "fast_loop.h"
#include "recurrence_layout.h"
#include "recurrence_rows.h"

typedef struct backward_run {
    const mmrec_op_call *call;
    stepper stepper;
    precision precision;
    int64_t batch, steps, width, padded; /* padded: width up to whole vectors */
    int64_t half;                        /* words of A g in a state row; M g follows */
    float *before;                       /* h_{t-1} of all rows */
    float *gated, *mixed;                /* A g and M g of all rows; gated first holds the block gate's sums */
    float *chunks, *panels, *state[2];   /* the step that leads to g_t reads state[t % 2] and writes the other */
    float *carry, *bias[2];              /* c g_t of every row; sums of A g and of M g over rows */
} backward_run;

/* As layout_run. */
static double backward_layout(const mmrec_op_sizes *sizes, backward_run *run, float *memory) {
    int64_t width = MMREC_SIZE(sizes, D), padded = round_up(width, LANES);
    double batch = (double)MMREC_SIZE(sizes, B), rows = batch * (double)MMREC_SIZE(sizes, T), vectors = (double)padded;
    const layout_part parts[] = {{&run->before, rows * (double)width},
                                 {&run->gated, rows * (double)width},
                                 {&run->mixed, rows * (double)width},
                                 {&run->chunks, (double)row_chunk_floats(width, sizes->threads)},
                                 {&run->panels, (double)round_up(width, 2 * LANES) * 2 * vectors},
                                 {&run->state[0], batch * (2 * vectors + 16)},
                                 {&run->state[1], batch * (2 * vectors + 16)},
                                 {&run->carry, batch * vectors},
                                 {&run->bias[0], vectors},
                                 {&run->bias[1], vectors}};
    return layout_run(parts, sizeof parts / sizeof *parts, memory);
}

static double backward_scratch(const mmrec_op_sizes *sizes) {
    backward_run run;
    return sizeof(float) * backward_layout(sizes, &run, NULL);
}

static backward_run backward_start(const mmrec_op_call *call) {
    backward_run run;
    backward_layout(call->sizes, &run, call->scratch);
    run.call = call;
    run.precision = precision_of(call);
    run.batch = MMREC_SIZE(call->sizes, B);
    run.steps = MMREC_SIZE(call->sizes, T);
    run.width = MMREC_SIZE(call->sizes, D);
    run.padded = round_up(run.width, LANES);
    run.half = depth_words(run.padded, run.precision);
    stepper s = {
        product_for(run.precision),      run.panels, 2 * run.half * 2 * LANES, 2 * run.padded + 16, 2 * run.half,
        divide_up(run.width, 2 * LANES), run.batch};
    run.stepper = s;
    return run;
}

static void backward_pack(const backward_run *run, range own) {
    const mmrec_op_call *call = run->call;
    for (int64_t panel = own.first; panel < own.end; panel++) {
        float *to = run->panels + panel * run->stepper.panel_words;
        int64_t unit = panel * 2 * LANES, middle = run->half * 2 * LANES;
        pack_rows(to, &call->in[IN_GATE_WEIGHT], 0, unit, run->padded, run->precision);
        pack_rows(to + middle, &call->in[IN_MDI_WEIGHT], run->width, unit, run->padded, run->precision);
        for (int64_t i = unit; i < unit + 2 * LANES && i < run->padded; i += LANES) {
            *(vec *)(run->bias[0] + i) = *(vec *)(run->bias[1] + i) = (vec){0};
            for (int64_t row = 0; row < run->batch; row++) *(vec *)(run->carry + row * run->padded + i) = (vec){0};
        }
    }
}

/* One vector of units at one batch row, g known: the slopes for the products to come, dz, dgamma, c g. */
static inline void backward_unit(const backward_run *run, int64_t row, int64_t t, int64_t unit, vec bias, vec g,
                                 vec total[2]) {
    const mmrec_op_call *call = run->call;
    int64_t at = row * run->steps + t, count = run->width - unit;
    float *gated = run->gated + at * run->width + unit;
    vec a = vec_sigmoid(vec_load(gated, count) + bias), m = vec_load(view_row(&call->saved[0], at) + unit, count);
    vec z = vec_load(view_row(&call->in[IN_Z], at) + unit, count);
    vec gamma = vec_load(view_row(&call->in[IN_GAMMA], at) + unit, count);
    vec before = vec_load(run->before + at * run->width + unit, count);
    vec open = 1.0f - m, block = z * a * (1.0f - a) * g, mix = (float)MIX * (z - before) * m * open * g;
    float *state = run->state[(t + 1) % 2] + row * run->stepper.row_words;
    state_store(state, unit, block, run->precision);
    state_store(state + run->half, unit, mix, run->precision);
    vec_store(gated, block, count);
    vec_store(run->mixed + at * run->width + unit, mix, count);
    *(vec *)(run->carry + row * run->padded + unit) = (gamma + (float)MIX * (open + gamma)) * g;
    total[0] += block;
    total[1] += mix;
    const mmrec_view *dz = &call->d_in[IN_Z], *dgamma = &call->d_in[IN_GAMMA];
    if (dz->data) vec_deliver(view_row(dz, at) + unit, g * (a + (float)MIX * m), count, accumulates(call, IN_Z));
    if (dgamma->data) {
        vec_deliver(view_row(dgamma, at) + unit, (float)(1 + MIX) * g * before, count, accumulates(call, IN_GAMMA));
    }
}

static void backward_prepare(const void *context, const place *at) {
    const backward_run *run = context;
    const mmrec_op_call *call = run->call;
    int64_t end = 2 * (at->panel + at->blocks) * LANES;
    for (int64_t unit = 2 * at->panel * LANES; unit < end && unit < run->width; unit += LANES) {
        for (int64_t row = at->row; row < at->row + at->rows; row++) {
            int64_t from = row * run->steps + at->t;
            __builtin_prefetch(view_row(&call->in[IN_Z], from) + unit);
            __builtin_prefetch(view_row(&call->in[IN_GAMMA], from) + unit);
            __builtin_prefetch(view_row(&call->saved[0], from) + unit);
            __builtin_prefetch(view_row(&call->d_out[OUT_H], from) + unit);
            __builtin_prefetch(run->before + from * run->width + unit);
            __builtin_prefetch(run->gated + from * run->width + unit, 1);
            __builtin_prefetch(run->mixed + from * run->width + unit, 1);
            if (call->d_in[IN_Z].data) __builtin_prefetch(view_row(&call->d_in[IN_Z], from) + unit, 1);
            if (call->d_in[IN_GAMMA].data) __builtin_prefetch(view_row(&call->d_in[IN_GAMMA], from) + unit, 1);
        }
    }
}

static void backward_finish(const void *context, const place *at, const vec *sums) {
    const backward_run *run = context;
    for (int v = 0; v < 2 * at->blocks; v++) {
        int64_t unit = (2 * at->panel + v) * LANES, count = run->width - unit;
        if (count <= 0) return;
        vec bias = vec_load(view_row(&run->call->in[IN_GATE_BIAS], 0) + unit, count), total[2] = {{0}, {0}};
        for (int r = 0; r < at->rows; r++) {
            int64_t row = at->row + r;
            vec dout = vec_load(view_row(&run->call->d_out[OUT_H], row * run->steps + at->t) + unit, count);
            vec g = dout + *(vec *)(run->carry + row * run->padded + unit) + sums[v * at->rows + r];
            backward_unit(run, row, at->t, unit, bias, g, total);
        }
        *(vec *)(run->bias[0] + unit) += total[0];
        *(vec *)(run->bias[1] + unit) += total[1];
    }
}

static void backward_prepare_h0(const void *context, const place *at) {
    const backward_run *run = context;
    __builtin_prefetch(view_row(&run->call->d_in[IN_H0], at->row) + 2 * at->panel * LANES, 1);
}

/* The step before the first: dh0. */
static void backward_finish_h0(const void *context, const place *at, const vec *sums) {
    const backward_run *run = context;
    for (int v = 0; v < 2 * at->blocks; v++) {
        int64_t unit = (2 * at->panel + v) * LANES, count = run->width - unit;
        if (count <= 0) return;
        for (int r = 0; r < at->rows; r++) {
            vec g = *(vec *)(run->carry + (at->row + r) * run->padded + unit) + sums[v * at->rows + r];
            float *to = view_row(&run->call->d_in[IN_H0], at->row + r) + unit;
            vec_deliver(to, g, count, accumulates(run->call, IN_H0));
        }
    }
}

static void backward_bias(const backward_run *run, range own, int input, const float *total) {
    const mmrec_view *to = &run->call->d_in[input];
    if (!to->data) return;
    int64_t end = own.end * 2 * LANES < run->width ? own.end * 2 * LANES : run->width;
    for (int64_t i = own.first * 2 * LANES; i < end; i++) {
        deliver(&view_row(to, 0)[i], total[i], accumulates(run->call, input));
    }
}

static const float *backward_before(const void *context, int64_t row) {
    const backward_run *run = context;
    float *before = run->before + row * run->width;
    memcpy(before, state_before(run->call, row / run->steps, row % run->steps), (size_t)run->width * sizeof(float));
    return before;
}

/* A matrix of one row per row at `data`. */
static mmrec_view backward_matrix(const backward_run *run, float *data) {
    return mmrec_view_dense(data, MMREC_F32, mmrec_shape2(run->batch * run->steps, run->width));
}

/* Sums of the block gate, without bias, of all rows into `gated`; h_{t-1} into `before` on the way. */
static void backward_gates(const backward_run *run, team_sync *team, int thread, int threads) {
    rows_product product = rows_start(run->call, run->precision, run->panels, run->chunks);
    product.source = backward_before;
    product.run = run;
    product.to = backward_matrix(run, run->gated);
    rows_pack(&product, &run->call->in[IN_GATE_WEIGHT], true, thread, threads);
    rows_run(&product, team, thread, threads);
}

static const float *backward_mixed(const void *context, int64_t row) {
    const backward_run *run = context;
    return run->mixed + row * run->width;
}

/* Adds U^T (M g) to dz, where the sweep has put the direct part. */
static void backward_z(const backward_run *run, team_sync *team, int thread, int threads) {
    rows_product product = rows_start(run->call, run->precision, run->panels, run->chunks);
    product.source = backward_mixed;
    product.run = run;
    product.to = run->call->d_in[IN_Z];
    product.add = true;
    team_meet(team, threads); /* the panels of the sweep are still being read for dh0 */
    rows_pack(&product, &run->call->in[IN_MDI_WEIGHT], false, thread, threads);
    rows_run(&product, team, thread, threads);
}

static void backward_steps(const backward_run *run, team_sync *team, int thread, int threads) {
    const tile_actions actions = {backward_prepare, backward_finish};
    const tile_actions last = {backward_prepare_h0, backward_finish_h0};
    range own = panels_of(&run->stepper, thread, threads);
    backward_gates(run, team, thread, threads);
    backward_pack(run, own);
    for (int64_t t = run->steps - 1; t >= 0; t--) {
        int64_t depth = t == run->steps - 1 ? 0 : run->stepper.depth;
        step_range(&run->stepper, own, run->state[t % 2], depth, t, &actions, run);
        team_meet(team, threads);
    }
    if (run->call->d_in[IN_H0].data) step_range(&run->stepper, own, run->state[1], run->stepper.depth, 1, &last, run);
    backward_bias(run, own, IN_GATE_BIAS, run->bias[0]);
    backward_bias(run, own, IN_MDI_BIAS, run->bias[1]);
    if (run->call->d_in[IN_Z].data) backward_z(run, team, thread, threads);
}

static mmrec_status backward_weights(const backward_run *run, mmrec_error *error) {
    const mmrec_op_call *call = run->call;
    const mmrec_view *dgate = &call->d_in[IN_GATE_WEIGHT], *dmdi = &call->d_in[IN_MDI_WEIGHT];
    mmrec_view gated = backward_matrix(run, run->gated), mixed = backward_matrix(run, run->mixed);
    mmrec_view before = backward_matrix(run, run->before);
    if (dgate->data)
        MMREC_TRY(fast_gemm(&gated, true, &before, false, dgate, accumulates(call, IN_GATE_WEIGHT), error));
    if (!dmdi->data) return MMREC_OK;
    bool add = accumulates(call, IN_MDI_WEIGHT);
    mmrec_view from_z = *dmdi, from_h = *dmdi;
    from_z.shape.dim[1] = from_h.shape.dim[1] = run->width;
    from_h.data = view_row(dmdi, 0) + run->width;
    MMREC_TRY(fast_gemm(&mixed, true, &call->in[IN_Z], false, &from_z, add, error));
    return fast_gemm(&mixed, true, &before, false, &from_h, add, error);
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    backward_run run = backward_start(call);
    team_sync team = {0, 0, 0};
#pragma omp parallel num_threads(team_size(call, &run.stepper))
    backward_steps(&run, &team, omp_get_thread_num(), omp_get_num_threads());
    return backward_weights(&run, error);
}

#endif
