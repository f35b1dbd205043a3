/* The memory plan: which regions there are and when they live. place.c says where.
 *
 * A region's lifetime is the span of nodes that touch it, ends included, so the arguments of one call never overlap
 * unless the op allows it (in_place.c). */
#include <stdio.h>
#include <string.h>

#include "plan_impl.h"

const char *mmrec_arena_name(mmrec_arena arena) {
    static const char *const names[MMREC_ARENAS] = {"parameters", "gradients", "optimizer", "saved", "scratch"};
    return arena < MMREC_ARENAS ? names[arena] : "?";
}

/* ---- lifetimes ---- */

static void touch_node(const mmrec_plan *plan, plan_life *lives, int n) {
    const graph_node *node = &plan->graph->nodes[n];
    mmrec_tensor storage[PLAN_NODE_TENSORS];
    plan_node_storage(plan->graph, node, storage);
    for (int i = 0; i < PLAN_NODE_TENSORS; i++) {
        plan_life *life = &lives[storage[i]];
        if (!storage[i]) continue;
        if (!life->used) life->first = n;
        life->used = true;
        life->last = n;
        if (node->phase == MMREC_PHASE_BACKWARD)
            life->in_backward = true;
        else
            life->in_forward = true;
    }
}

/* ---- entries ---- */

static mmrec_status add_entry(mmrec_plan *plan, mmrec_plan_entry entry, int *index, mmrec_error *error) {
    void *array = plan->entries;
    MMREC_TRY(mmrec_alloc_grow(plan->allocator, &array, &plan->capacity, plan->count + 1, sizeof(mmrec_plan_entry),
                               MMREC_ALLOC_PLAN, error));
    plan->entries = array;
    *index = (int)plan->count;
    plan->entries[plan->count++] = entry;
    return MMREC_OK;
}

/* Is this the gradient of a parameter or stack? Then it lives in GRADS. */
static void mark_parameter_gradients(const mmrec_graph *graph, bool *of_parameter) {
    for (size_t i = 0; i < graph->tensor_count; i++) {
        const graph_tensor *tensor = &graph->tensors[i];
        if (!tensor->gradient) continue;
        mmrec_tensor_kind kind = graph_tensor_at(graph, graph_storage(graph, (mmrec_tensor)(i + 1)))->kind;
        if (kind == MMREC_TENSOR_PARAM || kind == MMREC_TENSOR_STACK) {
            of_parameter[graph_storage(graph, tensor->gradient)] = true;
        }
    }
}

static mmrec_plan_entry classify(const mmrec_graph *graph, mmrec_tensor t, const plan_life *life, bool of_parameter) {
    const graph_tensor *tensor = graph_tensor_at(graph, t);
    int end = (int)graph->node_count;
    mmrec_plan_entry entry = {
        .tensor = t, .node = -1, .arena = MMREC_ARENA_SCRATCH, .first = life->first, .last = life->last};
    bool whole = true;
    if (tensor->kind == MMREC_TENSOR_PARAM || tensor->kind == MMREC_TENSOR_STACK) {
        entry.arena = MMREC_ARENA_PARAMS;
    } else if (of_parameter) {
        entry.arena = MMREC_ARENA_GRADS;
    } else if (tensor->kind == MMREC_TENSOR_INPUT || tensor->refreshed) {
        entry.arena = MMREC_ARENA_SAVED;
    } else {
        whole = false;
        if (tensor->keep) entry.last = end;
        if (tensor->keep || (life->in_forward && life->in_backward)) entry.arena = MMREC_ARENA_SAVED;
    }
    if (whole) {
        entry.first = 0;
        entry.last = end;
    }
    return entry;
}

