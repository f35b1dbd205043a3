/* From options to what mmrec-train does: everything that can be refused before data is read is refused here. */
#include <math.h>
#include <string.h>

#include "mmrec/run.h"
#include "report/setup.h"

/* Whether any source but the default said it, and whether the command line did. What has no effect is refused on the
 * command line alone, as a file or the environment may serve several runs. */
static bool chosen(const mmrec_options *o, mmrec_option_id id) {
    return mmrec_option_given(o, id) && o->value[id].source != MMREC_SOURCE_DEFAULT;
}

static bool flagged(const mmrec_options *o, mmrec_option_id id) {
    return mmrec_option_given(o, id) && o->value[id].source == MMREC_SOURCE_FLAG;
}

static double real(const mmrec_options *o, mmrec_option_id id) { return o->value[id].real; }

static const char *flag_of(mmrec_option_id id) { return mmrec_option_get(id)->flag; }

/* Refuses the first of `ids` that is on the command line: `why` says for what it would be. */
static mmrec_status refuse_flags(const mmrec_options *o, const mmrec_option_id *ids, int count, const char *why,
                                 mmrec_error *error) {
    for (int i = 0; i < count; i++) {
        if (flagged(o, ids[i])) MMREC_FAIL(error, MMREC_USAGE, "--%s %s", flag_of(ids[i]), why);
    }
    return MMREC_OK;
}

#define REFUSE_FLAGS(options, why, error, ...)                                                                         \
    do {                                                                                                               \
        static const mmrec_option_id ids_[] = {__VA_ARGS__};                                                           \
        MMREC_TRY(refuse_flags((options), ids_, sizeof ids_ / sizeof *ids_, (why), (error)));                          \
    } while (0)

/* ---- what does not go together ---- */

static mmrec_status check_data(const mmrec_options *o, mmrec_error *error) {
    bool task = !mmrec_option_is(o, MMREC_OPTION_task, "none");
    bool file = mmrec_option_given(o, MMREC_OPTION_train_data);
    const char *name = mmrec_option_text(o, MMREC_OPTION_task);
    if (!task && !file) {
        MMREC_FAIL(error, MMREC_USAGE,
                   "there is nothing to train on: give --data FILE, or --task copy, recall or text-markov");
    }
    if (task && file) MMREC_FAIL(error, MMREC_USAGE, "--data and --task %s exclude each other: give one of them", name);
    if (task && mmrec_option_on(o, MMREC_OPTION_stream)) {
        MMREC_FAIL(error, MMREC_USAGE, "--stream on is for --data: the sequences of --task %s do not go on", name);
    }
    if (task && mmrec_option_given(o, MMREC_OPTION_epochs)) {
        MMREC_FAIL(error, MMREC_USAGE, "--epochs is for --data: --task %s has no end, give --steps", name);
    }
    if (task) REFUSE_FLAGS(o, "is for --data: of a task other sequences are held out", error, MMREC_OPTION_val);
    if (file && !(real(o, MMREC_OPTION_val) > 0)) {
        REFUSE_FLAGS(o, "has no effect with --val 0: nothing is held out", error, MMREC_OPTION_val_every,
                     MMREC_OPTION_val_batches);
    }
    return MMREC_OK;
}

static mmrec_status check_length(const mmrec_options *o, mmrec_error *error) {
    if (chosen(o, MMREC_OPTION_steps) && chosen(o, MMREC_OPTION_epochs)) {
        MMREC_FAIL(error, MMREC_USAGE, "--steps and --epochs exclude each other: give one of them");
    }
    return MMREC_OK;
}

static mmrec_status check_checkpoint(const mmrec_options *o, mmrec_error *error) {
    if (mmrec_option_given(o, MMREC_OPTION_checkpoint)) return MMREC_OK;
    if (mmrec_option_on(o, MMREC_OPTION_resume)) {
        MMREC_FAIL(error, MMREC_USAGE,
                   "--resume goes on from a checkpoint, and there is no --checkpoint DIR to find one in");
    }
    REFUSE_FLAGS(o, "is for --checkpoint DIR, and there is none", error, MMREC_OPTION_stop_after,
                 MMREC_OPTION_save_every, MMREC_OPTION_keep);
    return MMREC_OK;
}

