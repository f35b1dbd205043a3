/* mmrec-bench: times the MM-Rec model with fused projections on and off, single ops, or plans memory.
 *
 * options -> setup (the cases) -> run, ops or plan -> report. Nothing is computed here; see docs/bench.md. */
#include <signal.h>

#include "mmrec/report.h"
#include "run/program.h"

typedef struct program {
    mmrec_process process;
    mmrec_bench_setup setup;
    mmrec_report report;
    mmrec_progress_bar bar;
} program;

static mmrec_status measure(program *p) {
    mmrec_process *process = &p->process;
    mmrec_bench_observer observer =
        mmrec_progress_begin(&p->bar, &process->io, mmrec_option_on(&process->options, MMREC_OPTION_quiet));
    mmrec_status status = p->setup.op_count > 0
                              ? mmrec_report_run_ops(&process->allocator, observer, &p->report, &process->error)
                              : mmrec_report_run(&process->allocator, observer, &p->report, &process->error);
    mmrec_progress_end(&p->bar);
    return status;
}

/* The report of what was asked for; standard output and every file are checked before anything is measured. */
static mmrec_status make_report(program *p) {
    mmrec_process *process = &p->process;
    MMREC_TRY(mmrec_report_check_outputs(&process->io, &process->options, &process->error));
    if (mmrec_option_on(&process->options, MMREC_OPTION_plan)) {
        MMREC_TRY(mmrec_report_plan(&process->allocator, &p->report, &process->error));
    } else {
        MMREC_TRY(measure(p));
    }
    p->report.interrupt_exit = mmrec_process_signal() == SIGTERM ? 128 + SIGTERM : 0;
    return mmrec_report_write(&process->allocator, &process->io, &p->report, &process->error);
}

static mmrec_status report(program *p, int *code) {
    char failures[MMREC_ERROR_MESSAGE + 64];
    p->report = (mmrec_report){.options = &p->process.options, .setup = &p->setup};
    mmrec_status status = make_report(p);
    *code = mmrec_report_exit(&p->report, failures, sizeof failures);
    if (status == MMREC_OK && *code != 0) mmrec_process_complain(&p->process, failures);
    mmrec_report_free(&p->process.allocator, &p->report);
    return status;
}

static mmrec_status run(program *p, int *code) {
    mmrec_process *process = &p->process;
    MMREC_TRY(
        mmrec_bench_setup_create(&process->allocator, &process->io, &process->options, &p->setup, &process->error));
    bool list = p->setup.list_ops || mmrec_option_on(&process->options, MMREC_OPTION_list);
    mmrec_status status =
        list ? mmrec_report_list(&process->allocator, &process->io, &p->setup, &process->error) : report(p, code);
    mmrec_bench_setup_free(&process->allocator, &p->setup);
    return status;
}

int main(int argc, char **argv) {
    static program p;
    int code = 0;
    bool answered = false;
    mmrec_status status = mmrec_process_start(&p.process, MMREC_PROGRAM_BENCH, argc, argv, &answered);
    if (status == MMREC_OK && !answered) status = run(&p, &code);
    return mmrec_process_end(&p.process, status, code);
}
