/* The plan as its modules see it: plan.c (what lives when), in_place.c (what takes another's place), place.c (where).
 */
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
    int *by_tensor; /* entry of a storage tensor, -1: none; several tensors may have one, see in_place.c */
    int *by_node;   /* entry of a node's scratch, -1: none */
    size_t tensor_slots, node_slots;
    size_t arena_bytes[MMREC_ARENAS];
};

static inline bool plan_lives_meet(const mmrec_plan_entry *a, const mmrec_plan_entry *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The nodes that touch a tensor, from the first to the last. */
typedef struct plan_life {
    int first, last;
    bool used, in_forward, in_backward;
} plan_life;

enum { PLAN_NODE_TENSORS = 2 * MMREC_MAX_IN + 2 * MMREC_MAX_OUT + MMREC_MAX_SAVED };

/* The storage of everything a node reads or writes, 0 where it has no such argument. */
void plan_node_storage(const mmrec_graph *graph, const graph_node *node, mmrec_tensor storage[PLAN_NODE_TENSORS]);

/* Sets home[to] of every tensor that takes the place of another to that whose memory it has, and adds its life to that
 * one's. `home` and `lives` are by tensor; home[t] is t before. */
void plan_merge(const mmrec_graph *graph, plan_life *lives, mmrec_tensor *home);

/* Follows the nodes through the regions that several tensors have in turn: every reader finds the values it wants, and
 * a node that touches two such tensors is one whose op allows it. INTERNAL naming them otherwise. */
mmrec_status plan_check_order(const mmrec_plan *plan, mmrec_error *error) MMREC_MUST_CHECK;

/* Gives every entry its offset (and, for values of the backward phase, one of two arenas); sets arena_bytes. */
mmrec_status plan_place(mmrec_plan *plan, mmrec_error *error) MMREC_MUST_CHECK;

#endif
