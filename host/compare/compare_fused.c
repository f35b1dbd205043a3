/* Rows whose step is one function (mmrec/mlp.h). Their graph is built too, for what is the same in both: names, work,
 * and the gradients at the initial values; only the fused step is run and timed, on samples that lie in the backend's
 * memory as a graph's inputs do. It has no parts. */
#include "compare_impl.h"
#include "mmrec/bench.h"

enum { LEAST_EPOCHS = 8 }; /* what a paired ratio needs */

static mmrec_mlp_samples samples_of(const compare_task *task) {
    return (mmrec_mlp_samples){
        .x = task->x, .target = task->target, .classes = task->targets, .count = task->spec.batch};
}

static mmrec_status check_task(const compare_task *task, mmrec_error *error) {
    if (task->x) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "the model reads real numbers, but the task has none");
}

mmrec_status compare_fused_create(compare_net *net, const compare_recipe *r, mmrec_error *error) {
    const mmrec_compare_options *options = r->options;
    if (r->entry->kind != MMREC_MODEL_mlp) {
        MMREC_FAIL(error, MMREC_CONFIG, "\"%s\" is to run as one function, which only model mlp has", r->entry->label);
    }
    return mmrec_mlp_create(net->allocator, options->backend, &r->entry->config.mlp, &options->optimizer, r->batch,
                            r->seed, &net->fused, error);
}

mmrec_status compare_fused_feed(const compare_net *net, const compare_task *task, mmrec_error *error) {
    mmrec_mlp_samples samples = samples_of(task);
    MMREC_TRY(check_task(task, error));
    return mmrec_mlp_load(net->fused, &samples, error);
}

mmrec_status compare_fused_queue(const compare_net *net, mmrec_error *error) {
    return mmrec_mlp_epoch(net->fused, NULL, 0, NULL, error);
}

mmrec_status compare_fused_train(const compare_net *net, const compare_task *task, double rate, double *loss,
                                 bool *skipped, mmrec_error *error) {
    mmrec_mlp_samples samples = samples_of(task);
    mmrec_mlp_report report = {0};
    MMREC_TRY(check_task(task, error));
    MMREC_TRY(mmrec_mlp_step(net->fused, &samples, rate, &report, error));
    *loss = report.loss;
    *skipped = report.skipped > 0;
    return MMREC_OK;
}

mmrec_status compare_fused_examine(const compare_net *net, const compare_task *task, double *loss, double *scores,
                                   mmrec_error *error) {
    mmrec_mlp_samples samples = samples_of(task);
    MMREC_TRY(mmrec_mlp_loss_of(net->fused, &samples, loss, error));
    return mmrec_mlp_predict(net->fused, task->x, task->spec.batch, scores, error);
}

/* ---- epochs ---- */

static void keep_epochs(const mmrec_mlp_bench *bench, mmrec_compare_epochs *out) {
    out->seconds = bench->seconds;
    out->samples_per_s = bench->samples_per_s.value;
    out->ci95 = bench->samples_per_s.ci95;
    out->sgemm = bench->against_sgemm;
    out->graph = bench->against_graph;
}

/* A device has no such yardstick: the reason is kept, and the row is none the worse. */
void compare_epochs(compare_run *run, int row) {
    const mmrec_compare_options *o = run->options;
    mmrec_compare_epochs *out = &run->out->row[row].epochs;
    int64_t asked = o->train_steps * o->task.batch / o->task.samples;
    mmrec_mlp_bench_options options = {.backend = o->backend,
                                       .model = &o->entries[row].config.mlp,
                                       .optimizer = &o->optimizer,
                                       .rate = o->rate,
                                       .batch = o->task.batch,
                                       .samples = o->task.samples,
                                       .epochs = asked > LEAST_EPOCHS ? (int)asked : LEAST_EPOCHS,
                                       .threads = o->threads,
                                       .seed = o->task.seed,
                                       .sampling = o->sampling};
    mmrec_mlp_bench bench = {0};
    mmrec_error error;
    mmrec_error_clear(&error);
    compare_message(run, "%d epochs of %s", options.epochs, o->entries[row].label);
    mmrec_status status = mmrec_mlp_bench_run(run->allocator, &options, &bench, &error);
    if (status == MMREC_OK) {
        out->epochs = options.epochs;
        out->samples = options.samples;
        keep_epochs(&bench, out);
    } else {
        mmrec_error_text(&error, out->failure, sizeof out->failure);
    }
    mmrec_mlp_bench_free(run->allocator, &bench);
}
