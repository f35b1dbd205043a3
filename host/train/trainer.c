/* Creation of a trainer, and what all its files share. */
#include <math.h>
#include <string.h>

#include "mmrec/rng.h"
#include "trainer_impl.h"

/* Streams of the initial values and of dropout lie below 2^32 and 2 * 2^32. */
static const uint64_t seed_stream = (uint64_t)1 << 48;

mmrec_train_config mmrec_train_config_default(void) {
    mmrec_train_config config = {.model = mmrec_model_config_default(256, 128, 2, 4),
                                 .optimizer = mmrec_optimizer_config_default(),
                                 .schedule = {.rate = 1e-3, .final_share = 0.1, .warmup_steps = 100, .steps = 1000},
                                 .batch = 12,
                                 .time = 64,
                                 .accumulate = 1,
                                 .hem = true,
                                 .graphs = true,
                                 .threads = 1,
                                 .seed = 1,
                                 .spike_score = 6};
    config.model.slots = 64;
    config.model.level = 1;
    return config;
}

/* ---- shared ---- */

int64_t train_tokens(const mmrec_trainer *t) { return t->config.batch * t->config.time; }

mmrec_status train_alloc(mmrec_trainer *t, size_t count, size_t size, void **out, mmrec_error *error) {
    return mmrec_alloc_zero(t->allocator, count, size, MMREC_ALLOC_OTHER, out, error);
}

void train_release(mmrec_trainer *t, void *memory, size_t bytes) {
    if (memory) mmrec_alloc(t->allocator, memory, bytes, 0, MMREC_ALLOC_OTHER);
}

int64_t train_piece_room(const mmrec_trainer *t) {
    return t->config.model.vocab > TRAIN_PIECE ? t->config.model.vocab : TRAIN_PIECE;
}

/* Targets and marks lie behind the ids. */
mmrec_status train_need_batch(mmrec_trainer *t, mmrec_error *error) {
    void *memory = NULL;
    size_t tokens = (size_t)train_tokens(t);
    if (t->batch.ids) return MMREC_OK;
    MMREC_TRY(train_alloc(t, tokens, 2 * sizeof(int32_t) + 1, &memory, error));
    t->batch.ids = memory;
    t->batch.targets = t->batch.ids + tokens;
    t->batch.asked = (uint8_t *)(t->batch.targets + tokens);
    return MMREC_OK;
}

uint64_t train_seed(const mmrec_trainer *t, int64_t micro_batch) {
    mmrec_rng_block block = mmrec_rng_philox(t->config.seed, seed_stream, (uint64_t)micro_batch);
    return (uint64_t)block.word[1] << 32 | block.word[0];
}

mmrec_status train_loader(mmrec_trainer *t, mmrec_error *error) {
    mmrec_loader_destroy(&t->loader);
    return mmrec_loader_create(t->allocator, t->data, t->totals.micro_batches, &t->loader, error);
}

mmrec_view train_sum_view(const mmrec_trainer *t, const train_param *param) {
    mmrec_view gradient = mmrec_exec_view(t->net.exec, param->gradient);
    const char *base = mmrec_exec_gradients(t->net.exec).data;
    gradient.data = (char *)t->sum + ((const char *)gradient.data - base);
    return gradient;
}

/* ---- configuration ---- */

static mmrec_status check_schedule(const mmrec_schedule *s, mmrec_error *error) {
    if (!(s->rate >= 0 && isfinite(s->rate))) {
        MMREC_FAIL(error, MMREC_CONFIG, "the learning rate is %g; it must be a number of at least 0", s->rate);
    }
    if (!(s->final_share >= 0 && s->final_share <= 1)) {
        MMREC_FAIL(error, MMREC_CONFIG, "the last share of the learning rate is %g; it must be from 0 to 1",
                   s->final_share);
    }
    if (s->steps < 1 || s->warmup_steps < 0) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "the schedule has %lld steps, %lld of them warm-up; there must be at least 1, and 0 of warm-up",
                   (long long)s->steps, (long long)s->warmup_steps);
    }
    return MMREC_OK;
}

static mmrec_status check_data(const mmrec_data *data, const mmrec_train_config *c, mmrec_error *error) {
    const mmrec_data_request *request = mmrec_data_request_of(data);
    if (request->batch != c->batch || request->time != c->time || request->stream != c->stream) {
        MMREC_FAIL(
            error, MMREC_CONFIG,
            "the data gives %s of batch %lld and time %lld, the trainer wants %s of batch %lld and time %lld: they "
            "must be the same",
            request->stream ? "streams" : "windows", (long long)request->batch, (long long)request->time,
            c->stream ? "streams" : "windows", (long long)c->batch, (long long)c->time);
    }
    if (mmrec_data_info_of(data)->vocab > c->model.vocab) {
        MMREC_FAIL(error, MMREC_CONFIG, "the data has ids up to %lld, the model a vocabulary of %lld",
                   (long long)mmrec_data_info_of(data)->vocab - 1, (long long)c->model.vocab);
    }
    return MMREC_OK;
}

static mmrec_status check_config(const mmrec_data *data, const mmrec_train_config *c, mmrec_error *error) {
    MMREC_TRY(mmrec_model_config_check(&c->model, error));
    MMREC_TRY(check_schedule(&c->schedule, error));
    MMREC_TRY(check_data(data, c, error));
    if (c->accumulate < 1) {
        MMREC_FAIL(error, MMREC_CONFIG, "a step is made of %lld micro-batches; it must be at least 1",
                   (long long)c->accumulate);
    }
    if (!(c->spike_score > 0)) {
        MMREC_FAIL(error, MMREC_CONFIG, "the score of a spike is %g; it must be above 0", c->spike_score);
    }
    return MMREC_OK;
}

/* ---- creation ---- */

