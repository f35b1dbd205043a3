/* The two tasks that are made from the seed.
 *
 * CLASSES. Class c of O has a direction v_c, I numbers drawn N(0, 1). A sample has a class c and a sign s, each of them
 * as likely as any other, and is x = s v_c + 0.5 e with e drawn N(0, 1) for each input; with probability 0.05 its label
 * is another class, any of them. As v_c and -v_c have the same label and both signs are as likely, no linear map w can
 * score a class above another at both, so its scores are wrong for half of the samples: the task asks for something
 * that is not linear. Two units that see v_c and -v_c do. Prototypes are far apart (sqrt(2 I) against noise of 0.5), so
 * what no model can beat is the wrong labels: accuracy 0.95, loss -0.95 ln 0.95 - 0.05 ln(0.05 / (O - 1)), from about 8
 * inputs on; with fewer, prototypes overlap and that loss is a bound that cannot be reached.
 *
 * VALUES. Output o has two directions a_o and b_o of length 1. x is drawn N(0, 1) for each input, and
 *   y_o = sin(2 a_o x) + ((b_o x)^2 - 1) / 2 + 0.1 e,   e drawn N(0, 1).
 * Its mean is 0 and its variance close to 1, the mean squared error of a model that learned nothing; no model can go
 * below that of the noise, 0.01. */
#include <math.h>

#include "compare_impl.h"
#include "mmrec/rng.h"

/* Streams of these draws, beside those of the data (data_impl.h). */
#define DRAW_DIRECTION (UINT64_C(0xE1) << 56)
#define DRAW_CHOICE (UINT64_C(0xE2) << 56)
#define DRAW_INPUT (UINT64_C(0xE3) << 56)
#define DRAW_NOISE (UINT64_C(0xE4) << 56)

static const double input_noise = 0.5, wrong_labels = 0.05, target_noise = 0.1;

size_t compare_made_up_size(const mmrec_compare_task *spec) {
    if (spec->kind == MMREC_COMPARE_LANGUAGE) return 0;
    return (size_t)(spec->outputs * spec->inputs) * (spec->kind == MMREC_COMPARE_VALUES ? 2 : 1);
}

/* `count` normal numbers, those of a row of the stream; a row begins with a block of four. */
static void draw_row(uint64_t seed, uint64_t stream, uint64_t row, double *values, int64_t count) {
    uint64_t blocks = (uint64_t)(count + 3) / 4;
    for (int64_t i = 0; i < count; i += 4) {
        double four[4];
        mmrec_rng_normal4(seed, stream, row * blocks + (uint64_t)i / 4, four);
        for (int64_t k = i; k < i + 4 && k < count; k++) values[k] = four[k - i];
    }
}

static void normalise(double *values, int64_t count) {
    double squares = 0;
    for (int64_t i = 0; i < count; i++) squares += values[i] * values[i];
    for (int64_t i = 0; i < count; i++) values[i] /= sqrt(squares);
}

void compare_made_up_begin(compare_task *t) {
    int64_t width = t->spec.inputs, rows = width > 0 ? (int64_t)compare_made_up_size(&t->spec) / width : 0;
    for (int64_t row = 0; row < rows; row++) {
        draw_row(t->spec.seed, DRAW_DIRECTION, (uint64_t)row, t->made_up + row * width, width);
        if (t->spec.kind == MMREC_COMPARE_VALUES) normalise(t->made_up + row * width, width);
    }
}

static void make_class(compare_task *t, mmrec_split split, int64_t sample, int64_t row) {
    int64_t width = t->spec.inputs;
    uint32_t classes = (uint32_t)t->spec.outputs;
    mmrec_rng_block draw = mmrec_rng_philox(t->spec.seed, DRAW_CHOICE | (uint64_t)split, (uint64_t)sample);
    uint32_t label = (uint32_t)(((uint64_t)draw.word[0] * classes) >> 32);
    uint32_t other = (uint32_t)(((uint64_t)draw.word[3] * (classes - 1)) >> 32);
    double *x = t->x + row * width, sign = draw.word[1] >> 31 ? 1 : -1;
    const double *direction = t->made_up + label * width;
    draw_row(t->spec.seed, DRAW_INPUT | (uint64_t)split, (uint64_t)sample, x, width);
    for (int64_t i = 0; i < width; i++) x[i] = sign * direction[i] + input_noise * x[i];
    bool wrong = (double)draw.word[2] * 0x1p-32 < wrong_labels;
    t->targets[row] = (int32_t)(wrong ? (label + 1 + other) % classes : label);
}

static double product(const double *a, const double *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static void make_values(compare_task *t, mmrec_split split, int64_t sample, int64_t row) {
    int64_t width = t->spec.inputs, outputs = t->spec.outputs;
    double *x = t->x + row * width, *y = t->target + row * outputs;
    draw_row(t->spec.seed, DRAW_INPUT | (uint64_t)split, (uint64_t)sample, x, width);
    draw_row(t->spec.seed, DRAW_NOISE | (uint64_t)split, (uint64_t)sample, y, outputs);
    for (int64_t o = 0; o < outputs; o++) {
        double a = product(t->made_up + 2 * o * width, x, width);
        double b = product(t->made_up + (2 * o + 1) * width, x, width);
        y[o] = sin(2 * a) + (b * b - 1) / 2 + target_noise * y[o];
    }
}

void compare_made_up_sample(compare_task *t, mmrec_split split, int64_t sample, int64_t row) {
    if (t->spec.kind == MMREC_COMPARE_CLASSES) make_class(t, split, sample, row);
    if (t->spec.kind == MMREC_COMPARE_VALUES) make_values(t, split, sample, row);
}

double compare_made_up_best(const mmrec_compare_task *spec) {
    if (spec->kind == MMREC_COMPARE_VALUES) return target_noise * target_noise;
    double others = (double)(spec->outputs - 1);
    return -(1 - wrong_labels) * log(1 - wrong_labels) - wrong_labels * log(wrong_labels / others);
}
