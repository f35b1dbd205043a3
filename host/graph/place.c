/* Offsets for the regions of a plan.
 *
 * PARAMS, GRADS and OPTIMIZER are laid side by side. So is SAVED: all of it is live where the forward phase ends, so
 * nothing in it can share; but it is ordered by the time of death, the longest-lived at the bottom, so that in the
 * backward phase the free part of it is one piece at the top that grows. Everything else (transients) is placed from
 * the largest to the smallest at the lowest offset where no region that is live at the same time lies; those of the
 * backward phase first try that free top of SAVED.
 *
 * Each node knows the transients that are live at it, so the cost is transients x life x neighbours, not the square of
 * the transients. */
#include <stdlib.h>

#include "plan_impl.h"

/* The transients live at a node, in two spaces: the free top of SAVED, and SCRATCH. */
enum { TOP, BOTTOM, SPACES };

typedef struct cell {
    mmrec_plan_entry *entry;
    int next; /* -1 ends the list */
} cell;

typedef struct workspace {
    mmrec_plan *plan;
    size_t nodes;
    mmrec_plan_entry **order; /* entries to be placed, sorted */
    mmrec_plan_entry **rivals;
    size_t order_count;
    int *seen; /* by entry: the last search that met it */
    int search;
    int *live[SPACES];  /* by node: first cell */
    size_t *still_used; /* by node: end of the SAVED regions needed at it or later */
    cell *cells;
    size_t cell_count, cell_capacity;
} workspace;

static size_t room(const mmrec_plan *plan, const mmrec_plan_entry *entry) {
    return (entry->bytes + plan->options.guard_bytes + MMREC_ALIGN - 1) / MMREC_ALIGN * MMREC_ALIGN;
}

static void append(mmrec_plan *plan, mmrec_plan_entry *entry) {
    entry->offset = plan->arena_bytes[entry->arena];
    plan->arena_bytes[entry->arena] += room(plan, entry);
}

/* Entries lie in one array, so the order of their addresses is the order of making: the plan depends on the graph
 * alone. */
static int longest_lived_first(const void *a, const void *b) {
    const mmrec_plan_entry *x = *(mmrec_plan_entry *const *)a, *y = *(mmrec_plan_entry *const *)b;
    if (x->last != y->last) return x->last < y->last ? 1 : -1;
    return (x > y) - (x < y);
}

static int largest_first(const void *a, const void *b) {
    const mmrec_plan_entry *x = *(mmrec_plan_entry *const *)a, *y = *(mmrec_plan_entry *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x > y) - (x < y);
}

