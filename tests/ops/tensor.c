/* Guarded tensors: a guard, the rows (each with its padding), a guard. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { GUARD_BYTES = 128 };

/* As float, as double (0x7ffc7fa57ffc7fa5) and, either half, as bf16 a NaN, as an id far above any vocabulary. */
#define GUARD_WORD 0x7ffc7fa5u

static void fill_guard(unsigned char *to, size_t bytes) {
    const uint32_t word = GUARD_WORD;
    for (size_t i = 0; i < bytes; i++) to[i] = ((const unsigned char *)&word)[i % sizeof word];
}

static bool is_guard(const unsigned char *from, size_t bytes, size_t phase) {
    const uint32_t word = GUARD_WORD;
    for (size_t i = 0; i < bytes; i++) {
        if (from[i] != ((const unsigned char *)&word)[(phase + i) % sizeof word]) return false;
    }
    return true;
}

static size_t row_bytes(const tensor *t) {
    return (size_t)mmrec_shape_columns(&t->view.shape) * mmrec_dtype_bytes(t->view.dtype);
}
static size_t stride_bytes(const tensor *t) { return (size_t)t->view.stride * mmrec_dtype_bytes(t->view.dtype); }

bool tensor_open(harness *h, tensor *t, const char *name, mmrec_dtype dtype, mmrec_shape shape, int padding) {
    size_t element = mmrec_dtype_bytes(dtype);
    t->name = name;
    t->view = mmrec_view_dense(NULL, dtype, shape);
    t->view.stride += padding >= 0 ? padding : (8 - t->view.stride % 8) % 8 - padding;
    size_t offset = padding > 0 ? element : 0;
    t->bytes = 2 * GUARD_BYTES + offset + (size_t)mmrec_shape_rows(&shape) * stride_bytes(t);
    t->bytes += (MMREC_ALIGN - t->bytes % MMREC_ALIGN) % MMREC_ALIGN;
    t->memory = mmrec_alloc(h->allocator, NULL, 0, 2 * t->bytes, MMREC_ALLOC_OTHER);
    if (!harness_check(h, t->memory != NULL, "no memory for %s", name)) return false;
    t->copy = t->memory + t->bytes;
    t->view.data = t->memory + GUARD_BYTES + offset;
    fill_guard(t->memory, t->bytes);
    return true;
}

void tensor_close(harness *h, tensor *t) {
    if (t->memory) mmrec_alloc(h->allocator, t->memory, 2 * t->bytes, 0, MMREC_ALLOC_OTHER);
    memset(t, 0, sizeof *t);
}

void tensor_poison(tensor *t) {
    if (t->memory) fill_guard(t->memory, t->bytes);
}

/* Where element i of the dense order lies. */
static int64_t place(const tensor *t, int64_t i) {
    int64_t columns = mmrec_shape_columns(&t->view.shape);
    return i / columns * t->view.stride + i % columns;
}

void tensor_write(tensor *t, const double *values) {
    int64_t count = mmrec_shape_elements(&t->view.shape);
    for (int64_t i = 0; i < count; i++) mmrec_element_set(t->view.dtype, t->view.data, place(t, i), values[i]);
}

void tensor_read(const tensor *t, double *values) {
    int64_t count = mmrec_shape_elements(&t->view.shape);
    for (int64_t i = 0; i < count; i++) values[i] = mmrec_element_get(t->view.dtype, t->view.data, place(t, i));
}

bool tensor_guarded(const tensor *t) {
    if (!t->memory) return true;
    const unsigned char *data = t->view.data;
    size_t before = (size_t)(data - t->memory), used = row_bytes(t), stride = stride_bytes(t);
    size_t rows = (size_t)mmrec_shape_rows(&t->view.shape), end = before + rows * stride;
    if (!is_guard(t->memory, before, 0) || !is_guard(t->memory + end, t->bytes - end, end)) return false;
    for (size_t r = 0; r < rows && stride > used; r++) {
        size_t at = before + r * stride + used;
        if (!is_guard(t->memory + at, stride - used, at)) return false;
    }
    return true;
}

bool tensor_finite(const tensor *t) {
    int64_t count = t->memory ? mmrec_shape_elements(&t->view.shape) : 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(mmrec_element_get(t->view.dtype, t->view.data, place(t, i)))) return false;
    }
    return true;
}

void tensor_remember(tensor *t) {
    if (t->memory) memcpy(t->copy, t->memory, t->bytes);
}
void tensor_restore(tensor *t) { memcpy(t->memory, t->copy, t->bytes); }
void tensor_copy(tensor *to, const tensor *from) { memcpy(to->memory, from->memory, to->bytes); }
bool tensor_unchanged(const tensor *t) { return !t->memory || memcmp(t->copy, t->memory, t->bytes) == 0; }
