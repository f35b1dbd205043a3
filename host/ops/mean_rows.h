/* Means over groups of neighbouring rows: what `mean_steps` and `memory_pool` share. Row r of y is the mean of the rows
 * [r group, (r + 1) group) of x; where a tensor has leading axes, groups never cross from one to the next.
 *
 * Order of sums: the reference adds row by row; the fast function adds blocks of 64 rows, then the blocks. */
#ifndef MMREC_OPS_MEAN_ROWS_H
#define MMREC_OPS_MEAN_ROWS_H

#include "fast_loop.h"

static inline int64_t mean_group(const mmrec_op_call *call) {
    return mmrec_shape_rows(&call->sizes->in[0]) / mmrec_shape_rows(&call->sizes->out[0]);
}

static mmrec_status mean_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *y = &call->out[0];
    int64_t group = mean_group(call), rows = mmrec_shape_rows(&y->shape), columns = mmrec_shape_columns(&y->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real sum = (real)0;
            for (int64_t i = 0; i < group; i++) sum += view_row(x, r * group + i)[c];
            view_row(y, r)[c] = sum / (real)(double)group;
        }
    }
    return MMREC_OK;
}

static mmrec_status mean_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t group = mean_group(call), rows = mmrec_shape_rows(&dy->shape), columns = mmrec_shape_columns(&dy->shape);
    for (int64_t r = 0; dx->data && r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real part = view_row(dy, r)[c] / (real)(double)group;
            for (int64_t i = 0; i < group; i++) deliver(&view_row(dx, r * group + i)[c], part, accumulates(call, 0));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
/* Columns [first, first + count) of row r of y. */
static void mean_strip(const mmrec_op_call *call, int64_t r, int64_t first, int64_t count) {
    const mmrec_view *x = &call->in[0];
    int64_t group = mean_group(call);
    mmrec_view rows = {view_row(x, r * group), MMREC_F32, mmrec_shape2(group, mmrec_shape_columns(&x->shape)),
                       x->stride};
    float sum[FAST_STRIP], *restrict to = view_row(&call->out[0], r) + first;
    fast_strip_sum(&rows, first, count, sum);
    for (int64_t c = 0; c < count; c++) to[c] = sum[c] / (float)group;
}

static mmrec_status mean_fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    int64_t rows = mmrec_shape_rows(&call->out[0].shape), columns = mmrec_shape_columns(&call->out[0].shape);
    int64_t strips = fast_blocks(columns, FAST_STRIP), elements = mmrec_shape_elements(&call->in[0].shape);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (elements >= FAST_SERIAL)
    for (int64_t i = 0; i < rows * strips; i++) {
        int64_t first = i % strips * FAST_STRIP;
        mean_strip(call, i / strips, first, fast_min(FAST_STRIP, columns - first));
    }
    return MMREC_OK;
}

static mmrec_status mean_fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t group = mean_group(call), columns = mmrec_shape_columns(&dy->shape);
    int64_t rows = dx->data ? mmrec_shape_rows(&dx->shape) : 0;
    float scale = 1.0f / (float)group;
    bool add = accumulates(call, 0);
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (rows * columns >= FAST_SERIAL)
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict from = view_row(dy, r / group);
        float *restrict to = view_row(dx, r);
        for (int64_t c = 0; c < columns; c++) deliver(&to[c], from[c] * scale, add);
    }
    return MMREC_OK;
}
#endif

static mmrec_work mean_work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    double all = (double)mmrec_shape_elements(&sizes->in[0]), means = (double)mmrec_shape_elements(&sizes->out[0]);
    mmrec_work w = {pass == MMREC_FORWARD ? all + means : means, 0, 0};
    return w;
}

#endif
