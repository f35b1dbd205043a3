/* Model configuration: the usual sizes, and every refusal in words. */
#include <math.h>
#include <string.h>

#include "build.h"
#include "core/text.h"

/* Largest size of one axis: 8 times it is still an int of CBLAS, and the product of two stays far below 2^62. */
static const int64_t size_limit = (int64_t)1 << 28;
static const int64_t level_limit = 14; /* 4^14 = size_limit */

static const char *const uboo_names[] = {"off", "planning", "deep"};

const char *mmrec_uboo_name(mmrec_uboo uboo) {
    return (unsigned)uboo < sizeof uboo_names / sizeof *uboo_names ? uboo_names[uboo] : "?";
}

mmrec_status mmrec_uboo_find(const char *name, mmrec_uboo *out, mmrec_error *error) {
    for (unsigned i = 0; i < sizeof uboo_names / sizeof *uboo_names; i++) {
        if (strcmp(name, uboo_names[i]) != 0) continue;
        *out = (mmrec_uboo)i;
        return MMREC_OK;
    }
    char text[48];
    MMREC_FAIL(error, MMREC_CONFIG, "uboo is '%s'; it must be off, planning or deep",
               mmrec_text_printable(name, strlen(name), text, sizeof text));
}

mmrec_model_config mmrec_model_config_default(int64_t vocab, int64_t dim, int64_t layers, int64_t heads) {
    mmrec_model_config c = {.vocab = vocab, .dim = dim, .layers = layers, .heads = heads};
    c.ffn = 4 * dim;
    c.inner = dim >= 4 ? dim / 4 : 1;
    c.slots = 1024;
    c.level = 2;
    c.memory_decay = 0.99;
    c.uboo_weight = 0.1;
    return c;
}

/* low <= value <= high, or CONFIG naming it. */
static mmrec_status check_size(const char *name, int64_t value, int64_t low, int64_t high, mmrec_error *error) {
    if (value >= low && value <= high) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "%s is %lld; it must be from %lld to %lld", name, (long long)value, (long long)low,
               (long long)high);
}

static mmrec_status check_sizes(const mmrec_model_config *c, mmrec_error *error) {
    const struct {
        const char *name;
        int64_t value, low, high;
    } size[] = {
        {"vocab", c->vocab, 1, size_limit},
        {"dim", c->dim, 1, size_limit},
        {"layers", c->layers, 1, MMREC_LAYERS_MAX},
        {"heads", c->heads, 1, size_limit},
        {"ffn", c->ffn, 1, size_limit},
        {"inner", c->inner, 1, size_limit},
        {"slots", c->slots, 1, size_limit},
        {"level", c->level, 0, level_limit},
        {"pe", c->pe, 0, size_limit},
        {"dpg", c->dpg, 0, size_limit},
    };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        MMREC_TRY(check_size(size[i].name, size[i].value, size[i].low, size[i].high, error));
    }
    return MMREC_OK;
}

static mmrec_status check_reals(const mmrec_model_config *c, mmrec_error *error) {
    if (!(c->memory_decay >= 0 && c->memory_decay <= 1)) {
        MMREC_FAIL(error, MMREC_CONFIG, "memory_decay is %g; it must be from 0 (replace) to 1 (never change)",
                   c->memory_decay);
    }
    if (!(c->uboo_weight >= 0 && isfinite(c->uboo_weight))) {
        MMREC_FAIL(error, MMREC_CONFIG, "uboo_weight is %g; it must be a number of at least 0", c->uboo_weight);
    }
    if (!(c->dropout >= 0 && c->dropout < 1)) {
        MMREC_FAIL(error, MMREC_CONFIG, "dropout is %g; it must be at least 0 and below 1", c->dropout);
    }
    return MMREC_OK;
}

mmrec_status mmrec_model_config_check(const mmrec_model_config *c, mmrec_error *error) {
    MMREC_TRY(check_sizes(c, error));
    MMREC_TRY(check_reals(c, error));
    if ((unsigned)c->uboo > MMREC_UBOO_DEEP) {
        MMREC_FAIL(error, MMREC_CONFIG, "uboo is %d; it must be off (0), planning (1) or deep (2)", (int)c->uboo);
    }
    if (c->dim % c->heads != 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "heads (%lld) must divide dim (%lld)", (long long)c->heads, (long long)c->dim);
    }
    int64_t group = (int64_t)1 << (2 * c->level);
    if (c->slots % group != 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "4^level (%lld) must divide slots (%lld): slots are pooled 4 to 1 %lld time%s",
                   (long long)group, (long long)c->slots, (long long)c->level, c->level == 1 ? "" : "s");
    }
    return MMREC_OK;
}

static mmrec_status check_run(const mmrec_model_run *run, mmrec_error *error) {
    MMREC_TRY(check_size("batch", run->batch, 1, size_limit, error));
    MMREC_TRY(check_size("time", run->time, 1, size_limit, error));
    return check_size("batch times time", run->batch * run->time, 1, INT32_MAX, error);
}

mmrec_status mmrec_model_build(mmrec_model_kind kind, const mmrec_model_config *config, const mmrec_model_run *run,
                               mmrec_graph *graph, mmrec_error *error) {
    MMREC_TRY(mmrec_model_config_check(config, error));
    MMREC_TRY(check_run(run, error));
    switch (kind) {
#define MMREC_MODEL(name)                                                                                              \
    case MMREC_MODEL_##name:                                                                                           \
        return mmrec_model_build_##name(config, run, graph, error);
#include "mmrec/models.def"
#undef MMREC_MODEL
    case MMREC_MODELS:
        break;
    }
    MMREC_FAIL(error, MMREC_INTERNAL, "model number %d is not in models.def", (int)kind);
}
