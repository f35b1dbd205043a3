/* The fused MLP at work: samples are checked and copied to where the backend reads them, then it is called once. */

#include "mlp_impl.h"
#include "train/optimizer_impl.h"

/* ---- samples ---- */

static mmrec_status check_classes(const mmrec_mlp_trainer *t, const mmrec_mlp_samples *s, mmrec_error *error) {
    for (int64_t i = 0; i < s->count; i++) {
        if (s->classes[i] >= 0 && s->classes[i] < mlp_outputs(t)) continue;
        MMREC_FAIL(error, MMREC_CONFIG, "class %d of sample %lld is not in [0, %lld)", (int)s->classes[i], (long long)i,
                   (long long)mlp_outputs(t));
    }
    return MMREC_OK;
}

static mmrec_status check_samples(const mmrec_mlp_trainer *t, const mmrec_mlp_samples *s, mmrec_error *error) {
    bool classes = mlp_has_classes(t);
    if (s->count < 1 || s->count > INT32_MAX) {
        MMREC_FAIL(error, MMREC_CONFIG, "the number of samples must be 1 to %d, got %lld", INT32_MAX,
                   (long long)s->count);
    }
    if (!s->x || (s->classes != NULL) != classes || (s->target != NULL) == classes) {
        MMREC_FAIL(error, MMREC_CONFIG, "with this loss samples need inputs and %s, and no %s",
                   classes ? "classes" : "targets", classes ? "targets" : "classes");
    }
    return classes ? check_classes(t, s, error) : MMREC_OK;
}

/* Rows of numbers into the backend's memory, a batch of them at a time. */
static mmrec_status send(mmrec_mlp_trainer *t, void *to, const double *from, int64_t rows, int64_t width,
                         mmrec_error *error) {
    size_t real = mmrec_dtype_bytes(t->backend->real);
    int64_t count = rows * width, most = t->call.batch * width;
    for (int64_t first = 0; first < count; first += most) {
        int64_t now = count - first < most ? count - first : most;
        for (int64_t i = 0; i < now; i++) mmrec_element_set(t->backend->real, t->wire, i, from[first + i]);
        MMREC_TRY(mlp_copy_in(t, (char *)to + (size_t)first * real, t->wire, (size_t)now * real, error));
    }
    return MMREC_OK;
}

static mmrec_status send_samples(mmrec_mlp_trainer *t, const mlp_data *data, const mmrec_mlp_samples *s,
                                 mmrec_error *error) {
    MMREC_TRY(send(t, data->x, s->x, s->count, t->config.inputs, error));
    if (!s->classes) return send(t, data->target, s->target, s->count, mlp_outputs(t), error);
    return mlp_copy_in(t, data->classes, s->classes, (size_t)s->count * sizeof *s->classes, error);
}

/* A part of samples, at most a batch of them. */
static mmrec_mlp_samples part_of(const mmrec_mlp_trainer *t, const mmrec_mlp_samples *s, int64_t first) {
    mmrec_mlp_samples part = *s;
    part.x += first * t->config.inputs;
    if (s->target) part.target += first * mlp_outputs(t);
    if (s->classes) part.classes += first;
    part.count = s->count - first < t->call.batch ? s->count - first : t->call.batch;
    return part;
}

/* ---- calls ---- */

/* The first `count` of the samples of `data`, with their targets. */
static mmrec_mlp_call call_on(const mmrec_mlp_trainer *t, const mlp_data *data, int64_t count) {
    mmrec_mlp_call call = t->call;
    call.samples = count;
    call.x = data->x;
    call.target = data->target;
    call.classes = data->classes;
    call.record = data->record;
    return call;
}

static mmrec_status run(const mmrec_mlp_trainer *t, const mmrec_mlp_call *call, mmrec_error *error) {
    MMREC_TRY_WHILE(t->backend->mlp(call, error), error, "running the fused MLP");
    return MMREC_OK;
}

static mmrec_status wait(const mmrec_mlp_trainer *t, mmrec_error *error) {
    return t->backend->synchronize ? t->backend->synchronize(error) : MMREC_OK;
}

static mmrec_status set_rate(const mmrec_mlp_trainer *t, double rate, mmrec_error *error) {
    MMREC_TRY(optimizer_check_rate(rate, error));
    return mlp_copy_in(t, &t->call.state->rate, &rate, sizeof rate, error);
}

/* What the steps of a call left, as one. */
static mmrec_status fill_report(const mmrec_mlp_trainer *t, const mmrec_mlp_record *records, int64_t samples,
                                mmrec_mlp_report *report, mmrec_error *error) {
    mmrec_adamw_state state;
    double sum = 0;
    *report = (mmrec_mlp_report){0};
    MMREC_TRY(mlp_copy_out(t, &state, t->call.state, sizeof state, error));
    for (int64_t first = 0, i = 0; first < samples; first += t->call.batch, i++) {
        int64_t rows = samples - first < t->call.batch ? samples - first : t->call.batch;
        sum += records[i].loss * (double)rows;
        report->gradient_norm = records[i].gradient_norm;
        report->skipped += records[i].skipped > 0;
    }
    report->loss = sum / (double)samples;
    report->step = (int64_t)state.step;
    return MMREC_OK;
}

