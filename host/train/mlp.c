/* The fused MLP: its memory, and parameters by the names that they have in the graph. */
#include <stdio.h>
#include <string.h>

#include "mlp_impl.h"
#include "train/optimizer_impl.h"

/* ---- the backend's memory ---- */

mmrec_status mlp_memory_get(mmrec_mlp_trainer *t, mlp_memory *memory, mmrec_arena arena, size_t bytes,
                            mmrec_error *error) {
    MMREC_TRY(t->backend->alloc(t->allocator, arena, bytes, &memory->at, error));
    memory->arena = arena;
    memory->bytes = bytes;
    return MMREC_OK;
}

void mlp_memory_free(mmrec_mlp_trainer *t, mlp_memory *memory) {
    if (memory->at) t->backend->free(t->allocator, memory->arena, memory->at, memory->bytes);
    *memory = (mlp_memory){0};
}

mmrec_status mlp_copy_in(const mmrec_mlp_trainer *t, void *to, const void *from, size_t bytes, mmrec_error *error) {
    if (t->backend->device) return t->backend->device->copy_in(to, from, bytes, error);
    memcpy(to, from, bytes);
    return MMREC_OK;
}

mmrec_status mlp_copy_out(const mmrec_mlp_trainer *t, void *to, const void *from, size_t bytes, mmrec_error *error) {
    if (t->backend->device) return t->backend->device->copy_out(to, from, bytes, error);
    memcpy(to, from, bytes);
    return MMREC_OK;
}

/* Pieces of a block, each on a cache line. */
static size_t piece(size_t *used, int64_t count, size_t size) {
    size_t at = *used;
    *used += ((size_t)count * size + MMREC_ALIGN - 1) / MMREC_ALIGN * MMREC_ALIGN;
    return at;
}

mmrec_status mlp_data_get(mmrec_mlp_trainer *t, mlp_data *data, int64_t count, bool results, mmrec_error *error) {
    size_t real = mmrec_dtype_bytes(t->backend->real), used = 0;
    int64_t steps = (count + t->call.batch - 1) / t->call.batch;
    bool classes = mlp_has_classes(t);
    size_t x = piece(&used, count * t->config.inputs, real), order = piece(&used, count, sizeof(int32_t));
    size_t target = piece(&used, count * (classes ? 1 : mlp_outputs(t)), classes ? sizeof(int32_t) : real);
    size_t record = piece(&used, steps, sizeof(mmrec_mlp_record));
    size_t y = results ? piece(&used, count * mlp_outputs(t), real) : 0;
    MMREC_TRY(mlp_memory_get(t, &data->memory, MMREC_ARENA_SCRATCH, used, error));
    char *at = data->memory.at;
    data->x = at + x;
    data->order = (int32_t *)(at + order);
    data->target = classes ? NULL : at + target;
    data->classes = classes ? (int32_t *)(at + target) : NULL;
    data->record = (mmrec_mlp_record *)(at + record);
    data->y = results ? at + y : NULL;
    data->count = count;
    return MMREC_OK;
}

void mlp_data_free(mmrec_mlp_trainer *t, mlp_data *data) {
    mlp_memory_free(t, &data->memory);
    *data = (mlp_data){0};
}

/* ---- parameters ---- */

/* A parameter of a layer, element (o, i) or (o); a bias is the last row of the weights. */
typedef struct parameter {
    int64_t out, in, at, stride;
} parameter;

static mmrec_status find_parameter(const mmrec_mlp_trainer *t, const char *name, int64_t count, parameter *out,
                                   mmrec_error *error) {
    char text[32];
    for (int i = 0; i < 2 * t->call.layers; i++) {
        const mmrec_mlp_layer *layer = &t->call.layer[i / 2];
        bool bias = i % 2;
        snprintf(text, sizeof text, "layers.%d.%s", i / 2, bias ? "bias" : "weight");
        if (strcmp(text, name) != 0) continue;
        *out = (parameter){layer->out, bias ? 1 : layer->in, layer->at, layer->stride};
        if (bias) out->at += layer->in * layer->stride;
        if (count == out->out * out->in) return MMREC_OK;
        MMREC_FAIL(error, MMREC_SHAPE, "parameter \"%s\" has %lld values, got %lld", name,
                   (long long)(out->out * out->in), (long long)count);
    }
    MMREC_FAIL(error, MMREC_CONFIG,
               "no parameter \"%s\": an MLP of %d layers has layers.<i>.weight and layers.<i>.bias, i from 0 to %d",
               name, t->call.layers, t->call.layers - 1);
}

