/* The memory plan: where every tensor of a graph lives, computed without a device.
 *
 * Five arenas. PARAMS, GRADS and OPTIMIZER hold their tensors side by side for the whole run. SAVED holds inputs, carried
 * state, named results, what the REFRESH phase made, and values the backward phase reads; SCRATCH holds everything else.
 * In SCRATCH tensors whose lifetimes do not meet share memory, and those of the backward phase also take the part of
 * SAVED that is read no more. */
#ifndef MMREC_PLAN_H
#define MMREC_PLAN_H

#include "mmrec/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_arena {
    MMREC_ARENA_PARAMS, MMREC_ARENA_GRADS, MMREC_ARENA_OPTIMIZER, MMREC_ARENA_SAVED, MMREC_ARENA_SCRATCH, MMREC_ARENAS
} mmrec_arena;

typedef struct mmrec_plan_options {
    int optimizer_slots; /* values of optimizer state per parameter: 0, or 2 for AdamW (its two moments) */
    size_t guard_bytes;  /* unused bytes after each tensor, for tests; 0 in production */
    bool unshared;       /* every tensor gets memory of its own: for tests, and to tell a planning fault from another */
} mmrec_plan_options;

/* One region of memory: a tensor with its own storage, a node's scratch, or the optimizer's state. Tensors that an op
 * makes in the place of another (mmrec_arg.over) have one region; its life is all of theirs. */
typedef struct mmrec_plan_entry {
    mmrec_tensor tensor; /* the first to live here; 0: not a tensor */
    int node;            /* the node whose scratch this is, -1 otherwise */
    mmrec_arena arena;
    size_t offset, bytes; /* within the arena; offset is a multiple of 64 */
    int first, last;      /* nodes at which it is live, inclusive; 0 and node_count for the whole run */
} mmrec_plan_entry;

typedef struct mmrec_plan mmrec_plan;

/* Plans a graph that is complete: nothing may be added to it afterwards. NO_MEMORY or the graph's own error; SHAPE when
 * all tensors together pass 2^62 bytes. The graph must outlive the plan. Destroy is NULL-safe and clears. */
mmrec_status mmrec_plan_create(mmrec_allocator *allocator, const mmrec_graph *graph, mmrec_plan_options options,
                               mmrec_plan **out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_plan_destroy(mmrec_plan **plan);

/* Bytes of an arena, of all arenas; "parameters" and the like ("?" outside of the list). */
size_t mmrec_plan_arena_bytes(const mmrec_plan *plan, mmrec_arena arena);
size_t mmrec_plan_total_bytes(const mmrec_plan *plan);
const char *mmrec_arena_name(mmrec_arena arena);

/* The regions: index 0 to count - 1, in the order of tensors, then of nodes. Pointers live as long as the plan. */
int mmrec_plan_entry_count(const mmrec_plan *plan);
const mmrec_plan_entry *mmrec_plan_entry_at(const mmrec_plan *plan, int index);
/* The region of a tensor (of its base, for a slice); NULL when the plan gave it none (nothing reads or writes it). */
const mmrec_plan_entry *mmrec_plan_find(const mmrec_plan *plan, mmrec_tensor tensor);
/* The region of a node's scratch; NULL when the node needs none. */
const mmrec_plan_entry *mmrec_plan_scratch(const mmrec_plan *plan, int node);

/* Verifies the plan against the graph: what a node reads or writes is live at it, regions are inside their arena and
 * aligned, no two that are live at the same node share a byte, and in a region of several tensors each is read only
 * while its values are there. INTERNAL naming them on a violation. Compares all
 * pairs of regions: for tests. */
mmrec_status mmrec_plan_check(const mmrec_plan *plan, mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
