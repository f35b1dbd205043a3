/* mmrec-train: trains the MM-Rec model, times its steps (--bench), or compares variants of it (--study).
 *
 * options -> setup -> run, bench or study. Nothing is computed here; see docs/train.md. */
#include "mmrec/run.h"
#include "run/program.h"

static mmrec_status run(mmrec_process *p, int *code) {
    static mmrec_train_setup setup;
    const mmrec_train_context context = {&p->allocator, &p->io, &p->save_io, mmrec_process_signal};
    MMREC_TRY(mmrec_train_setup_create(&p->options, &setup, &p->error));
    if (setup.study != MMREC_STUDY_NONE) return mmrec_train_study(&context, &setup, code, &p->error);
    if (setup.bench) return mmrec_train_bench(&context, &setup, code, &p->error);
    return mmrec_train_run(&context, &setup, code, &p->error);
}

int main(int argc, char **argv) {
    static mmrec_process process;
    int code = 0;
    bool answered = false;
    mmrec_status status = mmrec_process_start(&process, MMREC_PROGRAM_TRAIN, argc, argv, &answered);
    if (status == MMREC_OK && !answered) status = run(&process, &code);
    return mmrec_process_end(&process, status, code);
}
