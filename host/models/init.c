/* Initial values of parameters, each drawn by its own address, so that order, threads and backend do not matter. */
#include "mmrec/model.h"
#include "mmrec/rng.h"

/* Streams of the initial values start far above those of dropout, which count up from 0: one seed serves both. */
static const uint64_t init_stream = (uint64_t)1 << 32;

static double drawn(const mmrec_initial *initial, uint64_t seed, uint64_t stream, uint64_t i) {
    double number = initial->kind == MMREC_INITIAL_NORMAL ? mmrec_rng_normal(seed, stream, i)
                                                          : 2 * mmrec_rng_uniform(seed, stream, i) - 1;
    return initial->mean + initial->spread * number;
}

static void draw(const mmrec_initial *initial, uint64_t seed, uint64_t stream, double *values, int64_t count) {
    if (initial->kind == MMREC_INITIAL_CONSTANT) {
        for (int64_t i = 0; i < count; i++) values[i] = initial->mean;
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) values[i] = drawn(initial, seed, stream, (uint64_t)i);
}

/* Number of a parameter among those of the graph. */
static uint64_t number_of(const mmrec_graph *graph, mmrec_tensor param) {
    uint64_t number = 0;
    for (mmrec_tensor t = 1; t < param; t++) number += mmrec_graph_tensor_info(graph, t).kind == MMREC_TENSOR_PARAM;
    return number;
}

static mmrec_status write_all(mmrec_exec *exec, const mmrec_graph *graph, uint64_t seed, double *values,
                              mmrec_error *error) {
    uint64_t next = init_stream;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        uint64_t stream = next++;
        if (info.initial.same_as) stream = init_stream + number_of(graph, info.initial.same_as);
        draw(&info.initial, seed, stream, values, count);
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
