/* Computes a graph of operations, one after the other and in double, but every element is rounded to the type of its
 * tensor. What the library does not promise does not hold: its work memory is scribbled over, and results are filled
 * with NaN before anything is read, so that results that lie over an input or over work memory are NaN. */
#include "fake_cudnn_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Elements of every tensor by their place in its memory; places where no element lies stay NaN. */
typedef struct run {
    const fake_graph *graph;
    double *all, *values[FAKE_MOST_TENSORS];
} run;

/* ---- elements ---- */

size_t fake_tensor_element_bytes(const fake_tensor *tensor) {
    switch (tensor->type) {
    case CUDNN_DATA_FLOAT:
    case CUDNN_DATA_INT32:
        return 4;
    case CUDNN_DATA_BFLOAT16:
        return 2;
    case CUDNN_DATA_BOOLEAN:
        return 1;
    default:
        return 0;
    }
}

static uint16_t to_bf16(double x) {
    float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    if (isnan(single)) return 0x7FFF;
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static double from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float single;
    memcpy(&single, &bits, sizeof single);
    return (double)single;
}

static double rounded(cudnnDataType_t type, double x) {
    switch (type) {
    case CUDNN_DATA_BFLOAT16:
        return from_bf16(to_bf16(x));
    case CUDNN_DATA_INT32:
        return fabs(x) <= INT32_MAX ? trunc(x) : INT32_MIN;
    case CUDNN_DATA_BOOLEAN:
        return x != 0;
    default:
        return (double)(float)x;
    }
}

static double load(const fake_tensor *tensor, int64_t place) {
    switch (tensor->type) {
    case CUDNN_DATA_BFLOAT16:
        return from_bf16(((const uint16_t *)tensor->at)[place]);
    case CUDNN_DATA_INT32:
        return ((const int32_t *)tensor->at)[place];
    case CUDNN_DATA_BOOLEAN:
        return ((const uint8_t *)tensor->at)[place];
    default:
        return (double)((const float *)tensor->at)[place];
    }
}

static void store(const fake_tensor *tensor, int64_t place, double x) {
    switch (tensor->type) {
    case CUDNN_DATA_BFLOAT16:
        ((uint16_t *)tensor->at)[place] = to_bf16(x);
        break;
    case CUDNN_DATA_INT32:
        ((int32_t *)tensor->at)[place] = (int32_t)rounded(CUDNN_DATA_INT32, x);
        break;
    case CUDNN_DATA_BOOLEAN:
        ((uint8_t *)tensor->at)[place] = x != 0;
        break;
    default:
        ((float *)tensor->at)[place] = (float)x;
    }
}

/* ---- places ---- */

/* The next element in order of the axes; false after the last. */
static bool next(const fake_tensor *tensor, int64_t at[FAKE_AXES]) {
    for (int i = FAKE_AXES - 1; i >= 0; i--) {
        if (++at[i] < tensor->size[i]) return true;
        at[i] = 0;
    }
    return false;
}

/* An axis of size 1 is repeated. */
static int64_t place(const fake_tensor *tensor, const int64_t at[FAKE_AXES]) {
    int64_t sum = 0;
    for (int i = 0; i < FAKE_AXES; i++) sum += tensor->size[i] > 1 ? at[i] * tensor->stride[i] : 0;
    return sum;
}

static int64_t count(const fake_tensor *tensor) {
    int64_t product = 1;
    for (int i = 0; i < FAKE_AXES; i++) product *= tensor->size[i];
    return product;
}

/* Elements of its memory, from the first to the last. */
static int64_t extent(const fake_tensor *tensor) {
    int64_t last = 0;
    for (int i = 0; i < FAKE_AXES; i++) last += (tensor->size[i] - 1) * tensor->stride[i];
    return last + 1;
}

static double get(const run *r, int tensor, const int64_t at[FAKE_AXES]) {
    return tensor < 0 ? 0 : r->values[tensor][place(&r->graph->tensor[tensor], at)];
}

static void set(const run *r, int tensor, const int64_t at[FAKE_AXES], double x) {
    const fake_tensor *t = &r->graph->tensor[tensor];
    r->values[tensor][place(t, at)] = rounded(t->type, x);
}

/* ---- what goes together ---- */

