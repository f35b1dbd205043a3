/* Fast forward of lstm and gru: the products of all rows of x with weight_ih as one, then per step one packed product
 * of the state with weight_hh, and the units finished where the sums are, by forward_gates and forward_unit of the op.
 *
 * Panels come in groups: one panel for each gate, of the same 2 x LANES units. A thread owns groups for the whole
 * sequence, and in a step takes those of others when its own are done: of two threads on two processors one is often a
 * tenth slower, and their waiting for each other fell from 7 % of the time to 2 % (B = 16, H = 512). The sums of x lie
 * where the gates are saved, or in scratch where they are not saved or x stays. */
#ifndef MMREC_RNN_FORWARD_H
#define MMREC_RNN_FORWARD_H

#include "fast_loop.h"
#include "recurrence_layout.h"
#include "recurrence_step.h"
#include "rnn_reference.h"
#include "rnn_vector.h"

enum { ROWS_AT_ONCE = 4 * ROWS }; /* batch rows whose sums wait for the other gates: at most 16 KiB */

/* What is taken of a thread's groups, of this step and of the next one: who has finished takes from others. */
typedef struct team_share {
    _Alignas(64) atomic_int taken[2];
} team_share;

static void share_reset(team_share *share, int64_t t) {
    atomic_store_explicit(&share->taken[t % 2], 0, memory_order_relaxed);
}

/* The next of the `count` groups that the share began step t with; -1: all are taken. */
static int64_t share_take(team_share *share, int64_t t, int64_t count) {
    atomic_int *taken = &share->taken[t % 2];
    if (atomic_load_explicit(taken, memory_order_relaxed) >= count) return -1;
    int64_t i = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
    return i < count ? i : -1;
}

typedef struct forward_run {
    const mmrec_op_call *call;
    stepper stepper;
    int64_t batch, steps, width, padded; /* padded: width up to whole vectors */
    mmrec_view sums;                     /* weight_ih x for each row of x */
    float *made, *panels, *state[2];     /* made: the memory of `sums` in scratch; step t reads state[t % 2] */
    float *cell;                         /* a row for each sequence */
    team_share *shares;                  /* one for each thread */
} forward_run;

/* A unit vector of one sequence at step t, in two halves, each for all rows of a block: a whole unit is a longer chain
 * than a processor looks ahead, and the pass took 7 % longer with it (AVX2, B = 24, H = 128). `sum` is weight_hh h of
 * each gate and becomes what the second half wants, which writes the outputs and the state for the next step. */
static inline void forward_gates(const forward_run *run, int64_t b, int64_t t, int64_t unit, const vec *bias_ih,
                                 const vec *bias_hh, vec *sum);
static inline void forward_unit(const forward_run *run, int64_t b, int64_t t, int64_t unit, const vec *gate);

static inline int64_t group_count(int64_t width) { return divide_up(width, 2 * LANES); }

/* The sums of x are made where the gates will be saved. */
static inline bool sums_in_place(const mmrec_op_sizes *sizes) { return !x_stays(sizes) && (sizes->stored & 1u) != 0; }

/* As layout_run. */
static double forward_layout(const mmrec_op_sizes *sizes, forward_run *run, float *memory) {
    int64_t width = MMREC_SIZE(sizes, H);
    double batch = (double)MMREC_SIZE(sizes, B), made = sums_in_place(sizes) ? 0 : (double)MMREC_SIZE(sizes, X);
    double shares = (double)sizes->threads * sizeof(team_share) / sizeof(float);
    float *first = NULL;
    const layout_part parts[] = {{&run->made, made * batch * GATES * (double)width},
                                 {&run->panels, GATES * 2.0 * LANES * (double)group_count(width) * (double)width},
                                 {&run->state[0], batch * (double)state_words(width)},
                                 {&run->state[1], batch * (double)state_words(width)},
                                 {&run->cell, batch * (double)round_up(width, LANES)},
                                 {&first, shares}};
    double floats = layout_run(parts, sizeof parts / sizeof *parts, memory);
    run->shares = (team_share *)(void *)first;
    return floats;
}

static double forward_scratch(const mmrec_op_sizes *sizes) {
    forward_run run;
    return sizeof(float) * forward_layout(sizes, &run, NULL);
}

