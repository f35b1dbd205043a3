/* Values of many steps brought together, eight at a time, as many as a node has inputs: summed, or joined side by side.
 * Both start as zeros. */
#ifndef MMREC_MODELS_NSM_STEPS_H
#define MMREC_MODELS_NSM_STEPS_H

#include "build.h"

/* A weighted sum. */
typedef struct mmrec_steps_sum {
    mmrec_term term[MMREC_MAX_IN]; /* the first is the sum so far, once there is one */
    int count;
} mmrec_steps_sum;

void mmrec_steps_sum_add(mmrec_graph *graph, mmrec_steps_sum *sum, mmrec_tensor tensor, double factor);
/* After at least one. */
mmrec_tensor mmrec_steps_sum_end(mmrec_graph *graph, mmrec_steps_sum *sum);

/* 8^6 steps: more than a graph is made of. */
enum { MMREC_JOIN_LEVELS = 7 };

/* Columns of (B, A), (B, A) ... as one (B, n A): eight neighbours make one of the next level, so each value is copied
 * once a level. */
typedef struct mmrec_steps_join {
    mmrec_tensor part[MMREC_JOIN_LEVELS][MMREC_MAX_IN];
    int count[MMREC_JOIN_LEVELS];
} mmrec_steps_join;

void mmrec_steps_join_add(mmrec_graph *graph, mmrec_steps_join *join, mmrec_tensor tensor);
/* After at least one; a value that is no view of another. */
mmrec_tensor mmrec_steps_join_end(mmrec_graph *graph, mmrec_steps_join *join);

#endif