static bool repeats_to(const fake_tensor *small, const fake_tensor *large, int first, int end) {
    for (int i = first; i < end; i++) {
        if (small->size[i] != 1 && small->size[i] != large->size[i]) return false;
    }
    return true;
}

static bool product_fits(const fake_tensor *a, const fake_tensor *b, const fake_tensor *c) {
    return repeats_to(a, c, 0, 2) && repeats_to(b, c, 0, 2) && a->size[2] == c->size[2] && b->size[3] == c->size[3] &&
           a->size[3] == b->size[2];
}

enum { WITH_B = 1, WITH_T = 2 };

/* What a mode takes besides x; -1: a mode that is not known here. */
static int takes(int mode) {
    switch (mode) {
    case CUDNN_POINTWISE_ADD:
    case CUDNN_POINTWISE_SUB:
    case CUDNN_POINTWISE_MUL:
    case CUDNN_POINTWISE_DIV:
    case CUDNN_POINTWISE_CMP_GE:
        return WITH_B;
    case CUDNN_POINTWISE_EXP:
    case CUDNN_POINTWISE_LOG:
    case CUDNN_POINTWISE_IDENTITY:
    case CUDNN_POINTWISE_GEN_INDEX:
        return 0;
    case CUDNN_POINTWISE_BINARY_SELECT:
        return WITH_B | WITH_T;
    default:
        return -1;
    }
}

static bool pointwise_fits(const fake_graph *g, const fake_operation *o) {
    const fake_tensor *y = &g->tensor[o->y];
    const int inputs[3] = {o->x, o->b, o->t};
    if (takes(o->mode) != (o->b >= 0 ? WITH_B : 0) + (o->t >= 0 ? WITH_T : 0)) return false;
    if (o->mode == CUDNN_POINTWISE_CMP_GE && y->type != CUDNN_DATA_BOOLEAN) return false;
    if (o->t >= 0 && g->tensor[o->t].type != CUDNN_DATA_BOOLEAN) return false;
    for (int i = 0; i < 3; i++) {
        if (inputs[i] >= 0 && !repeats_to(&g->tensor[inputs[i]], y, 0, FAKE_AXES)) return false;
    }
    if (o->mode != CUDNN_POINTWISE_GEN_INDEX) return true;
    return o->axis >= 0 && o->axis < FAKE_AXES && count(&g->tensor[o->x]) == count(y);
}

bool fake_operation_fits(const fake_graph *graph, const fake_operation *operation) {
    const fake_tensor *x = &graph->tensor[operation->x], *y = &graph->tensor[operation->y];
    switch (operation->kind) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        return product_fits(x, &graph->tensor[operation->b], y);
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        return repeats_to(y, x, 0, FAKE_AXES) &&
               (operation->mode == CUDNN_REDUCE_TENSOR_ADD || operation->mode == CUDNN_REDUCE_TENSOR_MAX);
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
        return count(x) == count(y) && extent(x) == extent(y);
    default:
        return pointwise_fits(graph, operation);
    }
}

/* ---- operations ---- */

static void run_product(const run *r, const fake_operation *o) {
    const fake_tensor *a = &r->graph->tensor[o->x], *b = &r->graph->tensor[o->b], *c = &r->graph->tensor[o->y];
    int64_t at[FAKE_AXES] = {0};
    do {
        const int64_t row[FAKE_AXES] = {at[0], at[1], at[2], 0}, column[FAKE_AXES] = {at[0], at[1], 0, at[3]};
        const double *of_a = r->values[o->x] + place(a, row), *of_b = r->values[o->b] + place(b, column);
        double sum = 0;
        for (int64_t k = 0; k < a->size[3]; k++) sum += of_a[k * a->stride[3]] * of_b[k * b->stride[2]];
        set(r, o->y, at, sum);
    } while (next(c, at));
}

static double pointwise(int mode, double x, double b, double t) {
    switch (mode) {
    case CUDNN_POINTWISE_ADD:
        return x + b;
    case CUDNN_POINTWISE_SUB:
        return x - b;
    case CUDNN_POINTWISE_MUL:
        return x * b;
    case CUDNN_POINTWISE_DIV:
        return x / b;
    case CUDNN_POINTWISE_EXP:
        return exp(x);
    case CUDNN_POINTWISE_LOG:
        return log(x);
    case CUDNN_POINTWISE_CMP_GE:
        return x >= b;
    case CUDNN_POINTWISE_BINARY_SELECT:
        return t != 0 ? x : b;
    default:
        return x;
    }
}

