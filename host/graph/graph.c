/* Building a graph: tensors, slices, names. Nodes are in nodes.c. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph_impl.h"

mmrec_status mmrec_graph_create(mmrec_allocator *allocator, mmrec_dtype storage, int threads, mmrec_graph **out,
                                mmrec_error *error) {
    *out = NULL;
    if (storage != MMREC_F32 && storage != MMREC_F64 && storage != MMREC_BF16) {
        MMREC_FAIL(error, MMREC_UNSUPPORTED, "a graph stores f32, f64 or bf16, not %s", mmrec_dtype_name(storage));
    }
    if (threads < 1 && threads != MMREC_ON_DEVICE) {
        MMREC_FAIL(error, MMREC_CONFIG, "a graph needs at least 1 thread, got %d", threads);
    }
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_graph), MMREC_ALLOC_GRAPH, &memory, error));
    mmrec_graph *graph = memory;
    graph->allocator = allocator;
    graph->storage = storage;
    graph->real = storage == MMREC_BF16 ? MMREC_F32 : storage;
    graph->threads = threads;
    graph->layer = -1;
    graph->phase = MMREC_PHASE_FORWARD;
    *out = graph;
    return MMREC_OK;
}

static void free_name(mmrec_graph *graph, graph_tensor *tensor) {
    if (tensor->name) mmrec_alloc(graph->allocator, tensor->name, strlen(tensor->name) + 1, 0, MMREC_ALLOC_GRAPH);
    tensor->name = NULL;
}

void mmrec_graph_destroy(mmrec_graph **graph_pointer) {
    mmrec_graph *graph = *graph_pointer;
    if (!graph) return;
    for (size_t i = 0; i < graph->tensor_count; i++) free_name(graph, &graph->tensors[i]);
    mmrec_allocator *allocator = graph->allocator;
    mmrec_alloc(allocator, graph->tensors, graph->tensor_capacity * sizeof(graph_tensor), 0, MMREC_ALLOC_GRAPH);
    mmrec_alloc(allocator, graph->names, graph->name_capacity * sizeof(mmrec_tensor), 0, MMREC_ALLOC_GRAPH);
    mmrec_alloc(allocator, graph->nodes, graph->node_capacity * sizeof(graph_node), 0, MMREC_ALLOC_GRAPH);
    mmrec_alloc(allocator, graph, sizeof(mmrec_graph), 0, MMREC_ALLOC_GRAPH);
    *graph_pointer = NULL;
}

mmrec_dtype mmrec_graph_dtype(const mmrec_graph *graph) { return graph->storage; }

void mmrec_graph_scope(mmrec_graph *graph, int layer, const char *prefix) {
    graph->layer = layer;
    snprintf(graph->prefix, sizeof graph->prefix, "%s", prefix);
}

void mmrec_graph_phase(mmrec_graph *graph, mmrec_phase phase) { graph->phase = phase; }

void mmrec_graph_refuse(mmrec_graph *graph, mmrec_status code, const char *format, ...) {
    if (graph->error.code != MMREC_OK) return;
    char message[MMREC_ERROR_MESSAGE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    mmrec_error_set(&graph->error, code, __FILE__, __LINE__, "%s", message);
}

mmrec_status mmrec_graph_status(const mmrec_graph *graph, mmrec_error *error) {
    if (graph->error.code != MMREC_OK && error) *error = graph->error;
    return graph->error.code;
}

mmrec_tensor graph_new_tensor(mmrec_graph *graph, mmrec_tensor_kind kind, mmrec_dtype dtype, mmrec_shape shape) {
    if (graph->error.code != MMREC_OK) return 0;
    if (!mmrec_shape_valid(&shape)) {
        char text[96];
        mmrec_graph_refuse(graph, MMREC_SHAPE,
                           "a tensor of shape %s is not possible: sizes must be at least 1 and the "
                           "number of elements below 2^62",
                           mmrec_shape_text(&shape, text, sizeof text));
        return 0;
    }
    void *array = graph->tensors;
    if (mmrec_alloc_grow(graph->allocator, &array, &graph->tensor_capacity, graph->tensor_count + 1,
                         sizeof(graph_tensor), MMREC_ALLOC_GRAPH, &graph->error) != MMREC_OK) {
        return 0;
    }
    graph->tensors = array;
    graph_tensor *tensor = &graph->tensors[graph->tensor_count++];
    memset(tensor, 0, sizeof *tensor);
    tensor->kind = kind;
    tensor->dtype = dtype;
    tensor->shape = shape;
    tensor->stride = mmrec_shape_columns(&shape);
    tensor->layer = graph->layer;
    return (mmrec_tensor)graph->tensor_count;
}

mmrec_tensor graph_new_slice(mmrec_graph *graph, mmrec_tensor base, mmrec_tensor_kind kind, int64_t offset,
                             int64_t stride, mmrec_shape shape) {
    if (graph->error.code != MMREC_OK) return 0;
    mmrec_tensor slice = graph_new_tensor(graph, kind, graph_tensor_at(graph, base)->dtype, shape);
    if (!slice) return 0;
    graph_tensor *tensor = graph_tensor_at(graph, slice);
    tensor->base = base;
    tensor->offset = offset;
    tensor->stride = stride;
    graph_tensor *whole = graph_tensor_at(graph, base);
    tensor->layer = whole->layer;
    tensor->sibling = whole->first_slice;
    whole->first_slice = slice;
    return slice;
}

/* Where `name` stands in the table, or the free place where it would. The table is never full. */
static size_t name_slot(const mmrec_graph *graph, const char *name) {
    uint64_t hash = 1469598103934665603u; /* FNV-1a, 64 bit */
    for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    size_t slot = (size_t)hash & (graph->name_capacity - 1);
    while (graph->names[slot] && strcmp(graph_tensor_at(graph, graph->names[slot])->name, name) != 0) {
        slot = (slot + 1) & (graph->name_capacity - 1);
    }
    return slot;
}