/* All weights into the wire. */
static mmrec_status fetch(const mmrec_mlp_trainer *t, mmrec_error *error) {
    if (t->backend->synchronize) MMREC_TRY(t->backend->synchronize(error));
    return mlp_copy_out(t, t->wire, t->parameters.at, t->parameters.bytes, error);
}

mmrec_status mmrec_mlp_read(const mmrec_mlp_trainer *t, const char *name, double *values, int64_t count,
                            mmrec_error *error) {
    parameter p;
    MMREC_TRY(find_parameter(t, name, count, &p, error));
    MMREC_TRY(fetch(t, error));
    for (int64_t i = 0; i < count; i++) {
        int64_t from = p.at + i % p.in * p.stride + i / p.in;
        values[i] = mmrec_element_get(t->backend->real, t->wire, from);
    }
    return MMREC_OK;
}

mmrec_status mmrec_mlp_write(mmrec_mlp_trainer *t, const char *name, const double *values, int64_t count,
                             mmrec_error *error) {
    parameter p;
    MMREC_TRY(find_parameter(t, name, count, &p, error));
    MMREC_TRY(fetch(t, error));
    for (int64_t i = 0; i < count; i++) {
        int64_t to = p.at + i % p.in * p.stride + i / p.in;
        mmrec_element_set(t->backend->real, t->wire, to, values[i]);
    }
    return mlp_copy_in(t, t->parameters.at, t->wire, t->parameters.bytes, error);
}

/* ---- initial values: those of the graph, by the graph ---- */

typedef struct model {
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
} model;

static mmrec_status draw(mmrec_mlp_trainer *t, model *m, uint64_t seed, mmrec_error *error) {
    const mmrec_backend *ref = NULL;
    mmrec_model_run run = {.batch = 1, .time = 1};
    mmrec_exec_options options = {0};
    mmrec_plan_options plan = {0};
    MMREC_TRY(mmrec_backend_find("ref", &ref, error));
    MMREC_TRY(mmrec_graph_create(t->allocator, ref->real, 1, &m->graph, error));
    MMREC_TRY(mmrec_model_build(MMREC_MODEL_mlp, &t->config, &run, m->graph, error));
    MMREC_TRY(mmrec_plan_create(t->allocator, m->graph, plan, &m->plan, error));
    MMREC_TRY(mmrec_exec_create(t->allocator, ref, m->graph, m->plan, options, &m->exec, error));
    return mmrec_model_init(m->exec, m->graph, t->allocator, seed, error);
}

static mmrec_status take(mmrec_mlp_trainer *t, const model *m, mmrec_error *error) {
    for (mmrec_tensor tensor = 1; tensor <= mmrec_graph_tensor_count(m->graph); tensor++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(m->graph, tensor);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        mmrec_view view = mmrec_exec_view(m->exec, tensor);
        MMREC_TRY(mmrec_mlp_write(t, info.name, view.data, mmrec_shape_elements(&info.shape), error));
    }
    return MMREC_OK;
}

static mmrec_status initialize(mmrec_mlp_trainer *t, uint64_t seed, mmrec_error *error) {
    model m = {0};
    mmrec_status status = draw(t, &m, seed, error);
    if (status == MMREC_OK) status = take(t, &m, error);
    mmrec_exec_destroy(&m.exec);
    mmrec_plan_destroy(&m.plan);
    mmrec_graph_destroy(&m.graph);
    return status;
}

/* ---- life ---- */

static size_t largest(size_t a, size_t b) { return a > b ? a : b; }

