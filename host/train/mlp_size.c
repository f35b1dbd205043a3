/* What a fused MLP costs, and which are too large. */
#include <stdio.h>

#include "mlp_impl.h"

int64_t mmrec_mlp_parameters(const mmrec_mlp_config *config) {
    mmrec_mlp_call call;
    int64_t count = 0;
    mlp_lay_out(config, false, &call);
    for (int l = 0; l < call.layers; l++) count += (call.layer[l].in + 1) * call.layer[l].out;
    return count;
}

double mmrec_mlp_flops(const mmrec_mlp_config *config, int64_t samples) {
    mmrec_mlp_call call;
    double flops = 0;
    mlp_lay_out(config, false, &call);
    for (int l = 0; l < call.layers; l++) {
        flops += (l > 0 ? 6 : 4) * (double)call.layer[l].in * (double)call.layer[l].out;
    }
    return flops * (double)samples;
}

/* "5-64-32-16-1" */
static void widths_text(const mmrec_mlp_call *call, char *text, size_t size) {
    size_t used = 0;
    for (int l = 0; l <= call->layers && used < size; l++) {
        used += (size_t)snprintf(text + used, size - used, "%s%lld", l > 0 ? "-" : "", (long long)mlp_width(call, l));
    }
}

static mmrec_status check_numbers(const mmrec_mlp_call *call, mmrec_error *error) {
    char text[160];
    mlp_places places = mlp_places_of(call);
    int64_t numbers = 3 * call->numbers + places.numbers;
    if (numbers <= MMREC_MLP_NUMBERS) return MMREC_OK;
    widths_text(call, text, sizeof text);
    MMREC_FAIL(
        error, MMREC_CONFIG,
        "an MLP %s with batches of %lld needs %lld numbers (parameters, gradients, moments, activations), at most "
        "%d stay in the cache, which is what one pass is for; use smaller widths or batches, or the graph",
        text, (long long)call->batch, (long long)numbers, MMREC_MLP_NUMBERS);
}

mmrec_status mlp_size_check(const mmrec_backend *backend, const mmrec_mlp_config *config, int64_t batch,
                            mmrec_mlp_call *call, mmrec_error *error) {
    MMREC_TRY(mmrec_model_check(MMREC_MODEL_mlp, config, error));
    if (!backend->mlp)
        MMREC_FAIL(error, MMREC_UNSUPPORTED, "backend %s has no fused MLP; use the graph", backend->name);
    if (batch < 1 || batch > MMREC_MLP_NUMBERS) {
        MMREC_FAIL(error, MMREC_CONFIG, "a batch must have 1 to %d samples, got %lld", MMREC_MLP_NUMBERS,
                   (long long)batch);
    }
    *call = (mmrec_mlp_call){.batch = batch};
    mlp_lay_out(config, !backend->host_memory, call);
    if (backend->host_memory) return check_numbers(call, error);
    return backend->mlp(call, error);
}

mmrec_status mmrec_mlp_check(const mmrec_backend *backend, const mmrec_mlp_config *config, int64_t batch,
                             mmrec_error *error) {
    mmrec_mlp_call call;
    return mlp_size_check(backend, config, batch, &call, error);
}

size_t mmrec_mlp_bytes(const mmrec_mlp_trainer *t, mmrec_arena arena) {
    const mlp_memory *all[] = {&t->parameters, &t->moments, &t->scratch, &t->batch.memory, &t->loaded.memory};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) bytes += all[i]->arena == arena ? all[i]->bytes : 0;
    return bytes;
}
