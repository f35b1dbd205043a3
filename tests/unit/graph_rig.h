/* A graph of doubles, empty before every test, and its plan and exec on the reference backend. */
#ifndef GRAPH_RIG_H
#define GRAPH_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/exec.h"
#include "mmrec/rng.h"

typedef struct fixture {
    mmrec_allocator allocator;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_exec *exec;
    mmrec_error error;
} fixture;

static inline int set_up(void **state) {
    static fixture f;
    memset(&f, 0, sizeof f);
    assert_int_equal(mmrec_graph_create(&f.allocator, MMREC_F64, 1, &f.graph, &f.error), MMREC_OK);
    *state = &f;
    return 0;
}

static inline int tear_down(void **state) {
    fixture *f = *state;
    mmrec_exec_destroy(&f->exec);
    mmrec_plan_destroy(&f->plan);
    mmrec_graph_destroy(&f->graph);
    assert_int_equal(f->allocator.total.live_bytes, 0);
    return 0;
}

/* The graph is complete: ready to run. */
static inline void start(fixture *f, mmrec_exec_options options) {
    const mmrec_backend *ref = NULL;
    assert_int_equal(mmrec_backend_find("ref", &ref, &f->error), MMREC_OK);
    assert_int_equal(mmrec_plan_create(&f->allocator, f->graph, (mmrec_plan_options){0}, &f->plan, &f->error),
                     MMREC_OK);
    assert_int_equal(mmrec_plan_check(f->plan, &f->error), MMREC_OK);
    assert_int_equal(mmrec_exec_create(&f->allocator, ref, f->graph, f->plan, options, &f->exec, &f->error), MMREC_OK);
}

static inline void expect_refusal(fixture *f, mmrec_status code, const char *part) {
    assert_int_equal(mmrec_graph_status(f->graph, &f->error), code);
    char text[1024];
    mmrec_error_text(&f->error, text, sizeof text);
    if (!strstr(text, part)) fail_msg("message \"%s\" lacks \"%s\"", text, part);
}

/* A node of two inputs, or of one. */
static inline mmrec_tensor add(fixture *f, mmrec_op_id op, mmrec_tensor a, mmrec_tensor b) {
    return mmrec_graph_add(f->graph, op, (mmrec_node_spec){.in = {a, b}});
}

#endif
