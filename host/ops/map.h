/* Ops that take a tensor element by element, each for itself: what `tanh` and `relu` share. The op that includes this
 * says what it makes of an element and of its gradient, and which tensor the gradient needs. */
#ifndef MMREC_OPS_MAP_H
#define MMREC_OPS_MAP_H

#include "op_impl.h"

#if MMREC_REAL_F32
#include "fast_each.h"
#endif

static inline real value(real x);
static inline real gradient(real kept, real dy);
static inline const mmrec_view *kept_by(const mmrec_op_call *call); /* x or y */

static mmrec_status map_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *x = &call->in[0], *y = &call->out[0];
    int64_t rows = mmrec_shape_rows(&x->shape), columns = mmrec_shape_columns(&x->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) view_row(y, r)[c] = value(view_row(x, r)[c]);
    }
    return MMREC_OK;
}

static mmrec_status map_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *kept = kept_by(call), *dy = &call->d_out[0], *dx = &call->d_in[0];
    int64_t rows = mmrec_shape_rows(&kept->shape), columns = mmrec_shape_columns(&kept->shape);
    for (int64_t r = 0; dx->data && r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real slope = gradient(view_row(kept, r)[c], view_row(dy, r)[c]);
            deliver(&view_row(dx, r)[c], slope, accumulates(call, 0));
        }
    }
    return MMREC_OK;
}

#if MMREC_REAL_F32
static inline float fast_value(float x); /* one that gcc turns into vector code */

static void value_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)call;
    (void)number;
    const float *restrict x = at[0];
    float *restrict y = at[1];
    for (int64_t i = 0; i < count; i++) y[i] = fast_value(x[i]);
}

static void gradient_span(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count) {
    (void)number;
    const float *restrict kept = at[0], *restrict dy = at[1];
    float *restrict dx = at[2];
    bool add = accumulates(call, 0);
    for (int64_t i = 0; i < count; i++) deliver(&dx[i], gradient(kept[i], dy[i]), add);
}

static mmrec_status map_fast_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {&call->in[0], &call->out[0]};
    fast_each(call, views, 2, value_span);
    return MMREC_OK;
}

static mmrec_status map_fast_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    const mmrec_view *const views[] = {kept_by(call), &call->d_out[0], &call->d_in[0]};
    if (call->d_in[0].data) fast_each(call, views, 3, gradient_span);
    return MMREC_OK;
}
#endif

static const char *const map_samples[] = {"N=1 D=1", "N=3 D=5", "N=17 D=13", "N=2 D=65", "N=37 D=1025", NULL};

#endif
