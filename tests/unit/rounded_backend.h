/* A backend for tests: every op in plain double, every result rounded to the type it is stored in. What it computes
 * differs from the exact values by the rounding of what is stored and by nothing else, so it says what storing in bf16
 * costs, and where a device differs from it by more than that the device is wrong. */
#ifndef ROUNDED_BACKEND_H
#define ROUNDED_BACKEND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/backend.h"

/* The view with its values as doubles, dense; ids and absent views as they are. */
static inline mmrec_view rounded_open(const mmrec_view *view) {
    mmrec_view open = *view;
    if (!view->data || view->dtype == MMREC_I32) return open;
    int64_t rows = mmrec_shape_rows(&view->shape), columns = mmrec_shape_columns(&view->shape);
    double *values = malloc((size_t)(rows * columns) * sizeof *values);
    assert_non_null(values);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++)
            values[r * columns + c] = mmrec_element_get(view->dtype, view->data, r * view->stride + c);
    }
    return mmrec_view_dense(values, MMREC_F64, view->shape);
}

/* Ends its use, storing what it holds when it was written. */
static inline void rounded_close(const mmrec_view *view, mmrec_view *open, bool written) {
    if (!view->data || view->dtype == MMREC_I32) return;
    int64_t rows = mmrec_shape_rows(&view->shape), columns = mmrec_shape_columns(&view->shape);
    const double *values = open->data;
    for (int64_t r = 0; r < rows && written; r++) {
        for (int64_t c = 0; c < columns; c++)
            mmrec_element_set(view->dtype, view->data, r * view->stride + c, values[r * columns + c]);
    }
    free(open->data);
}

static inline mmrec_status rounded_run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F64);
    MMREC_TRY(mmrec_op_check_types(def, call, error));
    mmrec_op_sizes sizes = *call->sizes;
    sizes.threads = 1;
    MMREC_TRY(mmrec_op_resolve(def, &sizes, error));
    mmrec_op_call open = *call;
    open.sizes = &sizes;
    open.scratch = malloc(sizes.scratch_bytes[pass] + 1);
    for (int i = 0; i < MMREC_MAX_IN; i++) open.in[i] = rounded_open(&call->in[i]);
    for (int i = 0; i < MMREC_MAX_IN; i++) open.d_in[i] = rounded_open(&call->d_in[i]);
    for (int i = 0; i < MMREC_MAX_OUT; i++) open.out[i] = rounded_open(&call->out[i]);
    for (int i = 0; i < MMREC_MAX_OUT; i++) open.d_out[i] = rounded_open(&call->d_out[i]);
    for (int i = 0; i < MMREC_MAX_SAVED; i++) open.saved[i] = rounded_open(&call->saved[i]);
    mmrec_status status = def->function[pass](&open, error);
    bool forward = pass == MMREC_FORWARD;
    for (int i = 0; i < MMREC_MAX_IN; i++) rounded_close(&call->in[i], &open.in[i], false);
    for (int i = 0; i < MMREC_MAX_IN; i++) rounded_close(&call->d_in[i], &open.d_in[i], !forward);
    for (int i = 0; i < MMREC_MAX_OUT; i++) rounded_close(&call->out[i], &open.out[i], forward);
    for (int i = 0; i < MMREC_MAX_OUT; i++) rounded_close(&call->d_out[i], &open.d_out[i], false);
    for (int i = 0; i < MMREC_MAX_SAVED; i++) rounded_close(&call->saved[i], &open.saved[i], forward);
    free(open.scratch);
    return status;
}

static inline mmrec_status rounded_alloc(mmrec_allocator *allocator, mmrec_arena arena, size_t bytes, void **out,
                                         mmrec_error *error) {
    (void)arena;
    return mmrec_alloc_zero(allocator, 1, bytes, MMREC_ALLOC_OTHER, out, error);
}

static inline void rounded_free(mmrec_allocator *allocator, mmrec_arena arena, void *memory, size_t bytes) {
    (void)arena;
    mmrec_alloc(allocator, memory, bytes, 0, MMREC_ALLOC_OTHER);
}

static const mmrec_backend rounded_backend = {.name = "rounded",
                                              .real = MMREC_F32,
                                              .variant = MMREC_VARIANT_F32,
                                              .stores_bf16 = true,
                                              .host_memory = true,
                                              .alloc = rounded_alloc,
                                              .free = rounded_free,
                                              .run = rounded_run};

#endif