static forward_run forward_start(const mmrec_op_call *call) {
    forward_run run;
    const mmrec_op_sizes *sizes = call->sizes;
    forward_layout(sizes, &run, call->scratch);
    run.call = call;
    run.batch = MMREC_SIZE(sizes, B);
    run.steps = MMREC_SIZE(sizes, T);
    run.width = MMREC_SIZE(sizes, H);
    run.padded = round_up(run.width, LANES);
    stepper s = {product_for(EXACT),
                 run.panels,
                 run.width * 2 * LANES,
                 state_words(run.width),
                 run.width,
                 GATES * group_count(run.width),
                 run.batch};
    run.stepper = s;
    mmrec_shape shape = mmrec_shape2(run.batch * MMREC_SIZE(sizes, X), GATES * run.width);
    run.sums = mmrec_view_dense(run.made, MMREC_F32, shape);
    if (!sums_in_place(sizes)) return run;
    run.sums.data = call->saved[0].data;
    run.sums.stride = call->saved[0].stride;
    return run;
}

/* weight_hh of one gate: H x H. */
static mmrec_view gate_weight(const mmrec_op_call *call, int64_t gate) {
    mmrec_view view = call->in[IN_WEIGHT_HH];
    int64_t width = MMREC_SIZE(call->sizes, H);
    view.data = view_row(&view, gate * width);
    view.shape = mmrec_shape2(width, width);
    return view;
}

/* A row of the state before the first step into vectors, or zeros. */
static inline vec first_state(const mmrec_op_call *call, int input, int64_t b, int64_t unit, int64_t count) {
    const mmrec_view *view = &call->in[input];
    return view->data ? vec_load(view_row(view, b) + unit, count) : (vec){0};
}

static void forward_pack(const forward_run *run, range own) {
    for (int64_t panel = own.first * GATES; panel < own.end * GATES; panel++) {
        float *to = run->panels + panel * run->stepper.panel_words;
        mmrec_view weight = gate_weight(run->call, panel % GATES);
        int64_t unit = panel / GATES * 2 * LANES;
        pack_turned(to, 0, &weight, 0, unit, run->width, EXACT);
        pack_turned(to, 1, &weight, 0, unit + LANES, run->width, EXACT);
    }
    for (int64_t unit = own.first * 2 * LANES; unit < own.end * 2 * LANES && unit < run->width; unit += LANES) {
        for (int64_t b = 0; b < run->batch; b++) {
            int64_t count = run->width - unit;
            vec h = first_state(run->call, IN_H0, b, unit, count);
            state_store(run->state[0] + b * run->stepper.row_words, unit, h, EXACT);
            if (IN_CELL >= 0)
                *(vec *)(run->cell + b * run->padded + unit) = first_state(run->call, IN_CELL, b, unit, count);
        }
    }
}

static inline float *input_row(const forward_run *run, int64_t b, int64_t t) {
    return view_row(&run->sums, x_stays(run->call->sizes) ? b : b * run->steps + t);
}

/* Asks for the memory that the units of a group will touch, one or two cache lines in each of many rows. No
 * sooner than with the last gate: rows are often a multiple of 64 KiB apart and share the few lines of a set. */
static void forward_prefetch(const forward_run *run, int64_t group, int64_t first, int64_t rows, int64_t t) {
    const mmrec_op_call *call = run->call;
    bool in_place = sums_in_place(call->sizes);
    int64_t slots = in_place ? RNN_SLOPES : GATES;
    int64_t end = 2 * (group + 1) * LANES < run->width ? 2 * (group + 1) * LANES : run->width;
    for (int64_t unit = 2 * group * LANES; unit < end; unit += 16) {
        for (int64_t b = first; b < first + rows; b++) {
            int64_t row = b * run->steps + t;
            const float *x = input_row(run, b, t) + unit;
            for (int64_t k = 0; k < slots; k++) __builtin_prefetch(x + k * run->width, 1);
            __builtin_prefetch(view_row(&call->out[OUT_Y], row) + unit, 1);
            for (int i = in_place; i < SAVED; i++) {
                if (call->saved[i].data) __builtin_prefetch(view_row(&call->saved[i], row) + unit, 1);
            }
        }
    }
}

