/* The time of a step and of its parts, all rows in turns.
 *
 * On the host a row's turn is: an untimed forward phase, so that caches are as a step before would leave them; a whole
 * step by one clock; and a step with clocks between its parts. On a device every part is timed by the meter, as it is
 * measured everywhere (measure/device_meter.h). Inputs are written before each step, untimed; the optimizer's rate is
 * 0, which is the same work and leaves the parameters where they are. */
#include <math.h>

#include "compare_impl.h"
#include "measure/beside.h"

typedef struct stand {
    compare_run *run;
    compare_net net[MMREC_COMPARE_ROWS];
    compare_rounds rounds;
    mmrec_sampling sampling;
} stand;

mmrec_work mmrec_compare_part_work(const mmrec_compare_row *r, mmrec_compare_part part) {
    const mmrec_work *f = &r->forward, *b = &r->backward, *o = &r->optimizer;
    if (part == MMREC_PART_FORWARD) return *f;
    if (part == MMREC_PART_BACKWARD) return *b;
    if (part == MMREC_PART_OPTIMIZER) return *o;
    return (mmrec_work){f->flops + b->flops + o->flops, f->transcendentals + b->transcendentals + o->transcendentals,
                        f->bytes + b->bytes + o->bytes};
}

/* ---- on the host ---- */

static mmrec_status feed(const stand *s, int row, mmrec_error *error) {
    return compare_net_feed(&s->net[row], &s->run->task, s->net[row].exec, error);
}

static mmrec_status timed_part(const compare_net *net, mmrec_compare_part part, double *ns, mmrec_error *error) {
    uint64_t start = mmrec_clock_ns();
    MMREC_TRY(compare_net_queue(net, part, error));
    *ns = (double)(mmrec_clock_ns() - start);
    return MMREC_OK;
}

static mmrec_status take_by_clock(const stand *s, int row, double ns[MMREC_PARTS], mmrec_error *error) {
    const compare_net *net = &s->net[row];
    MMREC_TRY(feed(s, row, error));
    MMREC_TRY(compare_net_queue(net, MMREC_PART_FORWARD, error));
    MMREC_TRY(feed(s, row, error));
    if (net->exec) mmrec_exec_params_changed(net->exec); /* as behind every step */
    MMREC_TRY(timed_part(net, MMREC_PART_STEP, &ns[MMREC_PART_STEP], error));
    if (net->fused) return MMREC_OK;
    MMREC_TRY(feed(s, row, error));
    for (int part = 0; part < MMREC_PART_STEP; part++)
        MMREC_TRY(timed_part(net, (mmrec_compare_part)part, &ns[part], error));
    return MMREC_OK;
}

/* ---- on a device ---- */

typedef struct device_part {
    const stand *s;
    int row;
    mmrec_compare_part part;
} device_part;

static mmrec_status run_part(void *context, mmrec_error *error) {
    const device_part *p = context;
    return compare_net_queue(&p->s->net[p->row], p->part, error);
}

/* A backward phase destroys what its forward saved; the optimizer finds the gradients of the last step. */
static mmrec_status prepare_part(void *context, mmrec_error *error) {
    const device_part *p = context;
    const compare_net *net = &p->s->net[p->row];
    if (p->part == MMREC_PART_OPTIMIZER) return MMREC_OK;
    MMREC_TRY(feed(p->s, p->row, error));
    if (net->fused) return MMREC_OK;
    mmrec_exec_params_changed(net->exec);
    return p->part == MMREC_PART_BACKWARD ? compare_net_queue(net, MMREC_PART_FORWARD, error) : MMREC_OK;
}

static mmrec_status take_by_meter(const stand *s, int row, double ns[MMREC_PARTS], mmrec_sample_note notes[MMREC_PARTS],
                                  mmrec_error *error) {
    const mmrec_meter *meter = s->sampling.meter;
    for (int part = 0; part < MMREC_PARTS; part++) {
        if (s->net[row].fused && part != MMREC_PART_STEP) continue;
        device_part p = {s, row, (mmrec_compare_part)part};
        mmrec_subject subject = {.run = run_part, .context = &p, .prepare = prepare_part};
        MMREC_TRY(prepare_part(&p, error));
        MMREC_TRY(meter->time(meter->context, &subject, 1, &ns[part], &notes[part], error));
    }
    return MMREC_OK;
}

/* ---- rounds ---- */