static void run_pointwise(const run *r, const fake_operation *o) {
    int64_t at[FAKE_AXES] = {0};
    do {
        double x = o->mode == CUDNN_POINTWISE_GEN_INDEX ? (double)at[o->axis] : get(r, o->x, at);
        set(r, o->y, at, pointwise(o->mode, x, get(r, o->b, at), get(r, o->t, at)));
    } while (next(&r->graph->tensor[o->y], at));
}

/* What is joined is rounded at the end alone. */
static void run_reduction(const run *r, const fake_operation *o) {
    const fake_tensor *x = &r->graph->tensor[o->x], *y = &r->graph->tensor[o->y];
    bool add = o->mode == CUDNN_REDUCE_TENSOR_ADD;
    int64_t at[FAKE_AXES] = {0};
    double *joined = r->values[o->y];
    do joined[place(y, at)] = add ? 0 : -INFINITY;
    while (next(y, at));
    do {
        double *so_far = &joined[place(y, at)], value = get(r, o->x, at);
        if (add)
            *so_far += value;
        else if (value > *so_far || isnan(value))
            *so_far = value;
    } while (next(x, at));
    do set(r, o->y, at, joined[place(y, at)]);
    while (next(y, at));
}

static void run_reshape(const run *r, const fake_operation *o) {
    const fake_tensor *y = &r->graph->tensor[o->y];
    int64_t at[FAKE_AXES] = {0};
    do set(r, o->y, at, r->values[o->x][place(y, at)]);
    while (next(y, at));
}

static void run_operation(const run *r, const fake_operation *o) {
    if (o->kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
        run_product(r, o);
    else if (o->kind == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
        run_reduction(r, o);
    else if (o->kind == CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
        run_reshape(r, o);
    else
        run_pointwise(r, o);
}

/* ---- the whole ---- */

static bool is_input(const fake_tensor *t) { return !t->is_virtual && !t->written; }
static bool is_output(const fake_tensor *t) { return !t->is_virtual && t->written; }

static void fill_with_nan(const fake_tensor *t) {
    int64_t at[FAKE_AXES] = {0};
    size_t bytes = fake_tensor_element_bytes(t);
    do memset((unsigned char *)t->at + (size_t)place(t, at) * bytes, 0xFF, bytes);
    while (next(t, at));
}

static bool begin(run *r) {
    const fake_graph *g = r->graph;
    int64_t elements = 0, begun = 0;
    for (int i = 0; i < g->tensors; i++) elements += extent(&g->tensor[i]);
    r->all = malloc((size_t)elements * sizeof *r->all);
    if (!r->all) return false;
    for (int64_t i = 0; i < elements; i++) r->all[i] = NAN;
    for (int i = 0; i < g->tensors; i++) {
        r->values[i] = r->all + begun;
        begun += extent(&g->tensor[i]);
    }
    return true;
}

static void read_input(const run *r, int tensor) {
    const fake_tensor *t = &r->graph->tensor[tensor];
    int64_t at[FAKE_AXES] = {0};
    do r->values[tensor][place(t, at)] = t->by_value ? t->value : load(t, place(t, at));
    while (next(t, at));
}

static void write_output(const run *r, int tensor) {
    const fake_tensor *t = &r->graph->tensor[tensor];
    int64_t at[FAKE_AXES] = {0};
    do store(t, place(t, at), r->values[tensor][place(t, at)]);
    while (next(t, at));
}

void fake_graph_run(void *graph) {
    const fake_graph *g = graph;
    run r = {.graph = g};
    memset(g->work, 0xFF, g->work_bytes);
    for (int i = 0; i < g->tensors; i++) {
        if (is_output(&g->tensor[i])) fill_with_nan(&g->tensor[i]);
    }
    if (!begin(&r)) return;
    for (int i = 0; i < g->tensors; i++) {
        if (is_input(&g->tensor[i])) read_input(&r, i);
    }
    for (int i = 0; i < g->operations; i++) run_operation(&r, &g->operation[i]);
    for (int i = 0; i < g->tensors; i++) {
        if (is_output(&g->tensor[i])) write_output(&r, i);
    }
    memset(g->work, 0xFF, g->work_bytes);
    free(r.all);
}
