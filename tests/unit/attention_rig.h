/* Calls of the op `attention` by cuDNN and by the kernels, of which both suites make theirs. */
#ifndef ATTENTION_RIG_H
#define ATTENTION_RIG_H

#include "call_rig.h"

enum { KERNELS = MMREC_LIBRARY_KERNELS, CUDNN = MMREC_LIBRARY_CUDNN, AUTO = MMREC_LIBRARY_AUTO };

static const char *const small = "B=2 T=3 M=5 D=16 heads=2 -visible";

/* ---- running ---- */

static inline void open_layer(layer *l, const char *text, paddings p) {
    open_layer_of(l, MMREC_BF16, "attention", text, p);
}

static inline void open_two(const char *text, paddings p) {
    open_layer(&a, text, p);
    open_layer(&b, text, p);
}

static inline void close_two(void) {
    close_layer(&a);
    close_layer(&b);
}

static inline void choose(int how) { cuda->device->attention((mmrec_library_choice)how); }

static bool written[ARENA_BYTES];
static layer filled; /* as a layer is before anything ran */

static inline void mark(const layer *l, const mmrec_view *view) {
    for (int64_t i = 0; view->data && i < mmrec_shape_elements(&view->shape); i++)
        memset(written + offset_of(l, view, i), true, mmrec_dtype_bytes(view->dtype));
}

/* What was read back differs from what was filled in only where results and scratch memory lie. */
static inline void expect_only_results(const layer *l) {
    if (filled.dtype != l->dtype || filled.seed != l->seed) {
        filled.dtype = l->dtype;
        filled.seed = l->seed;
        make_values(&filled);
    }
    memset(written, false, sizeof written);
    mark(l, &l->call.out[0]);
    mark(l, &l->call.saved[0]);
    for (int i = 0; i < MMREC_MAX_IN; i++) mark(l, &l->call.d_in[i]);
    memset(written + ((unsigned char *)l->call.scratch - l->memory), true, l->sizes.scratch_bytes[MMREC_BACKWARD]);
    for (int i = 0; i < ARENA_BYTES; i++) {
        if (!written[i] && l->host[i] != filled.host[i]) fail_msg("byte %d of the arena was written", i);
    }
}

static inline void attend(layer *l, int forward, int backward) {
    choose(forward);
    must(run(l, MMREC_FORWARD));
    choose(backward);
    must(run(l, MMREC_BACKWARD));
    read_back(l);
    expect_only_results(l);
}

static inline void attend_forward(layer *l, int how) {
    choose(how);
    must(run(l, MMREC_FORWARD));
    read_back(l);
    expect_only_results(l);
}

static inline int runs(void) { return count_calls("BackendExecute:"); }
static inline int plans(void) { return count_calls("BackendFinalize:5 "); }
static inline int searches(void) { return count_calls("BackendFinalize:4 "); }

/* ---- comparing ---- */

/* Both ways round their results to bf16, and cuDNN a weight, and its slope, before it multiplies with them: by up to
 * 2^-8 each, and weights sum to 1. */
static const double ROUNDED = 0x1p-6;
/* What is saved is no sum of rounded numbers: scores up to 16, in float. */
static const double LOGSUM_NEAR = 1e-5;
/* Gradients of query and key are differences, of numbers up to 16 in float: 0 where there is one key. */
static const double DIFFERENCE = 4e-6;

static inline double largest(const mmrec_view *view) {
    double most = 0;
    for (int64_t i = 0; i < mmrec_shape_elements(&view->shape); i++)
        most = fmax(most, fabs((double)element(&b, view, i)));
    return most;
}

static inline void expect_near(const char *what, int number, const mmrec_view *x, const mmrec_view *y) {
    expect_view(what, number, x, y, ROUNDED * largest(y) + DIFFERENCE);
}

static inline void expect_all_near(void) {
    expect_near("output", 0, &a.call.out[0], &b.call.out[0]);
    expect_view("logsum", 0, &a.call.saved[0], &b.call.saved[0], LOGSUM_NEAR);
    for (int i = 0; i < 3; i++) expect_near("gradient", i, &a.call.d_in[i], &b.call.d_in[i]);
}

static inline void expect_equal(void) {
    expect_same(0);
    expect_view("logsum", 0, &a.call.saved[0], &b.call.saved[0], 0);
}

/* ---- tensors of a call, those of the backward pass alone at the end ---- */

enum { VIEWS = 9, VIEW_SAVED = 4, FIRST_OF_BACKWARD = 5 };

static inline mmrec_view *view_at(layer *l, int i) {
    mmrec_op_call *c = &l->call;
    mmrec_view *all[VIEWS] = {&c->in[0],   &c->in[1],   &c->in[2],   &c->out[0],  &c->saved[0],
                              &c->d_in[0], &c->d_in[1], &c->d_in[2], &c->d_out[0]};
    return all[i];
}

/* ---- around every test ---- */

static size_t own_at_first;

static inline int open_device(void **state) {
    (void)state;
    const mmrec_device_options options = {.attention = MMREC_LIBRARY_CUDNN};
    begin_device(&options);
    own_at_first = own_bytes();
    return 0;
}

/* What is kept is given back with the last arena: but for cuDNN's handle, everything. */
static inline void expect_nothing_kept(void) {
    close_two();
    assert_int_equal(own_bytes(), own_at_first);
    assert_true(*fake.alive <= 1);
}

static inline int close_device(void **state) {
    (void)state;
    set_failures("");
    expect_nothing_kept();
    end_device();
    return 0;
}

#endif