/* What is done instead of training has no log, sample or checkpoint of its own. */
static mmrec_status check_mode(const mmrec_options *o, mmrec_error *error) {
    bool bench = mmrec_option_on(o, MMREC_OPTION_bench), study = !mmrec_option_is(o, MMREC_OPTION_study, "none");
    if (bench && study) MMREC_FAIL(error, MMREC_USAGE, "--bench and --study exclude each other");
    if (study && !(real(o, MMREC_OPTION_val) > 0)) {
        MMREC_FAIL(error, MMREC_USAGE, "--study compares losses on what is held out: --val must be above 0 with it");
    }
    if (bench || study) {
        REFUSE_FLAGS(o, bench ? "has no effect with --bench" : "has no effect with --study", error,
                     MMREC_OPTION_checkpoint, MMREC_OPTION_resume, MMREC_OPTION_stop_after, MMREC_OPTION_save_every,
                     MMREC_OPTION_keep, MMREC_OPTION_log, MMREC_OPTION_log_every, MMREC_OPTION_grad_stats,
                     MMREC_OPTION_sample);
    }
    if (bench) {
        REFUSE_FLAGS(o, "has no effect with --bench", error, MMREC_OPTION_val_every, MMREC_OPTION_val_batches);
    }
    if (!study) {
        REFUSE_FLAGS(o, "is for --study, and there is none", error, MMREC_OPTION_seeds, MMREC_OPTION_target,
                     MMREC_OPTION_output);
    }
    return MMREC_OK;
}

static mmrec_status check_details(const mmrec_options *o, mmrec_error *error) {
    bool planning = mmrec_option_is(o, MMREC_OPTION_uboo, "planning") || mmrec_option_is(o, MMREC_OPTION_study, "uboo");
    if (!planning) REFUSE_FLAGS(o, "is for --uboo planning", error, MMREC_OPTION_uboo_weight);
    if (mmrec_option_whole(o, MMREC_OPTION_sample, 0) == 0) {
        REFUSE_FLAGS(o, "is for --sample, and there is none", error, MMREC_OPTION_prompt, MMREC_OPTION_temperature);
    }
    return MMREC_OK;
}

/* ---- reading ---- */

static void read_run(const mmrec_options *o, mmrec_train_setup *out) {
    const char *prompt = mmrec_option_text(o, MMREC_OPTION_prompt);
    out->steps = mmrec_option_whole(o, MMREC_OPTION_steps, 0);
    out->epochs = real(o, MMREC_OPTION_epochs);
    out->max_time_s = real(o, MMREC_OPTION_train_max_time);
    out->log_every = mmrec_option_whole(o, MMREC_OPTION_log_every, 1);
    out->val_every = mmrec_option_whole(o, MMREC_OPTION_val_every, 0);
    out->val_batches = mmrec_option_whole(o, MMREC_OPTION_val_batches, 1);
    out->prompt = prompt ? prompt : "\n";
    out->temperature = real(o, MMREC_OPTION_temperature);
    out->save_every = mmrec_option_whole(o, MMREC_OPTION_save_every, 1);
    out->keep = (int)mmrec_option_whole(o, MMREC_OPTION_keep, 1);
    out->quiet = mmrec_option_on(o, MMREC_OPTION_quiet);
    out->bench = mmrec_option_on(o, MMREC_OPTION_bench);
    out->study = (mmrec_study)o->value[MMREC_OPTION_study].whole;
    out->seeds = (int)mmrec_option_whole(o, MMREC_OPTION_seeds, 1);
    out->target = mmrec_option_given(o, MMREC_OPTION_target) ? real(o, MMREC_OPTION_target) : (double)NAN;
    out->output = mmrec_option_text(o, MMREC_OPTION_output);
    if (out->epochs > 0) out->steps = 0;
    /* A file of options may name what these do not have. */
    if (out->bench || out->study != MMREC_STUDY_NONE) return;
    out->stop_after = mmrec_option_whole(o, MMREC_OPTION_stop_after, 0);
    out->grad_stats_every = mmrec_option_whole(o, MMREC_OPTION_grad_stats, 0);
    out->log_path = mmrec_option_text(o, MMREC_OPTION_log);
    out->sample = mmrec_option_whole(o, MMREC_OPTION_sample, 0);
    out->checkpoint = mmrec_option_text(o, MMREC_OPTION_checkpoint);
    out->resume = mmrec_option_on(o, MMREC_OPTION_resume);
}

static void read_train(const mmrec_options *o, mmrec_train_config *train) {
    train->optimizer.beta1 = real(o, MMREC_OPTION_beta1);
    train->optimizer.beta2 = real(o, MMREC_OPTION_beta2);
    train->optimizer.weight_decay = real(o, MMREC_OPTION_weight_decay);
    train->optimizer.clip_norm = real(o, MMREC_OPTION_clip);
    train->schedule.rate = real(o, MMREC_OPTION_lr);
    train->schedule.final_share = real(o, MMREC_OPTION_lr_final);
    train->accumulate = mmrec_option_whole(o, MMREC_OPTION_accumulate, 1);
    train->stream = mmrec_option_on(o, MMREC_OPTION_stream);
    train->hem = mmrec_option_on(o, MMREC_OPTION_train_hem);
    train->recompute = mmrec_option_on(o, MMREC_OPTION_recompute);
    train->seed = o->value[MMREC_OPTION_seed].bits;
    train->spike_score = real(o, MMREC_OPTION_spike);
}