static mmrec_status tensor_bytes(const mmrec_graph *graph, mmrec_tensor t, size_t *bytes, mmrec_error *error) {
    const graph_tensor *tensor = graph_tensor_at(graph, t);
    int64_t elements = mmrec_shape_elements(&tensor->shape);
    size_t size = mmrec_dtype_bytes(tensor->dtype);
    if (elements > (INT64_MAX >> 2) / (int64_t)size) {
        char text[96];
        MMREC_FAIL(error, MMREC_SHAPE, "tensor \"%s\" of shape %s is larger than 2^61 bytes",
                   tensor->name ? tensor->name : "", mmrec_shape_text(&tensor->shape, text, sizeof text));
    }
    *bytes = (size_t)elements * size;
    return MMREC_OK;
}

/* What is known by tensor while the plan is made. */
typedef struct plan_draft {
    plan_life *lives;
    mmrec_tensor *home; /* itself, or the tensor whose memory it takes over */
    bool *of_parameter;
} plan_draft;

static mmrec_status add_tensors(mmrec_plan *plan, const plan_draft *draft, mmrec_error *error) {
    const mmrec_graph *graph = plan->graph;
    const plan_life *lives = draft->lives;
    for (mmrec_tensor t = 1; t <= (mmrec_tensor)graph->tensor_count; t++) {
        const graph_tensor *tensor = graph_tensor_at(graph, t);
        bool given = tensor->kind != MMREC_TENSOR_VALUE && tensor->kind != MMREC_TENSOR_GRADIENT;
        if (tensor->base || draft->home[t] != t || (!lives[t].used && !given)) continue;
        mmrec_plan_entry entry = classify(graph, t, &lives[t], draft->of_parameter[t]);
        MMREC_TRY(tensor_bytes(graph, t, &entry.bytes, error));
        MMREC_TRY(add_entry(plan, entry, &plan->by_tensor[t], error));
    }
    for (size_t t = 1; t < plan->tensor_slots; t++) plan->by_tensor[t] = plan->by_tensor[draft->home[t]];
    return MMREC_OK;
}

static mmrec_status add_scratch(mmrec_plan *plan, mmrec_error *error) {
    for (size_t n = 0; n < plan->graph->node_count; n++) {
        const graph_node *node = &plan->graph->nodes[n];
        mmrec_plan_entry entry = {.node = (int)n, .arena = MMREC_ARENA_SCRATCH, .first = (int)n, .last = (int)n};
        entry.bytes = node->sizes.scratch_bytes[node->pass];
        if (entry.bytes) MMREC_TRY(add_entry(plan, entry, &plan->by_node[n], error));
    }
    return MMREC_OK;
}

static mmrec_status add_optimizer(mmrec_plan *plan, int slots, mmrec_error *error) {
    if (slots < 1) return MMREC_OK;
    mmrec_plan_entry entry = {.node = -1, .arena = MMREC_ARENA_OPTIMIZER, .last = (int)plan->graph->node_count};
    size_t each = (size_t)slots * mmrec_dtype_bytes(plan->graph->real);
    int index;
    if (__builtin_mul_overflow(each, (size_t)mmrec_graph_param_count(plan->graph), &entry.bytes)) {
        MMREC_FAIL(error, MMREC_SHAPE, "the optimizer's state would be larger than 2^64 bytes");
    }
    return entry.bytes ? add_entry(plan, entry, &index, error) : MMREC_OK;
}

static mmrec_status fill_plan(mmrec_plan *plan, const plan_draft *draft, mmrec_error *error) {
    for (size_t n = 0; n < plan->graph->node_count; n++) touch_node(plan, draft->lives, (int)n);
    mark_parameter_gradients(plan->graph, draft->of_parameter);
    for (size_t t = 0; t < plan->tensor_slots; t++) draft->home[t] = (mmrec_tensor)t;
    if (!plan->options.unshared) plan_merge(plan->graph, draft->lives, draft->home);
    MMREC_TRY(add_tensors(plan, draft, error));
    MMREC_TRY(add_scratch(plan, error));
    MMREC_TRY(add_optimizer(plan, plan->options.optimizer_slots, error));
    return plan_place(plan, error);
}

/* ---- the public face ---- */

