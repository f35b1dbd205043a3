/* What is fed: random numbers for the block, ids from a file's bytes or random for the model. */

#include "bench_impl.h"
#include "mmrec/rng.h"

/* Far from the streams of the parameters (from 2^32) and of dropout (from 0). */
static const uint64_t stream_x = 1ull << 40, stream_dy = (1ull << 40) + 1, stream_ids = (1ull << 40) + 2;

enum { DATA_LIMIT = 1 << 30 }; /* a file is read whole; no case comes near so many bytes */

static void fill_normal(double *values, int64_t count, uint64_t seed, uint64_t stream) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) values[i] = mmrec_rng_normal(seed, stream, (uint64_t)i);
}

/* The text is read on through all rows; the target of an id is the one after it. */
static void fill_ids(const bench_inputs *in, int64_t vocab, uint64_t seed, bench_data data) {
    for (int64_t i = 0; i <= in->tokens; i++) {
        int32_t id = data.bytes ? (int32_t)(data.bytes[i] % vocab)
                                : (int32_t)mmrec_rng_below(seed, stream_ids, (uint64_t)i, (uint32_t)vocab);
        if (i < in->tokens) in->ids[i] = id;
        if (i > 0) in->targets[i - 1] = id;
    }
}

mmrec_status bench_doubles(mmrec_allocator *allocator, size_t count, double **out, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, count, sizeof **out, MMREC_ALLOC_MEASURE, &memory, error));
    *out = memory;
    return MMREC_OK;
}

static mmrec_status allocate_ids(const bench_inputs *in, int32_t **out, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(in->allocator, (size_t)in->tokens, sizeof **out, MMREC_ALLOC_MEASURE, &memory, error));
    *out = memory;
    return MMREC_OK;
}

static mmrec_status allocate(bench_inputs *in, mmrec_error *error) {
    size_t values = (size_t)in->tokens * (size_t)in->width;
    MMREC_TRY(bench_doubles(in->allocator, values, &in->x, error));
    MMREC_TRY(bench_doubles(in->allocator, values, &in->dy, error));
    MMREC_TRY(bench_doubles(in->allocator, (size_t)in->rows * (size_t)in->width, &in->h0, error));
    MMREC_TRY(allocate_ids(in, &in->ids, error));
    return allocate_ids(in, &in->targets, error);
}

mmrec_status bench_inputs_create(mmrec_allocator *allocator, const mmrec_bench_case *input, uint64_t seed,
                                 bench_data data, bench_inputs *out, mmrec_error *error) {
    *out = (bench_inputs){.width = input->model.dim, .rows = input->batch, .allocator = allocator};
    if (input->batch < 1 || input->time < 1 || __builtin_mul_overflow(input->batch, input->time, &out->tokens) ||
        out->tokens > INT64_MAX / 64 / out->width) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "batch %lld and time %lld cannot be run: both must be at least 1 and the inputs "
                   "must fit the address space",
                   (long long)input->batch, (long long)input->time);
    }
    mmrec_status status = allocate(out, error);
    if (status != MMREC_OK) {
        mmrec_error_frame(error, "making the inputs");
        bench_inputs_free(out);
        return status;
    }
    int64_t values = out->tokens * out->width;
    fill_normal(out->x, values, seed, stream_x);
    fill_normal(out->dy, values, seed, stream_dy);
    fill_ids(out, input->model.vocab, seed, data);
    return MMREC_OK;
}

void bench_inputs_free(bench_inputs *in) {
    size_t values = (size_t)in->tokens * (size_t)in->width, tokens = (size_t)in->tokens;
    size_t state = (size_t)in->rows * (size_t)in->width;
    if (in->x) mmrec_alloc(in->allocator, in->x, values * sizeof *in->x, 0, MMREC_ALLOC_MEASURE);
    if (in->dy) mmrec_alloc(in->allocator, in->dy, values * sizeof *in->dy, 0, MMREC_ALLOC_MEASURE);
    if (in->h0) mmrec_alloc(in->allocator, in->h0, state * sizeof *in->h0, 0, MMREC_ALLOC_MEASURE);
    if (in->ids) mmrec_alloc(in->allocator, in->ids, tokens * sizeof *in->ids, 0, MMREC_ALLOC_MEASURE);
    if (in->targets) mmrec_alloc(in->allocator, in->targets, tokens * sizeof *in->targets, 0, MMREC_ALLOC_MEASURE);
    *in = (bench_inputs){0};
}

/* Every token and the target of the last one. */
static mmrec_status check_length(const mmrec_bench_options *options, size_t size, mmrec_error *error) {
    for (int i = 0; i < options->case_count; i++) {
        const mmrec_bench_case *input = &options->cases[i];
        int64_t needed = 0;
        bool fits =
            !__builtin_mul_overflow(input->batch, input->time, &needed) && !__builtin_add_overflow(needed, 1, &needed);
        if (fits && (uint64_t)needed <= size) continue;
        MMREC_FAIL(
            error, MMREC_FORMAT,
            "\"%.200s\" has %zu bytes, but batch %lld of time %lld needs %lld (one per token and the last target): "
            "give a longer file, or a smaller batch or time",
            options->data_path, size, (long long)input->batch, (long long)input->time, (long long)needed);
    }
    return MMREC_OK;
}

mmrec_status bench_data_read(mmrec_allocator *allocator, const mmrec_bench_options *options, bench_data *out,
                             mmrec_error *error) {
    *out = (bench_data){0};
    if (!options->data_path) return MMREC_OK;
    void *bytes = NULL;
    MMREC_TRY_WHILE(
        mmrec_io_read_file(options->io, allocator, options->data_path, DATA_LIMIT, &bytes, &out->size, error), error,
        "reading the ids");
    out->bytes = bytes;
    mmrec_status status = check_length(options, out->size, error);
    if (status == MMREC_OK) return MMREC_OK;
    mmrec_alloc(allocator, bytes, out->size, 0, MMREC_ALLOC_FILE);
    *out = (bench_data){0};
    return status;
}
