/* Values in and out of an exec, and whether they are finite. Host memory is read and written where it lies; a device's
 * memory passes through the staging buffer piece by piece. */
#include <math.h>
#include <string.h>

#include "exec_impl.h"

/* ---- pieces ---- */

/* What happens to a piece: `count` elements of the view's memory at `at`, from element `first` on, gaps between rows
 * included. */
typedef struct passage {
    const double *write;
    double *read;
    bool finite;
} passage;

static void pass_run(const mmrec_view *view, void *at, int64_t value, int64_t count, passage *p) {
    for (int64_t i = 0; i < count; i++) {
        if (p->write)
            mmrec_element_set(view->dtype, at, i, p->write[value + i]);
        else if (p->read)
            p->read[value + i] = mmrec_element_get(view->dtype, at, i);
        else
            p->finite = p->finite && isfinite(mmrec_element_get(view->dtype, at, i));
    }
}

/* Row by row through a piece. */
static void pass_piece(const mmrec_view *view, char *at, int64_t first, int64_t count, passage *p) {
    int64_t columns = mmrec_shape_columns(&view->shape), end = first + count;
    int64_t size = (int64_t)mmrec_dtype_bytes(view->dtype);
    for (int64_t row = first / view->stride; row * view->stride < end; row++) {
        int64_t from = row * view->stride, to = from + columns, value = row * columns;
        if (from < first) {
            value += first - from;
            from = first;
        }
        if (to > end) to = end;
        if (from < to) pass_run(view, at + (from - first) * size, value, to - from, p);
    }
}

static int64_t span_of(const mmrec_view *view) {
    int64_t columns = mmrec_shape_columns(&view->shape), rows = mmrec_shape_elements(&view->shape) / columns;
    return (rows - 1) * view->stride + columns;
}

/* A write into a view with gaps must put back what lies in the gaps, so it reads first. */
static mmrec_status pass_device(const mmrec_exec *exec, const mmrec_view *view, passage *p, mmrec_error *error) {
    const mmrec_device *device = exec->backend->device;
    int64_t size = (int64_t)mmrec_dtype_bytes(view->dtype), span = span_of(view), room = EXEC_STAGING_BYTES / size;
    bool reads = !p->write || view->stride != mmrec_shape_columns(&view->shape);
    for (int64_t first = 0; first < span; first += room) {
        int64_t count = span - first < room ? span - first : room;
        char *at = (char *)view->data + first * size;
        if (reads) MMREC_TRY(device->copy_out(exec->staging, at, (size_t)(count * size), error));
        pass_piece(view, exec->staging, first, count, p);
        if (p->write) MMREC_TRY(device->copy_in(at, exec->staging, (size_t)(count * size), error));
    }
    return MMREC_OK;
}

static mmrec_status pass_view(const mmrec_exec *exec, const mmrec_view *view, passage *p, mmrec_error *error) {
    if (exec->backend->device) return pass_device(exec, view, p, error);
    pass_piece(view, view->data, 0, span_of(view), p);
    return MMREC_OK;
}

/* ---- reading and writing ---- */

static const char *name_of(const mmrec_exec *exec, mmrec_tensor tensor) {
    const char *name = graph_tensor_at(exec->graph, tensor)->name;
    return name ? name : "";
}

static mmrec_status access_view(const mmrec_exec *exec, mmrec_tensor tensor, int64_t count, mmrec_view *view,
                                mmrec_error *error) {
    if (tensor < 1 || (size_t)tensor > exec->graph->tensor_count) {
        MMREC_FAIL(error, MMREC_INTERNAL, "tensor %d is not in the graph of this exec", tensor);
    }
    *view = mmrec_exec_view(exec, tensor);
    if (mmrec_shape_elements(&view->shape) != count) {
        char text[96];
        MMREC_FAIL(error, MMREC_SHAPE, "tensor \"%s\" has shape %s, got %lld values", name_of(exec, tensor),
                   mmrec_shape_text(&view->shape, text, sizeof text), (long long)count);
    }
    if (!view->data) {
        MMREC_FAIL(error, MMREC_INTERNAL, "tensor \"%s\" has no memory in this plan", name_of(exec, tensor));
    }
    return MMREC_OK;
}

static void note_write(mmrec_exec *exec, mmrec_tensor tensor) {
    mmrec_tensor_kind kind = graph_tensor_at(exec->graph, graph_storage(exec->graph, tensor))->kind;
    if (kind == MMREC_TENSOR_PARAM || kind == MMREC_TENSOR_STACK) mmrec_exec_params_changed(exec);
}

mmrec_status mmrec_exec_write(mmrec_exec *exec, mmrec_tensor tensor, const double *values, int64_t count,
                              mmrec_error *error) {
    mmrec_view view;
    MMREC_TRY(access_view(exec, tensor, count, &view, error));
    if (view.dtype == MMREC_I32) {
        MMREC_FAIL(error, MMREC_SHAPE, "tensor \"%s\" holds ids, not real numbers", name_of(exec, tensor));
    }
    passage p = {.write = values};
    note_write(exec, tensor);
    return pass_view(exec, &view, &p, error);
}

mmrec_status mmrec_exec_read(mmrec_exec *exec, mmrec_tensor tensor, double *values, int64_t count, mmrec_error *error) {
    mmrec_view view;
    MMREC_TRY(access_view(exec, tensor, count, &view, error));
    passage p = {.read = values};
    return pass_view(exec, &view, &p, error);
}

mmrec_status mmrec_exec_read_view(mmrec_exec *exec, const mmrec_view *view, double *values, mmrec_error *error) {
    passage p = {.read = values};
    return pass_view(exec, view, &p, error);
}

mmrec_status mmrec_exec_write_view(mmrec_exec *exec, const mmrec_view *view, const double *values, mmrec_error *error) {
    if (view->dtype == MMREC_I32) MMREC_FAIL(error, MMREC_SHAPE, "a view of ids cannot be written as real numbers");
    passage p = {.write = values};
    return pass_view(exec, view, &p, error);
}

mmrec_status mmrec_exec_write_ids(mmrec_exec *exec, mmrec_tensor tensor, const int32_t *values, int64_t count,
                                  mmrec_error *error) {
    mmrec_view view;
    MMREC_TRY(access_view(exec, tensor, count, &view, error));
    if (view.dtype != MMREC_I32) {
        MMREC_FAIL(error, MMREC_SHAPE, "tensor \"%s\" holds %s, not ids", name_of(exec, tensor),
                   mmrec_dtype_name(view.dtype));
    }
    size_t bytes = (size_t)count * sizeof *values; /* inputs are dense */
    if (exec->backend->device) return exec->backend->device->copy_in(view.data, values, bytes, error);
    memcpy(view.data, values, bytes);
    return MMREC_OK;
}

/* ---- finite? ---- */

static mmrec_status views_finite(const mmrec_exec *exec, const mmrec_view *views, int count, passage *p,
                                 mmrec_error *error) {
    for (int i = 0; i < count; i++) {
        if (!views[i].data || views[i].dtype == MMREC_I32) continue;
        MMREC_TRY(pass_view(exec, &views[i], p, error));
    }
    return MMREC_OK;
}

mmrec_status exec_call_finite(const mmrec_exec *exec, const graph_node *node, const mmrec_op_call *call, bool *finite,
                              mmrec_error *error) {
    passage p = {.finite = true};
    mmrec_status status = node->pass == MMREC_FORWARD ? views_finite(exec, call->out, MMREC_MAX_OUT, &p, error)
                                                      : views_finite(exec, call->d_in, MMREC_MAX_IN, &p, error);
    *finite = p.finite;
    return status;
}
