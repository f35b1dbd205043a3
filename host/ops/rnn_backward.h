/* Fast backward of lstm and gru: the sweep from the last step to the first with one packed product of the slopes with
 * weight_hh per step and everything elementwise in the same pass, by backward_unit of the op; then the gradients of x
 * and of the weights as products over all rows.
 *
 * h_{t-1} of all rows is copied into one matrix, so that each part of weight_hh's gradient is one product. */
#ifndef MMREC_RNN_BACKWARD_H
#define MMREC_RNN_BACKWARD_H

#include "rnn_forward.h"

typedef struct backward_run {
    const mmrec_op_call *call;
    stepper stepper;
    int64_t batch, steps, width, padded; /* padded: width up to whole vectors */
    float *slopes, *fold;                /* of all rows; added up over the steps, where x stays */
    float *before;                       /* h_{t-1} of all rows */
    float *panels, *state[2];            /* the step that leads to dh of step t reads state[t % 2] */
    float *carry, *bias;                 /* a row for each sequence; sums of the slopes over all rows */
} backward_run;

/* A unit vector of one sequence at step t, of whose dh `sum` is the part through the next step's sums: makes the slopes
 * and leaves in run->carry what goes on by itself. */
static inline void backward_unit(const backward_run *run, int64_t b, int64_t t, int64_t unit, vec sum, vec *slope);

/* As layout_run. */
static double backward_layout(const mmrec_op_sizes *sizes, backward_run *run, float *memory) {
    int64_t size = MMREC_SIZE(sizes, H);
    double width = (double)size, padded = (double)round_up(size, LANES), batch = (double)MMREC_SIZE(sizes, B);
    double rows = batch * (double)MMREC_SIZE(sizes, T);
    const layout_part parts[] = {{&run->slopes, rows * RNN_SLOPES * width},
                                 {&run->fold, x_stays(sizes) ? batch * RNN_SLOPES * width : 0},
                                 {&run->before, rows * width},
                                 {&run->panels, GATES * 2.0 * LANES * (double)group_count(size) * padded},
                                 {&run->state[0], batch * (GATES * padded + 16)},
                                 {&run->state[1], batch * (GATES * padded + 16)},
                                 {&run->carry, batch * padded},
                                 {&run->bias, RNN_SLOPES * padded}};
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
    run.batch = MMREC_SIZE(call->sizes, B);
    run.steps = MMREC_SIZE(call->sizes, T);
    run.width = MMREC_SIZE(call->sizes, H);
    run.padded = round_up(run.width, LANES);
    int64_t depth = GATES * run.padded;
    stepper s = {product_for(EXACT),     run.panels, depth * 2 * LANES, depth + 16, depth,
                 group_count(run.width), run.batch};
    run.stepper = s;
    return run;
}

/* The gradient of an output of the last step, as vectors, or zeros. */
static inline vec last_gradient(const mmrec_op_call *call, int output, int64_t b, int64_t unit, int64_t count) {
    const mmrec_view *view = &call->d_out[output];
    return view->data ? vec_load(view_row(view, b) + unit, count) : (vec){0};
}

/* What a unit vector carried into step t, which the slopes need: c of lstm, h of gru. */
static inline const mmrec_view *carried_rows(const mmrec_op_call *call) {
    return IN_CELL < 0 ? &call->out[OUT_Y] : &call->saved[SAVED - 1];
}
static inline vec unit_before(const backward_run *run, int64_t b, int64_t t, int64_t unit) {
    if (t == 0) return first_state(run->call, IN_CELL < 0 ? IN_H0 : IN_CELL, b, unit, run->width - unit);
    return vec_load(view_row(carried_rows(run->call), b * run->steps + t - 1) + unit, run->width - unit);
}

static void backward_pack(const backward_run *run, range own) {
    mmrec_view weight[GATES];
    for (int64_t gate = 0; gate < GATES; gate++) weight[gate] = gate_weight(run->call, gate);
    for (int64_t panel = own.first; panel < own.end; panel++) {
        float *to = run->panels + panel * run->stepper.panel_words;
        int64_t unit = panel * 2 * LANES, end = unit + 2 * LANES;
        for (int64_t gate = 0; gate < GATES; gate++) {
            pack_rows(to + gate * run->padded * 2 * LANES, &weight[gate], 0, unit, run->padded, EXACT);
        }
        for (; unit < end && unit < run->width; unit += LANES) {
            for (int64_t k = 0; k < RNN_SLOPES; k++) *(vec *)(run->bias + k * run->padded + unit) = (vec){0};
            for (int64_t b = 0; b < run->batch; b++) {
                vec last = last_gradient(run->call, OUT_CARRIED, b, unit, run->width - unit);
                *(vec *)(run->carry + b * run->padded + unit) = last;
            }
        }
    }
}

