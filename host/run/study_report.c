/* The report: verdicts, a table per variant, and what was run on what. Every sentence is made from the figures. */
#include <math.h>
#include <string.h>

#include "core/text.h"
#include "core/units.h"
#include "mmrec/version.h"
#include "report/markdown.h"
#include "run/study.h"

/* ---- the verdict ---- */

static int diverged(const study *s, const study_summary *summary, int variant) {
    int count = 0;
    for (int k = 0; k < summary->seeds; k++) count += s->run[k][variant].failure[0] != '\0';
    return count;
}

/* Nats, 0.5 % of a perplexity: many seeds show differences that nobody would train for. */
static const double negligible = 0.005;

/* What the final validation loss says, and nothing else. */
static const char *outcome(const study *s, const study_summary *summary, int variant) {
    const study_difference *d = &summary->row[STUDY_LOSS].difference[variant];
    bool little = fabs(d->estimate.mean) < negligible;
    switch (d->word) {
    case STUDY_BETTER:
        return little ? "gained next to nothing" : "gained";
    case STUDY_WORSE:
        return little ? "lost next to nothing" : "lost";
    case STUDY_NO_DIFFERENCE:
        return "nothing gained";
    default:
        break;
    }
    if (diverged(s, summary, variant) > diverged(s, summary, 0)) return "lost, as it diverged more often";
    return summary->seeds < 2 ? "not decided by one seed" : "not decided";
}

static void add_divergence(const study *s, const study_summary *summary, int variant, mmrec_buffer *out) {
    int before = diverged(s, summary, 0), after = diverged(s, summary, variant);
    if (before + after == 0) return;
    mmrec_buffer_format(out, " Runs that diverged: %d of %d in the baseline, %d of %d in %s.", before, summary->seeds,
                        after, summary->seeds, s->variant[variant].title);
}

/* " (difference +0.0123, 95 % interval -0.0100 to +0.0346)" */
static void add_loss(const study *s, const study_summary *summary, int variant, mmrec_buffer *out) {
    const study_row *loss = &summary->row[STUDY_LOSS], *perplexity = &summary->row[STUDY_PERPLEXITY];
    const study_estimate *e = &loss->difference[variant].estimate;
    if (e->count == 0) {
        mmrec_buffer_text(out, " No seed has a final validation loss of both.");
        return;
    }
    mmrec_buffer_format(out, " Final validation loss %.4f -> %.4f (difference %+.4f", loss->side[0].mean,
                        loss->side[variant].mean, e->mean);
    if (e->has_interval) mmrec_buffer_format(out, ", 95 %% interval %+.4f to %+.4f", e->interval.low, e->interval.high);
    mmrec_buffer_format(out, ", %d seed%s), perplexity %.3f -> %.3f.", e->count, e->count == 1 ? "" : "s",
                        perplexity->side[0].mean, perplexity->side[variant].mean);
    /* One variant of several: the word goes by a wider interval than the one printed. */
    bool apart = e->has_interval && (e->interval.low > 0 || e->interval.high < 0);
    if (apart && loss->difference[variant].word == STUDY_NO_DIFFERENCE)
        mmrec_buffer_format(out, " That interval excludes 0, but not the one of %.4g %% that %d comparisons ask for.",
                            100 * summary->level, s->variant_count - 1);
}

static void add_cost(const study_summary *summary, int variant, mmrec_buffer *out) {
    const study_difference *time = &summary->row[STUDY_STEP_TIME].difference[variant];
    const study_row *memory = &summary->row[STUDY_MEMORY];
    if (time->estimate.count > 0) {
        mmrec_buffer_format(out, " A step takes %.3f times the time", time->estimate.mean);
        if (time->estimate.has_interval)
            mmrec_buffer_format(out, " (%.3f to %.3f)", time->estimate.interval.low, time->estimate.interval.high);
        mmrec_buffer_text(out, " and");
    } else {
        mmrec_buffer_text(out, " A step takes");
    }
    mmrec_buffer_format(out, " %.3f times the memory.", memory->side[variant].mean / memory->side[0].mean);
}

static void add_target(const study *s, const study_summary *summary, int variant, mmrec_buffer *out) {
    char before[STUDY_CELL], after[STUDY_CELL], difference[STUDY_CELL];
    if (!isfinite(summary->target)) return;
    mmrec_buffer_format(out, " Steps to a validation loss of %.4f: %s -> %s", summary->target,
                        study_side_text(s, summary, STUDY_TO_TARGET, 0, before),
                        study_side_text(s, summary, STUDY_TO_TARGET, variant, after));
    if (summary->row[STUDY_TO_TARGET].difference[variant].estimate.count > 0)
        mmrec_buffer_format(out, " (difference %s)",
                            study_difference_text(s, summary, STUDY_TO_TARGET, variant, difference));
    mmrec_buffer_text(out, ".");
}

