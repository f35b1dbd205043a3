/* The fused MLP on the host: steps of forward, backward and AdamW, one after the other.
 *
 * Compiled like the ops: with `real` = double, and with float for three instruction sets. What is computed and where it
 * lies: host/backend/mlp.h. The vectors run over the width of a layer, so that weights, their gradients and moments
 * have one layout and the loops of the update have no tails; only the gradient of x reads weights the other way, turned
 * once a step. For a batch of 32 and widths of 64, 32 and 16 all of it is 110 KiB of floats. */
#include "mlp_parts.h"

#define MLP_PASTE(name, variant) name##_##variant
#define MLP_VARIANT(name, variant) MLP_PASTE(name, variant)
#define MLP_STEPS MLP_VARIANT(mlp_steps, MMREC_VARIANT_NAME)

/* A call under way. */
typedef struct work {
    const mmrec_mlp_call *call;
    mlp_places at;
    real *scratch;
    int64_t first, rows; /* samples of this step */
} work;

static real *w_of(const work *s, int layer) { return (real *)s->call->w + s->call->layer[layer].at; }

static rows_of slopes(const work *s, int layer) {
    rows_of slope = {s->scratch + s->at.slope[layer & 1], mlp_padded(s->call->layer[layer].out)};
    return slope;
}

/* Row r of what goes into a layer; behind the last layer: of y. */
static int64_t value_stride(const work *s, int layer) { return mlp_padded(mlp_width(s->call, layer) + 1); }
static real *value_row(const work *s, int layer, int64_t r) {
    return s->scratch + s->at.value[layer] + r * value_stride(s, layer);
}
static real *kept_row(const work *s, int layer, int64_t r) {
    return s->scratch + s->at.kept[layer] + r * value_stride(s, layer);
}

static int64_t sample_of(const work *s, int64_t r) {
    return s->call->order ? s->call->order[s->first + r] : s->first + r;
}

/* ---- forward ---- */

static void gather(const work *s) {
    int64_t width = s->call->layer[0].in;
    for (int64_t r = 0; r < s->rows; r++) {
        const real *from = (const real *)s->call->x + sample_of(s, r) * width;
        real *to = value_row(s, 0, r);
        for (int64_t i = 0; i < width; i++) to[i] = from[i];
        to[width] = 1;
    }
}

/* From x of the layer to that of the next. */
static void forward(const work *s, int l) {
    const mmrec_mlp_call *c = s->call;
    const mmrec_mlp_layer *layer = &c->layer[l];
    int64_t stride = value_stride(s, l + 1);
    factor x = {value_row(s, l, 0), value_stride(s, l), 1};
    rows_of w = {w_of(s, l), layer->stride}, y = {kept_row(s, l + 1, 0), stride};
    product(x, w, layer->in + 1, y, s->rows, layer->stride);
    for (int64_t r = 0; r < s->rows && l + 1 < c->layers; r++) {
        real *to = value_row(s, l + 1, r);
        activate(c->activation, kept_row(s, l + 1, r), to, layer->out);
        to[layer->out] = 1;
    }
}

static void give_results(const work *s) {
    int64_t width = s->call->layer[s->call->layers - 1].out;
    for (int64_t r = 0; r < s->rows; r++) {
        const real *from = value_row(s, s->call->layers, r);
        real *to = (real *)s->call->y + (s->first + r) * width;
        for (int64_t i = 0; i < width; i++) to[i] = from[i];
    }
}

/* ---- loss ---- */

static double row_loss(const work *s, int64_t r, double elements, real *slope) {
    const mmrec_mlp_call *c = s->call;
    int64_t width = c->layer[c->layers - 1].out, sample = sample_of(s, r);
    const real *y = value_row(s, c->layers, r);
    if (c->loss == MMREC_MLP_CROSS_ENTROPY) {
        return entropy_row(y, c->classes[sample], width, (real)(double)s->rows, slope);
    }
    return square_row(y, (const real *)c->target + sample * width, width, (real)(2 / elements), slope);
}

