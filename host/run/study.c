/* --study NAME: set up, train, write. */
#include <stdio.h>

#include "run/study.h"

/* Refused now, and not after hours: a folder that cannot be written to. */
static mmrec_status check_folder(mmrec_io *io, const study *s, mmrec_error *error) {
    char path[STUDY_PATH + 32];
    snprintf(path, sizeof path, "%s/report.md", s->folder);
    return mmrec_io_check_writable(io, path, error);
}

/* A study that stopped early, also by a failure, keeps what it has. */
static mmrec_status run(const mmrec_train_context *context, study *s, mmrec_error *error) {
    mmrec_error second;
    MMREC_TRY(check_folder(context->io, s, error));
    mmrec_status status = study_train(context, s, error);
    bool something = s->begun > 0 && s->run[0][0].point_count > 0;
    if (!something) return status;
    mmrec_status written = study_write(context->io, s, status == MMREC_OK ? error : &second);
    return status != MMREC_OK ? status : written;
}

mmrec_status mmrec_train_study(const mmrec_train_context *context, const mmrec_train_setup *setup, int *code,
                               mmrec_error *error) {
    study *s = NULL;
    *code = 0;
    MMREC_TRY(study_create(context->allocator, setup, &s, error));
    mmrec_status status = run(context, s, error);
    int signal = context->stop_signal ? context->stop_signal() : 0;
    if (status == MMREC_OK && (signal != 0 || mmrec_measure_interrupted())) *code = signal ? 128 + signal : 130;
    study_destroy(&s);
    return status;
}