static mmrec_status take(void *context, int row, double ns[MMREC_PARTS], mmrec_sample_note notes[MMREC_PARTS],
                         mmrec_error *error) {
    const stand *s = context;
    for (int part = 0; part < MMREC_PARTS && s->net[row].fused; part++) ns[part] = (double)NAN;
    if (s->sampling.meter)
        MMREC_TRY_WHILE(take_by_meter(s, row, ns, notes, error), error, "timing a step");
    else
        MMREC_TRY_WHILE(take_by_clock(s, row, ns, error), error, "timing a step");
    return MMREC_OK;
}

static void fail(void *context, int row, mmrec_error *error) {
    stand *s = context;
    compare_net_free(&s->net[row]);
    compare_fail(s->run, row, error);
}

static void tick(void *context, double done) {
    const stand *s = context;
    compare_progress(s->run, done);
}

static void open_row(stand *s, int row) {
    mmrec_error error;
    mmrec_error_clear(&error);
    s->rounds.series[row] = s->run->out->row[row].series;
    s->rounds.paired[row] = s->run->out->row[row].paired;
    s->rounds.out[row] = !compare_goes_on(s->run, row);
    if (s->rounds.out[row]) return;
    compare_recipe recipe = compare_recipe_of(s->run, row);
    mmrec_status status = compare_net_create(s->run->allocator, &recipe, &s->net[row], &error);
    if (status == MMREC_OK) return;
    s->rounds.out[row] = true;
    mmrec_error_frame(&error, "preparing to time it beside the others");
    fail(s, row, &error);
}

/* Of the rows that are still there; what there is no memory for is not known. */
static void find_shares(const stand *s, const ceiling_beside *beside) {
    for (int row = 0; row < s->rounds.rows; row++) {
        mmrec_compare_row *r = &s->run->out->row[row];
        for (int part = 0; part < MMREC_PARTS && !s->rounds.out[row]; part++) {
            mmrec_error error;
            mmrec_error_clear(&error);
            double flops = mmrec_compare_part_work(r, (mmrec_compare_part)part).flops;
            if (ceiling_beside_share(beside, &r->series[part], flops, &r->sgemm_share[part], &error) != MMREC_OK)
                r->sgemm_share[part] = (mmrec_stats){0};
        }
    }
}

/* With a sgemm beside them (measure/beside.h), where there are ceilings. */
static void run_rounds(stand *s, const mmrec_ceiling_source *ceilings) {
    ceiling_beside beside = {.allocator = s->run->allocator, .source = ceilings, .which = MMREC_CEILING_SGEMM};
    mmrec_beside hook = {ceiling_beside_run, &beside};
    if (ceilings->rate) s->rounds.beside = &hook;
    compare_rounds_run(&s->rounds);
    if (s->rounds.beside) find_shares(s, &beside);
    ceiling_beside_free(&beside);
}

static void time_rows(stand *s, const mmrec_ceiling_source *ceilings) {
    compare_run *run = s->run;
    s->sampling = run->options->sampling;
    s->sampling.meter = device_meter_of(&run->meter);
    s->rounds = (compare_rounds){.allocator = run->allocator,
                                 .sampling = &s->sampling,
                                 .rows = run->options->count,
                                 .take = take,
                                 .fail = fail,
                                 .tick = tick,
                                 .context = s};
    for (int row = 0; row < run->options->count; row++) open_row(s, row);
    compare_message(run, "timing a step of all rows in turns");
    run_rounds(s, ceilings);
    for (int row = 0; row < run->options->count; row++) compare_net_free(&s->net[row]);
}

/* Measured here, and not before: what they keep is none of the rows' memory. */
static mmrec_status open_ceilings(compare_run *run, mmrec_ceiling_source *out, mmrec_error *error) {
    if (run->options->no_ceilings || mmrec_measure_interrupted()) return MMREC_OK;
    compare_message(run, "measuring what the machine can do: sgemm and copy rates");
    MMREC_TRY(mmrec_ceilings_open(run->allocator, run->options->threads, out, error));
    run->out->ceilings = out->best;
    return MMREC_OK;
}

mmrec_status compare_times(compare_run *run, mmrec_error *error) {
    stand s = {.run = run};
    mmrec_ceiling_source ceilings = {0};
    MMREC_TRY(open_ceilings(run, &ceilings, error));
    if (!mmrec_measure_interrupted()) time_rows(&s, &ceilings);
    mmrec_ceilings_close(&ceilings);
    compare_done(run);
    return MMREC_OK;
}
