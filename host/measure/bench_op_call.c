/* One call of an op outside of a graph: its memory, carved from one block, and its numbers. */
#include <string.h>

#include "bench_op_impl.h"
#include "mmrec/rng.h"

enum { STREAM_D_OUT = MMREC_MAX_IN }; /* stream i: input i; from here on: gradient of output i */

/* Carves views from the block; with memory NULL it only counts. */
typedef struct carver {
    unsigned char *memory;
    size_t used;
    bool overflow;
} carver;

static void *carve_bytes(carver *c, size_t bytes) {
    void *at = c->memory ? c->memory + c->used : NULL;
    size_t padded = 0;
    c->overflow = c->overflow || __builtin_add_overflow(bytes, MMREC_ALIGN - 1, &padded) ||
                  __builtin_add_overflow(c->used, padded / MMREC_ALIGN * MMREC_ALIGN, &c->used);
    return at;
}

static mmrec_view carve(carver *c, const mmrec_arg *arg, mmrec_dtype real, mmrec_shape shape) {
    mmrec_view view = mmrec_view_dense(NULL, arg->flags & MMREC_ARG_IDS ? MMREC_I32 : real, shape);
    size_t bytes = 0;
    c->overflow = c->overflow ||
                  __builtin_mul_overflow((size_t)mmrec_shape_elements(&shape), mmrec_dtype_bytes(view.dtype), &bytes);
    view.data = carve_bytes(c, bytes);
    return view;
}

static bool has_gradient(const mmrec_arg *arg) { return !(arg->flags & (MMREC_ARG_IDS | MMREC_ARG_NO_GRAD)); }

static bool given(const op_use *use, int i) { return (use->sizes.given >> i & 1u) != 0; }
static bool made(const op_use *use, int i) { return (use->sizes.made >> i & 1u) != 0; }

bool op_use_differentiable(const op_use *use) {
    for (int i = 0; use->def->function[MMREC_BACKWARD] && i < mmrec_arg_count(use->def->in); i++) {
        if (given(use, i) && has_gradient(&use->def->in[i])) return true;
    }
    return false;
}

static void carve_forward(op_use *use, carver *c) {
    const mmrec_op_def *def = use->def;
    mmrec_dtype real = use->backend->real;
    for (int i = 0; i < mmrec_arg_count(def->in); i++) {
        if (given(use, i)) use->call.in[i] = carve(c, &def->in[i], real, use->sizes.in[i]);
    }
    for (int i = 0; i < mmrec_arg_count(def->out); i++) {
        if (made(use, i)) use->call.out[i] = carve(c, &def->out[i], real, use->sizes.out[i]);
    }
    for (int i = 0; i < mmrec_arg_count(def->saved); i++) {
        use->call.saved[i] = carve(c, &def->saved[i], real, use->sizes.saved[i]);
    }
}

static void carve_backward(op_use *use, carver *c) {
    const mmrec_op_def *def = use->def;
    mmrec_dtype real = use->backend->real;
    if (!op_use_differentiable(use)) return;
    for (int i = 0; i < mmrec_arg_count(def->in); i++) {
        if (given(use, i) && has_gradient(&def->in[i]))
            use->call.d_in[i] = carve(c, &def->in[i], real, use->sizes.in[i]);
    }
    for (int i = 0; i < mmrec_arg_count(def->out); i++) {
        if (made(use, i) && has_gradient(&def->out[i])) {
            use->call.d_out[i] = carve(c, &def->out[i], real, use->sizes.out[i]);
        }
    }
}

static void carve_all(op_use *use, carver *c) {
    const size_t *scratch = use->sizes.scratch_bytes;
    carve_forward(use, c);
    carve_backward(use, c);
    use->call.scratch = carve_bytes(c, scratch[0] > scratch[1] ? scratch[0] : scratch[1]);
}

/* Rounded to float, so that the double reference sees the same numbers. */
static float draw_value(const mmrec_arg *arg, uint64_t seed, uint64_t stream, int64_t i) {
    if (arg->low == 0 && arg->high == 0) return (float)mmrec_rng_normal(seed, stream, (uint64_t)i);
    return (float)(arg->low + (arg->high - arg->low) * (double)mmrec_rng_uniform(seed, stream, (uint64_t)i));
}

static void draw(const mmrec_view *view, const mmrec_arg *arg, uint32_t below, uint64_t seed, uint64_t stream) {
    int64_t count = mmrec_shape_elements(&view->shape);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        if (view->dtype == MMREC_I32)
            ((int32_t *)view->data)[i] = (int32_t)mmrec_rng_below(seed, stream, (uint64_t)i, below);
        else if (view->dtype == MMREC_F64)
            ((double *)view->data)[i] = (double)draw_value(arg, seed, stream, i);
        else
            ((float *)view->data)[i] = draw_value(arg, seed, stream, i);
    }
}

static void draw_all(const op_use *use, uint64_t seed) {
    static const mmrec_arg normal = {.name = "d", .flags = 0};
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        const mmrec_arg *arg = &use->def->in[i];
        uint32_t below = 1;
        if (!use->call.in[i].data) continue;
        if (arg->flags & MMREC_ARG_IDS) below = (uint32_t)use->sizes.letter[arg->below - 'A'];
        draw(&use->call.in[i], arg, below, seed, (uint64_t)i);
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if (use->call.d_out[i].data) draw(&use->call.d_out[i], &normal, 1, seed, (uint64_t)(STREAM_D_OUT + i));
    }
}

static mmrec_status allocate(op_use *use, mmrec_error *error) {
    carver count = {0};
    void *memory = NULL;
    carve_all(use, &count);
    if (count.overflow) MMREC_FAIL(error, MMREC_SHAPE, "%s at this size needs more than 2^64 bytes", use->def->name);
    MMREC_TRY(mmrec_alloc_zero(use->allocator, 1, count.used, MMREC_ALLOC_MEASURE, &memory, error));
    carver real = {.memory = memory};
    use->memory = memory;
    use->bytes = count.used;
    carve_all(use, &real);
    return MMREC_OK;
}

mmrec_status op_use_create(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_op_id op, const char *text,
                           int threads, uint64_t seed, op_use *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    out->allocator = allocator;
    out->backend = backend;
    out->op = op;
    out->def = mmrec_op_get(op, backend->variant);
    MMREC_TRY_WHILE(mmrec_op_from_text(out->def, text, threads, &out->sizes, error), error, "sizing %s by \"%s\"",
                    out->def->name, text);
    out->call.sizes = &out->sizes;
    out->call.seed = seed;
    MMREC_TRY_WHILE(allocate(out, error), error, "making the arguments of %s", out->def->name);
    draw_all(out, seed);
    return MMREC_OK;
}

void op_use_free(op_use *use) {
    if (use->memory) mmrec_alloc(use->allocator, use->memory, use->bytes, 0, MMREC_ALLOC_MEASURE);
    use->memory = NULL;
}

mmrec_status op_use_run(op_use *use, mmrec_pass pass, mmrec_error *error) {
    use->call.sizes = &use->sizes; /* the struct may have been moved since it was made */
    return use->backend->run(use->op, pass, &use->call, error);
}

void op_use_read(const mmrec_view *view, double *values) {
    int64_t count = mmrec_shape_elements(&view->shape);
    for (int64_t i = 0; i < count; i++) {
        values[i] = view->dtype == MMREC_F64   ? ((const double *)view->data)[i]
                    : view->dtype == MMREC_F32 ? (double)((const float *)view->data)[i]
                                               : (double)((const int32_t *)view->data)[i];
    }
}