/* Keeps the table at most half full. */
static mmrec_status grow_names(mmrec_graph *graph, mmrec_error *error) {
    if (2 * (graph->name_count + 1) <= graph->name_capacity) return MMREC_OK;
    size_t old_capacity = graph->name_capacity, capacity = old_capacity ? 2 * old_capacity : 64;
    mmrec_tensor *old = graph->names;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(graph->allocator, capacity, sizeof(mmrec_tensor), MMREC_ALLOC_GRAPH, &memory, error));
    graph->names = memory;
    graph->name_capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i]) graph->names[name_slot(graph, graph_tensor_at(graph, old[i])->name)] = old[i];
    }
    mmrec_alloc(graph->allocator, old, old_capacity * sizeof(mmrec_tensor), 0, MMREC_ALLOC_GRAPH);
    return MMREC_OK;
}

/* Gives a full name: prefix and name. A tensor has one name and a name one tensor: anything else is a mistake in the
 * model. */
static void set_name(mmrec_graph *graph, mmrec_tensor tensor, const char *name) {
    if (!tensor || graph->error.code != MMREC_OK) return;
    char full[160];
    snprintf(full, sizeof full, "%s%s", graph->prefix, name);
    graph_tensor *named = graph_tensor_at(graph, tensor);
    if (named->name || mmrec_graph_find(graph, full)) {
        mmrec_graph_refuse(graph, MMREC_INTERNAL, "two tensors are named \"%s\", or one tensor \"%s\" and \"%s\"", full,
                           named->name ? named->name : full, full);
        return;
    }
    size_t size = strlen(full) + 1;
    if (grow_names(graph, &graph->error) != MMREC_OK) return;
    named->name = mmrec_alloc(graph->allocator, NULL, 0, size, MMREC_ALLOC_GRAPH);
    if (!named->name) {
        mmrec_graph_refuse(graph, MMREC_NO_MEMORY, "no memory for the name of tensor \"%s\"", full);
        return;
    }
    memcpy(named->name, full, size);
    graph->names[name_slot(graph, full)] = tensor;
    graph->name_count++;
}

static mmrec_tensor named_tensor(mmrec_graph *graph, mmrec_tensor_kind kind, mmrec_dtype dtype, const char *name,
                                 mmrec_shape shape) {
    mmrec_tensor tensor = graph_new_tensor(graph, kind, dtype, shape);
    set_name(graph, tensor, name);
    return graph->error.code == MMREC_OK ? tensor : 0;
}

mmrec_tensor mmrec_graph_input(mmrec_graph *graph, const char *name, mmrec_dtype dtype, mmrec_shape shape) {
    return named_tensor(graph, MMREC_TENSOR_INPUT, dtype == MMREC_I32 ? MMREC_I32 : graph->real, name, shape);
}

mmrec_tensor mmrec_graph_param(mmrec_graph *graph, const char *name, mmrec_shape shape) {
    return named_tensor(graph, MMREC_TENSOR_PARAM, graph->real, name, shape);
}

void mmrec_graph_initial(mmrec_graph *graph, mmrec_tensor param, mmrec_initial initial) {
    if (graph->error.code == MMREC_OK && param) graph_tensor_at(graph, param)->initial = initial;
}