void study_verdict(const study *s, const study_summary *summary, int variant, mmrec_buffer *out) {
    mmrec_buffer_format(out, "**%s: %s.**", s->variant[variant].title, outcome(s, summary, variant));
    add_loss(s, summary, variant, out);
    add_cost(summary, variant, out);
    add_target(s, summary, variant, out);
    add_divergence(s, summary, variant, out);
}

/* ---- the tables ---- */

static const char *column_of(mmrec_study kind) {
    if (kind == MMREC_STUDY_UBOO) return "UB\xc3\x96O";
    return kind == MMREC_STUDY_HEM ? "HEM" : "DPG";
}

static void variant_table(const study *s, const study_summary *summary, int variant, mmrec_buffer *out) {
    char text[STUDY_CELL];
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 4, 0xe);
    mmrec_table_cell(&table, "Metric");
    mmrec_table_cell(&table, "Baseline");
    mmrec_table_cell(&table, "%s", column_of(s->kind));
    mmrec_table_cell(&table, "Difference");
    for (int f = 0; f < STUDY_FIGURES; f++) {
        study_figure figure = (study_figure)f;
        if (!study_figure_shown(s, summary, figure)) continue;
        mmrec_table_cell(&table, "%s", study_figure_text(s, summary, figure, text));
        mmrec_table_cell(&table, "%s", study_side_text(s, summary, figure, 0, text));
        mmrec_table_cell(&table, "%s", study_side_text(s, summary, figure, variant, text));
        mmrec_table_cell(&table, "%s", study_difference_text(s, summary, figure, variant, text));
    }
    mmrec_table_end(&table, out);
}

static void incomplete(const study *s, const study_summary *summary, mmrec_buffer *out) {
    char why[sizeof s->stopped];
    if (summary->complete && !s->stopped[0]) return;
    mmrec_text_printable(s->stopped, strlen(s->stopped), why, sizeof why);
    mmrec_buffer_format(out, "**Incomplete: %s.** The figures are of %d of %d seeds, at step %lld of %lld.\n\n", why,
                        summary->seeds, s->seed_count, (long long)summary->reached, (long long)s->steps);
}

void study_tables(const study *s, const study_summary *summary, mmrec_buffer *out) {
    incomplete(s, summary, out);
    for (int v = 1; v < s->variant_count; v++) {
        study_verdict(s, summary, v, out);
        mmrec_buffer_text(out, "\n\n");
    }
    for (int v = 1; v < s->variant_count; v++) {
        mmrec_buffer_format(out, "%s## %s against the baseline\n\n", v > 1 ? "\n" : "", s->variant[v].title);
        variant_table(s, summary, v, out);
    }
}

/* ---- what was run ---- */

/* A word of a command line, quoted where a shell would not leave it alone. */
static void add_word(mmrec_buffer *out, const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=./,:%@";
    char safe[STUDY_PATH];
    bool quote = text[strspn(text, plain)] != '\0';
    mmrec_text_printable(text, strlen(text), safe, sizeof safe);
    if (quote) mmrec_buffer_text(out, "'");
    for (const char *c = safe; *c; c++) {
        if (*c == '\'')
            mmrec_buffer_text(out, "'\\''");
        else
            mmrec_buffer_bytes(out, c, 1);
    }
    if (quote) mmrec_buffer_text(out, "'");
}

void study_command(const study *s, mmrec_buffer *out) {
    const mmrec_options *options = s->setup->options;
    mmrec_buffer_text(out, mmrec_program_name(options->program));
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_value *value = &options->value[i];
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        bool given = value->source != MMREC_SOURCE_DEFAULT && i != MMREC_OPTION_config; /* what it says is given */
        for (int t = 0; t < value->count && given; t++) {
            mmrec_buffer_format(out, " --%s", def->flag);
            if (def->kind == MMREC_KIND_FLAG) continue;
            mmrec_buffer_text(out, " ");
            add_word(out, value->text[t]);
        }
    }
}

static void seeds_cell(const study *s, mmrec_table *table) {
    mmrec_table_cell(table, "seeds");
    mmrec_table_cell(table, "%d: %llu to %llu", s->seed_count, (unsigned long long)s->seed[0],
                     (unsigned long long)s->seed[s->seed_count - 1]);
}

static void model_cells(const study *s, mmrec_table *table) {
    const mmrec_train_config *c = &s->variant[0].train;
    char name[MMREC_NAME_TEXT];
    mmrec_bench_case sizes = {c->model, c->batch, c->time};
    mmrec_table_cell(table, "model");
    mmrec_table_cell(table, "%s", mmrec_case_name(&sizes, name));
    const mmrec_device *device = s->setup->backend->device;
    mmrec_table_cell(table, "run");
    mmrec_table_cell(table, "backend %s, %s%s%s, %d thread%s, started %s, ended %s", s->setup->backend->name,
                     device ? device->info.name : "", device ? ", " : "",
                     mmrec_dtype_name(mmrec_backend_dtype(s->setup->backend, c->bf16)), s->machine.threads,
                     s->machine.threads == 1 ? "" : "s", s->started, s->ended);
}

