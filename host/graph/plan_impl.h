/* The plan as its two modules see it: plan.c (what lives when), place.c (where). */
#ifndef MMREC_PLAN_IMPL_H
#define MMREC_PLAN_IMPL_H

#include "graph_impl.h"
#include "mmrec/plan.h"

struct mmrec_plan {
    mmrec_allocator *allocator;
    const mmrec_graph *graph;
    mmrec_plan_options options;
    mmrec_plan_entry *entries;
    size_t count, capacity;
    int *by_tensor; /* entry of a storage tensor, -1: none */
    int *by_node;   /* entry of a node's scratch, -1: none */
    size_t tensor_slots, node_slots;
    size_t arena_bytes[MMREC_ARENAS];
};

static inline bool plan_lives_meet(const mmrec_plan_entry *a, const mmrec_plan_entry *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* Gives every entry its offset (and, for values of the backward phase, one of two arenas); sets arena_bytes. */
mmrec_status plan_place(mmrec_plan *plan, mmrec_error *error) MMREC_MUST_CHECK;

#endif