mmrec_tensor mmrec_graph_stack(mmrec_graph *graph, const char *name, mmrec_shape shape) {
    return named_tensor(graph, MMREC_TENSOR_STACK, graph->real, name, shape);
}

/* Slices that overlap would write one gradient twice. Those of one base are all columns or all runs of elements, so
 * their offsets and lengths decide. */
static bool slice_is_free(const mmrec_graph *graph, mmrec_tensor base, int64_t first, int64_t length) {
    const graph_tensor *whole = graph_tensor_at(graph, base);
    for (mmrec_tensor t = whole->first_slice; t; t = graph_tensor_at(graph, t)->sibling) {
        const graph_tensor *slice = graph_tensor_at(graph, t);
        if (slice->whole) return false;
        int64_t taken = whole->kind == MMREC_TENSOR_STACK ? mmrec_shape_elements(&slice->shape)
                                                          : mmrec_shape_columns(&slice->shape);
        if (first < slice->offset + taken && slice->offset < first + length) return false;
    }
    return true;
}

static mmrec_tensor stack_slice(mmrec_graph *graph, mmrec_tensor stack, mmrec_tensor_kind kind, int64_t first,
                                mmrec_shape shape) {
    if (graph->error.code != MMREC_OK || !stack) return 0;
    const graph_tensor *base = graph_tensor_at(graph, stack);
    int64_t count = mmrec_shape_valid(&shape) ? mmrec_shape_elements(&shape) : 0;
    bool fits = base->kind == MMREC_TENSOR_STACK && first >= 0 && count >= 1 &&
                count <= mmrec_shape_elements(&base->shape) - first;
    if (!fits || !slice_is_free(graph, stack, first, count)) {
        char text[96];
        mmrec_graph_refuse(graph, MMREC_SHAPE, "a slice %s at element %lld does not fit into its stack%s",
                           mmrec_shape_text(&shape, text, sizeof text), (long long)first,
                           fits ? ": another slice is there" : "");
        return 0;
    }
    return graph_new_slice(graph, stack, kind, first, mmrec_shape_columns(&shape), shape);
}

mmrec_tensor mmrec_graph_stack_param(mmrec_graph *graph, mmrec_tensor stack, int64_t first, const char *name,
                                     mmrec_shape shape) {
    mmrec_tensor slice = stack_slice(graph, stack, MMREC_TENSOR_PARAM, first, shape);
    set_name(graph, slice, name);
    return graph->error.code == MMREC_OK ? slice : 0;
}

mmrec_tensor mmrec_graph_stack_value(mmrec_graph *graph, mmrec_tensor stack, int64_t first, mmrec_shape shape) {
    return stack_slice(graph, stack, MMREC_TENSOR_VALUE, first, shape);
}

mmrec_tensor mmrec_graph_columns(mmrec_graph *graph, mmrec_tensor base, int64_t first, int64_t count) {
    if (graph->error.code != MMREC_OK || !base) return 0;
    const graph_tensor *tensor = graph_tensor_at(graph, base);
    int64_t width = mmrec_shape_columns(&tensor->shape);
    bool whole = !tensor->base && (tensor->kind == MMREC_TENSOR_VALUE || tensor->kind == MMREC_TENSOR_INPUT);
    if (!whole || tensor->shape.ndim < 1 || first < 0 || count < 1 || count > width - first) {
        mmrec_graph_refuse(graph, MMREC_SHAPE, "%lld columns from %lld on are not a slice of a %s with %lld columns",
                           (long long)count, (long long)first, whole ? "value" : "slice or parameter",
                           (long long)width);
        return 0;
    }
    if (!slice_is_free(graph, base, first, count)) {
        mmrec_graph_refuse(graph, MMREC_SHAPE, "%lld columns from %lld on overlap another slice of their tensor",
                           (long long)count, (long long)first);
        return 0;
    }
    mmrec_shape shape = tensor->shape;
    shape.dim[shape.ndim - 1] = count;
    return graph_new_slice(graph, base, tensor->kind, first, width, shape);
}

/* The view of a base in that shape that exists already, or 0. */
static mmrec_tensor reshaped(const mmrec_graph *graph, mmrec_tensor base, const mmrec_shape *shape) {
    mmrec_tensor slice = graph_tensor_at(graph, base)->first_slice;
    bool same = slice && graph_tensor_at(graph, slice)->whole &&
                mmrec_shape_equal(&graph_tensor_at(graph, slice)->shape, shape);
    return same ? slice : 0;
}

