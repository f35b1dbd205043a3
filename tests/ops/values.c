/* The numbers of a sample, and room for its results. */
#include "harness.h"

#include <string.h>

#include "mmrec/rng.h"

/* Every array of a sample has its own stream. */
enum { STREAM_IN = 0, STREAM_OLD = 100, STREAM_D_OUT = 200, STREAMS = 300 };

static double draw_value(const mmrec_arg *arg, const mmrec_op_sizes *sizes, uint64_t stream, int64_t i) {
    if (arg->flags & MMREC_ARG_IDS) {
        uint32_t below = (uint32_t)sizes->letter[arg->below - 'A'];
        return (double)mmrec_rng_below(HARNESS_SEED, stream, (uint64_t)i, below);
    }
    if (arg->low == 0 && arg->high == 0) return (double)(float)mmrec_rng_normal(HARNESS_SEED, stream, (uint64_t)i);
    double unit = (double)mmrec_rng_uniform(HARNESS_SEED, stream, (uint64_t)i);
    return (double)(float)(arg->low + (arg->high - arg->low) * unit);
}

static void draw_values(const mmrec_arg *arg, const mmrec_op_sizes *sizes, uint64_t stream, double *to, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = draw_value(arg, sizes, stream, i);
}

/* Takes `count` doubles from a block, or only adds up what will be taken while the block is not there yet. */
static double *take(double *base, size_t *used, const mmrec_shape *shape) {
    double *at = base ? base + *used : NULL;
    *used += (size_t)mmrec_shape_elements(shape);
    return at;
}

static size_t place_values(const mmrec_op_def *def, const mmrec_op_sizes *sizes, double *base, sample_values *v) {
    size_t used = 0;
    for (int i = 0; def->in[i].name; i++) {
        if (!((sizes->given >> i) & 1u)) continue;
        v->in[i] = take(base, &used, &sizes->in[i]);
        v->old[i] = take(base, &used, &sizes->in[i]);
    }
    for (int i = 0; def->out[i].name; i++) {
        if ((sizes->made >> i) & 1u) v->d_out[i] = take(base, &used, &sizes->out[i]);
    }
    return used;
}

static void draw_all(const mmrec_op_def *def, const mmrec_op_sizes *sizes, int index, sample_values *v) {
    static const mmrec_arg normal = {.name = "normal"};
    uint64_t base = (uint64_t)(index + 1) * STREAMS;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (!v->in[i]) continue;
        int64_t count = mmrec_shape_elements(&sizes->in[i]);
        draw_values(&def->in[i], sizes, base + STREAM_IN + (uint64_t)i, v->in[i], count);
        draw_values(&normal, sizes, base + STREAM_OLD + (uint64_t)i, v->old[i], count);
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if (!v->d_out[i]) continue;
        draw_values(&normal, sizes, base + STREAM_D_OUT + (uint64_t)i, v->d_out[i],
                    mmrec_shape_elements(&sizes->out[i]));
    }
}

static void round_array(mmrec_dtype dtype, const mmrec_shape *shape, double *values) {
    int64_t count = values && dtype == MMREC_BF16 ? mmrec_shape_elements(shape) : 0;
    for (int64_t i = 0; i < count; i++)
        values[i] = (double)mmrec_bf16_to_float(mmrec_bf16_from_float((float)values[i]));
}

void round_values(const subject *s, const mmrec_op_sizes *sizes, sample_values *values) {
    const mmrec_op_def *def = s->def;
    for (int i = 0; def->in[i].name; i++) {
        round_array(mmrec_arg_dtype(&def->in[i], s->dtype), &sizes->in[i], values->in[i]);
        round_array(mmrec_arg_gradient_dtype(&def->in[i], s->dtype), &sizes->in[i], values->old[i]);
    }
    for (int i = 0; def->out[i].name; i++) {
        round_array(mmrec_arg_gradient_dtype(&def->out[i], s->dtype), &sizes->out[i], values->d_out[i]);
    }
}

static bool reserve(harness *h, size_t used, void **memory, size_t *bytes) {
    *bytes = (used ? used : 1) * sizeof(double);
    *memory = mmrec_alloc(h->allocator, NULL, 0, *bytes, MMREC_ALLOC_OTHER);
    return harness_check(h, *memory != NULL, "no memory for %zu numbers", used);
}

bool sample_values_create(harness *h, const mmrec_op_def *def, const mmrec_op_sizes *sizes, int index,
                          sample_values *out) {
    memset(out, 0, sizeof *out);
    if (!reserve(h, place_values(def, sizes, NULL, out), &out->memory, &out->bytes)) return false;
    place_values(def, sizes, out->memory, out);
    draw_all(def, sizes, index, out);
    return true;
}

void sample_values_destroy(harness *h, sample_values *values) {
    if (values->memory) mmrec_alloc(h->allocator, values->memory, values->bytes, 0, MMREC_ALLOC_OTHER);
    memset(values, 0, sizeof *values);
}

static size_t place_results(const mmrec_op_sizes *sizes, double *base, results *r) {
    size_t used = 0;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if ((sizes->given >> i) & 1u) r->d_in[i] = take(base, &used, &sizes->in[i]);
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if ((sizes->made >> i) & 1u) r->out[i] = take(base, &used, &sizes->out[i]);
    }
    for (int i = 0; i < MMREC_MAX_SAVED; i++) {
        if ((sizes->stored >> i) & 1u) r->saved[i] = take(base, &used, &sizes->saved[i]);
    }
    return used;
}

bool results_create(harness *h, const mmrec_op_sizes *sizes, results *out) {
    memset(out, 0, sizeof *out);
    if (!reserve(h, place_results(sizes, NULL, out), &out->memory, &out->bytes)) return false;
    place_results(sizes, out->memory, out);
    memset(out->memory, 0, out->bytes); /* arguments a call does not write compare equal */
    return true;
}

void results_destroy(harness *h, results *r) {
    if (r->memory) mmrec_alloc(h->allocator, r->memory, r->bytes, 0, MMREC_ALLOC_OTHER);
    memset(r, 0, sizeof *r);
}
