/* mmrec-compare: models side by side on one task, in one run: counts, times, memory, gradients, quality, scaling.
 *
 * options -> setup (rows, task) -> run -> tables and files. Nothing is computed here; see docs/compare.md. */
#include <signal.h>

#include "mmrec/comparison.h"
#include "mmrec/report.h"
#include "run/program.h"

typedef struct program {
    mmrec_process process;
    mmrec_compare_setup setup;
    mmrec_comparison comparison;
    mmrec_progress_bar bar;
} program;

static mmrec_status measure(program *p) {
    mmrec_process *process = &p->process;
    bool quiet = mmrec_option_on(&process->options, MMREC_OPTION_quiet);
    mmrec_bench_observer told = mmrec_progress_begin(&p->bar, &process->io, quiet);
    mmrec_compare_observer observer = {told.message, told.progress, told.context};
    mmrec_status status =
        mmrec_compare_run(&process->allocator, &p->setup.run, observer, &p->comparison, &process->error);
    mmrec_progress_end(&p->bar);
    return status;
}

static mmrec_status compare(program *p, int *code) {
    mmrec_process *process = &p->process;
    char failures[MMREC_ERROR_MESSAGE + 64] = "";
    MMREC_TRY(mmrec_compare_check_outputs(&process->io, &process->options, &process->error));
    MMREC_TRY(measure(p));
    bool stopped = p->comparison.interrupted;
    *code = mmrec_comparison_exit(&p->comparison, failures, sizeof failures);
    if (stopped) *code = 128 + (mmrec_process_signal() == SIGTERM ? SIGTERM : SIGINT);
    MMREC_TRY(mmrec_compare_write(&process->io, &process->options, &p->comparison, &process->error));
    const char *words = stopped ? "interrupted; what was measured till then is in the report" : failures;
    if (*code != 0) mmrec_process_complain(process, words);
    return MMREC_OK;
}

static mmrec_status run(program *p, int *code) {
    mmrec_process *process = &p->process;
    MMREC_TRY(
        mmrec_compare_setup_create(&process->allocator, &process->io, &process->options, &p->setup, &process->error));
    if (p->setup.list) return mmrec_compare_list(&process->allocator, &process->io, &process->error);
    return compare(p, code);
}

int main(int argc, char **argv) {
    static program p;
    int code = 0;
    bool answered = false;
    mmrec_status status = mmrec_process_start(&p.process, MMREC_PROGRAM_COMPARE, argc, argv, &answered);
    if (status == MMREC_OK && !answered) status = run(&p, &code);
    mmrec_comparison_free(&p.comparison);
    return mmrec_process_end(&p.process, status, code);
}
