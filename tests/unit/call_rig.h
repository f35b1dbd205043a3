/* Calls of an op, each in an arena of its own, on the emulated device with the library of the tests in cuDNN's place
 * (fake_cudnn.c). A suite has one device and two such calls, a and b, at a time. */
#ifndef CALL_RIG_H
#define CALL_RIG_H

#include <math.h>
#include <stdlib.h>

#include "cudnn_rig.h"

#ifndef CALL_ARENA_BYTES
#define CALL_ARENA_BYTES (1 << 17)
#endif
enum { ARENA_BYTES = CALL_ARENA_BYTES };

static const mmrec_backend *cuda;
static mmrec_allocator allocator;
static mmrec_error error;

static inline void must(mmrec_status status) {
    if (status != MMREC_OK) fail_msg("%s", error.message);
}

/* ---- the library of the tests ---- */

static struct fake {
    char *fails, *journal;
    int *alive;
} fake;

/* Opens it, which stays open. */
static inline void *open_fake(void) {
    void *library = fake_library();
    fake = (struct fake){symbol(library, "fake_cudnn_fails"), symbol(library, "fake_cudnn_journal"),
                         symbol(library, "fake_cudnn_alive")};
    return library;
}

/* Begins a new journal. */
static inline void set_failures(const char *what) {
    fake.journal[0] = '\0';
    strcpy(fake.fails, what);
}

static inline int count_calls(const char *name) { return count_in(fake.journal, name); }

/* ---- the device ---- */

static inline void begin_device(const mmrec_device_options *options) {
    setenv("MMREC_CUDNN", MMREC_FAKE_CUDNN, 1);
    set_failures("");
    mmrec_error_clear(&error);
    mmrec_backend_device_options(options);
    must(mmrec_backend_find("cuda", &cuda, &error));
}

static inline size_t own_bytes(void) { return cuda->device->allocated(MMREC_ARENAS).live_bytes; }

/* Everything is given back. */
static inline void end_device(void) {
    mmrec_backend_close();
    assert_int_equal(*fake.alive, 0);
    assert_int_equal(own_bytes(), 0);
}

/* ---- a call in an arena of its own ---- */

/* Elements between rows that are no part of them. */
typedef struct paddings {
    int in, out, saved, d_in, d_out;
} paddings;

typedef struct layer {
    mmrec_op_id op;
    mmrec_dtype dtype;
    uint32_t seed; /* of what it is filled with */
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    unsigned char *memory, host[ARENA_BYTES];
    size_t used;
} layer;

static layer a, b;
static const paddings dense;

static inline mmrec_view place(layer *l, const mmrec_shape *shape, mmrec_dtype dtype, int padding) {
    mmrec_view view = mmrec_view_dense(l->memory + l->used, dtype, *shape);
    view.stride += padding;
    size_t bytes = (size_t)(mmrec_shape_rows(shape) * view.stride) * mmrec_dtype_bytes(dtype);
    l->used += (bytes + MMREC_ALIGN - 1) / MMREC_ALIGN * MMREC_ALIGN;
    assert_true(l->used <= ARENA_BYTES);
    return view;
}

static inline void place_list(layer *l, const mmrec_arg *args, const mmrec_shape *shapes, unsigned mask,
                              mmrec_view *views, int padding) {
    for (int i = 0; args[i].name; i++) {
        if ((mask >> i) & 1u) views[i] = place(l, &shapes[i], mmrec_arg_dtype(&args[i], l->dtype), padding);
    }
}

static inline void place_gradients(layer *l, const mmrec_arg *args, const mmrec_shape *shapes, unsigned mask,
                                   mmrec_view *views, int padding) {
    for (int i = 0; args[i].name; i++) {
        if (!((mask >> i) & 1u) || (args[i].flags & MMREC_ARG_NO_GRAD)) continue;
        views[i] = place(l, &shapes[i], mmrec_arg_gradient_dtype(&args[i], l->dtype), padding);
    }
}

/* Memory of both passes, and a word for the seed of their random numbers. */
static inline void place_scratch(layer *l) {
    const size_t *bytes = l->sizes.scratch_bytes, most = bytes[0] > bytes[1] ? bytes[0] : bytes[1];
    const mmrec_shape words = mmrec_shape1((int64_t)(most / sizeof(float) + 1)), seed = mmrec_shape1(2);
    l->call.scratch = place(l, &words, MMREC_F32, 0).data;
    l->call.seed_at = place(l, &seed, MMREC_F32, 0).data;
}

/* Numbers in [-0.5, 0.5) everywhere, what is to be written included: the same for the same seed. Those of bf16 are in
 * [-2, 2), so that the scores of attention differ by some; two of them are a float of that range. */