mmrec_status mmrec_mlp_step(mmrec_mlp_trainer *t, const mmrec_mlp_samples *samples, double rate,
                            mmrec_mlp_report *report, mmrec_error *error) {
    mmrec_mlp_record record;
    MMREC_TRY(check_samples(t, samples, error));
    if (samples->count > t->call.batch) {
        MMREC_FAIL(error, MMREC_CONFIG, "a step takes at most the %lld samples of a batch, got %lld",
                   (long long)t->call.batch, (long long)samples->count);
    }
    mmrec_mlp_call call = call_on(t, &t->batch, samples->count);
    MMREC_TRY(set_rate(t, rate, error));
    MMREC_TRY(send_samples(t, &t->batch, samples, error));
    MMREC_TRY(run(t, &call, error));
    if (!report) return MMREC_OK;
    MMREC_TRY(wait(t, error));
    MMREC_TRY(mlp_copy_out(t, &record, t->batch.record, sizeof record, error));
    return fill_report(t, &record, samples->count, report, error);
}

/* ---- forward only ---- */

mmrec_status mmrec_mlp_predict(mmrec_mlp_trainer *t, const double *x, int64_t count, double *y, mmrec_error *error) {
    size_t real = mmrec_dtype_bytes(t->backend->real);
    int64_t width = mlp_outputs(t);
    for (int64_t first = 0; first < count; first += t->call.batch) {
        int64_t rows = count - first < t->call.batch ? count - first : t->call.batch;
        mmrec_mlp_call call = call_on(t, &t->batch, rows);
        call.target = call.classes = NULL;
        call.state = NULL;
        call.y = t->batch.y;
        MMREC_TRY(send(t, t->batch.x, x + first * t->config.inputs, rows, t->config.inputs, error));
        MMREC_TRY(run(t, &call, error));
        MMREC_TRY(wait(t, error));
        MMREC_TRY(mlp_copy_out(t, t->wire, t->batch.y, (size_t)(rows * width) * real, error));
        for (int64_t i = 0; i < rows * width; i++) {
            y[first * width + i] = mmrec_element_get(t->backend->real, t->wire, i);
        }
    }
    return MMREC_OK;
}

mmrec_status mmrec_mlp_loss_of(mmrec_mlp_trainer *t, const mmrec_mlp_samples *samples, double *loss,
                               mmrec_error *error) {
    double sum = 0;
    MMREC_TRY(check_samples(t, samples, error));
    for (int64_t first = 0; first < samples->count; first += t->call.batch) {
        mmrec_mlp_samples part = part_of(t, samples, first);
        mmrec_mlp_call call = call_on(t, &t->batch, part.count);
        mmrec_mlp_record record;
        call.state = NULL;
        MMREC_TRY(send_samples(t, &t->batch, &part, error));
        MMREC_TRY(run(t, &call, error));
        MMREC_TRY(wait(t, error));
        MMREC_TRY(mlp_copy_out(t, &record, t->batch.record, sizeof record, error));
        sum += record.loss * (double)part.count;
    }
    *loss = sum / (double)samples->count;
    return MMREC_OK;
}

/* ---- epochs ---- */

static int64_t steps_of(const mmrec_mlp_trainer *t, int64_t samples) {
    return (samples + t->call.batch - 1) / t->call.batch;
}

static void unload(mmrec_mlp_trainer *t) {
    mlp_data_free(t, &t->loaded);
    mmrec_alloc(t->allocator, t->records, t->records_bytes, 0, MMREC_ALLOC_OPTIMIZER);
    t->records = NULL;
    t->records_bytes = 0;
}

static mmrec_status make_room(mmrec_mlp_trainer *t, int64_t count, mmrec_error *error) {
    size_t bytes = (size_t)steps_of(t, count) * sizeof *t->records;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(t->allocator, 1, bytes, MMREC_ALLOC_OPTIMIZER, &memory, error));
    t->records = memory;
    t->records_bytes = bytes;
    return mlp_data_get(t, &t->loaded, count, false, error);
}

mmrec_status mmrec_mlp_load(mmrec_mlp_trainer *t, const mmrec_mlp_samples *samples, mmrec_error *error) {
    MMREC_TRY(check_samples(t, samples, error));
    MMREC_TRY(wait(t, error));
    unload(t);
    mmrec_status status = make_room(t, samples->count, error);
    if (status == MMREC_OK) status = send_samples(t, &t->loaded, samples, error);
    if (status != MMREC_OK) unload(t);
    return status;
}

static mmrec_status check_order(const int32_t *order, int64_t count, mmrec_error *error) {
    for (int64_t i = 0; i < count; i++) {
        if (order[i] >= 0 && order[i] < count) continue;
        MMREC_FAIL(error, MMREC_CONFIG, "the order of the samples has %d at place %lld, but there are %lld samples",
                   (int)order[i], (long long)i, (long long)count);
    }
    return MMREC_OK;
}

mmrec_status mmrec_mlp_epoch(mmrec_mlp_trainer *t, const int32_t *order, double rate, mmrec_mlp_report *report,
                             mmrec_error *error) {
    int64_t count = t->loaded.count;
    mmrec_mlp_call call = call_on(t, &t->loaded, count);
    if (count < 1) MMREC_FAIL(error, MMREC_CONFIG, "there are no samples to train on: load them before an epoch");
    if (order) {
        MMREC_TRY(check_order(order, count, error));
        MMREC_TRY(mlp_copy_in(t, t->loaded.order, order, (size_t)count * sizeof *order, error));
        call.order = t->loaded.order;
    }
    MMREC_TRY(set_rate(t, rate, error));
    MMREC_TRY(run(t, &call, error));
    if (!report) return MMREC_OK;
    MMREC_TRY(wait(t, error));
    MMREC_TRY(mlp_copy_out(t, t->records, t->loaded.record, t->records_bytes, error));
    return fill_report(t, t->records, count, report, error);
}
