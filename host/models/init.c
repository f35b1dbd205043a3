/* Initial values of parameters, each drawn by its own address, so that order, threads and backend do not matter. */
#include <math.h>
#include <string.h>

#include "mmrec/model.h"
#include "mmrec/rng.h"

/* Streams of the initial values start far above those of dropout, which count up from 0: one seed serves both. */
static const uint64_t init_stream = (uint64_t)1 << 32;

/* value = mean + deviation * normal */
typedef struct spread {
    double mean, deviation;
} spread;

static bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* The table of docs/model.md. */
static spread spread_of(const mmrec_tensor_info *info) {
    static const struct {
        const char *end;
        spread values;
    } rules[] = {
        {".bias", {0, 0}},        {"norm.weight", {1, 0}},         {"norm1.weight", {1, 0}},
        {"norm2.weight", {1, 0}}, {"embedding.weight", {0, 0.02}}, {"memory.k", {0, 0.02}},
        {"memory.v", {0, 0.02}},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (ends_with(info->name, rules[i].end)) return rules[i].values;
    }
    spread weight = {0, 1 / sqrt((double)mmrec_shape_columns(&info->shape))};
    return weight;
}

static void draw(spread s, uint64_t seed, uint64_t stream, double *values, int64_t count) {
    if (s.deviation == 0) {
        for (int64_t i = 0; i < count; i++) values[i] = s.mean;
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        values[i] = s.mean + s.deviation * mmrec_rng_normal(seed, stream, (uint64_t)i);
    }
}

static mmrec_status write_all(mmrec_exec *exec, const mmrec_graph *graph, uint64_t seed, double *values,
                              mmrec_error *error) {
    uint64_t stream = init_stream;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        draw(spread_of(&info), seed, stream++, values, count);
        MMREC_TRY_WHILE(mmrec_exec_write(exec, t, values, count, error), error, "writing initial values of %s",
                        info.name);
    }
    return MMREC_OK;
}

mmrec_status mmrec_model_init(mmrec_exec *exec, const mmrec_graph *graph, mmrec_allocator *allocator, uint64_t seed,
                              mmrec_error *error) {
    size_t count = (size_t)mmrec_graph_largest_param(graph);
    void *values = NULL;
    if (count == 0) return MMREC_OK;
    MMREC_TRY_WHILE(mmrec_alloc_zero(allocator, count, sizeof(double), MMREC_ALLOC_OTHER, &values, error), error,
                    "drawing initial values");
    mmrec_status status = write_all(exec, graph, seed, values, error);
    mmrec_alloc(allocator, values, count * sizeof(double), 0, MMREC_ALLOC_OTHER);
    return status;
}