static inline void make_values(layer *l) {
    uint32_t state = l->seed;
    for (size_t i = 0; i < ARENA_BYTES / mmrec_dtype_bytes(l->dtype); i++) {
        state = state * 1664525u + 1013904223u;
        float value = (float)(state >> 8) / 16777216.0f - 0.5f;
        uint16_t half = mmrec_bf16_from_float(4 * value);
        if (l->dtype == MMREC_BF16)
            memcpy(l->host + i * sizeof half, &half, sizeof half);
        else
            memcpy(l->host + i * sizeof value, &value, sizeof value);
    }
}

static inline void fill(layer *l) {
    make_values(l);
    must(cuda->device->copy_in(l->memory, l->host, ARENA_BYTES, &error));
}

static inline void open_layer_of(layer *l, mmrec_dtype dtype, const char *op, const char *text, paddings p) {
    void *memory = NULL;
    *l = (layer){.op = mmrec_op_find(op), .dtype = dtype, .seed = 12345};
    const mmrec_op_def *def = mmrec_op_get(l->op, MMREC_VARIANT_F32);
    must(mmrec_op_from_text(def, text, MMREC_ON_DEVICE, &l->sizes, &error));
    must(cuda->alloc(&allocator, MMREC_ARENA_SAVED, ARENA_BYTES, &memory, &error));
    l->memory = memory;
    l->call.sizes = &l->sizes;
    place_list(l, def->in, l->sizes.in, l->sizes.given, l->call.in, p.in);
    place_list(l, def->out, l->sizes.out, l->sizes.made, l->call.out, p.out);
    place_list(l, def->saved, l->sizes.saved, l->sizes.stored, l->call.saved, p.saved);
    place_gradients(l, def->in, l->sizes.in, l->sizes.given, l->call.d_in, p.d_in);
    place_gradients(l, def->out, l->sizes.out, l->sizes.made, l->call.d_out, p.d_out);
    place_scratch(l);
    fill(l);
}

static inline void close_layer(layer *l) {
    if (l->memory) cuda->free(&allocator, MMREC_ARENA_SAVED, l->memory, ARENA_BYTES);
    l->memory = NULL;
}

/* ---- running ---- */

static inline mmrec_status run(layer *l, mmrec_pass pass) { return cuda->run(l->op, pass, &l->call, &error); }

static inline void read_back(layer *l) {
    must(cuda->synchronize(&error));
    must(cuda->device->copy_out(l->host, l->memory, ARENA_BYTES, &error));
}

static inline void run_both(layer *l) {
    must(run(l, MMREC_FORWARD));
    must(run(l, MMREC_BACKWARD));
    read_back(l);
}

static inline void record(layer *l, mmrec_pass pass, void **graph) {
    must(cuda->device->capture_begin(&error));
    must(run(l, pass));
    must(cuda->device->capture_end(graph, &error));
}

/* ---- results ---- */

/* Where an element lies in the arena, in bytes. */
static inline size_t offset_of(const layer *l, const mmrec_view *view, int64_t i) {
    int64_t columns = mmrec_shape_columns(&view->shape), at = i / columns * view->stride + i % columns;
    return (size_t)((unsigned char *)view->data - l->memory) + (size_t)at * mmrec_dtype_bytes(view->dtype);
}

static inline float element(const layer *l, const mmrec_view *view, int64_t i) {
    const unsigned char *from = l->host + offset_of(l, view, i);
    uint16_t half;
    float value;
    memcpy(&half, from, sizeof half);
    if (view->dtype == MMREC_BF16) return mmrec_bf16_to_float(half);
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void expect_view(const char *what, int number, const mmrec_view *x, const mmrec_view *y, double allowed) {
    assert_int_equal(!x->data, !y->data);
    for (int64_t i = 0; x->data && i < mmrec_shape_elements(&x->shape); i++) {
        double here = (double)element(&a, x, i), there = (double)element(&b, y, i);
        if (fabs(here - there) <= allowed) continue; /* what is no number is not */
        fail_msg("%s %d: element %d is %.9g and %.9g", what, number, (int)i, here, there);
    }
}

/* Layers a and b have the same outputs and gradients. */
static inline void expect_same(double allowed) {
    for (int i = 0; i < MMREC_MAX_OUT; i++) expect_view("output", i, &a.call.out[i], &b.call.out[i], allowed);
    for (int i = 0; i < MMREC_MAX_IN; i++) expect_view("gradient", i, &a.call.d_in[i], &b.call.d_in[i], allowed);
}

static inline void expect_failure(mmrec_status got, mmrec_status wanted, const char *words) {
    assert_int_equal(got, wanted);
    if (!strstr(error.message, words)) fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    assert_null(strchr(error.message, '\n'));
    mmrec_error_clear(&error);
}

static inline void fail_recording(layer *l, mmrec_pass pass, mmrec_status wanted, const char *words) {
    must(cuda->device->capture_begin(&error));
    expect_failure(run(l, pass), wanted, words);
    cuda->device->capture_abandon();
}

#endif