/* Rows of h_{t-1} of this thread. */
static void backward_copy(const backward_run *run, int thread, int threads) {
    int64_t rows = run->batch * run->steps, end = rows * (thread + 1) / threads;
    size_t bytes = (size_t)run->width * sizeof(float);
    if (!run->call->d_in[IN_WEIGHT_HH].data) return;
    for (int64_t row = rows * thread / threads; row < end; row++) {
        const float *before = state_before(run->call, row / run->steps, row % run->steps);
        if (before) {
            memcpy(run->before + row * run->width, before, bytes);
        } else {
            memset(run->before + row * run->width, 0, bytes);
        }
    }
}

/* The slopes of all gates of one unit vector to where the products read them. */
static void backward_keep(const backward_run *run, int64_t b, int64_t t, int64_t unit, const vec *slope) {
    int64_t count = run->width - unit, row = b * run->steps + t;
    float *state = run->state[(t + 1) % 2] + b * run->stepper.row_words + unit;
    float *to = run->slopes + row * RNN_SLOPES * run->width + unit;
    for (int64_t k = 0; k < RNN_SLOPES; k++) vec_store(to + k * run->width, slope[k], count);
    for (int64_t k = 0; k < GATES; k++) {
        *(vec *)(state + k * run->padded) = slope[k < GATES - 1 ? k : RNN_SLOPES - 1];
    }
    if (!x_stays(run->call->sizes)) return;
    float *fold = run->fold + b * RNN_SLOPES * run->width + unit;
    for (int64_t k = 0; k < GATES; k++) vec_deliver(fold + k * run->width, slope[k], count, t < run->steps - 1);
}

static void backward_prepare(const void *context, const place *at) {
    const backward_run *run = context;
    const mmrec_op_call *call = run->call;
    int64_t end = 2 * (at->panel + at->blocks) * LANES;
    if (end > run->width) end = run->width;
    for (int64_t unit = 2 * at->panel * LANES; unit < end; unit += 16) {
        for (int64_t b = at->row; b < at->row + at->rows; b++) {
            int64_t row = b * run->steps + at->t;
            const float *gates = view_row(&call->saved[0], row) + unit;
            const float *slopes = run->slopes + row * RNN_SLOPES * run->width + unit;
            for (int64_t k = 0; k < RNN_SLOPES; k++) {
                __builtin_prefetch(gates + k * run->width);
                __builtin_prefetch(slopes + k * run->width, 1);
            }
            for (int i = 1; i < SAVED; i++) __builtin_prefetch(view_row(&call->saved[i], row) + unit);
            if (at->t > 0) __builtin_prefetch(view_row(carried_rows(call), row - 1) + unit);
            if (call->d_out[OUT_Y].data) __builtin_prefetch(view_row(&call->d_out[OUT_Y], row) + unit);
        }
    }
}

static void backward_finish(const void *context, const place *at, const vec *sums) {
    const backward_run *run = context;
    for (int v = 0; v < 2 * at->blocks; v++) {
        int64_t unit = (2 * at->panel + v) * LANES;
        if (unit >= run->width) return;
        vec total[RNN_SLOPES] = {{0}}, slope[RNN_SLOPES];
        for (int r = 0; r < at->rows; r++) {
            backward_unit(run, at->row + r, at->t, unit, sums[v * at->rows + r], slope);
            backward_keep(run, at->row + r, at->t, unit, slope);
            for (int k = 0; k < RNN_SLOPES; k++) total[k] += slope[k];
        }
        for (int k = 0; k < RNN_SLOPES; k++) *(vec *)(run->bias + k * run->padded + unit) += total[k];
    }
}

static void backward_prepare_h0(const void *context, const place *at) {
    const backward_run *run = context;
    __builtin_prefetch(view_row(&run->call->d_in[IN_H0], at->row) + 2 * at->panel * LANES, 1);
}

/* The step before the first: dh0. What is carried belongs to it where it is dh. */
static void backward_finish_h0(const void *context, const place *at, const vec *sums) {
    const backward_run *run = context;
    for (int v = 0; v < 2 * at->blocks; v++) {
        int64_t unit = (2 * at->panel + v) * LANES, count = run->width - unit;
        if (count <= 0) return;
        for (int r = 0; r < at->rows; r++) {
            vec dh = sums[v * at->rows + r];
            if (IN_CELL < 0) dh += *(vec *)(run->carry + (at->row + r) * run->padded + unit);
            float *to = view_row(&run->call->d_in[IN_H0], at->row + r) + unit;
            vec_deliver(to, dh, count, accumulates(run->call, IN_H0));
        }
    }
}

