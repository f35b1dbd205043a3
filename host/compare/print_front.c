/* The trade-off: who is on the Pareto front, and what the others lose. Sentences are made of figures, and a word about
 * a difference stands there only where its interval decides. */
#include <math.h>

#include "compare/compare_print.h"
#include "run/study.h"

const char *compare_criterion_name(compare_criterion criterion) {
    static const char *const names[COMPARE_CRITERIA] = {"step time", "planned memory", "held-out loss"};
    return names[criterion];
}

const char *compare_word_name(compare_word word) {
    static const char *const names[] = {"better", "worse", "same", "not decided"};
    return names[word];
}

double compare_criterion_of(const mmrec_comparison *c, int row, compare_criterion criterion) {
    compare_figures f;
    compare_figures_of(c, row, &f);
    if (!f.measured) return (double)NAN;
    if (criterion == COMPARE_TIME)
        return f.part[MMREC_PART_STEP].valid ? f.part[MMREC_PART_STEP].median_ns : (double)NAN;
    if (criterion == COMPARE_MEMORY) return f.planned > 0 ? (double)f.planned : (double)NAN;
    return f.learned.valid ? f.learned.loss : (double)NAN;
}

bool compare_criterion_used(const mmrec_comparison *c, compare_criterion criterion) {
    for (int i = 0; i < c->options->count; i++) {
        if (isfinite(compare_criterion_of(c, i, criterion))) return true;
    }
    return false;
}

/* ---- one row against another ---- */

static compare_word word_of(mmrec_interval ci95, double nothing) {
    if (ci95.high < nothing) return COMPARE_BETTER;
    return ci95.low > nothing ? COMPARE_WORSE : COMPARE_UNDECIDED;
}

static compare_word word_of_verdict(mmrec_verdict verdict) {
    if (verdict == MMREC_FASTER) return COMPARE_BETTER;
    if (verdict == MMREC_SLOWER) return COMPARE_WORSE;
    return verdict == MMREC_SAME ? COMPARE_SAME : COMPARE_UNDECIDED;
}

/* Rows take their times round by round, in an order and its reverse by turns: samples of the same round are pairs.
 * Where the rows have not as many, the intervals of their medians bound the ratio, which is wider. */
static void add_time(const mmrec_comparison *c, int by, int other, compare_gap *gap) {
    const mmrec_series *a = &c->row[other].series[MMREC_PART_STEP], *b = &c->row[by].series[MMREC_PART_STEP];
    compare_figures f[2];
    mmrec_paired paired = {0};
    if (a->count == b->count && a->samples_ns && b->samples_ns)
        paired = mmrec_paired_of(a->samples_ns, b->samples_ns, a->count);
    if (paired.valid) {
        *gap = (compare_gap){true, paired.ratio, true, paired.ci95, word_of_verdict(paired.verdict)};
        return;
    }
    compare_figures_of(c, by, &f[0]);
    compare_figures_of(c, other, &f[1]);
    gap->has_interval = f[0].part[MMREC_PART_STEP].has_interval && f[1].part[MMREC_PART_STEP].has_interval;
    if (!gap->has_interval) return;
    gap->ci95 = (mmrec_interval){b->stats.ci95.low / a->stats.ci95.high, b->stats.ci95.high / a->stats.ci95.low};
    gap->word = word_of(gap->ci95, 1);
}

/* Seed by seed: rows of a seed have the same batches. */
static void add_loss(const mmrec_comparison *c, int by, int other, compare_gap *gap) {
    const mmrec_compare_quality *a = &c->row[other].quality, *b = &c->row[by].quality;
    double difference[MMREC_COMPARE_SEEDS];
    int seeds = a->seeds < b->seeds ? a->seeds : b->seeds;
    for (int k = 0; k < seeds; k++) difference[k] = b->loss[k] - a->loss[k];
    study_estimate e = study_estimate_of(difference, seeds, 0.95);
    if (e.count == 0) return;
    gap->value = e.mean;
    gap->has_interval = e.has_interval;
    if (!e.has_interval) return;
    gap->ci95 = e.interval;
    gap->word = e.interval.low == 0 && e.interval.high == 0 ? COMPARE_SAME : word_of(e.interval, 0);
}

