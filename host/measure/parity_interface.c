/* Inputs and outputs of a fixture, and the tensors of the graph that they are.
 *
 * A name is looked for as it stands; then under the name the graph has for it, which for the states of recurrent layers
 * is one for each layer: the fixture joins those along a first axis. */
#include <stdio.h>
#include <string.h>

#include "parity_impl.h"

static const struct {
    const char *fixture, *input, *output;
} others[] = {
    {"dy", "d.y", NULL},        {"dw", "d.w", NULL},           {"memory", "state.memory", "next.memory"},
    {"h0", "state.%d.h", NULL}, {"c0", "state.%d.c", NULL},    {"h_n", NULL, "next.%d.h"},
    {"c_n", NULL, "next.%d.c"}, {"dh_n", "d.next.%d.h", NULL}, {"dc_n", "d.next.%d.c", NULL},
};

static mmrec_tensor part_of(const parity_work *work, const char *series, int64_t number) {
    char name[64];
    const char *gap = strstr(series, "%d");
    snprintf(name, sizeof name, "%.*s%lld%s", (int)(gap - series), series, (long long)number, gap + 2);
    return mmrec_graph_find(work->graph, name);
}

static mmrec_shape shape_of(const parity_work *work, mmrec_tensor tensor) {
    return mmrec_graph_tensor_info(work->graph, tensor).shape;
}

/* The shape with one axis more in front. */
static mmrec_shape joined(mmrec_shape shape, int64_t count) {
    mmrec_shape wide = {.ndim = shape.ndim + 1, .dim = {count}};
    for (int i = 0; i < shape.ndim && i + 1 < MMREC_MAX_DIMS; i++) wide.dim[i + 1] = shape.dim[i];
    return wide;
}

/* Fills tensor or series, and the shape; false where the graph has nothing of that name. */
static bool find(const parity_work *work, const char *name, bool input, parity_item *item) {
    item->tensor = mmrec_graph_find(work->graph, name);
    for (size_t i = 0; i < sizeof others / sizeof *others && !item->tensor; i++) {
        const char *there = input ? others[i].input : others[i].output;
        if (!there || strcmp(others[i].fixture, name) != 0) continue;
        if (strstr(there, "%d")) {
            while (part_of(work, there, item->parts)) item->parts++;
            if (item->parts == 0) return false;
            item->series = there;
            item->shape = joined(shape_of(work, part_of(work, there, 0)), item->parts);
            return true;
        }
        item->tensor = mmrec_graph_find(work->graph, there);
    }
    if (item->tensor) item->shape = shape_of(work, item->tensor);
    return item->tensor != 0;
}

/* What changes from repeat to repeat: everything, but for the memory before the first of them. */
static bool is_repeated(const parity_work *work, const char *name, bool input) {
    return work->repeated && !(input && strcmp(name, "memory") == 0);
}

static mmrec_status add(parity_work *work, parity_role role, const char *name, const parity_item *like,
                        mmrec_error *error) {
    MMREC_TRY(parity_item_add(work, role, name, like->shape, like->tensor, error));
    parity_item *item = &work->items[work->item_count - 1];
    item->series = like->series;
    item->parts = like->parts;
    item->repeated = like->repeated;
    if (item->repeated) item->shape = joined(item->shape, work->repeats);
    return MMREC_OK;
}

/* Whether the graph has a gradient of an input: of its first part, for a series. */
static bool has_gradient(const parity_work *work, const parity_item *item) {
    return mmrec_graph_gradient(work->graph, item->series ? part_of(work, item->series, 0) : item->tensor) != 0;
}

/* Tokens of inputs and targets lie in one tensor, one step longer than either. */
static mmrec_status add_ids(parity_work *work, mmrec_error *error) {
    mmrec_shape shape;
    int ndim = work->repeated ? 3 : 2;
    if (!mmrec_graph_find(work->graph, "ids")) return MMREC_OK;
    MMREC_TRY(parity_shape(work, "in.ids", ndim, &shape, error));
    return parity_item_add(work, PARITY_INPUT, "ids", shape, 0, error);
}

static mmrec_status add_input(parity_work *work, const char *name, mmrec_error *error) {
    parity_item like = {.repeated = is_repeated(work, name, true)};
    if (strcmp(name, "ids") == 0) return add_ids(work, error);
    if (!find(work, name, true, &like)) return MMREC_OK;
    MMREC_TRY(add(work, PARITY_INPUT, name, &like, error));
    return has_gradient(work, &like) && !work->trains ? add(work, PARITY_GRADIENT, name, &like, error) : MMREC_OK;
}

/* What the graph does not have (no auxiliary loss) is a number that is 0. */
static mmrec_status add_output(parity_work *work, const char *name, mmrec_error *error) {
    parity_item like = {.shape = mmrec_shape1(1), .repeated = work->repeated};
    find(work, name, false, &like);
    return add(work, PARITY_OUTPUT, name, &like, error);
}

static mmrec_status each_word(parity_work *work, const char *words,
                              mmrec_status (*call)(parity_work *, const char *, mmrec_error *), mmrec_error *error) {
    while (words && *words) {
        char word[32];
        size_t size = strcspn(words, " ");
        snprintf(word, sizeof word, "%.*s", (int)size, words);
        MMREC_TRY(call(work, word, error));
        words += size + (words[size] == ' ');
    }
    return MMREC_OK;
}

