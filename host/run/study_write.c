/* The files of a study, each whole or not at all. */
#include <stdio.h>

#include "report/files.h"
#include "run/study.h"

typedef struct output {
    mmrec_files files;
    study *s;
    study_summary summary;
} output;

/* `name` in the study's folder, NULL: standard output. */
static void put(output *o, const char *name, mmrec_status made, mmrec_buffer *text) {
    char path[STUDY_PATH + 32] = "-";
    if (name) snprintf(path, sizeof path, "%s/%s", o->s->folder, name);
    mmrec_files_write(&o->files, path, made, text);
}

static void put_text(output *o, const char *name, mmrec_buffer *text) {
    put(o, name, mmrec_buffer_status(text, mmrec_files_error(&o->files)), text);
}

static void write_data(output *o) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, o->s->allocator);
    study_steps_csv(o->s, &text);
    put_text(o, "steps.csv", &text);
    mmrec_buffer_begin(&text, o->s->allocator);
    study_curves_csv(o->s, &text);
    put_text(o, "curves.csv", &text);
    mmrec_buffer_begin(&text, o->s->allocator);
    mmrec_files_note(&o->files, study_json(o->s, &o->summary, &text, mmrec_files_error(&o->files)));
    put(o, "results.json", o->files.first, &text); /* only where all that comes before it was written too */
}

static void write_plot(output *o) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, o->s->allocator);
    study_plot_data(o->s, &o->summary, &text);
    put_text(o, "plot.dat", &text);
    mmrec_buffer_begin(&text, o->s->allocator);
    study_plot_script(o->s, &text);
    put_text(o, "plot.gp", &text);
    if (o->files.first == MMREC_OK)
        study_draw(o->s, "gnuplot");
    else
        snprintf(o->s->plot_note, sizeof o->s->plot_note, "what they are made of could not be written");
}

mmrec_status study_write(mmrec_io *io, study *s, mmrec_error *error) {
    output o = {.files = {.io = io, .error = error}, .s = s};
    mmrec_buffer text;
    study_summarise(s, &o.summary);
    write_data(&o);
    write_plot(&o);
    mmrec_buffer_begin(&text, s->allocator);
    study_report(s, &o.summary, &text);
    put_text(&o, "report.md", &text);
    mmrec_buffer_begin(&text, s->allocator);
    study_tables(s, &o.summary, &text);
    mmrec_buffer_format(&text, "\nWritten: %s/report.md, results.json, curves.csv, steps.csv, plot.gp%s\n", s->folder,
                        s->plot_note[0] ? "" : ", plot.svg, plot.png");
    put_text(&o, NULL, &text);
    return o.files.first;
}
