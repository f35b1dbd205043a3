/* The tensors a fixture must have, held against those it has, and their comparison. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "measure/tolerance.h"
#include "parity_impl.h"

static const char *const prefixes[] = {"param.", "in.", "out.", "grad.", "out.", "out.param."};

mmrec_status parity_item_add(parity_work *work, parity_role role, const char *name, mmrec_shape shape,
                             mmrec_tensor tensor, mmrec_error *error) {
    void *array = work->items;
    MMREC_TRY(mmrec_alloc_grow(work->result->allocator, &array, &work->item_capacity, work->item_count + 1,
                               sizeof(parity_item), MMREC_ALLOC_MEASURE, error));
    work->items = array;
    parity_item *item = &work->items[work->item_count++];
    memset(item, 0, sizeof *item);
    snprintf(item->name, sizeof item->name, "%s%s", prefixes[role], name);
    item->role = role;
    item->shape = shape;
    item->tensor = tensor;
    return MMREC_OK;
}

mmrec_status parity_items_of_graph(parity_work *work, mmrec_error *error) {
    int count = mmrec_graph_tensor_count(work->graph);
    for (mmrec_tensor t = 1; t <= count; t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(work->graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        MMREC_TRY(parity_item_add(work, PARITY_PARAM, info.name, info.shape, t, error));
        mmrec_tensor gradient = mmrec_graph_gradient(work->graph, t);
        if (work->trains) MMREC_TRY(parity_item_add(work, PARITY_TRAINED, info.name, info.shape, t, error));
        if (work->trains || !gradient) continue;
        MMREC_TRY(parity_item_add(work, PARITY_GRADIENT, info.name, info.shape, gradient, error));
    }
    return MMREC_OK;
}

static bool has_shape(const mmrec_safetensors_tensor *tensor, const mmrec_shape *shape) {
    if (tensor->ndim != shape->ndim) return false;
    for (int i = 0; i < shape->ndim; i++) {
        if (tensor->dim[i] != shape->dim[i]) return false;
    }
    return true;
}

static const char *shape_text(const mmrec_safetensors_tensor *tensor, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < tensor->ndim && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i == 0 ? "" : ", ", tensor->dim[i]);
    }
    return text;
}

static mmrec_status check_item(const parity_work *work, const parity_item *item, mmrec_error *error) {
    const mmrec_safetensors_tensor *found = mmrec_safetensors_find(work->file, item->name);
    if (!found) MMREC_FAIL(error, MMREC_FORMAT, "tensor '%s' is missing", item->name);
    if (has_shape(found, &item->shape)) return MMREC_OK;
    char got[160], wanted[96];
    MMREC_FAIL(error, MMREC_SHAPE, "tensor '%s' has shape (%s); the configuration makes it %s", item->name,
               shape_text(found, got, sizeof got), mmrec_shape_text(&item->shape, wanted, sizeof wanted));
}

static bool is_item(const parity_work *work, const char *name) {
    for (size_t i = 0; i < work->item_count; i++) {
        if (strcmp(work->items[i].name, name) == 0) return true;
    }
    return false;
}

static mmrec_status make_room(parity_work *work, mmrec_error *error) {
    void *memory = NULL;
    for (size_t i = 0; i < work->item_count; i++) {
        size_t count = (size_t)mmrec_shape_elements(&work->items[i].shape);
        if (count > work->room) work->room = count;
    }
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(work->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(work->graph, t);
        size_t count = (size_t)mmrec_shape_elements(&info.shape);
        if (info.kind == MMREC_TENSOR_INPUT && count > work->room) work->room = count;
    }
    MMREC_TRY(
        mmrec_alloc_zero(work->result->allocator, work->room, sizeof(double), MMREC_ALLOC_MEASURE, &memory, error));
    work->expected = memory;
    MMREC_TRY(
        mmrec_alloc_zero(work->result->allocator, work->room, sizeof(double), MMREC_ALLOC_MEASURE, &memory, error));
    work->got = memory;
    return MMREC_OK;
}

mmrec_status parity_items_check(parity_work *work, mmrec_error *error) {
    for (size_t i = 0; i < work->item_count; i++) MMREC_TRY(check_item(work, &work->items[i], error));
    for (size_t i = 0; i < mmrec_safetensors_count(work->file); i++) {
        const char *name = mmrec_safetensors_at(work->file, i)->name;
        char text[96];
        if (is_item(work, name)) continue;
        MMREC_FAIL(error, MMREC_FORMAT,
                   "tensor '%s' is not one this fixture can have: the model of its config has %zu others",
                   mmrec_text_printable(name, strlen(name), text, sizeof text), work->item_count);
    }
    MMREC_TRY(make_room(work, error));
    return parity_zero_read(work, error);
}

mmrec_status parity_shape(const parity_work *work, const char *name, int ndim, mmrec_shape *out, mmrec_error *error) {
    const mmrec_safetensors_tensor *found = mmrec_safetensors_find(work->file, name);
    if (!found) MMREC_FAIL(error, MMREC_FORMAT, "tensor '%s' is missing", name);
    if (found->ndim != ndim) {
        char text[160];
        MMREC_FAIL(error, MMREC_SHAPE, "tensor '%s' has shape (%s); it must have %d axes", name,
                   shape_text(found, text, sizeof text), ndim);
    }
    memset(out, 0, sizeof *out);
    out->ndim = ndim;
    for (int i = 0; i < ndim; i++) out->dim[i] = found->dim[i];
    return MMREC_OK;
}

mmrec_status parity_read(const parity_work *work, const char *name, mmrec_error *error) {
    const mmrec_safetensors_tensor *found = mmrec_safetensors_find(work->file, name);
    return mmrec_safetensors_read_f64(found, work->expected, mmrec_safetensors_elements(found), error);
}

static mmrec_status check_ids(parity_work *work, int64_t vocab, mmrec_error *error) {
    for (size_t i = 0; i < work->id_count; i++) {
        double id = work->expected[i];
        if (!(id >= 0 && id < (double)vocab) || id != (double)(int32_t)id) {
            MMREC_FAIL(error, MMREC_FORMAT, "in.ids holds %g; ids must be whole numbers from 0 to %" PRId64, id,
                       vocab - 1);
        }
        work->ids[i] = (int32_t)id;
    }
    return MMREC_OK;
}

mmrec_status parity_read_ids(parity_work *work, int64_t vocab, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(parity_read(work, "in.ids", error));
    work->id_count = mmrec_safetensors_elements(mmrec_safetensors_find(work->file, "in.ids"));
    MMREC_TRY(mmrec_alloc_zero(work->result->allocator, 2 * work->id_count, sizeof(int32_t), MMREC_ALLOC_MEASURE,
                               &memory, error));
    work->ids = memory;
    work->piece = work->ids + work->id_count;
    return check_ids(work, vocab, error);
}

mmrec_status parity_read_ids_of_graph(parity_work *work, mmrec_error *error) {
    mmrec_tensor table = mmrec_graph_find(work->graph, "embedding.weight");
    if (!mmrec_graph_find(work->graph, "ids")) return MMREC_OK;
    return parity_read_ids(work, mmrec_graph_tensor_info(work->graph, table).shape.dim[0], error);
}

void parity_take_columns(parity_work *work, const mmrec_shape *ids, int64_t number, int64_t first, int64_t count) {
    const int32_t *batch = work->ids + number * ids->dim[0] * ids->dim[1];
    for (int64_t b = 0; b < ids->dim[0]; b++) {
        memcpy(work->piece + b * count, batch + b * ids->dim[1] + first, (size_t)count * sizeof *work->ids);
    }
}

static double tolerance_of(const parity_work *work, parity_role role) {
    const mmrec_parity_options *o = work->result->options;
    if (o->tolerance > 0) return o->tolerance;
    mmrec_tolerance once = measure_tolerance(o->backend, o->bf16, o->tf32);
    mmrec_tolerance trained = measure_tolerance_trained(o->backend, o->bf16, o->tf32);
    switch (role) {
    case PARITY_GRADIENT:
        return once.gradient;
    case PARITY_LOG:
        return trained.output;
    case PARITY_TRAINED:
        return trained.gradient;
    default:
        return once.output;
    }
}

mmrec_status parity_compare(parity_work *work, const parity_item *item, mmrec_error *error) {
    mmrec_parity *result = work->result;
    void *array = result->rows;
    MMREC_TRY(parity_read(work, item->name, error));
    MMREC_TRY(mmrec_alloc_grow(result->allocator, &array, &result->row_capacity, result->row_count + 1,
                               sizeof(mmrec_parity_row), MMREC_ALLOC_MEASURE, error));
    result->rows = array;
    mmrec_parity_row *row = &result->rows[result->row_count++];
    memset(row, 0, sizeof *row);
    snprintf(row->name, sizeof row->name, "%s", item->name);
    row->shape = item->shape;
    parity_measure(work, item, row);
    row->tolerance = tolerance_of(work, item->role);
    row->passed = row->max_error <= row->tolerance && row->l2_error <= row->tolerance;
    return MMREC_OK;
}