/* Units [first, end) of a bias's gradient; the last gate of bias_hh has the last slopes. */
static void backward_bias(const backward_run *run, int input, int64_t first, int64_t end) {
    const mmrec_view *to = &run->call->d_in[input];
    for (int64_t gate = 0; to->data && gate < GATES; gate++) {
        int64_t slope = input == IN_BIAS_HH && gate == GATES - 1 ? RNN_SLOPES - 1 : gate;
        for (int64_t i = first; i < end; i++) {
            float total = run->bias[slope * run->padded + i];
            deliver(&view_row(to, 0)[gate * run->width + i], total, accumulates(run->call, input));
        }
    }
}

/* dc0, where it is c that is carried. */
static void backward_cell(const backward_run *run, int64_t first, int64_t end) {
    if (IN_CELL < 0 || !run->call->d_in[IN_CELL].data) return;
    for (int64_t b = 0; b < run->batch; b++) {
        float *to = view_row(&run->call->d_in[IN_CELL], b);
        for (int64_t i = first; i < end; i++) {
            deliver(&to[i], run->carry[b * run->padded + i], accumulates(run->call, IN_CELL));
        }
    }
}

static void backward_steps(const backward_run *run, team_sync *team, int thread, int threads) {
    const tile_actions actions = {backward_prepare, backward_finish};
    const tile_actions last = {backward_prepare_h0, backward_finish_h0};
    range own = panels_of(&run->stepper, thread, threads);
    backward_copy(run, thread, threads);
    backward_pack(run, own);
    for (int64_t t = run->steps - 1; t >= 0; t--) {
        int64_t depth = t == run->steps - 1 ? 0 : run->stepper.depth;
        step_range(&run->stepper, own, run->state[t % 2], depth, t, &actions, run);
        team_meet(team, threads);
    }
    if (run->call->d_in[IN_H0].data) step_range(&run->stepper, own, run->state[1], run->stepper.depth, 1, &last, run);
    int64_t first = own.first * 2 * LANES, end = fast_min(own.end * 2 * LANES, run->width);
    backward_bias(run, IN_BIAS_IH, first, end);
    backward_bias(run, IN_BIAS_HH, first, end);
    backward_cell(run, first, end);
}

/* `gates` gates of the slopes of `rows` rows at `data`, from gate `first`. */
static mmrec_view slope_columns(const backward_run *run, float *data, int64_t rows, int64_t first, int64_t gates) {
    mmrec_view view = mmrec_view_dense(data + first * run->width, MMREC_F32, mmrec_shape2(rows, gates * run->width));
    view.stride = RNN_SLOPES * run->width;
    return view;
}

/* Rows of weight_hh's gradient that belong to the gates from `first` on, whose slopes begin with `slope`. */
static mmrec_status recurrent_gates(const backward_run *run, int64_t first, int64_t gates, int64_t slope,
                                    mmrec_error *error) {
    int64_t rows = run->batch * run->steps;
    mmrec_view of_h = slope_columns(run, run->slopes, rows, slope, gates), to = run->call->d_in[IN_WEIGHT_HH];
    mmrec_view before = mmrec_view_dense(run->before, MMREC_F32, mmrec_shape2(rows, run->width));
    to.data = view_row(&to, first * run->width);
    to.shape = mmrec_shape2(gates * run->width, run->width);
    return fast_gemm(&of_h, true, &before, false, &to, accumulates(run->call, IN_WEIGHT_HH), error);
}

static mmrec_status backward_products(const backward_run *run, mmrec_error *error) {
    const mmrec_op_call *call = run->call;
    const mmrec_view *x = &call->in[IN_X], *weight = &call->in[IN_WEIGHT_IH];
    const mmrec_view *dx = &call->d_in[IN_X], *dweight = &call->d_in[IN_WEIGHT_IH];
    float *slopes = x_stays(call->sizes) ? run->fold : run->slopes;
    mmrec_view of_x = slope_columns(run, slopes, run->batch * MMREC_SIZE(call->sizes, X), 0, GATES);
    if (dx->data) MMREC_TRY(fast_gemm(&of_x, false, weight, false, dx, accumulates(call, IN_X), error));
    if (dweight->data) MMREC_TRY(fast_gemm(&of_x, true, x, false, dweight, accumulates(call, IN_WEIGHT_IH), error));
    if (!call->d_in[IN_WEIGHT_HH].data) return MMREC_OK;
    if ((int)GATES == RNN_SLOPES) return recurrent_gates(run, 0, GATES, 0, error);
    MMREC_TRY(recurrent_gates(run, 0, GATES - 1, 0, error));
    return recurrent_gates(run, GATES - 1, 1, RNN_SLOPES - 1, error);
}

static mmrec_status fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    backward_run run = backward_start(call);
    team_sync team = {0, 0, 0};
#pragma omp parallel num_threads(team_size(call, &run.stepper))
    backward_steps(&run, &team, omp_get_thread_num(), omp_get_num_threads());
    return backward_products(&run, error);
}

#endif
