/* --against: what the recurrence is sampled in alternation with. */
#include <stdio.h>
#include <string.h>

#include "bench_op_impl.h"

const char *mmrec_against_name(mmrec_against against) {
    static const char *const names[MMREC_AGAINST_COUNT] = {"none", "grid-barrier", "cudnn-lstm-fp16",
                                                           "cudnn-lstm-bf16"};
    return (unsigned)against < MMREC_AGAINST_COUNT ? names[against] : "?";
}

static bool is_lstm(const op_against *a) {
    return a->out->what == MMREC_AGAINST_LSTM_FP16 || a->out->what == MMREC_AGAINST_LSTM_BF16;
}

/* ---- the grid barrier: the same call, in the same memory, by another kernel ---- */

static mmrec_status run_barrier(void *context, mmrec_error *error) {
    const struct op_against_pass *p = context;
    op_use *use = p->of->use;
    const mmrec_device *device = use->backend->device;
    mmrec_recurrence_regime before = device->recurrence(MMREC_RECURRENCE_BARRIER);
    mmrec_status status = op_use_run(use, p->pass, error);
    device->recurrence(before);
    return status;
}

static mmrec_status try_barrier(op_against *a, mmrec_error *error) {
    MMREC_TRY(run_barrier(&a->pass[MMREC_FORWARD], error));
    MMREC_TRY(run_barrier(&a->pass[MMREC_BACKWARD], error));
    return a->use->backend->synchronize(error);
}

/* ---- cuDNN's LSTM ---- */

static mmrec_status prepare_lstm(void *context, mmrec_error *error) {
    const struct op_against_pass *p = context;
    return p->of->use->backend->device->lstm.prepare(p->pass, error);
}

static mmrec_status run_lstm(void *context, mmrec_error *error) {
    const struct op_against_pass *p = context;
    return p->of->use->backend->device->lstm.run(p->pass, error);
}

static mmrec_status create_lstm(op_against *a, uint64_t seed, mmrec_error *error) {
    const int64_t *letter = a->use->sizes.letter;
    mmrec_lstm_info info;
    mmrec_lstm_request request = {.width = letter['D' - 'A'],
                                  .batch = letter['B' - 'A'],
                                  .steps = letter['T' - 'A'],
                                  .bf16 = a->out->what == MMREC_AGAINST_LSTM_BF16,
                                  .seed = seed,
                                  .allocator = a->use->allocator};
    MMREC_TRY(a->use->backend->device->lstm.create(&request, &info, error));
    snprintf(a->out->version, sizeof a->out->version, "%d.%d.%d", info.version / 10000, info.version % 10000 / 100,
             info.version % 100);
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        snprintf(a->out->kernel[pass], sizeof a->out->kernel[pass], "%s%s", info.algorithm[pass],
                 info.recorded[pass] ? "" : " (not recorded)");
        a->recorded[pass] = info.recorded[pass];
    }
    a->out->device_bytes = info.all_bytes;
    return MMREC_OK;
}

/* ---- either ---- */

mmrec_status op_against_open(op_use *use, const mmrec_bench_options *options, mmrec_op_against *out, op_against *a,
                             mmrec_error *error) {
    mmrec_error why;
    *a = (op_against){.use = use, .out = out};
    for (int pass = 0; pass < MMREC_PASSES; pass++) a->pass[pass] = (struct op_against_pass){a, (mmrec_pass)pass};
    out->what = options->against;
    if (out->what == MMREC_AGAINST_NONE) return MMREC_OK;
    mmrec_error_clear(&why);
    mmrec_status status = is_lstm(a) ? create_lstm(a, options->seed, &why) : try_barrier(a, &why);
    a->open = status == MMREC_OK;
    if (status != MMREC_OK) snprintf(out->missing, sizeof out->missing, "%s", why.message);
    if (status == MMREC_NO_DEVICE && error) *error = why;
    return status == MMREC_NO_DEVICE ? status : MMREC_OK;
}

mmrec_subject op_against_subject(op_against *a, mmrec_pass pass) {
    void *context = &a->pass[pass];
    if (!is_lstm(a)) return (mmrec_subject){.run = run_barrier, .context = context};
    return (mmrec_subject){.run = run_lstm,
                           .context = context,
                           .prepare = pass == MMREC_BACKWARD ? prepare_lstm : NULL,
                           .unheld = !a->recorded[pass]};
}

void op_against_close(op_against *a) {
    if (a->open && is_lstm(a)) a->use->backend->device->lstm.destroy();
    a->open = false;
}
