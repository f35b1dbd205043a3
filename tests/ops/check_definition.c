/* What can be said of a definition without running it: its words, its samples, and what its infer refuses. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "mmrec/rng.h"

enum { STREAM_MISFIT = 77, MISFITS = 400, LEAST_SAMPLES = 4 };

static bool filled(const char *text) { return text && text[0]; }

static int sample_count(const mmrec_op_def *def) {
    int count = 0;
    while (def->samples && def->samples[count]) count++;
    return count;
}

static void check_words(harness *h, const mmrec_op_def *def) {
    harness_check(h, strcmp(def->name, h->op) == 0, "the definition calls itself %s", def->name);
    harness_check(h, filled(def->formula) && !strchr(def->formula, '\n'), "formula: one line is wanted");
    harness_check(h, filled(def->source), "source: where the formula comes from is wanted");
    harness_check(h, filled(def->tolerance.reason), "tolerance.reason: where the figures come from is wanted");
    harness_check(h, def->tolerance.output > 0 && def->tolerance.output <= 1e-3, "tolerance.output is %g",
                  def->tolerance.output);
    bool gradient = def->tolerance.gradient > 0 && def->tolerance.gradient <= 1e-3;
    harness_check(h, gradient || !def->function[MMREC_BACKWARD], "tolerance.gradient is %g", def->tolerance.gradient);
    harness_check(h, def->function[MMREC_FORWARD] && def->work, "forward and work are wanted");
}

static bool all_ones(const mmrec_op_sizes *sizes) {
    for (int i = 0; i < MMREC_LETTERS; i++) {
        if (sizes->letter[i] > 1) return false;
    }
    return mmrec_shape_rows(&sizes->star) * mmrec_shape_columns(&sizes->star) == 1;
}

static bool uses_letter(const mmrec_arg *list, char letter) {
    for (int i = 0; list[i].name; i++) {
        if (strchr(list[i].dims, letter)) return true;
    }
    return false;
}

/* A loop over time goes wrong at its first, second and third step, and past a block: ops with T show all four. */
static void check_times(harness *h, const mmrec_op_def *def, const bool *seen) {
    static const int wanted[] = {1, 2, 3, 17};
    if (!uses_letter(def->in, 'T') && !uses_letter(def->out, 'T')) return;
    for (int i = 0; i < 4; i++) {
        harness_check(h, seen[wanted[i]], "no sample has T=%d; 1, 2, 3 and 17 are wanted", wanted[i]);
    }
}

static void check_samples(harness *h, const mmrec_op_def *def) {
    int count = sample_count(def);
    bool ones = false, time[18] = {false};
    mmrec_op_sizes sizes;
    mmrec_error error = {0};
    harness_check(h, count >= LEAST_SAMPLES, "%d samples; at least %d are wanted", count, LEAST_SAMPLES);
    for (int i = 0; i < count; i++) {
        mmrec_status status = mmrec_op_from_text(def, def->samples[i], 1, &sizes, &error);
        if (!harness_check(h, status == MMREC_OK, "sample \"%s\" is refused: %s", def->samples[i], error.message))
            continue;
        ones = ones || all_ones(&sizes);
        int64_t steps = MMREC_SIZE(&sizes, T);
        if (steps < 18) time[steps] = true;
    }
    harness_check(h, ones, "no sample has all sizes 1");
    check_times(h, def, time);
    bool bench = def->bench && mmrec_op_from_text(def, def->bench, 1, &sizes, &error) == MMREC_OK;
    harness_check(h, bench, "bench sample \"%s\" is refused: %s", def->bench ? def->bench : "", error.message);
}

