/* LSTM and GRU as cuDNN documents them, in double, on the stream of the runtime on host memory (kernels/fake). What the
 * library is free to choose is chosen otherwise than mmrec has it: the weights lie in another order, with gaps; what
 * forward keeps has a form of its own, which the first backward pass uses up; work memory is scribbled over. Misuse
 * that shows only when the pass runs fills its results with NaN. */
#include "fake_cudnn.h"

#include <math.h>
#include <string.h>

enum { MOST_GATES = 4, KEPT = 5, WORK_ROWS = 8, HEADER = 2 };
enum { STATE_EMPTY, STATE_FORWARD, STATE_BACKWARD }; /* of the reserve: its first double */

typedef enum part_id { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS } part_id;

/* A pass as it is queued: descriptors may be gone when it runs. */
typedef struct job {
    fake_pass p;
    struct cudnnRNNStruct rnn;
    int batch, steps, gates;
    part_id part;
} job;

static bool is_lstm(const struct cudnnRNNStruct *rnn) { return rnn->mode == CUDNN_LSTM; }
static int gates_of(const struct cudnnRNNStruct *rnn) { return is_lstm(rnn) ? 4 : 3; }

/* ---- weights ---- */

static size_t columns_of(const struct cudnnRNNStruct *rnn, int id) {
    return (size_t)(id < gates_of(rnn) ? rnn->inputs : rnn->width);
}

/* The float at which the matrix or bias of `id` begins: biases first, both in an order of their own. No id: the end. */
static size_t place(const struct cudnnRNNStruct *rnn, int id, bool bias) {
    int count = 2 * gates_of(rnn);
    size_t at = 3, width = (size_t)rnn->width;
    for (int k = 0; k < count; k++) {
        int who = (5 * k + 1) % count;
        if (bias && who == id) return at;
        at += width + 1;
    }
    for (int k = 0; k < count; k++) {
        int who = (5 * k + 3) % count;
        if (!bias && who == id) return at;
        at += width * columns_of(rnn, who) + 2;
    }
    return at;
}

size_t fake_rnn_weight_bytes(const struct cudnnRNNStruct *rnn) { return place(rnn, -1, false) * sizeof(float); }
size_t fake_rnn_work_bytes(const struct cudnnRNNStruct *rnn) { return WORK_ROWS * (size_t)rnn->width * sizeof(double); }
size_t fake_rnn_reserve_bytes(const struct cudnnRNNStruct *rnn, const struct cudnnRNNDataStruct *x) {
    return (HEADER + KEPT * (size_t)rnn->width * (size_t)x->batch * (size_t)x->steps) * sizeof(double);
}

static void describe(cudnnTensorDescriptor_t tensor, int rows, int columns) {
    *tensor = (struct cudnnTensorStruct){CUDNN_DATA_FLOAT, 3, {1, rows, columns}, {rows * columns, columns, 1}};
}

cudnnStatus_t cudnnGetRNNWeightParams(cudnnHandle_t handle, cudnnRNNDescriptor_t rnn, int32_t layer,
                                      size_t weight_bytes, const void *weights, int32_t id,
                                      cudnnTensorDescriptor_t matrix, void **matrix_at, cudnnTensorDescriptor_t bias,
                                      void **bias_at) {
    bool good = handle && rnn->computes && layer == 0 && weight_bytes == fake_rnn_weight_bytes(rnn) && weights &&
                id >= 0 && id < 2 * gates_of(rnn) && matrix && bias;
    if (!good) return CUDNN_STATUS_BAD_PARAM;
    describe(matrix, rnn->width, (int)columns_of(rnn, id));
    describe(bias, rnn->width, 1);
    *matrix_at = (float *)weights + place(rnn, id, false);
    *bias_at = (float *)weights + place(rnn, id, true);
    cudnnStatus_t code = fake_note("GetRNNWeightParams", rnn->algorithm, CUDNN_STATUS_BAD_PARAM);
    /* As if the library laid its weights out like none that is known. */
    if (fake_note("layout", rnn->algorithm, CUDNN_STATUS_BAD_PARAM) != CUDNN_STATUS_SUCCESS) matrix->size[1]++;
    return code;
}

/* ---- places ---- */

