/* How far a tensor is from the file's, where mathematics makes some of its rows 0.
 *
 * Metadata zero_grad names rows whose gradient is 0 in exact arithmetic: there only rounding is left, which is asked to
 * stay below the tolerance times the largest gradient of the file; after training these rows are left out, as AdamW
 * turns rounding noise into steps. A gradient tensor whose largest value is below a thousandth of the file's largest (a
 * sum that nearly cancels) is held to that thousandth instead of to its own. */
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "mmrec/compare.h"
#include "parity_impl.h"

static const double small = 1e-3;

static mmrec_status check_rows(const char *key, const json_t *rows, mmrec_error *error) {
    const json_t *first = json_array_get(rows, 0), *end = json_array_get(rows, 1);
    bool pair = json_array_size(rows) == 2 && json_is_integer(first) && json_is_integer(end);
    if (pair && json_integer_value(first) >= 0 && json_integer_value(first) < json_integer_value(end)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "zero_grad: %.100s must be [first row, end]", key);
}

static mmrec_status find_largest(parity_work *work, mmrec_error *error) {
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != PARITY_GRADIENT) continue;
        MMREC_TRY(parity_read(work, item->name, error));
        for (int64_t e = 0; e < mmrec_shape_elements(&item->shape); e++) {
            work->largest_gradient = fmax(work->largest_gradient, fabs(work->expected[e]));
        }
    }
    return MMREC_OK;
}

mmrec_status parity_zero_read(parity_work *work, mmrec_error *error) {
    const char *text = mmrec_safetensors_metadata(work->file, "zero_grad"), *key;
    json_t *rows;
    if (!text) return MMREC_OK;
    MMREC_TRY_WHILE(mmrec_json_parse(work->result->allocator, text, strlen(text), &work->zero_grad, error), error,
                    "reading zero_grad");
    if (!json_is_object(work->zero_grad)) MMREC_FAIL(error, MMREC_FORMAT, "zero_grad must be a JSON object");
    json_object_foreach(work->zero_grad, key, rows) MMREC_TRY(check_rows(key, rows, error));
    return find_largest(work, error);
}

/* Where a row begins; the end for one that the tensor does not have. */
static int64_t row_element(const json_t *rows, size_t which, int64_t columns, int64_t all) {
    int64_t row = json_integer_value(json_array_get(rows, which));
    return row < all / columns ? row * columns : all;
}

/* Elements [first, end) of an item that are 0 by mathematics; both 0 where there are none. */
static void zero_elements(const parity_work *work, const parity_item *item, int64_t *first, int64_t *end) {
    static const char *const prefix[] = {[PARITY_GRADIENT] = "grad.", [PARITY_TRAINED] = "out.param."};
    *first = *end = 0;
    if (item->role != PARITY_GRADIENT && item->role != PARITY_TRAINED) return;
    const json_t *rows = json_object_get(work->zero_grad, item->name + strlen(prefix[item->role]));
    int64_t columns = item->shape.ndim > 1 ? mmrec_shape_elements(&item->shape) / item->shape.dim[0] : 1;
    int64_t all = mmrec_shape_elements(&item->shape);
    if (!rows) return;
    *first = row_element(rows, 0, columns, all);
    *end = row_element(rows, 1, columns, all);
}

/* The largest of |got|; infinity where one is not finite. */
static double largest_of(const double *got, int64_t count) {
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = isfinite(got[i]) ? fmax(largest, fabs(got[i])) : INFINITY;
    return largest;
}

/* The rest of both arrays moves over the elements that are 0; returns how many are left. */
static int64_t leave_out(parity_work *work, int64_t first, int64_t end, int64_t count) {
    size_t rest = (size_t)(count - end) * sizeof *work->got;
    memmove(work->got + first, work->got + end, rest);
    memmove(work->expected + first, work->expected + end, rest);
    return count - (end - first);
}

void parity_measure(parity_work *work, const parity_item *item, mmrec_parity_row *row) {
    int64_t first, end, count = mmrec_shape_elements(&item->shape);
    bool gradient = item->role == PARITY_GRADIENT && work->zero_grad;
    zero_elements(work, item, &first, &end);
    double noise = gradient ? largest_of(work->got + first, end - first) : 0;
    if (noise > 0) noise /= work->largest_gradient;
    count = leave_out(work, first, end, count);
    mmrec_difference d = mmrec_compare(work->got, work->expected, count);
    double bound = gradient ? small * work->largest_gradient : 0;
    bool is_small = d.finite && d.max_want < bound;
    row->max_error = is_small ? d.max_abs / bound : d.max_rel;
    row->l2_error = is_small ? d.max_abs / bound : d.l2_rel;
    if (!(noise <= row->max_error)) row->max_error = noise;
}
