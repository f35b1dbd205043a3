/* --match: a model's width is looked for at which width, parameters or FLOPs of a step come nearest to a budget. Graphs
 * are built and counted; nothing is run, so a width costs milliseconds whatever it would take to train. */
#include <math.h>
#include <string.h>

#include "compare_print.h"
#include "compare_setup.h"

/* Further away than this the rows are not of one size. */
static const double most_away = 0.1;
/* So near, as a share of the budget, two widths are equally good, and that which is a multiple of 8 fills vectors. */
static const double as_near = 0.01;
enum { GOOD_MULTIPLE = 8, WIDTH_MOST = 1 << 20 };

/* ---- fields ---- */

static const mmrec_model_field *field_of(const mmrec_model_def *def, const char *key) {
    const mmrec_model_field *f = def->fields;
    while (f->key && strcmp(f->key, key) != 0) f++;
    return f->key ? f : NULL;
}

static int64_t whole_at(const mmrec_compare_entry *e, const mmrec_model_field *f) {
    return *(const int64_t *)(const void *)((const char *)&e->config + f->offset);
}

/* Of a list of widths the first, as it stands in front; an empty list begins with 0. */
bool compare_model_width(const mmrec_compare_entry *entry, int64_t *out) {
    const mmrec_model_def *def = mmrec_model_get(entry->kind);
    *out = def->width ? whole_at(entry, field_of(def, def->width)) : 0;
    return *out > 0;
}

/* Widths that are multiples of this leave the number of heads as it is. */
static int64_t heads_of(const mmrec_compare_entry *e) {
    const mmrec_model_field *heads = field_of(mmrec_model_get(e->kind), "heads");
    return heads ? whole_at(e, heads) : 1;
}

/* ---- counting ---- */

static double flops_of(const mmrec_graph *graph) {
    double sum = 0;
    for (int phase = 0; phase < MMREC_PHASES; phase++) sum += mmrec_graph_work(graph, (mmrec_phase)phase).flops;
    return sum;
}

static mmrec_status count_graph(mmrec_allocator *allocator, const mmrec_compare_entry *e,
                                const mmrec_compare_options *o, double *out, mmrec_error *error) {
    bool flops = o->match == MMREC_MATCH_FLOPS;
    mmrec_model_run run = {.batch = o->task.batch,
                           .time = o->task.time,
                           .hem = o->hem,
                           .loss = true,
                           .gradient = flops,
                           .recompute = flops && o->recompute};
    mmrec_graph *graph = NULL;
    MMREC_TRY(mmrec_graph_create(allocator, mmrec_backend_dtype(o->backend, o->bf16),
                                 mmrec_backend_threads(o->backend, o->threads), &graph, error));
    mmrec_status status = mmrec_model_build(e->kind, &e->config, &run, graph, error);
    if (status == MMREC_OK) status = mmrec_graph_status(graph, error);
    if (status == MMREC_OK) *out = flops ? flops_of(graph) : (double)mmrec_graph_param_count(graph);
    mmrec_graph_destroy(&graph);
    return status;
}

/* What is matched, of the entry as it is. */
static mmrec_status count(mmrec_allocator *allocator, const mmrec_compare_entry *e, const mmrec_compare_options *o,
                          double *out, mmrec_error *error) {
    int64_t width;
    if (o->match != MMREC_MATCH_WIDTH) return count_graph(allocator, e, o, out, error);
    if (!compare_model_width(e, &width)) {
        MMREC_FAIL(error, MMREC_CONFIG, "model %s has no width%s", mmrec_model_get(e->kind)->name,
                   e->kind == MMREC_MODEL_mlp ? ", as it has no hidden layers" : "");
    }
    *out = (double)width;
    return MMREC_OK;
}

/* ---- looking for a width ---- */

typedef struct search {
    mmrec_allocator *allocator;
    const mmrec_compare_options *options;
    const mmrec_compare_entry *entry; /* as it was */
    double budget;
    int64_t step; /* widths are multiples of it */
    int64_t best; /* 0: none yet */
    double reached;
} search;

static double away(const search *s, double value) { return fabs(value / s->budget - 1); }

/* Counts at a width; false where the model cannot be so wide, which counts as too much. NO_MEMORY is a failure. */
static mmrec_status at_width(const search *s, int64_t width, bool *can, double *out, mmrec_error *error) {
    mmrec_compare_entry e = *s->entry;
    mmrec_model_get(e.kind)->scale(&e.config, width);
    mmrec_status status = count(s->allocator, &e, s->options, out, error);
    *can = status == MMREC_OK;
    if (*can || status == MMREC_NO_MEMORY) return status;
    mmrec_error_clear(error);
    return MMREC_OK;
}

/* Whether a width is better than the best so far; the narrower of two that are equal stays. */
static bool better(const search *s, int64_t width, double value) {
    double gain = away(s, s->reached) - away(s, value);
    bool good = width % GOOD_MULTIPLE == 0, best_good = s->best % GOOD_MULTIPLE == 0;
    if (s->best == 0) return true;
    if (good != best_good && fabs(gain) <= as_near) return good;
    return gain > 0;
}

static mmrec_status try_width(search *s, int64_t width, mmrec_error *error) {
    bool can;
    double value = 0;
    if (width < 1 || width > WIDTH_MOST) return MMREC_OK;
    MMREC_TRY(at_width(s, width, &can, &value, error));
    if (!can || !better(s, width, value)) return MMREC_OK;
    s->best = width;
    s->reached = value;
    return MMREC_OK;
}