static const float *matrix_of(const job *j, int half, int gate) {
    return (const float *)j->p.weights + place(&j->rnn, half * j->gates + gate, false);
}
static const float *bias_of(const job *j, int half, int gate) {
    return (const float *)j->p.weights + place(&j->rnn, half * j->gates + gate, true);
}
static double *kept_of(const job *j, int b, int t, int unit) {
    return (double *)j->p.reserve + HEADER +
           (((size_t)t * (size_t)j->batch + (size_t)b) * (size_t)j->rnn.width + (size_t)unit) * KEPT;
}
static double *work_row(const job *j, int row) { return (double *)j->p.work + (size_t)row * (size_t)j->rnn.width; }
static size_t row_of(const job *j, int b, int t, int width) {
    return ((size_t)b * (size_t)j->steps + (size_t)t) * (size_t)width;
}
static const float *x_row(const job *j, int b, int t) { return (const float *)j->p.x + row_of(j, b, t, j->rnn.inputs); }
static double state_value(const void *state, const job *j, int b, int unit) {
    return state ? (double)((const float *)state)[(size_t)b * (size_t)j->rnn.width + (size_t)unit] : 0;
}
static void set_state(void *state, const job *j, int b, int unit, double value) {
    if (state) ((float *)state)[(size_t)b * (size_t)j->rnn.width + (size_t)unit] = (float)value;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* ---- forward ---- */

/* Rows of work memory. */
enum { ROW_H, ROW_NEXT, ROW_C };

static double half_sum(const job *j, int half, int gate, int unit, const float *x, const double *h) {
    double sum = (double)bias_of(j, half, gate)[unit];
    const float *row = matrix_of(j, half, gate) + (size_t)unit * columns_of(&j->rnn, half * j->gates);
    for (int k = 0; k < (half ? j->rnn.width : j->rnn.inputs); k++)
        sum += (double)row[k] * (half ? h[k] : (double)x[k]);
    return sum;
}

static void unit_forward(const job *j, int b, int t, int unit) {
    const double *h = work_row(j, ROW_H);
    double *c = &work_row(j, ROW_C)[unit], of_x[MOST_GATES], of_h[MOST_GATES], kept[KEPT] = {0};
    for (int g = 0; g < j->gates; g++) {
        of_x[g] = half_sum(j, 0, g, unit, x_row(j, b, t), h);
        of_h[g] = half_sum(j, 1, g, unit, NULL, h);
    }
    if (is_lstm(&j->rnn)) {
        for (int g = 0; g < j->gates; g++) kept[g] = g == 2 ? tanh(of_x[g] + of_h[g]) : sigmoid(of_x[g] + of_h[g]);
        *c = kept[4] = kept[1] * *c + kept[0] * kept[2];
        work_row(j, ROW_NEXT)[unit] = kept[3] * tanh(*c);
    } else {
        kept[0] = sigmoid(of_x[0] + of_h[0]);
        kept[1] = sigmoid(of_x[1] + of_h[1]);
        kept[2] = tanh(of_x[2] + kept[0] * of_h[2]);
        kept[3] = of_h[2];
        work_row(j, ROW_NEXT)[unit] = (1 - kept[1]) * kept[2] + kept[1] * h[unit];
    }
    if (j->p.mode == CUDNN_FWD_MODE_TRAINING) memcpy(kept_of(j, b, t, unit), kept, sizeof kept);
}

static void run_forward(const job *j) {
    double *h = work_row(j, ROW_H), *next = work_row(j, ROW_NEXT), *c = work_row(j, ROW_C);
    int width = j->rnn.width;
    for (int b = 0; b < j->batch; b++) {
        for (int i = 0; i < width; i++) h[i] = state_value(j->p.hx, j, b, i);
        for (int i = 0; i < width; i++) c[i] = state_value(j->p.cx, j, b, i);
        for (int t = 0; t < j->steps; t++) {
            float *y = (float *)j->p.y + row_of(j, b, t, width);
            for (int i = 0; i < width; i++) unit_forward(j, b, t, i);
            for (int i = 0; i < width; i++) y[i] = (float)(h[i] = next[i]);
        }
        for (int i = 0; i < width; i++) set_state(j->p.hy, j, b, i, h[i]);
        for (int i = 0; i < width; i++) set_state(j->p.cy, j, b, i, c[i]);
    }
}

/* ---- backward ---- */

enum { ROW_DH, ROW_DC, ROW_CARRY };

/* h and c before a step. */
static double h_before(const job *j, int b, int t, int unit) {
    if (t == 0) return state_value(j->p.hx, j, b, unit);
    return (double)((const float *)j->p.y + row_of(j, b, t - 1, j->rnn.width))[unit];
}
static double c_before(const job *j, int b, int t, int unit) {
    return t == 0 ? state_value(j->p.cx, j, b, unit) : kept_of(j, b, t - 1, unit)[4];
}

/* Slopes take the place of what was kept: a's of the gates, and in the fourth place b's of gru's n. */
static void unit_backward(const job *j, int b, int t, int unit) {
    double *kept = kept_of(j, b, t, unit), *dc = &work_row(j, ROW_DC)[unit], *carry = &work_row(j, ROW_CARRY)[unit];
    double dh = work_row(j, ROW_DH)[unit] + (double)((const float *)j->p.dy + row_of(j, b, t, j->rnn.width))[unit];
    if (is_lstm(&j->rnn)) {
        double i = kept[0], f = kept[1], g = kept[2], o = kept[3], bent = tanh(kept[4]);
        *dc += dh * o * (1 - bent * bent);
        kept[0] = *dc * g * i * (1 - i);
        kept[1] = *dc * c_before(j, b, t, unit) * f * (1 - f);
        kept[2] = *dc * i * (1 - g * g);
        kept[3] = dh * bent * o * (1 - o);
        *dc *= f;
        *carry = 0;
    } else {
        double r = kept[0], z = kept[1], n = kept[2], slope = dh * (1 - z) * (1 - n * n);
        kept[0] = slope * kept[3] * r * (1 - r);
        kept[1] = dh * (h_before(j, b, t, unit) - n) * z * (1 - z);
        kept[2] = slope;
        kept[3] = slope * r;
        *carry = dh * z;
    }
}

static double slope_of(const job *j, int half, int gate, int b, int t, int unit) {
    bool of_hidden_n = half == 1 && gate == 2 && !is_lstm(&j->rnn);
    return kept_of(j, b, t, unit)[of_hidden_n ? 3 : gate];
}

/* Column k of the slopes of a step times the matrices of a half. */
static double through(const job *j, int half, int b, int t, int k) {
    double sum = 0;
    size_t columns = columns_of(&j->rnn, half * j->gates);
    for (int g = 0; g < j->gates; g++) {
        const float *matrix = matrix_of(j, half, g);
        for (int i = 0; i < j->rnn.width; i++) {
            sum += slope_of(j, half, g, b, t, i) * (double)matrix[(size_t)i * columns + (size_t)k];
        }
    }
    return sum;
}

static void run_backward_data(const job *j) {
    double *dh = work_row(j, ROW_DH), *dc = work_row(j, ROW_DC), *carry = work_row(j, ROW_CARRY);
    int width = j->rnn.width;
    for (int b = 0; b < j->batch; b++) {
        for (int i = 0; i < width; i++) dh[i] = state_value(j->p.dhy, j, b, i);
        for (int i = 0; i < width; i++) dc[i] = state_value(j->p.dcy, j, b, i);
        for (int t = j->steps - 1; t >= 0; t--) {
            float *dx = (float *)j->p.dx + row_of(j, b, t, j->rnn.inputs);
            for (int i = 0; i < width; i++) unit_backward(j, b, t, i);
            for (int i = 0; i < width; i++) dh[i] = carry[i] + through(j, 1, b, t, i);
            for (int k = 0; k < j->rnn.inputs; k++) dx[k] = (float)through(j, 0, b, t, k);
        }
        for (int i = 0; i < width; i++) set_state(j->p.dhx, j, b, i, dh[i]);
        for (int i = 0; i < width; i++) set_state(j->p.dcx, j, b, i, dc[i]);
    }
}

/* The gradient of element (unit, k) of a matrix; k < 0: of its bias. */
static double weight_gradient(const job *j, int half, int gate, int unit, int k) {
    double sum = 0;
    for (int b = 0; b < j->batch; b++) {
        for (int t = 0; t < j->steps; t++) {
            double with = k < 0 ? 1 : half ? h_before(j, b, t, k) : (double)x_row(j, b, t)[k];
            sum += slope_of(j, half, gate, b, t, unit) * with;
        }
    }
    return sum;
}

static void run_backward_weights(const job *j) {
    for (int id = 0; id < 2 * j->gates; id++) {
        int half = id / j->gates, gate = id % j->gates, columns = (int)columns_of(&j->rnn, id);
        float *matrix = (float *)j->p.gradients + place(&j->rnn, id, false);
        float *bias = (float *)j->p.gradients + place(&j->rnn, id, true);
        for (int i = 0; i < j->rnn.width; i++) {
            bias[i] += (float)weight_gradient(j, half, gate, i, -1);
            for (int k = 0; k < columns; k++) matrix[i * columns + k] += (float)weight_gradient(j, half, gate, i, k);
        }
    }
}

/* ---- queueing ---- */

/* What cannot be seen before: whether sequences are as long as was said, and passes come in their order. */
static bool may_run(const job *j) {
    double *state = j->p.reserve;
    for (int b = 0; b < j->batch; b++) {
        if (j->p.lengths[b] != j->steps) return false;
    }
    if (j->part == FORWARD) {
        if (state) *state = STATE_FORWARD;
        return true;
    }
    bool in_turn = *state == (j->part == BACKWARD_DATA ? STATE_FORWARD : STATE_BACKWARD);
    *state = STATE_BACKWARD;
    return in_turn;
}

static void refuse(const job *j) {
    size_t rows = (size_t)j->batch * (size_t)j->steps;
    if (j->part == FORWARD) memset(j->p.y, 0xFF, rows * (size_t)j->rnn.width * sizeof(float));
    if (j->part == BACKWARD_DATA) memset(j->p.dx, 0xFF, rows * (size_t)j->rnn.inputs * sizeof(float));
    if (j->part == BACKWARD_WEIGHTS) memset(j->p.gradients, 0xFF, j->p.weight_bytes);
}

static void run(void *context) {
    static void (*const passes[])(const job *j) = {run_forward, run_backward_data, run_backward_weights};
    const job *j = context;
    memset(j->p.work, 0xFF, j->p.work_bytes);
    if (may_run(j))
        passes[j->part](j);
    else
        refuse(j);
}

static cudnnStatus_t queue(const fake_pass *p, part_id part, const char *name) {
    const job j = {*p, *p->rnn, p->x_data->batch, p->x_data->steps, gates_of(p->rnn), part};
    cudnnStatus_t code = fake_note(name, p->rnn->algorithm, CUDNN_STATUS_EXECUTION_FAILED);
    if (code != CUDNN_STATUS_SUCCESS) return code;
    return fake_cudnn_queue(p->handle, name, run, &j, sizeof j);
}

/* ---- what every pass has to be given ---- */

static bool data_good(const struct cudnnRNNDataStruct *data, const struct cudnnRNNDataStruct *like, int width) {
    return data && data->type == CUDNN_DATA_FLOAT && data->layout == CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED &&
           data->batch == like->batch && data->steps == like->steps && data->width == width;
}
static bool state_good(const struct cudnnTensorStruct *state, int batch, int width) {
    return state && state->type == CUDNN_DATA_FLOAT && state->dimensions == 3 && state->size[0] == 1 &&
           state->size[1] == batch && state->size[2] == width && state->stride[1] == width && state->stride[2] == 1;
}
static bool pass_good(const fake_pass *p, bool training) {
    const struct cudnnRNNStruct *rnn = p->rnn;
    bool described = p->handle && p->x_data && data_good(p->x_data, p->x_data, rnn->inputs) &&
                     data_good(p->y_data, p->x_data, rnn->width) &&
                     state_good(p->h_state, p->x_data->batch, rnn->width) &&
                     (!is_lstm(rnn) || p->c_state == p->h_state);
    if (!described || !p->lengths || !p->y || !p->work) return false;
    if (p->weight_bytes != fake_rnn_weight_bytes(rnn) || p->work_bytes != fake_rnn_work_bytes(rnn)) return false;
    return training ? p->reserve && p->reserve_bytes == fake_rnn_reserve_bytes(rnn, p->x_data) : !p->reserve;
}

cudnnStatus_t fake_rnn_forward(const fake_pass *p) {
    bool good = pass_good(p, p->mode == CUDNN_FWD_MODE_TRAINING) && p->x && p->weights;
    return good ? queue(p, FORWARD, "RNNForward") : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t fake_rnn_backward_data(const fake_pass *p) {
    bool good = pass_good(p, true) && p->dy && p->dx && p->weights;
    return good ? queue(p, BACKWARD_DATA, "RNNBackwardData_v8") : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t fake_rnn_backward_weights(const fake_pass *p) {
    fake_pass with_cells = *p; /* it is given none */
    with_cells.c_state = p->h_state;
    bool good = pass_good(&with_cells, true) && p->x && p->gradients;
    return good ? queue(p, BACKWARD_WEIGHTS, "RNNBackwardWeights_v8") : CUDNN_STATUS_BAD_PARAM;
}
