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

static mmrec_view carve(carver *c, mmrec_dtype dtype, mmrec_shape shape) {
    mmrec_view view = mmrec_view_dense(NULL, dtype, shape);
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
    for (int i = 0; mmrec_op_has_backward(use->def, &use->sizes) && i < mmrec_arg_count(use->def->in); i++) {
        if (given(use, i) && has_gradient(&use->def->in[i])) return true;
    }
    return false;
}

static void carve_forward(op_use *use, carver *c) {
    const mmrec_op_def *def = use->def;
    for (int i = 0; i < mmrec_arg_count(def->in); i++) {
        mmrec_dtype dtype = mmrec_arg_dtype(&def->in[i], use->storage);
        if (given(use, i)) use->call.in[i] = carve(c, dtype, use->sizes.in[i]);
    }
    for (int i = 0; i < mmrec_arg_count(def->out); i++) {
        mmrec_dtype dtype = mmrec_arg_dtype(&def->out[i], use->storage);
        if (made(use, i)) use->call.out[i] = carve(c, dtype, use->sizes.out[i]);
    }
    for (int i = 0; i < mmrec_arg_count(def->saved); i++) {
        mmrec_dtype dtype = mmrec_arg_dtype(&def->saved[i], use->storage);
        if (use->sizes.stored >> i & 1u) use->call.saved[i] = carve(c, dtype, use->sizes.saved[i]);
    }
}

static void carve_backward(op_use *use, carver *c) {
    const mmrec_op_def *def = use->def;
    if (!op_use_differentiable(use)) return;
    for (int i = 0; i < mmrec_arg_count(def->in); i++) {
        mmrec_dtype dtype = mmrec_arg_gradient_dtype(&def->in[i], use->storage);
        if (given(use, i) && has_gradient(&def->in[i])) use->call.d_in[i] = carve(c, dtype, use->sizes.in[i]);
    }
    for (int i = 0; i < mmrec_arg_count(def->out); i++) {
        mmrec_dtype dtype = mmrec_arg_gradient_dtype(&def->out[i], use->storage);
        if (made(use, i) && has_gradient(&def->out[i])) use->call.d_out[i] = carve(c, dtype, use->sizes.out[i]);
    }
}

static void carve_all(op_use *use, carver *c) {
    const size_t *scratch = use->sizes.scratch_bytes;
    carve_forward(use, c);
    carve_backward(use, c);
    use->call.scratch = carve_bytes(c, scratch[0] > scratch[1] ? scratch[0] : scratch[1]);
}

/* What an argument is filled with. */
typedef struct numbers {
    uint64_t seed, stream;
    double low, high; /* both 0: normal */
    uint32_t below;   /* of ids */
    bool bf16;
} numbers;

/* Rounded to float, or to what bf16 holds, so that the double reference sees the same numbers. */
static float draw_value(const numbers *n, int64_t i) {
    double value = n->low == 0 && n->high == 0
                       ? mmrec_rng_normal(n->seed, n->stream, (uint64_t)i)
                       : n->low + (n->high - n->low) * (double)mmrec_rng_uniform(n->seed, n->stream, (uint64_t)i);
    return n->bf16 ? mmrec_bf16_to_float(mmrec_bf16_from_float((float)value)) : (float)value;
}

/* Where a view's values lie on the host. */
static void *mirrored(const op_use *use, const mmrec_view *view) {
    return use->mirror + ((unsigned char *)view->data - use->memory);
}

static void draw(const op_use *use, const mmrec_view *view, const numbers *n) {
    int64_t count = mmrec_shape_elements(&view->shape);
    void *values = mirrored(use, view);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        double value = view->dtype == MMREC_I32 ? (double)mmrec_rng_below(n->seed, n->stream, (uint64_t)i, n->below)
                                                : (double)draw_value(n, i);
        mmrec_element_set(view->dtype, values, i, value);
    }
}

