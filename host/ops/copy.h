/* Copying a tensor element by element, which is what `narrow` and `widen` are to everything but the type they store:
 * where there is one real type they change nothing, and their gradient is the same copy back. */
#ifndef MMREC_OPS_COPY_H
#define MMREC_OPS_COPY_H

#include "op_impl.h"

static void copy_rows(const mmrec_view *from, const mmrec_view *to, bool add) {
    int64_t rows = mmrec_shape_rows(&from->shape), columns = mmrec_shape_columns(&from->shape);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) deliver(&view_row(to, r)[c], view_row(from, r)[c], add);
    }
}

static mmrec_status copy_forward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    copy_rows(&call->in[0], &call->out[0], false);
    return MMREC_OK;
}

static mmrec_status copy_backward(const mmrec_op_call *call, mmrec_error *error) {
    (void)error;
    if (call->d_in[0].data) copy_rows(&call->d_out[0], &call->d_in[0], accumulates(call, 0));
    return MMREC_OK;
}

static mmrec_work copy_work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0};
    return w;
}

static const char *const copy_samples[] = {"N=1 D=1", "N=3 D=5", "N=17 D=13", "N=2 D=65", "N=37 D=1025", NULL};

#endif