static mmrec_status create_tables(mmrec_plan *plan, mmrec_error *error) {
    void *memory = NULL;
    plan->tensor_slots = plan->graph->tensor_count + 1;
    MMREC_TRY(mmrec_alloc_zero(plan->allocator, plan->tensor_slots, sizeof(int), MMREC_ALLOC_PLAN, &memory, error));
    plan->by_tensor = memory;
    plan->node_slots = plan->graph->node_count + 1;
    MMREC_TRY(mmrec_alloc_zero(plan->allocator, plan->node_slots, sizeof(int), MMREC_ALLOC_PLAN, &memory, error));
    plan->by_node = memory;
    for (size_t i = 0; i < plan->tensor_slots; i++) plan->by_tensor[i] = -1;
    for (size_t i = 0; i < plan->node_slots; i++) plan->by_node[i] = -1;
    return MMREC_OK;
}

static mmrec_status create_content(mmrec_plan *plan, mmrec_error *error) {
    MMREC_TRY(create_tables(plan, error));
    size_t n = plan->tensor_slots, bytes = n * (sizeof(plan_life) + sizeof(mmrec_tensor) + sizeof(bool));
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(plan->allocator, 1, bytes, MMREC_ALLOC_PLAN, &memory, error));
    plan_draft draft = {.lives = memory};
    draft.home = (mmrec_tensor *)(draft.lives + n);
    draft.of_parameter = (bool *)(draft.home + n);
    mmrec_status status = fill_plan(plan, &draft, error);
    mmrec_alloc(plan->allocator, memory, bytes, 0, MMREC_ALLOC_PLAN);
    return status;
}

mmrec_status mmrec_plan_create(mmrec_allocator *allocator, const mmrec_graph *graph, mmrec_plan_options options,
                               mmrec_plan **out, mmrec_error *error) {
    *out = NULL;
    MMREC_TRY(mmrec_graph_status(graph, error));
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_plan), MMREC_ALLOC_PLAN, &memory, error));
    mmrec_plan *plan = memory;
    plan->allocator = allocator;
    plan->graph = graph;
    plan->options = options;
    mmrec_status status = create_content(plan, error);
    if (status != MMREC_OK) {
        mmrec_plan_destroy(&plan);
        return status;
    }
    *out = plan;
    return MMREC_OK;
}

void mmrec_plan_destroy(mmrec_plan **plan_pointer) {
    mmrec_plan *plan = *plan_pointer;
    if (!plan) return;
    mmrec_allocator *allocator = plan->allocator;
    mmrec_alloc(allocator, plan->entries, plan->capacity * sizeof(mmrec_plan_entry), 0, MMREC_ALLOC_PLAN);
    if (plan->by_tensor) mmrec_alloc(allocator, plan->by_tensor, plan->tensor_slots * sizeof(int), 0, MMREC_ALLOC_PLAN);
    if (plan->by_node) mmrec_alloc(allocator, plan->by_node, plan->node_slots * sizeof(int), 0, MMREC_ALLOC_PLAN);
    mmrec_alloc(allocator, plan, sizeof(mmrec_plan), 0, MMREC_ALLOC_PLAN);
    *plan_pointer = NULL;
}

size_t mmrec_plan_arena_bytes(const mmrec_plan *plan, mmrec_arena arena) { return plan->arena_bytes[arena]; }

size_t mmrec_plan_total_bytes(const mmrec_plan *plan) {
    size_t total = 0;
    for (int a = 0; a < MMREC_ARENAS; a++) total += plan->arena_bytes[a];
    return total;
}

int mmrec_plan_entry_count(const mmrec_plan *plan) { return (int)plan->count; }
const mmrec_plan_entry *mmrec_plan_entry_at(const mmrec_plan *plan, int index) { return &plan->entries[index]; }

const mmrec_plan_entry *mmrec_plan_find(const mmrec_plan *plan, mmrec_tensor tensor) {
    int index = tensor ? plan->by_tensor[graph_storage(plan->graph, tensor)] : -1;
    return index < 0 ? NULL : &plan->entries[index];
}