static void data_cells(const study *s, mmrec_table *table) {
    long long held_out = (long long)s->data.held_out_batches, most = (long long)s->val_batches;
    mmrec_table_cell(table, "data");
    mmrec_table_cell(table, "%s, CRC-32 %08x", s->data.name, (unsigned)s->data.checksum);
    mmrec_table_cell(table, "training");
    mmrec_table_cell(table, "%lld steps of %lld sequences of %lld; validation every %lld steps on %lld batches",
                     (long long)s->steps, (long long)(s->variant[0].train.batch * s->variant[0].train.accumulate),
                     (long long)s->variant[0].train.time, (long long)s->val_every,
                     held_out > 0 && held_out < most ? held_out : most);
}

static void head(const study *s, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_table_begin(&table, out->allocator, 2, 0);
    mmrec_table_header(&table, "machine| ");
    mmrec_markdown_machine(&s->machine, &table);
    data_cells(s, &table);
    model_cells(s, &table);
    seeds_cell(s, &table);
    mmrec_table_end(&table, out);
}

static void command(const study *s, mmrec_buffer *out) {
    mmrec_buffer_text(out, "\n```\n");
    study_command(s, out);
    mmrec_buffer_text(out, "\n```\n");
}

/* What decides, and how sure it has to be. */
static void note_decision(const study *s, const study_summary *summary, mmrec_buffer *out) {
    mmrec_buffer_format(
        out,
        "- The final validation loss decides; that was so before any run. A difference of less than %g nats, "
        "%g %% of the perplexity, is next to nothing even where it is sure. The other rows are many: of "
        "twenty without any difference one is called so by chance.\n",
        negligible, 100 * negligible);
    if (s->variant_count == 2) return;
    mmrec_buffer_format(
        out,
        "- There are %d comparisons, so a final validation loss is called better or worse by an interval of "
        "%.4g %%, wider than the one printed: the chance of a false word about any of them is then 5 %%.\n",
        s->variant_count - 1, 100 * summary->level);
}

static void notes(const study *s, const study_summary *summary, mmrec_buffer *out) {
    mmrec_buffer_text(out, "\n## How to read it\n\n");
    note_decision(s, summary, out);
    mmrec_buffer_text(
        out, "- \xc2\xb1 and what stands in brackets are 95 % intervals over seeds by Student's t; differences "
             "and ratios are taken seed by seed. Variants of a seed have the same data in the same order, and "
             "the same initial values where they have the same parameters. Values without an interval are "
             "exact, or of one seed.\n"
             "- A time is called better or worse where the ratio is at least 1 % from 1 and its interval of 99 % "
             "excludes 1: times scatter in ways that few seeds do not show.\n");
    mmrec_buffer_format(
        out,
        "- The target loss is %s. It counts as reached at the first validation at or below it, so it is "
        "known to %lld steps: a smaller difference is not shown.\n",
        isfinite(s->target) ? "the one that was asked for" : "the largest final validation loss of the baseline's runs",
        (long long)s->val_every);
    mmrec_buffer_format(
        out,
        "- Variance is that of the main training loss over the last %lld steps of a run, batches' own "
        "scatter included. Times are of training steps alone, in alternation; memory is what the plan of "
        "the training graph holds.\n",
        (long long)study_window(s->steps));
}

static void failures(const study *s, mmrec_buffer *out) {
    bool any = false;
    for (int k = 0; k < s->begun; k++) {
        for (int v = 0; v < s->variant_count; v++) {
            char text[MMREC_ERROR_MESSAGE];
            const char *failure = s->run[k][v].failure;
            if (!failure[0]) continue;
            if (!any) mmrec_buffer_text(out, "\n## Runs that diverged\n\n");
            any = true;
            mmrec_buffer_format(out, "- seed %llu, %s: %s\n", (unsigned long long)s->seed[k], s->variant[v].name,
                                mmrec_text_printable(failure, strlen(failure), text, sizeof text));
        }
    }
}

void study_report(const study *s, const study_summary *summary, mmrec_buffer *out) {
    mmrec_buffer_format(out, "# Study: %s\n\n", study_name(s->kind));
    study_tables(s, summary, out);
    if (s->plot_note[0])
        mmrec_buffer_format(out, "\nCurves: not drawn: %s.\n", s->plot_note);
    else
        mmrec_buffer_text(out, "\n![curves](plot.svg)\n");
    failures(s, out);
    notes(s, summary, out);
    mmrec_buffer_text(out, "\n## What was run\n\n");
    head(s, out);
    command(s, out);
}