/* The whole of a misfit is either taken with valid shapes all over, or refused in words that begin with the op. */
static void check_misfit(harness *h, const mmrec_op_def *def, mmrec_op_sizes *sizes) {
    mmrec_error error = {0};
    mmrec_status status = mmrec_op_resolve(def, sizes, &error);
    if (status != MMREC_OK) {
        harness_check(h, status == MMREC_SHAPE || status == MMREC_CONFIG, "a misfit gives %s: %s",
                      mmrec_status_name(status), error.message);
        harness_check(h, strncmp(error.message, def->name, strlen(def->name)) == 0,
                      "a refusal without the op's name: %s", error.message);
        return;
    }
    for (int i = 0; def->out[i].name; i++) {
        bool made = ((sizes->made >> i) & 1u) != 0;
        harness_check(h, !made || mmrec_shape_valid(&sizes->out[i]), "output %s of a misfit has no valid shape",
                      def->out[i].name);
    }
}

/* Anything at all as shapes: no axes to four, sizes from negative to beyond memory. */
static void check_misfits(harness *h, const mmrec_op_def *def) {
    static const int64_t size[] = {1, 1, 2, 2, 3, 4, 8, 0, -1, INT64_C(1) << 31, INT64_C(1) << 40, INT64_MAX};
    mmrec_op_sizes sizes;
    int inputs = mmrec_arg_count(def->in);
    for (uint64_t k = 0; k < MISFITS && inputs; k++) {
        uint64_t at = k * 256;
        mmrec_op_sizes_init(def, 1, &sizes);
        sizes.given = mmrec_rng_word(HARNESS_SEED, STREAM_MISFIT, at++);
        sizes.given |= mmrec_rng_word(HARNESS_SEED, STREAM_MISFIT, at++); /* three in four are there */
        sizes.given &= (1u << inputs) - 1u;
        for (int i = 0; i < inputs; i++) {
            sizes.in[i].ndim = (int)mmrec_rng_below(HARNESS_SEED, STREAM_MISFIT, at++, MMREC_MAX_DIMS + 1);
            for (int a = 0; a < sizes.in[i].ndim; a++) {
                sizes.in[i].dim[a] = size[mmrec_rng_below(HARNESS_SEED, STREAM_MISFIT, at++, 12)];
            }
        }
        check_misfit(h, def, &sizes);
    }
}

/* How many given inputs speak of a letter. */
static int speakers(const mmrec_op_def *def, const mmrec_op_sizes *sizes, char letter) {
    int count = 0;
    for (int i = 0; def->in[i].name; i++) {
        if (((sizes->given >> i) & 1u) && strchr(def->in[i].dims, letter)) count++;
    }
    return count;
}

/* One axis of one input larger by one, where another input says otherwise. */
static void check_contradiction(harness *h, const mmrec_op_def *def, const mmrec_op_sizes *good, int input) {
    const char *dims = def->in[input].dims;
    int axes = good->in[input].ndim;
    for (int a = axes - 1, c = (int)strlen(dims) - 1; a >= 0 && c >= 0 && dims[c] != '*'; c--) {
        if (dims[c] == ' ') a--;
        if (dims[c] < 'A' || dims[c] > 'Z' || speakers(def, good, dims[c]) < 2) continue;
        mmrec_op_sizes sizes = *good;
        mmrec_error error = {0};
        sizes.in[input].dim[a]++;
        mmrec_status status = mmrec_op_resolve(def, &sizes, &error);
        harness_check(h, status == MMREC_SHAPE && strstr(error.message, def->in[input].name) != NULL,
                      "%s with one %c too many is not refused by name: %s", def->in[input].name, dims[c],
                      error.message);
    }
}

static void check_contradictions(harness *h, const mmrec_op_def *def) {
    mmrec_op_sizes good;
    mmrec_error error = {0};
    if (mmrec_op_from_text(def, def->samples[1], 1, &good, &error) != MMREC_OK) return;
    for (int i = 0; def->in[i].name; i++) {
        if ((good.given >> i) & 1u) check_contradiction(h, def, &good, i);
    }
}

void check_definition(harness *h, const mmrec_op_def *def) {
    snprintf(h->where, sizeof h->where, "definition");
    check_words(h, def);
    check_samples(h, def);
    check_misfits(h, def);
    if (sample_count(def) >= LEAST_SAMPLES) check_contradictions(h, def);
}