static mmrec_status read_model(const mmrec_options *o, mmrec_train_config *train, mmrec_error *error) {
    mmrec_bench_case c = mmrec_setup_case(o, NULL);
    train->model = c.model;
    train->batch = c.batch;
    train->time = c.time;
    return mmrec_setup_case_check(&c, error);
}

static mmrec_status read_place(const mmrec_options *o, mmrec_train_setup *out, mmrec_error *error) {
    mmrec_place place;
    MMREC_TRY(mmrec_setup_place(o, true, &place, error));
    out->backend = place.backend;
    out->train.threads = place.threads;
    out->train.graphs = place.graphs;
    out->train.bf16 = place.bf16;
    return MMREC_OK;
}

static mmrec_data_request request_of(const mmrec_options *o, const mmrec_train_config *train) {
    return (mmrec_data_request){.path = mmrec_option_text(o, MMREC_OPTION_train_data),
                                .task = (mmrec_task)o->value[MMREC_OPTION_task].whole,
                                .seed = train->seed,
                                .held_out = real(o, MMREC_OPTION_val),
                                .batch = train->batch,
                                .time = train->time,
                                .stream = train->stream};
}

/* Once the steps are known. */
static mmrec_status fit_schedule(mmrec_train_setup *setup, mmrec_error *error) {
    const mmrec_options *o = setup->options;
    int64_t warmup = mmrec_option_whole(o, MMREC_OPTION_lr_warmup, 0);
    if (!chosen(o, MMREC_OPTION_lr_warmup) && warmup > setup->steps / 10) warmup = setup->steps / 10;
    if (warmup > setup->steps) {
        MMREC_FAIL(error, MMREC_USAGE, "--lr-warmup (%lld) is more than the training's steps (%lld)", (long long)warmup,
                   (long long)setup->steps);
    }
    setup->train.schedule.warmup_steps = warmup;
    setup->train.schedule.steps = setup->steps;
    return MMREC_OK;
}

mmrec_status mmrec_train_setup_create(const mmrec_options *options, mmrec_train_setup *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    out->options = options;
    out->train = mmrec_train_config_default();
    MMREC_TRY(check_data(options, error));
    MMREC_TRY(check_length(options, error));
    MMREC_TRY(check_mode(options, error));
    MMREC_TRY(check_checkpoint(options, error));
    MMREC_TRY(check_details(options, error));
    read_run(options, out);
    read_train(options, &out->train);
    MMREC_TRY(read_model(options, &out->train, error));
    if (out->steps > 0) MMREC_TRY(fit_schedule(out, error));
    out->data = request_of(options, &out->train);
    return read_place(options, out, error);
}

/* Exact shares of an epoch must not cost a step more because 0.07 * 100 is a little above 7 in doubles. */
static const double count_tolerance = 1e-12;

static mmrec_status steps_of_epochs(mmrec_train_setup *setup, const mmrec_data_info *info, mmrec_error *error) {
    double steps = setup->epochs * (double)info->batches_per_epoch / (double)setup->train.accumulate;
    steps = fmax(1, ceil(steps * (1 - count_tolerance)));
    setup->steps = (int64_t)fmin(steps, 0x1p62);
    return mmrec_option_check_whole(MMREC_OPTION_steps, setup->steps, "--epochs", error);
}

static mmrec_status fit_data(mmrec_train_setup *setup, const mmrec_data_info *info, mmrec_error *error) {
    setup->train.model.vocab = info->vocab;
    MMREC_TRY(mmrec_model_config_check(&setup->train.model, error));
    if (setup->epochs > 0) MMREC_TRY(steps_of_epochs(setup, info, error));
    return fit_schedule(setup, error);
}

mmrec_status mmrec_train_setup_data(mmrec_allocator *allocator, mmrec_io *io, mmrec_train_setup *setup,
                                    mmrec_data **out, mmrec_error *error) {
    MMREC_TRY(mmrec_data_create(allocator, io, &setup->data, out, error));
    mmrec_status status = fit_data(setup, mmrec_data_info_of(*out), error);
    if (status != MMREC_OK) mmrec_data_destroy(out);
    return status;
}

bool mmrec_train_untimed(const mmrec_train_setup *setup) {
    const mmrec_device *device = setup->backend->device;
    return device && device->info.emulated;
}