static void draw_all(const op_use *use, uint64_t seed) {
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        const mmrec_arg *arg = &use->def->in[i];
        numbers n = {.seed = seed, .stream = (uint64_t)i, .low = arg->low, .high = arg->high, .below = 1};
        if (!use->call.in[i].data) continue;
        if (arg->flags & MMREC_ARG_IDS) n.below = (uint32_t)use->sizes.letter[arg->below - 'A'];
        n.bf16 = use->bf16 && mmrec_arg_dtype(arg, MMREC_BF16) == MMREC_BF16;
        draw(use, &use->call.in[i], &n);
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        numbers n = {.seed = seed, .stream = (uint64_t)(STREAM_D_OUT + i)};
        if (!use->call.d_out[i].data) continue;
        n.bf16 = use->bf16 && mmrec_arg_gradient_dtype(&use->def->out[i], MMREC_BF16) == MMREC_BF16;
        draw(use, &use->call.d_out[i], &n);
    }
}

static mmrec_status allocate(op_use *use, mmrec_error *error) {
    const mmrec_backend *backend = use->backend;
    carver count = {0};
    void *memory = NULL;
    carve_all(use, &count);
    if (count.overflow) MMREC_FAIL(error, MMREC_SHAPE, "%s at this size needs more than 2^64 bytes", use->def->name);
    MMREC_TRY(mmrec_alloc_zero(use->allocator, 1, count.used, MMREC_ALLOC_MEASURE, &memory, error));
    use->mirror = use->memory = memory;
    use->bytes = count.used;
    if (backend->device) {
        MMREC_TRY(backend->alloc(use->allocator, MMREC_ARENA_SCRATCH, use->bytes, &memory, error));
        use->memory = memory;
    }
    carver real = {.memory = use->memory};
    carve_all(use, &real);
    return MMREC_OK;
}

static mmrec_status prepare(op_use *use, uint64_t seed, mmrec_error *error) {
    const mmrec_device *device = use->backend->device;
    MMREC_TRY_WHILE(allocate(use, error), error, "making the arguments of %s", use->def->name);
    draw_all(use, seed);
    use->call.seed = seed;
    if (!device) return MMREC_OK;
    use->call.seed_at = device->seed_at;
    return device->copy_in(use->memory, use->mirror, use->bytes, error);
}

mmrec_status op_use_create(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_op_id op, const char *text,
                           const mmrec_bench_options *options, op_use *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    out->allocator = allocator;
    out->backend = backend;
    out->op = op;
    out->def = mmrec_op_get(op, backend->variant);
    out->bf16 = options->bf16;
    out->storage = mmrec_backend_dtype(backend, options->bf16 && backend->stores_bf16);
    int threads = mmrec_backend_threads(backend, options->threads);
    MMREC_TRY_WHILE(mmrec_op_from_text(out->def, text, threads, &out->sizes, error), error, "sizing %s by \"%s\"",
                    out->def->name, text);
    out->call.sizes = &out->sizes;
    mmrec_status status = prepare(out, options->seed, error);
    if (status != MMREC_OK) op_use_free(out);
    return status;
}

void op_use_free(op_use *use) {
    bool apart = use->memory != use->mirror;
    if (apart) use->backend->free(use->allocator, MMREC_ARENA_SCRATCH, use->memory, use->bytes);
    if (use->mirror) mmrec_alloc(use->allocator, use->mirror, use->bytes, 0, MMREC_ALLOC_MEASURE);
    use->memory = use->mirror = NULL;
}

mmrec_status op_use_run(op_use *use, mmrec_pass pass, mmrec_error *error) {
    const mmrec_device *device = use->backend->device;
    use->call.sizes = &use->sizes; /* the struct may have been moved since it was made */
    if (device) MMREC_TRY(device->seed(use->call.seed, error));
    return use->backend->run(use->op, pass, &use->call, error);
}

mmrec_status op_use_read(const op_use *use, const mmrec_view *view, double *values, mmrec_error *error) {
    int64_t count = mmrec_shape_elements(&view->shape);
    const void *from = mirrored(use, view);
    if (use->backend->device) {
        size_t bytes = (size_t)count * mmrec_dtype_bytes(view->dtype);
        MMREC_TRY(use->backend->synchronize(error));
        MMREC_TRY(use->backend->device->copy_out(mirrored(use, view), view->data, bytes, error));
    }
    for (int64_t i = 0; i < count; i++) values[i] = mmrec_element_get(view->dtype, from, i);
    return MMREC_OK;
}
