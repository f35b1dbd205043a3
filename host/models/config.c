/* Configuration of models mmrec and block: the usual sizes, the fields, and what is refused in words. */
#include <math.h>

#include "build.h"

static const int64_t level_limit = 14; /* 4^14 = MMREC_SIZE_LIMIT */

static const char *const uboo_names[] = {"off", "planning", "deep"};

const char *mmrec_uboo_name(mmrec_uboo uboo) {
    return (unsigned)uboo < sizeof uboo_names / sizeof *uboo_names ? uboo_names[uboo] : "?";
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

#define WHOLE(member, standard, low, high, help) MMREC_WHOLE(mmrec_model_config, member, standard, low, high, help)
#define REAL(member, standard, low, high, help) MMREC_REAL(mmrec_model_config, member, standard, low, high, help)
static const mmrec_model_field fields[] = {
    WHOLE(vocab, "256", 1, MMREC_SIZE_LIMIT, "vocabulary V"),
    WHOLE(dim, "128", 1, MMREC_SIZE_LIMIT, "width D"),
    WHOLE(layers, "2", 1, MMREC_LAYERS_MAX, "blocks L"),
    WHOLE(heads, "4", 1, MMREC_SIZE_LIMIT, "attention heads H, a divisor of D"),
    WHOLE(ffn, "512", 1, MMREC_SIZE_LIMIT, "feed-forward width F"),
    WHOLE(inner, "32", 1, MMREC_SIZE_LIMIT, "inner width of the two decay networks"),
    WHOLE(slots, "64", 1, MMREC_SIZE_LIMIT, "memory slots S"),
    WHOLE(level, "1", 0, level_limit, "slots are pooled 4 to 1 this many times"),
    WHOLE(pe, "0", 0, MMREC_SIZE_LIMIT, "positional width P; 0: no positional path"),
    WHOLE(dpg, "0", 0, MMREC_SIZE_LIMIT, "rank of the low-rank decay; 0: two networks"),
    REAL(memory_decay, "0.99", 0, INFINITY, "share of the memory that an update keeps"),
    MMREC_WORD(mmrec_model_config, uboo, "off", "off|planning|deep", "auxiliary loss"),
    REAL(uboo_weight, "0.1", 0, INFINITY, "weight of the planning loss"),
    MMREC_LATER_REAL(mmrec_model_config, dropout, "0", 0, 1, "probability of dropout"),
    {0},
};
#undef WHOLE
#undef REAL

static void scale(void *config, int64_t width) {
    mmrec_model_config *c = config;
    mmrec_model_config usual = mmrec_model_config_default(c->vocab, width, c->layers, mmrec_heads_for(width, c->heads));
    c->dim = width;
    c->heads = usual.heads;
    c->ffn = usual.ffn;
    c->inner = usual.inner;
}

/* What the ranges of the fields leave. */
static mmrec_status check(const void *config, mmrec_error *error) {
    const mmrec_model_config *c = config;
    if (c->memory_decay > 1) {
        MMREC_FAIL(error, MMREC_CONFIG, "memory_decay is %g; it must be from 0 (replace) to 1 (never change)",
                   c->memory_decay);
    }
    if (c->dim % c->heads != 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "heads (%lld) must divide dim (%lld)", (long long)c->heads, (long long)c->dim);
    }
    int64_t group = (int64_t)1 << (2 * c->level);
    if (c->slots % group == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "4^level (%lld) must divide slots (%lld): slots are pooled 4 to 1 %lld time%s",
               (long long)group, (long long)c->slots, (long long)c->level, c->level == 1 ? "" : "s");
}

mmrec_status mmrec_model_config_check(const mmrec_model_config *config, mmrec_error *error) {
    return mmrec_model_check(MMREC_MODEL_mmrec, config, error);
}

const mmrec_model_def mmrec_model_mmrec = {
    .name = "mmrec",
    .title = "MM-Rec",
    .source = "the published MM-Rec language model",
    .fields = fields,
    .config_bytes = sizeof(mmrec_model_config),
    .width = "dim",
    .scale = scale,
    .check = check,
    .build = mmrec_build,
};

const mmrec_model_def mmrec_model_block = {
    .name = "block",
    .title = "MM-Rec block",
    .source = "the published MM-Rec block",
    .fields = fields,
    .config_bytes = sizeof(mmrec_model_config),
    .width = "dim",
    .scale = scale,
    .check = check,
    .build = mmrec_block_build,
};
