/* The loop of the elementwise float functions: any number of views of one shape are walked span by span, threads
 * taking spans. A span function sees plain pointers and a count, so it is one loop that gcc turns into vector code.
 *
 * Only included where MMREC_REAL_F32 is 1. */
#ifndef MMREC_FAST_EACH_H
#define MMREC_FAST_EACH_H

#include "fast_loop.h"

enum { FAST_EACH_VIEWS = MMREC_MAX_IN + 2 };

/* deliver() for the `count` values of a span. A condition inside a long loop body keeps gcc 12 from making vector code
 * of it (gelu backward: 6.0 instead of 0.7 ns an element), so such loops fill an array of FAST_SPAN values first, which
 * stays in the first cache. */
static inline void fast_deliver(float *restrict to, const float *restrict value, int64_t count, bool add) {
    if (add) {
        for (int64_t i = 0; i < count; i++) to[i] += value[i];
    } else {
        for (int64_t i = 0; i < count; i++) to[i] = value[i];
    }
}

/* at[i]: where the span starts in view i, NULL where that view is absent. `number`: r * columns + c of its first
 * element. */
typedef void (*fast_span_function)(const mmrec_op_call *call, float *const *at, int64_t number, int64_t count);

/* The matrix of `count` views of one shape (absent ones do not matter): one long row where none has padding. */
static inline fast_matrix fast_matrix_all(const mmrec_view *const *views, int count) {
    fast_matrix m = {mmrec_shape_rows(&views[0]->shape), mmrec_shape_columns(&views[0]->shape), 0};
    bool dense = true;
    for (int i = 0; i < count; i++) dense = dense && (!views[i]->data || views[i]->stride == m.columns);
    if (dense) {
        m.columns *= m.rows;
        m.rows = 1;
    }
    m.spans = fast_blocks(m.columns, FAST_SPAN);
    return m;
}

/* Points `at` to span number `span` in every view; returns its elements. */
static inline int64_t fast_span_at(const fast_matrix *m, const mmrec_view *const *views, int count, int64_t span,
                                   float **at) {
    int64_t row = span / m->spans, first = span % m->spans * FAST_SPAN;
    for (int i = 0; i < count; i++) at[i] = views[i]->data ? view_row(views[i], row) + first : NULL;
    return fast_min(FAST_SPAN, m->columns - first);
}

/* Calls `function` for every span. The first view must be present; at most FAST_EACH_VIEWS views. */
static inline void fast_each(const mmrec_op_call *call, const mmrec_view *const *views, int count,
                             fast_span_function function) {
    fast_matrix m = fast_matrix_all(views, count);
    int64_t total = m.rows * m.spans;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (m.rows * m.columns >= FAST_SERIAL)
    for (int64_t span = 0; span < total; span++) {
        float *at[FAST_EACH_VIEWS];
        int64_t elements = fast_span_at(&m, views, count, span, at);
        function(call, at, span / m.spans * m.columns + span % m.spans * FAST_SPAN, elements);
    }
}

#endif
