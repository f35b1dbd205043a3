/* Streaming: a sequence in chunks of any length through one set of parameters.
 *
 * A graph has fixed sizes, so each chunk length gets its own graph, plan and exec, built on first use and kept: the few
 * lengths a caller really uses (a full chunk, the shorter end, single steps) are built once. The first chunk of a
 * sequence is another graph again, since it reads the trained memory instead of carried memory. */
#include <stdio.h>
#include <string.h>

#include "mmrec/model.h"

/* First chunk and later chunks of one length, single steps and a shorter end: four; doubled for callers who alternate.
 */
enum { CACHE = 8 };

enum { STATE_H, STATE_K, STATE_V, STATES };
static const char *const state_names[STATES] = {"h", "mem_k", "mem_v"};

typedef struct runner {
    int64_t time; /* 0: unused */
    bool carried;
    uint64_t last_use;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
} runner;

struct mmrec_stream {
    mmrec_allocator *allocator;
    const mmrec_backend *backend;
    mmrec_exec *params_from;
    mmrec_model_config config;
    int64_t batch;
    bool hem, started;
    int threads;
    runner cache[CACHE];
    uint64_t uses;
    /* Carried state of all layers, (h, mem_k, mem_v) per layer; `next` is filled by a chunk and becomes `state` only
     * when the whole chunk succeeded, so a failed call can be repeated. */
    double *state, *next;
};

static int64_t state_count(const mmrec_stream *s, int which) {
    int64_t rows = which == STATE_H ? s->batch : s->batch * s->config.slots;
    return rows * s->config.dim;
}

static int64_t layer_count(const mmrec_stream *s) {
    return state_count(s, STATE_H) + state_count(s, STATE_K) + state_count(s, STATE_V);
}

/* Where a state of a layer starts in `state` and `next`. */
static int64_t state_offset(const mmrec_stream *s, int64_t layer, int which) {
    int64_t offset = layer * layer_count(s);
    for (int i = 0; i < which; i++) offset += state_count(s, i);
    return offset;
}

static size_t state_bytes(const mmrec_stream *s) {
    return (size_t)(s->config.layers * layer_count(s)) * sizeof(double);
}

static void runner_clear(runner *r) {
    mmrec_exec_destroy(&r->exec);
    mmrec_plan_destroy(&r->plan);
    mmrec_graph_destroy(&r->graph);
    memset(r, 0, sizeof *r);
}

static mmrec_status runner_build(const mmrec_stream *s, runner *r, int64_t time, mmrec_error *error) {
    mmrec_model_run run = {.batch = s->batch, .time = time, .hem = s->hem, .carried = s->started};
    mmrec_plan_options no_options = {0};
    mmrec_exec_options options = {.params_from = s->params_from};
    MMREC_TRY(mmrec_graph_create(s->allocator, mmrec_graph_dtype(mmrec_exec_graph(s->params_from)),
                                 mmrec_backend_threads(s->backend, s->threads), &r->graph, error));
    MMREC_TRY(mmrec_model_build(MMREC_MODEL_mmrec, &s->config, &run, r->graph, error));
    MMREC_TRY(mmrec_plan_create(s->allocator, r->graph, no_options, &r->plan, error));
    MMREC_TRY(mmrec_exec_create(s->allocator, s->backend, r->graph, r->plan, options, &r->exec, error));
    r->time = time;
    r->carried = s->started;
    return MMREC_OK;
}

/* The runner for a chunk of this length, built in the place used longest ago when there is none. */
static mmrec_status runner_find(mmrec_stream *s, int64_t time, runner **out, mmrec_error *error) {
    runner *oldest = &s->cache[0];
    *out = NULL;
    for (int i = 0; i < CACHE && !*out; i++) {
        runner *r = &s->cache[i];
        if (r->exec && r->time == time && r->carried == s->started) *out = r;
        if (r->last_use < oldest->last_use) oldest = r;
    }
    if (!*out) {
        runner_clear(oldest);
        mmrec_status status = runner_build(s, oldest, time, error);
        if (status != MMREC_OK) {
            runner_clear(oldest);
            return status;
        }
        *out = oldest;
    }
    (*out)->last_use = ++s->uses;
    return MMREC_OK;
}

/* The named state tensor of a layer: "state.0.h" or "next.0.h". */
static mmrec_tensor state_tensor(const runner *r, const char *what, int64_t layer, int which) {
    char name[64];
    snprintf(name, sizeof name, "%s.%lld.%s", what, (long long)layer, state_names[which]);
    return mmrec_graph_find(r->graph, name);
}

static mmrec_status write_state(const mmrec_stream *s, const runner *r, mmrec_error *error) {
    int states = s->started ? STATES : STATE_H + 1; /* a first chunk has no memory inputs; its h is zero */
    for (int64_t layer = 0; layer < s->config.layers; layer++) {
        for (int i = 0; i < states; i++) {
            MMREC_TRY(mmrec_exec_write(r->exec, state_tensor(r, "state", layer, i),
                                       s->state + state_offset(s, layer, i), state_count(s, i), error));
        }
    }
    return MMREC_OK;
}