const mmrec_plan_entry *mmrec_plan_scratch(const mmrec_plan *plan, int node) {
    return plan->by_node[node] < 0 ? NULL : &plan->entries[plan->by_node[node]];
}

static void entry_text(const mmrec_plan *plan, const mmrec_plan_entry *entry, char *text, size_t size) {
    if (entry->tensor) {
        const char *name = graph_tensor_at(plan->graph, entry->tensor)->name;
        snprintf(text, size, "tensor %d \"%s\"", entry->tensor, name ? name : "");
    } else {
        snprintf(text, size, "the scratch of node %d", entry->node);
    }
}

static mmrec_status check_use(const mmrec_plan *plan, mmrec_tensor t, int n, mmrec_error *error) {
    const mmrec_plan_entry *entry = mmrec_plan_find(plan, t);
    const graph_tensor *tensor = graph_tensor_at(plan->graph, t);
    int end = (int)plan->graph->node_count;
    bool lasting = tensor->refreshed || tensor->kind == MMREC_TENSOR_INPUT || tensor->kind == MMREC_TENSOR_PARAM ||
                   tensor->kind == MMREC_TENSOR_STACK;
    bool lives = entry && (lasting ? entry->first == 0 && entry->last == end : entry->first <= n && n <= entry->last);
    if (lives && (!tensor->keep || entry->last == end)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_INTERNAL, "tensor %d \"%s\" is used by node %d but has no memory that lives long enough", t,
               tensor->name ? tensor->name : "", n);
}

/* Every node finds its tensors and its scratch alive. */
static mmrec_status check_lives(const mmrec_plan *plan, mmrec_error *error) {
    for (int n = 0; n < (int)plan->graph->node_count; n++) {
        const graph_node *node = &plan->graph->nodes[n];
        const mmrec_plan_entry *scratch = mmrec_plan_scratch(plan, n);
        mmrec_tensor storage[PLAN_NODE_TENSORS];
        plan_node_storage(plan->graph, node, storage);
        for (int i = 0; i < PLAN_NODE_TENSORS; i++) {
            if (storage[i]) MMREC_TRY(check_use(plan, storage[i], n, error));
        }
        size_t wanted = node->sizes.scratch_bytes[node->pass];
        if (!wanted || (scratch && scratch->bytes >= wanted && scratch->first <= n && n <= scratch->last)) continue;
        MMREC_FAIL(error, MMREC_INTERNAL, "node %d has no scratch memory of %zu bytes", n, wanted);
    }
    return MMREC_OK;
}

mmrec_status mmrec_plan_check(const mmrec_plan *plan, mmrec_error *error) {
    MMREC_TRY(check_lives(plan, error));
    MMREC_TRY(plan_check_order(plan, error));
    for (size_t i = 0; i < plan->count; i++) {
        const mmrec_plan_entry *a = &plan->entries[i];
        char first[96], second[96];
        entry_text(plan, a, first, sizeof first);
        if (a->offset % MMREC_ALIGN || a->offset + a->bytes + plan->options.guard_bytes > plan->arena_bytes[a->arena]) {
            MMREC_FAIL(error, MMREC_INTERNAL, "%s is not aligned or leaves its arena", first);
        }
        for (size_t j = i + 1; j < plan->count; j++) {
            const mmrec_plan_entry *b = &plan->entries[j];
            bool apart = a->arena != b->arena || a->offset + a->bytes + plan->options.guard_bytes <= b->offset ||
                         b->offset + b->bytes + plan->options.guard_bytes <= a->offset;
            if (apart || !plan_lives_meet(a, b)) continue;
            entry_text(plan, b, second, sizeof second);
            MMREC_FAIL(error, MMREC_INTERNAL, "%s and %s share memory while both are live", first, second);
        }
    }
    return MMREC_OK;
}
