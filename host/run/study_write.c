/* The files of a study, each whole or not at all. */
#include <stdio.h>

#include "run/study.h"

typedef struct output {
    mmrec_io *io;
    study *s;
    study_summary summary;
    mmrec_error *error;
    mmrec_status first; /* failure of all outputs */
} output;

/* Only the first message is kept. */
static mmrec_error *error_of(const output *o) { return o->first == MMREC_OK ? o->error : NULL; }

static void note(output *o, mmrec_status status) {
    if (o->first == MMREC_OK) o->first = status;
}

/* Writes the text, unless making it failed, and frees it. */
static void put(output *o, const char *name, mmrec_buffer *text) {
    char path[STUDY_PATH + 32] = "-";
    mmrec_status status = mmrec_buffer_status(text, error_of(o));
    if (name) snprintf(path, sizeof path, "%s/%s", o->s->folder, name);
    if (status == MMREC_OK) status = mmrec_io_write_file(o->io, path, text->data, text->size, error_of(o));
    note(o, status);
    mmrec_buffer_free(text);
}

static void write_data(output *o) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, o->s->allocator);
    study_steps_csv(o->s, &text);
    put(o, "steps.csv", &text);
    mmrec_buffer_begin(&text, o->s->allocator);
    study_curves_csv(o->s, &text);
    put(o, "curves.csv", &text);
    mmrec_buffer_begin(&text, o->s->allocator);
    note(o, study_json(o->s, &o->summary, &text, error_of(o)));
    if (o->first == MMREC_OK)
        put(o, "results.json", &text);
    else
        mmrec_buffer_free(&text);
}

static void write_plot(output *o) {
    mmrec_buffer text;
    mmrec_buffer_begin(&text, o->s->allocator);
    study_plot_data(o->s, &o->summary, &text);
    put(o, "plot.dat", &text);
    mmrec_buffer_begin(&text, o->s->allocator);
    study_plot_script(o->s, &text);
    put(o, "plot.gp", &text);
    if (o->first == MMREC_OK)
        study_draw(o->s, "gnuplot");
    else
        snprintf(o->s->plot_note, sizeof o->s->plot_note, "what they are made of could not be written");
}

mmrec_status study_write(mmrec_io *io, study *s, mmrec_error *error) {
    output o = {.io = io, .s = s, .error = error, .first = MMREC_OK};
    mmrec_buffer text;
    study_summarise(s, &o.summary);
    write_data(&o);
    write_plot(&o);
    mmrec_buffer_begin(&text, s->allocator);
    study_report(s, &o.summary, &text);
    put(&o, "report.md", &text);
    mmrec_buffer_begin(&text, s->allocator);
    study_tables(s, &o.summary, &text);
    mmrec_buffer_format(&text, "\nWritten: %s/report.md, results.json, curves.csv, steps.csv, plot.gp%s\n", s->folder,
                        s->plot_note[0] ? "" : ", plot.svg, plot.png");
    put(&o, NULL, &text);
    return o.first;
}
