#include "flat.h"

#include <string.h>

static const mmrec_op_def *def_of(flat f, mmrec_op_id op) { return mmrec_op_get(op, f.backend->variant); }

mmrec_status flat_fill(flat f, mmrec_view to, double value, mmrec_error *error) {
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    const mmrec_op_def *def = def_of(f, MMREC_OP_fill);
    mmrec_op_sizes_init(def, f.threads, &sizes);
    sizes.attr[mmrec_op_attr(def, "value")] = value;
    sizes.attr[mmrec_op_attr(def, "rows")] = (double)mmrec_shape_rows(&to.shape);
    sizes.attr[mmrec_op_attr(def, "columns")] = (double)mmrec_shape_columns(&to.shape);
    MMREC_TRY(mmrec_op_resolve(def, &sizes, error));
    memset(&call, 0, sizeof call);
    call.sizes = &sizes;
    call.out[0] = to;
    return f.backend->run(MMREC_OP_fill, MMREC_FORWARD, &call, error);
}

/* combine's backward half with one input. */
static mmrec_status deliver(flat f, mmrec_view to, mmrec_view from, double factor, unsigned accumulate,
                            mmrec_error *error) {
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    if (to.dtype != from.dtype || !mmrec_shape_equal(&to.shape, &from.shape)) {
        MMREC_FAIL(error, MMREC_INTERNAL, "a tensor of %s cannot be copied to one of %s of another shape or type",
                   mmrec_dtype_name(from.dtype), mmrec_dtype_name(to.dtype));
    }
    const mmrec_op_def *def = def_of(f, MMREC_OP_combine);
    mmrec_op_sizes_init(def, f.threads, &sizes);
    sizes.given = 1;
    sizes.in[0] = to.shape;
    sizes.attr[0] = factor;
    MMREC_TRY(mmrec_op_resolve(def, &sizes, error));
    memset(&call, 0, sizeof call);
    call.sizes = &sizes;
    call.accumulate = accumulate;
    call.d_in[0] = to;
    call.d_out[0] = from;
    call.seed_at = f.backend->device ? f.backend->device->seed_at : NULL;
    return f.backend->run(MMREC_OP_combine, MMREC_BACKWARD, &call, error);
}

mmrec_status flat_copy(flat f, mmrec_view to, mmrec_view from, double factor, mmrec_error *error) {
    return deliver(f, to, from, factor, 0, error);
}

mmrec_status flat_add(flat f, mmrec_view to, mmrec_view from, double factor, mmrec_error *error) {
    return deliver(f, to, from, factor, 1, error);
}

mmrec_view flat_part(mmrec_view view, int64_t first, mmrec_shape shape) {
    char *at = (char *)view.data + (size_t)first * mmrec_dtype_bytes(view.dtype);
    return mmrec_view_dense(at, view.dtype, shape);
}