/* `sums` of one block of rows, laid out as tile_input says, with the gates as blocks. */
static void forward_finish(const forward_run *run, int64_t group, int64_t first, int64_t rows, int64_t t,
                           const vec *sums) {
    const float *bias_ih = view_row(&run->call->in[IN_BIAS_IH], 0), *bias_hh = view_row(&run->call->in[IN_BIAS_HH], 0);
    for (int64_t v = 0; v < 2; v++) {
        int64_t unit = (2 * group + v) * LANES, count = run->width - unit;
        if (count <= 0) return;
        vec of_x[GATES], of_h[GATES], gate[ROWS][GATES];
        for (int64_t k = 0; k < GATES; k++) {
            of_x[k] = vec_load(bias_ih + k * run->width + unit, count);
            of_h[k] = vec_load(bias_hh + k * run->width + unit, count);
        }
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t k = 0; k < GATES; k++) gate[r][k] = sums[(2 * k + v) * rows + r];
            forward_gates(run, first + r, t, unit, of_x, of_h, gate[r]);
        }
        for (int64_t r = 0; r < rows; r++) forward_unit(run, first + r, t, unit, gate[r]);
    }
}

/* One group for rows [first, first + rows), `next` being the group after it. A panel meets all of them before the next
 * one, while it is near. */
static void forward_group(const forward_run *run, int64_t group, int64_t next, int64_t first, int64_t rows, int64_t t) {
    const stepper *s = &run->stepper;
    const float *state = run->state[t % 2] + first * s->row_words;
    int64_t blocks = divide_up(rows, ROWS), depth = t > 0 || run->call->in[IN_H0].data ? s->depth : 0;
    _Alignas(64) vec sums[2 * GATES * ROWS_AT_ONCE];
    for (int64_t gate = 0, taken; gate < GATES; gate += taken) {
        taken = tile_blocks((int)divide_up(rows, blocks), GATES - gate);
        for (int64_t block = 0; block < blocks; block++) {
            int64_t row = rows * block / blocks, count = rows * (block + 1) / blocks - row;
            int64_t panel = group * GATES + gate, then = gate + taken < GATES ? panel + taken : next * GATES;
            tile_input tile = {s->panels + panel * s->panel_words,
                               state + row * s->row_words,
                               s->panel_words,
                               s->row_words,
                               depth,
                               sums + 2 * (GATES * row + gate * count),
                               s->panels + then * s->panel_words + s->panel_words * block / blocks,
                               divide_up(2 * LANES, blocks),
                               false};
            if (gate + taken == GATES) forward_prefetch(run, group, first + row, count, t);
            s->product(&tile, (int)count, (int)taken);
        }
    }
    for (int64_t block = 0; block < blocks; block++) {
        int64_t row = rows * block / blocks, count = rows * (block + 1) / blocks - row;
        forward_finish(run, group, first + row, count, t, sums + 2 * GATES * row);
    }
}

static range groups_of(const forward_run *run, int thread, int threads) {
    int64_t groups = group_count(run->width);
    range r = {groups * thread / threads, groups * (thread + 1) / threads};
    return r;
}

/* What is left of the groups of `owner`. Up in one step and down in the next: what was read last is still there. */
static void forward_share(const forward_run *run, int owner, int threads, int64_t t) {
    range own = groups_of(run, owner, threads);
    for (int64_t i; (i = share_take(&run->shares[owner], t, own.end - own.first)) >= 0;) {
        int64_t group = t % 2 == 0 ? own.first + i : own.end - 1 - i;
        int64_t next = t % 2 == 0 ? fast_min(group + 1, own.end - 1) : (group > own.first ? group - 1 : group);
        for (int64_t first = 0; first < run->batch; first += ROWS_AT_ONCE) {
            int64_t rows = fast_min(ROWS_AT_ONCE, run->batch - first);
            forward_group(run, group, first + rows < run->batch ? group : next, first, rows, t);
        }
    }
}

static void forward_step(const forward_run *run, int thread, int threads, int64_t t) {
    enum { SHARES = 4 }; /* its own and those after it: if all looked at all they would wait for each other there */
    share_reset(&run->shares[thread], t + 1);
    for (int k = 0; k < threads && k < SHARES; k++) forward_share(run, (thread + k) % threads, threads, t);
}

static void forward_steps(const forward_run *run, team_sync *team, int thread, int threads) {
    forward_pack(run, groups_of(run, thread, threads));
    share_reset(&run->shares[thread], 0);
    for (int64_t t = 0; t < run->steps; t++) {
        team_meet(team, threads);
        forward_step(run, thread, threads, t);
    }
}

static mmrec_status fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    forward_run run = forward_start(call);
    team_sync team = {0, 0, 0};
    MMREC_TRY(fast_gemm(&call->in[IN_X], false, &call->in[IN_WEIGHT_IH], true, &run.sums, false, error));
#pragma omp parallel num_threads(team_size(call, &run.stepper))
    forward_steps(&run, &team, omp_get_thread_num(), omp_get_num_threads());
    return MMREC_OK;
}

#endif