compare_gap compare_gap_of(const mmrec_comparison *c, int by, int other, compare_criterion criterion) {
    double mine = compare_criterion_of(c, by, criterion), its = compare_criterion_of(c, other, criterion);
    compare_gap gap = {.known = isfinite(mine) && isfinite(its), .word = COMPARE_UNDECIDED};
    if (!gap.known) return gap;
    gap.value = criterion == COMPARE_LOSS ? mine - its : mine / its;
    if (criterion == COMPARE_TIME) add_time(c, by, other, &gap);
    if (criterion == COMPARE_LOSS) add_loss(c, by, other, &gap);
    if (criterion == COMPARE_MEMORY)
        gap.word = mine < its ? COMPARE_BETTER : mine > its ? COMPARE_WORSE : COMPARE_SAME; /* of the plan: exact */
    return gap;
}

/* By medians and means, and what was not measured is worse, as the front itself is decided. How much of the other's:
 * the product of ratios, NaN where it does not beat it. exp of a difference of losses is the ratio of perplexities. */
static double share_of(const mmrec_comparison *c, int by, int other) {
    double share = 1;
    bool better = false;
    for (int k = 0; k < COMPARE_CRITERIA; k++) {
        double mine = compare_criterion_of(c, by, (compare_criterion)k);
        double its = compare_criterion_of(c, other, (compare_criterion)k);
        if (!isfinite(its)) {
            better = better || isfinite(mine);
            continue;
        }
        if (!(mine <= its)) return (double)NAN;
        better = better || mine < its;
        share *= k == COMPARE_LOSS ? exp(mine - its) : mine / its;
    }
    return better ? share : (double)NAN;
}

int compare_beaten_by(const mmrec_comparison *c, int row) {
    int best = -1;
    double least = 0;
    for (int i = 0; i < c->options->count; i++) {
        if (i == row || !c->front[i]) continue;
        double share = share_of(c, i, row);
        if (!isfinite(share) || (best >= 0 && !(share < least))) continue;
        best = i;
        least = share;
    }
    return best;
}

/* ---- sentences ---- */

static bool measured(const mmrec_comparison *c, int row) {
    return !c->row[row].failure[0] && !c->options->entries[row].refused[0];
}

static int count_measured(const mmrec_comparison *c) {
    int count = 0;
    for (int i = 0; i < c->options->count; i++) count += measured(c, i);
    return count;
}

/* "a", "a and b", "a, b and c": separators between the items of a list. */
static const char *between(int index, int count) {
    if (index == 0) return "";
    return index + 1 == count ? " and " : ", ";
}

static void add_criteria(const mmrec_comparison *c, mmrec_buffer *out) {
    int count = 0, index = 0;
    for (int k = 0; k < COMPARE_CRITERIA; k++) count += compare_criterion_used(c, (compare_criterion)k);
    for (int k = 0; k < COMPARE_CRITERIA; k++) {
        if (!compare_criterion_used(c, (compare_criterion)k)) continue;
        mmrec_buffer_format(out, "%s%s", between(index++, count), compare_criterion_name((compare_criterion)k));
    }
}

void compare_front_summary(const mmrec_comparison *c, mmrec_buffer *out) {
    int count = 0, index = 0, all = count_measured(c);
    for (int i = 0; i < c->options->count; i++) count += c->front[i];
    if (all < 2 || count == 0) {
        mmrec_buffer_format(out, "%s measured: there is nothing to weigh.",
                            all == 0   ? "No row was"
                            : all == 1 ? "Only one row was"
                                       : "Nothing that could decide was");
        return;
    }
    mmrec_buffer_text(out, "On the Pareto front of ");
    add_criteria(c, out);
    mmrec_buffer_format(out, " (%d of %d): ", count, all);
    for (int i = 0; i < c->options->count; i++) {
        if (c->front[i]) mmrec_buffer_format(out, "%s%s", between(index++, count), c->options->entries[i].label);
    }
    mmrec_buffer_text(out, ".");
}