mmrec_status parity_items_of_kind(parity_work *work, mmrec_error *error) {
    MMREC_TRY(each_word(work, work->kind->inputs, add_input, error));
    return each_word(work, work->kind->outputs, add_output, error);
}

/* ---- values ---- */

/* Gradients of inputs that the graph has in parts are asked for by the parts. */
static mmrec_tensor value_of(const parity_work *work, const parity_item *item, int64_t part) {
    mmrec_tensor tensor = item->series ? part_of(work, item->series, part) : item->tensor;
    bool of_input = item->role == PARITY_GRADIENT && mmrec_graph_gradient(work->graph, tensor);
    return of_input ? mmrec_graph_gradient(work->graph, tensor) : tensor;
}

mmrec_status parity_item_read(parity_work *work, const parity_item *item, double *to, mmrec_error *error) {
    int64_t parts = item->series ? item->parts : 1;
    int64_t count = mmrec_shape_elements(&item->shape) / parts / (item->repeated ? work->repeats : 1);
    for (int64_t i = 0; i < parts; i++) {
        MMREC_TRY(mmrec_exec_read(work->exec, value_of(work, item, i), to + i * count, count, error));
    }
    return MMREC_OK;
}

static mmrec_status write_item(parity_work *work, const parity_item *item, int64_t repeat, mmrec_error *error) {
    int64_t parts = item->series ? item->parts : 1;
    int64_t all = mmrec_shape_elements(&item->shape) / (item->repeated ? work->repeats : 1), count = all / parts;
    MMREC_TRY(parity_read(work, item->name, error));
    const double *from = work->expected + (item->repeated ? repeat * all : 0);
    for (int64_t i = 0; i < parts; i++) {
        mmrec_tensor tensor = item->series ? part_of(work, item->series, i) : item->tensor;
        MMREC_TRY(mmrec_exec_write(work->exec, tensor, from + i * count, count, error));
    }
    return MMREC_OK;
}

/* Steps [first, first + T) of a repeat's ids (B, T or T + 1) into a tensor of ids. */
static mmrec_status write_ids(parity_work *work, const char *name, int64_t repeat, int64_t first, mmrec_error *error) {
    mmrec_tensor tensor = mmrec_graph_find(work->graph, name);
    if (!tensor) return MMREC_OK;
    mmrec_shape ids = shape_of(work, tensor), all;
    MMREC_TRY(parity_shape(work, "in.ids", work->repeated ? 3 : 2, &all, error));
    mmrec_shape batch = mmrec_shape2(ids.dim[0], all.dim[all.ndim - 1]);
    parity_take_columns(work, &batch, repeat, first, ids.dim[1]);
    return mmrec_exec_write_ids(work->exec, tensor, work->piece, mmrec_shape_elements(&ids), error);
}

static bool is_given(const parity_work *work, mmrec_tensor tensor) {
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        if (item->role != PARITY_INPUT) continue;
        if (item->tensor == tensor) return true;
        for (int64_t p = 0; item->series && p < item->parts; p++) {
            if (part_of(work, item->series, p) == tensor) return true;
        }
    }
    return false;
}

/* A sequence starts with h = 0. Room for the widest of these states was made with that of the items. */
static mmrec_status write_zeros(parity_work *work, mmrec_error *error) {
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(work->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(work->graph, t);
        if (info.kind != MMREC_TENSOR_INPUT || info.base || info.dtype == MMREC_I32 || is_given(work, t)) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        memset(work->got, 0, (size_t)count * sizeof *work->got);
        MMREC_TRY(mmrec_exec_write(work->exec, t, work->got, count, error));
    }
    return MMREC_OK;
}

/* The memory that is carried from repeat to repeat. */
static mmrec_status carry(parity_work *work, mmrec_error *error) {
    mmrec_tensor from = mmrec_graph_find(work->graph, "next.memory"),
                 to = mmrec_graph_find(work->graph, "state.memory");
    if (!from || !to) return MMREC_OK;
    mmrec_shape shape = shape_of(work, to);
    MMREC_TRY(mmrec_exec_read(work->exec, from, work->got, mmrec_shape_elements(&shape), error));
    return mmrec_exec_write(work->exec, to, work->got, mmrec_shape_elements(&shape), error);
}

mmrec_status parity_write_inputs(parity_work *work, int64_t repeat, mmrec_error *error) {
    if (repeat > 0) MMREC_TRY(carry(work, error));
    for (size_t i = 0; i < work->item_count; i++) {
        const parity_item *item = &work->items[i];
        bool given = item->role == PARITY_INPUT && (item->tensor || item->series);
        if (given && (item->repeated || repeat == 0)) MMREC_TRY(write_item(work, item, repeat, error));
    }
    if (work->ids) {
        MMREC_TRY(write_ids(work, "ids", repeat, 0, error));
        MMREC_TRY(write_ids(work, "targets", repeat, 1, error));
    }
    return write_zeros(work, error);
}
