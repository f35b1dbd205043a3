/* Where a comparison goes: files, pictures, standard output. */
#include <stdio.h>
#include <string.h>

#include "compare/compare_print.h"
#include "report/files.h"

static const mmrec_option_id exports[] = {MMREC_OPTION_compare_export_json, MMREC_OPTION_compare_export_markdown,
                                          MMREC_OPTION_compare_export_csv};
enum { EXPORTS = sizeof exports / sizeof *exports };

/* ---- before anything is measured ---- */

static mmrec_status check_apart(const mmrec_options *options, int a, int b, mmrec_error *error) {
    const char *first = mmrec_option_text(options, exports[a]), *second = mmrec_option_text(options, exports[b]);
    if (!first || !second || strcmp(first, second) != 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--%s and --%s both write to %s; give each a file of its own",
               mmrec_option_get(exports[a])->flag, mmrec_option_get(exports[b])->flag,
               strcmp(first, "-") == 0 ? "standard output" : first);
}

mmrec_status mmrec_compare_check_outputs(mmrec_io *io, const mmrec_options *options, mmrec_error *error) {
    const char *folder = mmrec_option_text(options, MMREC_OPTION_plot);
    MMREC_TRY(check_apart(options, 0, 1, error));
    MMREC_TRY(check_apart(options, 0, 2, error));
    MMREC_TRY(check_apart(options, 1, 2, error));
    if (folder && strlen(folder) + 32 > COMPARE_PATH)
        MMREC_FAIL(error, MMREC_USAGE, "--plot is a path of %zu bytes; it must be shorter than %d", strlen(folder),
                   COMPARE_PATH - 32);
    for (int i = 0; i < EXPORTS; i++) {
        const char *path = mmrec_option_text(options, exports[i]);
        if (path) MMREC_TRY(mmrec_io_check_writable(io, path, error));
    }
    if (folder) MMREC_TRY_WHILE(mmrec_io_make_folder(io, folder, error), error, "preparing --plot");
    return mmrec_io_check_writable(io, "-", error);
}

/* ---- when it is done ---- */

typedef struct output {
    mmrec_files files;
    const mmrec_options *options;
    const mmrec_comparison *c;
    compare_pictures pictures;
} output;

/* MMREC_OPTIONS stands for the tables on standard output. */
static mmrec_status build(const output *o, mmrec_option_id what, mmrec_buffer *text) {
    mmrec_error *error = mmrec_files_error(&o->files);
    if (what == MMREC_OPTION_compare_export_json) return compare_json(o->c, o->options, text, error);
    if (what == MMREC_OPTION_compare_export_csv)
        compare_csv(o->c, text);
    else
        compare_report(o->c, o->options, &o->pictures, what == MMREC_OPTION_compare_export_markdown, text);
    return mmrec_buffer_status(text, error);
}

static void write_one(output *o, mmrec_option_id what, const char *path) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, o->c->allocator);
    mmrec_files_write(&o->files, path, build(o, what, &text), &text);
}

typedef void (*plot_part)(const mmrec_comparison *c, mmrec_buffer *out);

static void write_part(output *o, const char *name, plot_part part) {
    char path[COMPARE_PATH + 32];
    mmrec_buffer text;
    mmrec_buffer_begin(&text, o->c->allocator);
    part(o->c, &text);
    snprintf(path, sizeof path, "%s/%s", o->pictures.folder, name);
    mmrec_files_write(&o->files, path, mmrec_buffer_status(&text, mmrec_files_error(&o->files)), &text);
}

/* The text says what came of the pictures, so they come first. */
static void write_pictures(output *o) {
    compare_pictures *p = &o->pictures;
    p->folder = mmrec_option_text(o->options, MMREC_OPTION_plot);
    p->wanted = p->folder != NULL;
    if (!p->wanted) return;
    compare_plot_what(o->c, p);
    if (p->note[0]) return;
    write_part(o, "plot.dat", compare_plot_data);
    write_part(o, "plot.gp", compare_plot_script);
    if (o->files.first == MMREC_OK)
        mmrec_gnuplot("gnuplot", p->folder, p->note);
    else
        snprintf(p->note, sizeof p->note, "what they are made of could not be written");
}

/* An export to standard output takes the place of the tables. */
static bool tables_wanted(const mmrec_options *options) {
    for (int i = 0; i < EXPORTS; i++) {
        if (mmrec_option_is(options, exports[i], "-")) return false;
    }
    return true;
}

mmrec_status mmrec_compare_write(mmrec_io *io, const mmrec_options *options, const mmrec_comparison *comparison,
                                 mmrec_error *error) {
    output o = {.files = {.io = io, .error = error}, .options = options, .c = comparison};
    write_pictures(&o);
    for (int i = 0; i < EXPORTS; i++) {
        const char *path = mmrec_option_text(options, exports[i]);
        if (path) write_one(&o, exports[i], path);
    }
    if (tables_wanted(options)) write_one(&o, MMREC_OPTIONS, "-");
    return o.files.first;
}
