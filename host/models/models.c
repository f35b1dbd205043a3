/* The table of models, and building any of them. */
#include <stdio.h>
#include <string.h>

#include "build.h"
#include "core/text.h"
#include "mmrec/options.h"

static const mmrec_model_def *const models[] = {
#define MMREC_MODEL(name) &mmrec_model_##name,
#include "mmrec/models.def"
#undef MMREC_MODEL
};

const mmrec_model_def *mmrec_model_get(mmrec_model_kind kind) {
    return (unsigned)kind < MMREC_MODELS ? models[kind] : NULL;
}

mmrec_status mmrec_model_find(const char *name, mmrec_model_kind *out, mmrec_error *error) {
    const char *names[MMREC_MODELS];
    char text[48], list[256] = "";
    size_t used = 0;
    for (int i = 0; i < MMREC_MODELS; i++) {
        names[i] = models[i]->name;
        *out = (mmrec_model_kind)i;
        if (strcmp(name, names[i]) == 0) return MMREC_OK;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = mmrec_nearest_name(name, names, MMREC_MODELS);
    mmrec_text_printable(name, strlen(name), text, sizeof text);
    if (nearest) MMREC_FAIL(error, MMREC_CONFIG, "there is no model '%s', did you mean %s?", text, nearest);
    MMREC_FAIL(error, MMREC_CONFIG, "there is no model '%s'; the models are %s", text, list);
}

int64_t mmrec_heads_for(int64_t width, int64_t heads) {
    while (heads > 1 && width % heads != 0) heads--;
    return heads < 1 ? 1 : heads;
}

static mmrec_status check_extent(const char *name, int64_t value, int64_t high, mmrec_error *error) {
    if (value >= 1 && value <= high) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "%s is %lld; it must be from 1 to %lld", name, (long long)value, (long long)high);
}

static mmrec_status check_run(const mmrec_model_run *run, mmrec_error *error) {
    MMREC_TRY(check_extent("batch", run->batch, MMREC_SIZE_LIMIT, error));
    MMREC_TRY(check_extent("time", run->time, MMREC_SIZE_LIMIT, error));
    return check_extent("batch times time", run->batch * run->time, INT32_MAX, error);
}

mmrec_status mmrec_model_build(mmrec_model_kind kind, const void *config, const mmrec_model_run *run,
                               mmrec_graph *graph, mmrec_error *error) {
    const mmrec_model_def *def = mmrec_model_get(kind);
    if (!def) MMREC_FAIL(error, MMREC_INTERNAL, "model number %d is not in models.def", (int)kind);
    MMREC_TRY(mmrec_model_check(kind, config, error));
    MMREC_TRY(check_run(run, error));
    return def->build(config, run, graph, error);
}
