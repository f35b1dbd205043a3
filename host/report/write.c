/* Where reports go: export files, standard output. */
#include <string.h>

#include "mmrec/version.h"
#include "report/files.h"
#include "report/markdown.h"
#include "report/output.h"

static const mmrec_option_id exports[] = {MMREC_OPTION_export_json, MMREC_OPTION_export_markdown,
                                          MMREC_OPTION_export_csv};
enum { EXPORTS = sizeof exports / sizeof *exports };

static bool is_standard(const char *path) { return strcmp(path, "-") == 0; }

/* An export to standard output takes the place of the tables. */
static bool tables_wanted(const mmrec_options *options) {
    for (int i = 0; i < EXPORTS; i++) {
        if (mmrec_option_is(options, exports[i], "-")) return false;
    }
    return true;
}

static mmrec_status check_apart(const mmrec_options *options, int a, int b, mmrec_error *error) {
    const char *first = mmrec_option_text(options, exports[a]), *second = mmrec_option_text(options, exports[b]);
    if (!first || !second || strcmp(first, second) != 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--%s and --%s both write to %s", mmrec_option_get(exports[a])->flag,
               mmrec_option_get(exports[b])->flag, is_standard(first) ? "standard output" : first);
}

mmrec_status mmrec_report_check_outputs(mmrec_io *io, const mmrec_options *options, mmrec_error *error) {
    MMREC_TRY(check_apart(options, 0, 1, error));
    MMREC_TRY(check_apart(options, 0, 2, error));
    MMREC_TRY(check_apart(options, 1, 2, error));
    for (int i = 0; i < EXPORTS; i++) {
        const char *path = mmrec_option_text(options, exports[i]);
        if (path) MMREC_TRY(mmrec_io_check_writable(io, path, error));
    }
    return mmrec_io_check_writable(io, "-", error);
}

static mmrec_status build(mmrec_allocator *allocator, mmrec_option_id what, const mmrec_report *report,
                          mmrec_buffer *text, mmrec_error *error) {
    if (what == MMREC_OPTION_export_json) return mmrec_json(allocator, report, text, error);
    if (what == MMREC_OPTION_export_csv)
        mmrec_csv(report, text);
    else
        mmrec_markdown(report, what == MMREC_OPTION_export_markdown, text);
    return mmrec_buffer_status(text, error);
}

/* MMREC_OPTIONS stands for the tables on standard output. */
static void write_one(mmrec_allocator *allocator, mmrec_files *files, mmrec_option_id what, const char *path,
                      const mmrec_report *report) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, allocator);
    mmrec_files_write(files, path, build(allocator, what, report, &text, mmrec_files_error(files)), &text);
}

mmrec_status mmrec_report_write(mmrec_allocator *allocator, mmrec_io *io, const mmrec_report *report,
                                mmrec_error *error) {
    mmrec_files files = {.io = io, .error = error};
    for (int i = 0; i < EXPORTS; i++) {
        const char *path = mmrec_option_text(report->options, exports[i]);
        if (path) write_one(allocator, &files, exports[i], path, report);
    }
    if (tables_wanted(report->options)) write_one(allocator, &files, MMREC_OPTIONS, "-", report);
    return files.first;
}

/* ---- texts for standard output ---- */

static mmrec_status print(mmrec_io *io, mmrec_buffer *text, mmrec_error *error) {
    return mmrec_file_write(io, "-", mmrec_buffer_status(text, error), text, error);
}

static void add(void *context, const char *text, size_t size) { mmrec_buffer_bytes(context, text, size); }

mmrec_status mmrec_report_help(mmrec_allocator *allocator, mmrec_io *io, mmrec_program program, mmrec_error *error) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, allocator);
    mmrec_options_help(program, (mmrec_option_writer){add, &text});
    return print(io, &text, error);
}

mmrec_status mmrec_report_version(mmrec_allocator *allocator, mmrec_io *io, mmrec_program program,
                                  mmrec_error *error) {
    mmrec_machine machine;
    mmrec_buffer text;
    mmrec_machine_read(&machine, 1);
    mmrec_buffer_begin(&text, allocator);
    mmrec_buffer_format(&text, "%s %s\ncompiler: %s\nblas: %s\ninstruction set: %s\n", mmrec_program_name(program),
                        mmrec_version(), machine.compiler, machine.blas, machine.isa);
    return print(io, &text, error);
}

mmrec_status mmrec_report_config(mmrec_allocator *allocator, mmrec_io *io, const mmrec_options *options,
                                 mmrec_error *error) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, allocator);
    mmrec_options_print(options, (mmrec_option_writer){add, &text});
    return print(io, &text, error);
}

static void list_case(const mmrec_bench_setup *setup, int index, mmrec_table *table) {
    const mmrec_bench_case *c = &setup->cases[index];
    mmrec_table_cell(table, "%d", index + 1);
    for (int i = 0; i < MMREC_CASE_SIZES; i++) mmrec_table_cell(table, "%lld", (long long)mmrec_case_size(c, i));
}

static void list_cases(const mmrec_bench_setup *setup, mmrec_buffer *text) {
    static const char *const sides[] = {"HEM off", "HEM on", "HEM off and on in alternation"};
    mmrec_table table;
    mmrec_table_begin(&table, text->allocator, 1 + MMREC_CASE_SIZES, ~0u);
    mmrec_table_cell(&table, "case");
    for (int i = 0; i < MMREC_CASE_SIZES; i++) mmrec_table_cell(&table, "%s", mmrec_case_size_name(i));
    for (int i = 0; i < setup->run.case_count; i++) list_case(setup, i, &table);
    mmrec_table_end(&table, text);
    mmrec_buffer_format(text, "\nEach with %s%s, on backend %s, %s:\n\n", sides[setup->run.hem],
                        setup->run.self_test ? " against itself" : "", setup->run.backend->name,
                        mmrec_dtype_name(mmrec_backend_dtype(setup->run.backend, setup->run.bf16)));
    for (int k = 0; k < MMREC_MEASURE_KINDS; k++) {
        if (!mmrec_measure_wanted(&setup->run, (mmrec_measure_kind)k)) continue;
        mmrec_buffer_format(text, "- %s\n", mmrec_measure_kind_name((mmrec_measure_kind)k));
    }
}

static void list_ops(mmrec_buffer *text) {
    mmrec_table table;
    mmrec_table_begin(&table, text->allocator, 3, 0);
    mmrec_table_header(&table, "op|default --at|formula");
    for (int i = 1; i < MMREC_OPS; i++) {
        const mmrec_op_def *def = mmrec_op_get((mmrec_op_id)i, MMREC_VARIANT_F64);
        mmrec_table_cell(&table, "%s", def->name);
        mmrec_table_cell(&table, "%s", def->bench);
        mmrec_table_cell(&table, "%s", def->formula);
    }
    mmrec_table_end(&table, text);
}

mmrec_status mmrec_report_list(mmrec_allocator *allocator, mmrec_io *io, const mmrec_bench_setup *setup,
                               mmrec_error *error) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, allocator);
    if (setup->list_ops)
        list_ops(&text);
    else
        list_cases(setup, &text);
    return print(io, &text, error);
}