/* The mean loss, and the gradients of the results. */
static double loss(const work *s) {
    const mmrec_mlp_call *c = s->call;
    int64_t width = c->layer[c->layers - 1].out;
    rows_of slope = slopes(s, c->layers - 1);
    bool classes = c->loss == MMREC_MLP_CROSS_ENTROPY;
    double elements = (double)s->rows * (classes ? 1 : (double)width), sum = 0;
    for (int64_t r = 0; r < s->rows; r++) {
        real *to = slope.at + r * slope.stride;
        sum += row_loss(s, r, elements, to);
        for (int64_t i = width; i < slope.stride; i++) to[i] = 0;
    }
    return sum / elements;
}

/* ---- backward ---- */

static void backward(const work *s, int l) {
    const mmrec_mlp_call *c = s->call;
    const mmrec_mlp_layer *layer = &c->layer[l];
    rows_of dy = slopes(s, l), dw = {s->scratch + s->at.gradient + layer->at, layer->stride};
    factor x = {value_row(s, l, 0), 1, value_stride(s, l)};
    product(x, dy, s->rows, dw, layer->in + 1, layer->stride);
    if (l == 0) return;
    rows_of turned = {s->scratch + s->at.turned[l], mlp_padded(layer->in)}, dx = slopes(s, l - 1);
    turn((rows_of){w_of(s, l), layer->stride}, layer->in, layer->out, turned);
    factor slope = {dy.at, dy.stride, 1};
    product(slope, turned, layer->out, dx, s->rows, dx.stride);
    for (int64_t r = 0; r < s->rows; r++) {
        multiply_slope(c->activation, kept_row(s, l, r), dx.at + r * dx.stride, layer->in);
    }
}

/* ---- AdamW ---- */

static void update_layer(const work *s, int l, const adamw_factors *f) {
    const mmrec_mlp_call *c = s->call;
    const mmrec_mlp_layer *layer = &c->layer[l];
    int64_t matrix = layer->in * layer->stride, at[2] = {layer->at, layer->at + matrix};
    int64_t count[2] = {matrix, layer->stride};
    const real *gradient = s->scratch + s->at.gradient;
    for (int bias = 0; bias < 2; bias++) {
        update(f, bias ? 1 : f->shrink, gradient + at[bias], (real *)c->w + at[bias], (real *)c->m + at[bias],
               (real *)c->v + at[bias], count[bias]);
    }
}

static void optimize(const work *s, mmrec_mlp_record *record) {
    const mmrec_mlp_call *c = s->call;
    adamw_factors f;
    bool good = adamw_begin(c->state, squares(s->scratch + s->at.gradient, c->numbers), &f);
    for (int l = 0; good && l < c->layers; l++) update_layer(s, l, &f);
    record->gradient_norm = c->state->gradient_norm;
    record->skipped = c->state->skipped;
}

/* ---- steps ---- */

static void step(const work *s, mmrec_mlp_record *record) {
    const mmrec_mlp_call *c = s->call;
    gather(s);
    for (int l = 0; l < c->layers; l++) forward(s, l);
    if (c->y) give_results(s);
    if (!c->target && !c->classes) return;
    *record = (mmrec_mlp_record){.loss = loss(s)};
    if (!c->state) return;
    for (int l = c->layers - 1; l >= 0; l--) backward(s, l);
    optimize(s, record);
}

void MLP_STEPS(const mmrec_mlp_call *call) {
    work s = {.call = call, .at = mlp_places_of(call), .scratch = (real *)call->scratch};
    int64_t number = 0;
    for (; s.first < call->samples; s.first += call->batch) {
        s.rows = call->samples - s.first < call->batch ? call->samples - s.first : call->batch;
        step(&s, &call->record[number++]);
    }
}