/* The largest multiple of `step` at which the budget is not passed, 0 where the first one does. */
static mmrec_status bracket(const search *s, int64_t *out, mmrec_error *error) {
    int64_t low = 0, high = WIDTH_MOST / s->step + 1, middle = 1;
    while (high - low > 1) {
        bool can;
        double value = 0;
        MMREC_TRY(at_width(s, middle * s->step, &can, &value, error));
        if (can && value <= s->budget)
            low = middle;
        else
            high = middle;
        /* Small widths first: graphs of large ones take longer and are mostly refused. */
        middle = 2 * low < high && high > WIDTH_MOST / s->step ? 2 * low : low + (high - low) / 2;
    }
    *out = low * s->step;
    return MMREC_OK;
}

static mmrec_status look(search *s, mmrec_error *error) {
    int64_t low, own, multiple = s->step % GOOD_MULTIPLE == 0 ? s->step : s->step * GOOD_MULTIPLE;
    (void)compare_model_width(s->entry, &own);
    MMREC_TRY(bracket(s, &low, error));
    s->best = 0;
    if (own % s->step == 0) MMREC_TRY(try_width(s, own, error));
    MMREC_TRY(try_width(s, low, error));
    MMREC_TRY(try_width(s, low + s->step, error));
    MMREC_TRY(try_width(s, low / multiple * multiple, error));
    return try_width(s, low / multiple * multiple + multiple, error);
}

/* Widths that keep the heads, or any where those are too far apart. */
static mmrec_status find_width(search *s, mmrec_error *error) {
    s->step = heads_of(s->entry);
    MMREC_TRY(look(s, error));
    if (s->step == 1 || (s->best > 0 && away(s, s->reached) < most_away)) return MMREC_OK;
    s->step = 1;
    return look(s, error);
}

static const char *unit_of(mmrec_match match) {
    static const char *const units[MMREC_MATCHES] = {"", "width", "parameters", "FLOPs of a step"};
    return units[match];
}

mmrec_status mmrec_compare_size_to(mmrec_allocator *allocator, mmrec_compare_entry *entry,
                                   const mmrec_compare_options *options, double budget, mmrec_error *error) {
    const char *name = mmrec_model_get(entry->kind)->name;
    search s = {allocator, options, entry, budget, 1, 0, 0};
    int64_t width;
    double now;
    if (!(budget > 0)) MMREC_FAIL(error, MMREC_CONFIG, "the budget is %g; it must be above 0", budget);
    if (!compare_model_width(entry, &width)) {
        MMREC_FAIL(error, MMREC_CONFIG, "model %s has no width that it could be sized by", name);
    }
    /* Says what is wrong with the model at its own width. */
    MMREC_TRY(count(allocator, entry, options, &now, error));
    MMREC_TRY(find_width(&s, error));
    if (s.best == 0 || !(away(&s, s.reached) < most_away)) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "model %s cannot be sized to %.10g %s: width %lld comes nearest with %.10g; take another budget, or "
                   "change its other sizes",
                   name, budget, unit_of(options->match), (long long)s.best, s.reached);
    }
    mmrec_model_get(entry->kind)->scale(&entry->config, s.best);
    entry->budget = budget;
    entry->reached = s.reached;
    return MMREC_OK;
}

/* ---- all rows ---- */

static mmrec_status check(const mmrec_options *o, const mmrec_compare_setup *setup, mmrec_error *error) {
    bool budget = mmrec_option_given(o, MMREC_OPTION_budget);
    if (setup->run.match == MMREC_MATCH_NONE && compare_flag_given(o, MMREC_OPTION_budget)) {
        MMREC_FAIL(error, MMREC_USAGE,
                   "--budget is for --match, and there is none: say --match width, parameters or flops");
    }
    if (setup->run.match == MMREC_MATCH_NONE || budget || setup->run.count > 1) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE,
               "--match %s sizes the other rows to the first, and there is one alone: give --budget N",
               compare_match_name(setup->run.match));
}

/* The first row keeps its size. */
static mmrec_status budget_of_first(mmrec_allocator *allocator, mmrec_compare_setup *setup, mmrec_error *error) {
    mmrec_compare_entry *first = &setup->entries[0];
    if (first->refused[0]) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "the first row is what --match sizes the others to, but %s; "
                   "put another first or give --budget N",
                   first->refused);
    }
    MMREC_TRY_WHILE(count(allocator, first, &setup->run, &first->budget, error), error, "sizing the rows to %s",
                    first->label);
    first->reached = first->budget;
    return MMREC_OK;
}

mmrec_status compare_setup_match(mmrec_allocator *allocator, const mmrec_options *o, mmrec_compare_setup *setup,
                                 mmrec_error *error) {
    bool given = mmrec_option_given(o, MMREC_OPTION_budget), only = setup->run.count == 1;
    MMREC_TRY(check(o, setup, error));
    if (setup->run.match == MMREC_MATCH_NONE) return MMREC_OK;
    if (!given) MMREC_TRY(budget_of_first(allocator, setup, error));
    double budget = given ? o->value[MMREC_OPTION_budget].real : setup->entries[0].budget;
    for (int i = given ? 0 : 1; i < setup->run.count; i++) {
        mmrec_compare_entry *e = &setup->entries[i];
        if (e->refused[0]) continue;
        mmrec_status status = mmrec_compare_size_to(allocator, e, &setup->run, budget, error);
        if (status == MMREC_OK) continue;
        if (only || status == MMREC_NO_MEMORY) return status;
        mmrec_error_text(error, e->refused, sizeof e->refused);
        mmrec_error_clear(error);
    }
    return MMREC_OK;
}