mmrec_tensor mmrec_graph_reshape(mmrec_graph *graph, mmrec_tensor base, mmrec_shape shape) {
    if (graph->error.code != MMREC_OK || !base) return 0;
    const graph_tensor *tensor = graph_tensor_at(graph, base);
    if (mmrec_shape_equal(&tensor->shape, &shape)) return base;
    mmrec_tensor before = reshaped(graph, base, &shape);
    if (before) return before;
    bool given = !tensor->base && (tensor->kind == MMREC_TENSOR_VALUE || tensor->kind == MMREC_TENSOR_INPUT);
    bool fits = mmrec_shape_valid(&shape) && mmrec_shape_elements(&shape) == mmrec_shape_elements(&tensor->shape);
    if (!given || !fits || tensor->first_slice) {
        char from[96], to[96];
        mmrec_graph_refuse(graph, MMREC_SHAPE, "a %s of shape %s cannot be read as %s%s",
                           given ? "value" : "slice or parameter", mmrec_shape_text(&tensor->shape, from, sizeof from),
                           mmrec_shape_text(&shape, to, sizeof to),
                           given && fits ? ": it is read in slices or in another shape" : "");
        return 0;
    }
    mmrec_tensor view = graph_new_slice(graph, base, tensor->kind, 0, mmrec_shape_columns(&shape), shape);
    if (view) graph_tensor_at(graph, view)->whole = true;
    return view;
}

void mmrec_graph_keep(mmrec_graph *graph, mmrec_tensor tensor, const char *name) {
    if (graph->error.code != MMREC_OK || !tensor) return;
    graph_tensor_at(graph, graph_storage(graph, tensor))->keep = true;
    set_name(graph, tensor, name);
}

mmrec_tensor mmrec_graph_find(const mmrec_graph *graph, const char *name) {
    return graph->name_capacity ? graph->names[name_slot(graph, name)] : 0;
}

mmrec_tensor mmrec_graph_gradient(const mmrec_graph *graph, mmrec_tensor tensor) {
    return tensor ? graph_tensor_at(graph, tensor)->gradient : 0;
}

bool mmrec_graph_unreached(const mmrec_graph *graph, mmrec_tensor tensor) {
    return tensor && graph_tensor_at(graph, tensor)->unreached;
}

int mmrec_graph_tensor_count(const mmrec_graph *graph) { return (int)graph->tensor_count; }
int mmrec_graph_node_count(const mmrec_graph *graph) { return (int)graph->node_count; }

mmrec_tensor_info mmrec_graph_tensor_info(const mmrec_graph *graph, mmrec_tensor tensor) {
    const graph_tensor *t = graph_tensor_at(graph, tensor);
    mmrec_tensor_info info = {
        t->name ? t->name : "", t->kind, t->dtype, t->shape, t->base, t->offset, t->stride, t->layer, t->initial};
    return info;
}

mmrec_node_info mmrec_graph_node_info(const mmrec_graph *graph, int node) {
    const graph_node *n = &graph->nodes[node];
    mmrec_node_info info = {n->op, n->pass, n->phase, n->recompute, n->layer, n->storage, &n->sizes};
    return info;
}

int64_t mmrec_graph_param_count(const mmrec_graph *graph) {
    int64_t count = 0;
    for (size_t i = 0; i < graph->tensor_count; i++) {
        if (graph->tensors[i].kind != MMREC_TENSOR_PARAM) continue;
        if (__builtin_add_overflow(count, mmrec_shape_elements(&graph->tensors[i].shape), &count)) return INT64_MAX;
    }
    return count;
}

int64_t mmrec_graph_largest_param(const mmrec_graph *graph) {
    int64_t most = 0;
    for (size_t i = 0; i < graph->tensor_count; i++) {
        int64_t count = mmrec_shape_elements(&graph->tensors[i].shape);
        if (graph->tensors[i].kind == MMREC_TENSOR_PARAM && count > most) most = count;
    }
    return most;
}

mmrec_work mmrec_graph_work(const mmrec_graph *graph, mmrec_phase phase) {
    mmrec_work sum = {0, 0, 0};
    for (size_t i = 0; i < graph->node_count; i++) {
        const graph_node *node = &graph->nodes[i];
        if (node->phase != phase) continue;
        mmrec_work work = mmrec_op_work(graph_op_def(graph, node->op), &node->sizes, node->pass, node->storage);
        sum.flops += work.flops;
        sum.transcendentals += work.transcendentals;
        sum.bytes += work.bytes;
    }
    return sum;
}
