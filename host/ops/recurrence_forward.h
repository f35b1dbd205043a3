/* Fast forward: u = U z for all rows (into the saved tensor, where m replaces it), then per step one packed product
 * with both gates, sigmoids, n and h finished where the sums are. Scratch: panels, first of U, then of Wg and Wh; the
 * state twice; rows of z. */
#ifndef MMREC_RECURRENCE_FORWARD_H
#define MMREC_RECURRENCE_FORWARD_H

#include "recurrence_rows.h"

typedef struct forward_run {
    const mmrec_op_call *call;
    stepper stepper;
    precision precision;
    int64_t steps, width;
    float *panels, *state[2]; /* step t reads state[t % 2] and writes the other */
    float *chunks;
} forward_run;

static precision precision_of(const mmrec_op_call *call) {
    if (call->sizes->attr[ATTR_BF16] == 0) return EXACT;
#if defined(__AVX512F__)
    if (__builtin_cpu_supports("avx512bf16")) return PAIRS;
#endif
    return ROUNDED;
}

/* Words of the panels of both gates; those of U are no more. */
static int64_t forward_panel_floats(int64_t width) { return round_up(round_up(width, LANES) * width * 2, 16); }

static double forward_scratch(const mmrec_op_sizes *sizes) {
    int64_t width = MMREC_SIZE(sizes, D), batch = MMREC_SIZE(sizes, B);
    double rows = 2 * (double)batch + (double)sizes->threads * ROW_CHUNK;
    return sizeof(float) * ((double)forward_panel_floats(width) + rows * (double)state_words(width));
}

static forward_run forward_start(const mmrec_op_call *call) {
    forward_run run;
    int64_t width = MMREC_SIZE(call->sizes, D), batch = MMREC_SIZE(call->sizes, B);
    run.call = call;
    run.precision = precision_of(call);
    run.steps = MMREC_SIZE(call->sizes, T);
    run.width = width;
    int64_t depth = depth_words(width, run.precision), row_words = state_words(width);
    stepper s = {product_for(run.precision), call->scratch, depth * 2 * LANES, row_words, depth,
                 divide_up(width, LANES),    batch};
    run.stepper = s;
    run.panels = call->scratch;
    run.state[0] = run.panels + forward_panel_floats(width);
    run.state[1] = run.state[0] + batch * row_words;
    run.chunks = run.state[1] + batch * row_words;
    return run;
}

static const float *forward_z(const void *context, int64_t row) {
    const forward_run *run = context;
    return view_row(&run->call->in[IN_Z], row);
}

static void forward_u(const forward_run *run, team_sync *team, int thread, int threads) {
    rows_product product = rows_start(run->call, run->precision, run->panels, run->chunks);
    product.source = forward_z;
    product.run = run;
    product.to = run->call->saved[0];
    rows_pack(&product, &run->call->in[IN_MDI_WEIGHT], true, thread, threads);
    rows_run(&product, team, thread, threads);
}

static void forward_pack(const forward_run *run, range own) {
    const mmrec_op_call *call = run->call;
    for (int64_t panel = own.first; panel < own.end; panel++) {
        float *to = run->panels + panel * run->stepper.panel_words;
        int64_t unit = panel * LANES, width = run->width;
        pack_turned(to, 0, &call->in[IN_GATE_WEIGHT], 0, unit, width, run->precision);
        pack_turned(to, 1, &call->in[IN_MDI_WEIGHT], width, unit, width, run->precision);
        for (int64_t row = 0; row < run->stepper.batch; row++) {
            vec h = vec_load(view_row(&call->in[IN_H0], row) + unit, width - unit);
            state_store(run->state[0] + row * run->stepper.row_words, unit, h, run->precision);
        }
    }
}

/* One vector of units at one batch row: `a` and `m` are the gates' sums with their biases. */
static inline void forward_unit(const forward_run *run, int64_t row, int64_t t, int64_t unit, vec a, vec m) {
    const mmrec_op_call *call = run->call;
    int64_t at = row * run->steps + t, count = run->width - unit;
    float *saved = view_row(&call->saved[0], at) + unit;
    vec_sigmoids(a, m + vec_load(saved, count), &a, &m);
    vec z = vec_load(view_row(&call->in[IN_Z], at) + unit, count);
    vec before = vec_load(state_before(call, row, t) + unit, count);
    vec kept = vec_load(view_row(&call->in[IN_GAMMA], at) + unit, count) * before;
    vec n = (1.0f - m) * before + m * z + kept;
    vec h = z * a + kept + (float)MIX * n;
    vec_store(saved, m, count);
    vec_store(view_row(&call->out[OUT_H], at) + unit, h, count);
    if (call->out[OUT_N].data) vec_store(view_row(&call->out[OUT_N], at) + unit, n, count);
    state_store(run->state[(t + 1) % 2] + row * run->stepper.row_words, unit, h, run->precision);
}

static void forward_prepare(const void *context, const place *at) {
    const forward_run *run = context;
    const mmrec_op_call *call = run->call;
    for (int64_t unit = at->panel * LANES; unit < (at->panel + at->blocks) * LANES && unit < run->width;
         unit += LANES) {
        for (int64_t row = at->row; row < at->row + at->rows; row++) {
            int64_t from = row * run->steps + at->t;
            __builtin_prefetch(view_row(&call->in[IN_Z], from) + unit);
            __builtin_prefetch(view_row(&call->in[IN_GAMMA], from) + unit);
            __builtin_prefetch(view_row(&call->saved[0], from) + unit, 1);
            __builtin_prefetch(view_row(&call->out[OUT_H], from) + unit, 1);
        }
    }
}

static void forward_finish(const void *context, const place *at, const vec *sums) {
    const forward_run *run = context;
    for (int block = 0; block < at->blocks; block++) {
        int64_t unit = (at->panel + block) * LANES, count = run->width - unit;
        vec gate_bias = vec_load(view_row(&run->call->in[IN_GATE_BIAS], 0) + unit, count);
        vec mdi_bias = vec_load(view_row(&run->call->in[IN_MDI_BIAS], 0) + unit, count);
        const vec *a = sums + 2 * block * at->rows, *m = a + at->rows;
        for (int r = 0; r < at->rows; r++) {
            forward_unit(run, at->row + r, at->t, unit, a[r] + gate_bias, m[r] + mdi_bias);
        }
    }
}

static void forward_steps(const forward_run *run, team_sync *team, int thread, int threads) {
    range own = panels_of(&run->stepper, thread, threads);
    const tile_actions actions = {forward_prepare, forward_finish};
    forward_u(run, team, thread, threads);
    forward_pack(run, own);
    for (int64_t t = 0; t < run->steps; t++) {
        team_meet(team, threads);
        step_range(&run->stepper, own, run->state[t % 2], run->stepper.depth, t, &actions, run);
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    forward_run run = forward_start(call);
    team_sync team = {0, 0, 0};
#pragma omp parallel num_threads(team_size(call, &run.stepper))
    forward_steps(&run, &team, omp_get_thread_num(), omp_get_num_threads());
    return MMREC_OK;
}

#endif