static mmrec_status list_params(mmrec_trainer *t, mmrec_error *error) {
    const mmrec_graph *graph = t->net.graph;
    void *memory = NULL;
    int64_t count = 0;
    for (mmrec_tensor i = 1; i <= mmrec_graph_tensor_count(graph); i++) {
        count += mmrec_graph_tensor_info(graph, i).kind == MMREC_TENSOR_PARAM;
    }
    MMREC_TRY(train_alloc(t, (size_t)count, sizeof(train_param), &memory, error));
    t->params = memory;
    t->param_count = count;
    train_param *p = t->params;
    for (mmrec_tensor i = 1; i <= mmrec_graph_tensor_count(graph); i++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(graph, i);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        *p = (train_param){.name = info.name, .tensor = i, .gradient = mmrec_graph_gradient(graph, i)};
        p->shape = info.shape;
        p->count = mmrec_shape_elements(&info.shape);
        p++;
    }
    return MMREC_OK;
}

static mmrec_status create_sums(mmrec_trainer *t, mmrec_error *error) {
    mmrec_view gradients = mmrec_exec_gradients(t->net.exec);
    size_t bytes = (size_t)mmrec_shape_elements(&gradients.shape) * mmrec_dtype_bytes(gradients.dtype);
    if (t->config.accumulate == 1) return MMREC_OK;
    MMREC_TRY_WHILE(t->backend->alloc(t->allocator, MMREC_ARENA_GRADS, bytes, &t->sum, error), error,
                    "allocating %zu bytes for the sum of gradients", bytes);
    t->sum_bytes = bytes;
    return MMREC_OK;
}

static mmrec_status create_carries(mmrec_trainer *t, mmrec_error *error) {
    MMREC_TRY(train_look_create(t, error));
    if (!t->config.stream) return MMREC_OK;
    MMREC_TRY(train_carry_create(t, &t->carry[TRAIN_BEFORE], error));
    return t->config.accumulate > 1 ? train_carry_create(t, &t->carry[TRAIN_WITHIN], error) : MMREC_OK;
}

static mmrec_status prepare(mmrec_trainer *t, mmrec_error *error) {
    train_use use = {.gradient = true, .carried = t->config.stream, .growth = true, .train = true};
    void *memory = NULL;
    MMREC_TRY(mmrec_backend_set_threads(t->config.threads, error));
    MMREC_TRY_WHILE(train_net_create(t, &use, &t->net, error), error, "building the model to be trained");
    MMREC_TRY(mmrec_model_init(t->net.exec, t->net.graph, t->allocator, t->config.seed, error));
    MMREC_TRY(mmrec_optimizer_create(t->allocator, t->net.exec, &t->config.optimizer, &t->optimizer, error));
    MMREC_TRY(list_params(t, error));
    MMREC_TRY(create_sums(t, error));
    MMREC_TRY(create_carries(t, error));
    MMREC_TRY(train_alloc(t, (size_t)train_piece_room(t), sizeof(double), &memory, error));
    t->piece = memory;
    return train_loader(t, error);
}

mmrec_status mmrec_trainer_create(mmrec_allocator *allocator, const mmrec_backend *backend, const mmrec_data *data,
                                  const mmrec_train_config *config, mmrec_trainer **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(check_config(data, config, error));
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_trainer), MMREC_ALLOC_OTHER, &memory, error));
    mmrec_trainer *t = memory;
    t->allocator = allocator;
    t->backend = backend;
    t->data = data;
    t->config = *config;
    t->flat = (flat){backend, mmrec_backend_threads(backend, config->threads)};
    mmrec_status status = prepare(t, error);
    if (status != MMREC_OK) {
        mmrec_trainer_destroy(&t);
        return status;
    }
    *out = t;
    return MMREC_OK;
}

void mmrec_trainer_destroy(mmrec_trainer **trainer) {
    mmrec_trainer *t = *trainer;
    if (!t) return;
    mmrec_loader_destroy(&t->loader);
    train_net_destroy(t, &t->evaluation);
    for (int i = 0; i < 2; i++) train_net_destroy(t, &t->part[i]);
    train_carry_destroy(t, &t->evaluation_carry);
    train_carry_destroy(t, &t->look);
    for (int i = 0; i < TRAIN_MOMENTS; i++) train_carry_destroy(t, &t->carry[i]);
    if (t->sum) t->backend->free(t->allocator, MMREC_ARENA_GRADS, t->sum, t->sum_bytes);
    train_release(t, t->piece, (size_t)train_piece_room(t) * sizeof(double));
    train_release(t, t->batch.ids, (size_t)train_tokens(t) * (2 * sizeof(int32_t) + 1));
    train_release(t, t->params, (size_t)t->param_count * sizeof(train_param));
    mmrec_optimizer_destroy(&t->optimizer);
    train_net_destroy(t, &t->net);
    mmrec_alloc(t->allocator, t, sizeof *t, 0, MMREC_ALLOC_OTHER);
    *trainer = NULL;
}

const mmrec_train_config *mmrec_trainer_config(const mmrec_trainer *t) { return &t->config; }
mmrec_train_totals mmrec_trainer_totals(const mmrec_trainer *t) { return t->totals; }
mmrec_exec *mmrec_trainer_exec(mmrec_trainer *t) { return t->net.exec; }

void mmrec_trainer_waits(const mmrec_trainer *t, int64_t *count, uint64_t *ns) {
    mmrec_loader_waits(t->loader, count, ns);
}

void mmrec_trainer_memory(const mmrec_trainer *t, size_t bytes[MMREC_ARENAS]) {
    for (int a = 0; a < MMREC_ARENAS; a++) bytes[a] = mmrec_plan_arena_bytes(t->net.plan, (mmrec_arena)a);
}