static int lowest_first(const void *a, const void *b) {
    const mmrec_plan_entry *x = *(mmrec_plan_entry *const *)a, *y = *(mmrec_plan_entry *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static void gather(workspace *w, mmrec_arena arena) {
    w->order_count = 0;
    for (size_t i = 0; i < w->plan->count; i++) {
        if (w->plan->entries[i].arena == arena) w->order[w->order_count++] = &w->plan->entries[i];
    }
}

static void place_saved(workspace *w) {
    gather(w, MMREC_ARENA_SAVED);
    qsort(w->order, w->order_count, sizeof *w->order, longest_lived_first);
    size_t next = 0;
    for (size_t node = w->nodes + 1; node-- > 0;) {
        for (; next < w->order_count && w->order[next]->last >= (int)node; next++) append(w->plan, w->order[next]);
        w->still_used[node] = w->plan->arena_bytes[MMREC_ARENA_SAVED];
    }
}

/* Placed transients of a space that are live together with `entry`, each once, by offset. */
static size_t find_rivals(workspace *w, const mmrec_plan_entry *entry, int space) {
    size_t count = 0;
    w->search++;
    for (int node = entry->first; node <= entry->last; node++) {
        for (int c = w->live[space][node]; c >= 0; c = w->cells[c].next) {
            int *seen = &w->seen[w->cells[c].entry - w->plan->entries];
            if (*seen == w->search) continue;
            *seen = w->search;
            w->rivals[count++] = w->cells[c].entry;
        }
    }
    qsort(w->rivals, count, sizeof *w->rivals, lowest_first);
    return count;
}

/* The lowest offset from `floor` on where `entry` meets no rival. */
static size_t lowest_fit(workspace *w, const mmrec_plan_entry *entry, int space, size_t floor) {
    size_t count = find_rivals(w, entry, space), offset = floor, need = room(w->plan, entry);
    for (size_t i = 0; i < count; i++) {
        if (offset + need <= w->rivals[i]->offset) break;
        size_t end = w->rivals[i]->offset + room(w->plan, w->rivals[i]);
        if (end > offset) offset = end;
    }
    return offset;
}

static void settle(workspace *w, mmrec_plan_entry *entry, int space, size_t offset) {
    entry->arena = space == TOP ? MMREC_ARENA_SAVED : MMREC_ARENA_SCRATCH;
    entry->offset = offset;
    size_t end = offset + room(w->plan, entry);
    if (end > w->plan->arena_bytes[entry->arena]) w->plan->arena_bytes[entry->arena] = end;
    for (int node = entry->first; node <= entry->last; node++) {
        w->cells[w->cell_count] = (cell){entry, w->live[space][node]};
        w->live[space][node] = (int)w->cell_count++;
    }
}

static void place_transient(workspace *w, mmrec_plan_entry *entry) {
    if ((size_t)entry->first < w->nodes && w->plan->graph->nodes[entry->first].phase == MMREC_PHASE_BACKWARD) {
        size_t offset = lowest_fit(w, entry, TOP, w->still_used[entry->first]);
        if (offset + room(w->plan, entry) <= w->plan->arena_bytes[MMREC_ARENA_SAVED]) {
            settle(w, entry, TOP, offset);
            return;
        }
    }
    settle(w, entry, BOTTOM, lowest_fit(w, entry, BOTTOM, 0));
}

static void place_shared(workspace *w) {
    for (size_t node = 0; node <= w->nodes; node++) w->live[TOP][node] = w->live[BOTTOM][node] = -1;
    place_saved(w);
    gather(w, MMREC_ARENA_SCRATCH);
    qsort(w->order, w->order_count, sizeof *w->order, largest_first);
    for (size_t i = 0; i < w->order_count; i++) place_transient(w, w->order[i]);
}

static size_t cells_needed(const mmrec_plan *plan) {
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const mmrec_plan_entry *entry = &plan->entries[i];
        if (entry->arena == MMREC_ARENA_SCRATCH) count += (size_t)(entry->last - entry->first) + 1;
    }
    return count;
}

/* One block of memory for all tables, the widest types first. */
static mmrec_status place_in_workspace(mmrec_plan *plan, mmrec_error *error) {
    size_t entries = plan->count, nodes = plan->graph->node_count + 1;
    workspace w = {.plan = plan, .nodes = plan->graph->node_count, .cell_capacity = cells_needed(plan)};
    if (w.cell_capacity > INT32_MAX) MMREC_FAIL(error, MMREC_SHAPE, "the graph is too large to plan");
    size_t bytes = w.cell_capacity * sizeof(cell) + 2 * entries * sizeof(void *) + nodes * sizeof(size_t) +
                   entries * sizeof(int) + SPACES * nodes * sizeof(int);
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(plan->allocator, 1, bytes, MMREC_ALLOC_PLAN, &memory, error));
    w.cells = memory;
    w.order = (mmrec_plan_entry **)(w.cells + w.cell_capacity);
    w.rivals = w.order + entries;
    w.still_used = (size_t *)(w.rivals + entries);
    w.seen = (int *)(w.still_used + nodes);
    w.live[TOP] = w.seen + entries;
    w.live[BOTTOM] = w.live[TOP] + nodes;
    place_shared(&w);
    mmrec_alloc(plan->allocator, memory, bytes, 0, MMREC_ALLOC_PLAN);
    return MMREC_OK;
}

/* Sharing only makes a plan smaller: where all regions side by side can be counted, so can it. */
static mmrec_status check_total(const mmrec_plan *plan, mmrec_error *error) {
    const size_t limit = (size_t)1 << 62;
    size_t total = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const mmrec_plan_entry *entry = &plan->entries[i];
        bool counted = entry->bytes <= limit && plan->options.guard_bytes <= limit;
        if (counted) total += room(plan, entry);
        if (!counted || total > limit) MMREC_FAIL(error, MMREC_SHAPE, "the plan needs more than 2^62 bytes");
    }
    return MMREC_OK;
}

mmrec_status plan_place(mmrec_plan *plan, mmrec_error *error) {
    MMREC_TRY(check_total(plan, error));
    for (size_t i = 0; i < plan->count; i++) {
        mmrec_plan_entry *entry = &plan->entries[i];
        bool shared = entry->arena == MMREC_ARENA_SAVED || entry->arena == MMREC_ARENA_SCRATCH;
        if (!shared || plan->options.unshared) append(plan, entry);
    }
    return plan->options.unshared ? MMREC_OK : place_in_workspace(plan, error);
}