/* "0.800 times the time of a step (0.790 to 0.810)": of the row that beats. */
static void add_gap(compare_criterion criterion, const compare_gap *gap, mmrec_buffer *out) {
    bool loss = criterion == COMPARE_LOSS, word = gap->word == COMPARE_UNDECIDED || gap->word == COMPARE_SAME;
    if (loss)
        mmrec_buffer_format(out, "a held-out loss that differs by %+.4f", gap->value);
    else
        mmrec_buffer_format(out, "%.3f times the %s", gap->value,
                            criterion == COMPARE_TIME ? "time of a step" : "memory");
    if (!gap->has_interval && !word) return;
    mmrec_buffer_text(out, " (");
    if (gap->has_interval)
        mmrec_buffer_format(out, loss ? "%+.4f to %+.4f" : "%.3f to %.3f", gap->ci95.low, gap->ci95.high);
    mmrec_buffer_format(out, "%s%s)", gap->has_interval && word ? "; " : "", word ? compare_word_name(gap->word) : "");
}

/* Whether any interval says so. */
static bool decided(const mmrec_comparison *c, int by, int row) {
    bool any = false;
    for (int k = 0; k < COMPARE_CRITERIA; k++) {
        compare_gap gap = compare_gap_of(c, by, row, (compare_criterion)k);
        any = any || (gap.known && gap.word == COMPARE_BETTER);
    }
    return any;
}

/* In how many criteria the two can be compared. */
static int known_gaps(const mmrec_comparison *c, int by, int row) {
    int count = 0;
    for (int k = 0; k < COMPARE_CRITERIA; k++) count += compare_gap_of(c, by, row, (compare_criterion)k).known;
    return count;
}

void compare_front_sentence(const mmrec_comparison *c, int row, mmrec_buffer *out) {
    const char *label = c->options->entries[row].label;
    if (c->front[row] || !measured(c, row) || count_measured(c) < 2) return;
    int by = compare_beaten_by(c, row), index = 0, count = by < 0 ? 0 : known_gaps(c, by, row);
    if (count == 0) {
        mmrec_buffer_format(out, "%s is not on the front: what decides was not measured of it.", label);
        return;
    }
    mmrec_buffer_format(out, "%s is %s %s, which has ", label, decided(c, by, row) ? "beaten by" : "behind",
                        c->options->entries[by].label);
    for (int k = 0; k < COMPARE_CRITERIA; k++) {
        compare_gap gap = compare_gap_of(c, by, row, (compare_criterion)k);
        if (!gap.known) continue;
        mmrec_buffer_text(out, between(index++, count));
        add_gap((compare_criterion)k, &gap, out);
    }
    mmrec_buffer_text(out, ".");
}

/* ---- the section ---- */

static void table_row(const mmrec_comparison *c, int row, mmrec_table *table) {
    char text[COMPARE_CELL];
    compare_figures f;
    if (!compare_row_begin(c, row, 5, &f, table)) return;
    compare_time_cell(c, row, MMREC_PART_STEP, &f, table);
    mmrec_table_cell(table, "%.3f", (double)f.planned / 1e6);
    mmrec_table_cell(table, "%s",
                     f.learned.valid
                         ? compare_interval_text(f.learned.loss, f.learned.has_interval, f.learned.loss_ci95, 4, text)
                         : "n/a");
    mmrec_table_cell(table, "%s", c->front[row] ? "yes" : "no");
}

void compare_print_front(const mmrec_comparison *c, mmrec_buffer *out) {
    mmrec_table table;
    mmrec_buffer_text(out, "\n## Trade-off\n\n");
    compare_front_summary(c, out);
    mmrec_buffer_text(out, "\n");
    if (count_measured(c) < 2) return;
    mmrec_buffer_text(out, "\n");
    mmrec_table_begin(&table, out->allocator, 5, 0xe);
    mmrec_table_header(&table, "Model|Step (ms)|Memory (MB)|Held-out loss|Front");
    for (int i = 0; i < c->options->count; i++) table_row(c, i, &table);
    mmrec_table_end(&table, out);
    bool any = false;
    for (int i = 0; i < c->options->count; i++) {
        if (c->front[i] || !measured(c, i)) continue;
        mmrec_buffer_format(out, "%s- ", any ? "" : "\n");
        any = true;
        compare_front_sentence(c, i, out);
        mmrec_buffer_text(out, "\n");
    }
}