/* The wire holds all weights, or what is copied at once of a batch. */
static mmrec_status make_wire(mmrec_mlp_trainer *t, mmrec_error *error) {
    size_t real = mmrec_dtype_bytes(t->backend->real), batch = (size_t)t->call.batch;
    size_t widest = largest((size_t)t->config.inputs, (size_t)t->config.outputs);
    size_t bytes = largest(t->parameters.bytes, batch * widest * real);
    MMREC_TRY(mmrec_alloc_zero(t->allocator, 1, bytes, MMREC_ALLOC_OPTIMIZER, &t->wire, error));
    t->wire_bytes = bytes;
    return MMREC_OK;
}

static mmrec_status make_moments(mmrec_mlp_trainer *t, const mmrec_optimizer_config *optimizer, mmrec_error *error) {
    size_t bytes = t->parameters.bytes, state = (sizeof(mmrec_adamw_state) + 63) / 64 * 64;
    mmrec_adamw_state first = optimizer_begin(optimizer);
    MMREC_TRY(mlp_memory_get(t, &t->moments, MMREC_ARENA_OPTIMIZER, 2 * bytes + state, error));
    t->call.w = t->parameters.at;
    t->call.m = t->moments.at;
    t->call.v = (char *)t->moments.at + bytes;
    t->call.state = (mmrec_adamw_state *)((char *)t->moments.at + 2 * bytes);
    return mlp_copy_in(t, t->call.state, &first, sizeof first, error);
}

static mmrec_status make(mmrec_mlp_trainer *t, const mmrec_optimizer_config *optimizer, uint64_t seed,
                         mmrec_error *error) {
    size_t real = mmrec_dtype_bytes(t->backend->real);
    size_t bytes = ((size_t)t->call.numbers * real + MMREC_ALIGN - 1) / MMREC_ALIGN * MMREC_ALIGN;
    MMREC_TRY(mlp_memory_get(t, &t->parameters, MMREC_ARENA_PARAMS, bytes, error));
    MMREC_TRY(make_moments(t, optimizer, error));
    if (t->backend->host_memory) {
        mlp_places places = mlp_places_of(&t->call);
        MMREC_TRY(mlp_memory_get(t, &t->scratch, MMREC_ARENA_SCRATCH, (size_t)places.numbers * real, error));
        t->call.scratch = t->scratch.at;
    }
    MMREC_TRY(mlp_data_get(t, &t->batch, t->call.batch, true, error));
    MMREC_TRY(make_wire(t, error));
    return initialize(t, seed, error);
}

mmrec_status mmrec_mlp_create(mmrec_allocator *allocator, const mmrec_backend *backend, const mmrec_mlp_config *config,
                              const mmrec_optimizer_config *optimizer, int64_t batch, uint64_t seed,
                              mmrec_mlp_trainer **out, mmrec_error *error) {
    mmrec_mlp_call call;
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(mlp_size_check(backend, config, batch, &call, error));
    MMREC_TRY(optimizer_check(optimizer, error));
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof **out, MMREC_ALLOC_OPTIMIZER, &memory, error));
    mmrec_mlp_trainer *t = memory;
    *t = (mmrec_mlp_trainer){.allocator = allocator, .backend = backend, .config = *config, .call = call};
    mmrec_status status = make(t, optimizer, seed, error);
    if (status != MMREC_OK) {
        mmrec_mlp_destroy(&t);
        return status;
    }
    *out = t;
    return MMREC_OK;
}

void mmrec_mlp_destroy(mmrec_mlp_trainer **trainer) {
    mmrec_mlp_trainer *t = *trainer;
    if (!t) return;
    mlp_data_free(t, &t->loaded);
    mlp_data_free(t, &t->batch);
    mlp_memory_free(t, &t->scratch);
    mlp_memory_free(t, &t->moments);
    mlp_memory_free(t, &t->parameters);
    mmrec_alloc(t->allocator, t->records, t->records_bytes, 0, MMREC_ALLOC_OPTIMIZER);
    mmrec_alloc(t->allocator, t->wire, t->wire_bytes, 0, MMREC_ALLOC_OPTIMIZER);
    mmrec_alloc(t->allocator, t, sizeof *t, 0, MMREC_ALLOC_OPTIMIZER);
    *trainer = NULL;
}
