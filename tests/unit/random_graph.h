/* Random graphs for the planner's and executor's tests: everything follows from one seed. */
#ifndef RANDOM_GRAPH_H
#define RANDOM_GRAPH_H

#include "mmrec/exec.h"
#include "mmrec/rng.h"

enum { RANDOM_GRAPH_VALUES = 64 };

typedef struct random_graph {
    mmrec_graph *graph;
    mmrec_tensor x, h0;      /* inputs whose gradients are wanted: (2, 3, 4) and (2, 4) */
    mmrec_tensor seeded, dy; /* a value and the input that seeds its gradient, once or twice */
    int seeded_times;
    mmrec_tensor targets;                     /* ids (2, 3) below 3; 0 while no classifier reads them */
    mmrec_tensor classified;                  /* the sum of the classifiers' losses, 0: there are none */
    mmrec_tensor values[RANDOM_GRAPH_VALUES]; /* (2, 3, columns) */
    int value_count;
    bool x_sliced;
    uint64_t seed, draws;
} random_graph;

/* A number in [0, below), the next of this graph's stream. */
static inline int random_graph_pick(random_graph *r, int below) {
    return (int)mmrec_rng_below(r->seed, 77, r->draws++, (uint32_t)below);
}

/* Builds up to `nodes` uses of ops in `layers` blocks, the losses loss0 + loss1 / 2 + seeded_times * sum(dy * seeded)
 * + loss2 where there are classifiers, and the backward phase. */
mmrec_status random_graph_build(random_graph *r, mmrec_allocator *allocator, uint64_t seed, int nodes, int layers,
                                bool recompute, mmrec_error *error) MMREC_MUST_CHECK;

#endif