static mmrec_status read_state(const mmrec_stream *s, const runner *r, mmrec_error *error) {
    for (int64_t layer = 0; layer < s->config.layers; layer++) {
        for (int i = 0; i < STATES; i++) {
            MMREC_TRY(mmrec_exec_read(r->exec, state_tensor(r, "next", layer, i), s->next + state_offset(s, layer, i),
                                      state_count(s, i), error));
        }
    }
    return MMREC_OK;
}

/* Counted in double first: the sizes are each in range, their product need not be. */
static mmrec_status stream_init(mmrec_stream *s, mmrec_error *error) {
    const mmrec_model_config *c = &s->config;
    double bytes = sizeof(double) * (double)c->layers * (double)s->batch * (double)c->dim * (1 + 2 * (double)c->slots);
    void *memory = NULL;
    if (bytes > 0x1p62) {
        MMREC_FAIL(error, MMREC_SHAPE, "the carried state of %lld sequences would take %.3g bytes", (long long)s->batch,
                   bytes);
    }
    MMREC_TRY(mmrec_alloc_zero(s->allocator, state_bytes(s), 1, MMREC_ALLOC_EXEC, &memory, error));
    s->state = memory;
    MMREC_TRY(mmrec_alloc_zero(s->allocator, state_bytes(s), 1, MMREC_ALLOC_EXEC, &memory, error));
    s->next = memory;
    return MMREC_OK;
}

mmrec_status mmrec_stream_create(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_exec *params_from,
                                 const mmrec_model_config *config, int64_t batch, bool hem, int threads,
                                 mmrec_stream **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(mmrec_model_config_check(config, error));
    if (batch < 1 || batch > INT32_MAX) {
        MMREC_FAIL(error, MMREC_CONFIG, "batch of a stream is %lld; it must be at least 1 and fit 31 bits",
                   (long long)batch);
    }
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_stream), MMREC_ALLOC_EXEC, &memory, error));
    mmrec_stream *s = memory;
    s->allocator = allocator;
    s->backend = backend;
    s->params_from = params_from;
    s->config = *config;
    s->config.dropout = 0; /* streaming is inference */
    s->batch = batch;
    s->hem = hem;
    s->threads = threads;
    mmrec_status status = stream_init(s, error);
    if (status != MMREC_OK) {
        mmrec_stream_destroy(&s);
        return status;
    }
    *out = s;
    return MMREC_OK;
}

void mmrec_stream_destroy(mmrec_stream **stream) {
    mmrec_stream *s = *stream;
    if (!s) return;
    for (int i = 0; i < CACHE; i++) runner_clear(&s->cache[i]);
    if (s->state) mmrec_alloc(s->allocator, s->state, state_bytes(s), 0, MMREC_ALLOC_EXEC);
    if (s->next) mmrec_alloc(s->allocator, s->next, state_bytes(s), 0, MMREC_ALLOC_EXEC);
    mmrec_alloc(s->allocator, s, sizeof *s, 0, MMREC_ALLOC_EXEC);
    *stream = NULL;
}

static mmrec_status run_chunk(mmrec_stream *s, runner *r, const int32_t *ids, double *logits, mmrec_error *error) {
    int64_t tokens = s->batch * r->time;
    MMREC_TRY(mmrec_exec_write_ids(r->exec, mmrec_graph_find(r->graph, "ids"), ids, tokens, error));
    MMREC_TRY(write_state(s, r, error));
    MMREC_TRY(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, error));
    if (logits) {
        mmrec_tensor tensor = mmrec_graph_find(r->graph, "logits");
        MMREC_TRY(mmrec_exec_read(r->exec, tensor, logits, tokens * s->config.vocab, error));
    }
    return read_state(s, r, error);
}

mmrec_status mmrec_stream_feed(mmrec_stream *s, const int32_t *ids, int64_t time, double *logits, mmrec_error *error) {
    runner *r = NULL;
    MMREC_TRY_WHILE(runner_find(s, time, &r, error), error, "preparing a chunk of %lld steps", (long long)time);
    MMREC_TRY_WHILE(run_chunk(s, r, ids, logits, error), error, "streaming a chunk of %lld steps", (long long)time);
    double *old = s->state;
    s->state = s->next;
    s->next = old;
    s->started = true;
    return MMREC_OK;
}

mmrec_status mmrec_stream_state(const mmrec_stream *s, int64_t layer, double *h, double *mem_k, double *mem_v,
                                mmrec_error *error) {
    double *to[STATES] = {h, mem_k, mem_v};
    if (!s->started) MMREC_FAIL(error, MMREC_CONFIG, "a stream has no carried state before its first chunk");
    if (layer < 0 || layer >= s->config.layers) {
        MMREC_FAIL(error, MMREC_CONFIG, "layer %lld of a stream; the model has layers 0 to %lld", (long long)layer,
                   (long long)s->config.layers - 1);
    }
    for (int i = 0; i < STATES; i++) {
        if (to[i]) memcpy(to[i], s->state + state_offset(s, layer, i), (size_t)state_count(s, i) * sizeof(double));
    }
    return MMREC_OK;
}
