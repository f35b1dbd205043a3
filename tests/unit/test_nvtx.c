/* NVTX ranges as a profiler sees them. ctest starts this program with NVTX_INJECTION64_PATH naming a small tool
 * (nvtx_injection.c) that writes every range it is told of to MMREC_NVTX_LOG; here that log is compared with the graph.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random_graph.h"

typedef struct event {
    bool pop;
    char domain[32], name[64], category[64];
    long long payload;
    int depth;
} event;

enum { MAX_EVENTS = 2048 };
static event events[MAX_EVENTS];
static int event_count;

static void read_log(void) {
    FILE *log = fopen(getenv("MMREC_NVTX_LOG"), "r");
    assert_non_null(log);
    char line[256];
    event_count = 0;
    while (fgets(line, sizeof line, log) && event_count < MAX_EVENTS) {
        event *e = &events[event_count++];
        memset(e, 0, sizeof *e);
        e->pop = strncmp(line, "pop", 3) == 0;
        if (e->pop) continue;
        assert_int_equal(sscanf(line, "push %31s %63s %lld depth %d in %63s", e->domain, e->name, &e->payload,
                                &e->depth, e->category),
                         5);
        assert_string_equal(e->domain, "mmrec");
    }
    fclose(log);
}

static void run_graph(random_graph *r, mmrec_allocator *allocator) {
    mmrec_error error = {0};
    const mmrec_backend *ref = NULL;
    mmrec_plan *plan = NULL;
    mmrec_exec *exec = NULL;
    assert_int_equal(random_graph_build(r, allocator, 21, 12, 2, true, &error), MMREC_OK);
    assert_int_equal(mmrec_backend_find("ref", &ref, &error), MMREC_OK);
    assert_int_equal(mmrec_plan_create(allocator, r->graph, (mmrec_plan_options){0}, &plan, &error), MMREC_OK);
    assert_int_equal(mmrec_exec_create(allocator, ref, r->graph, plan, (mmrec_exec_options){0}, &exec, &error),
                     MMREC_OK);
    assert_int_equal(mmrec_exec_run(exec, MMREC_PHASE_FORWARD, &error), MMREC_OK);
    assert_int_equal(mmrec_exec_run(exec, MMREC_PHASE_BACKWARD, &error), MMREC_OK);
    mmrec_exec_capture(ref, true);
    assert_int_equal(mmrec_exec_run(exec, MMREC_PHASE_FORWARD, &error), MMREC_OK);
    mmrec_exec_capture(ref, false);
    mmrec_exec_destroy(&exec);
    mmrec_plan_destroy(&plan);
}

/* A category is a path: the phase's name, then where in it. */
static void check_category(const event *e, const char *phase, const char *place) {
    char expected[64];
    snprintf(expected, sizeof expected, "%s%s", phase, place);
    assert_string_equal(e->category, expected);
}

/* The node events of one phase must be the graph's nodes of that phase, in order, each named after its op and pass. */
static void check_phase(const mmrec_graph *graph, mmrec_phase phase, const char *name) {
    int at = 0, depth = -1;
    while (at < event_count && (events[at].pop || strcmp(events[at].name, name) != 0)) at++;
    assert_true(at < event_count);
    assert_int_equal(events[at].depth, 0);
    check_category(&events[at], name, "");
    at++;
    for (int n = 0; n < mmrec_graph_node_count(graph); n++) {
        mmrec_node_info node = mmrec_graph_node_info(graph, n);
        if (node.phase != phase) continue;
        while (events[at].pop) at++;
        depth = 1;
        if (strcmp(events[at].name, "block") == 0) {
            assert_int_equal(events[at].payload, node.layer);
            assert_int_equal(events[at].depth, 1);
            check_category(&events[at], name, "/block");
            at++;
        }
        if (node.layer >= 0) depth = 2;
        char expected[64];
        snprintf(expected, sizeof expected, "%s.%s", mmrec_op_get(node.op, MMREC_VARIANT_F64)->name,
                 node.pass == MMREC_FORWARD ? "forward" : "backward");
        assert_string_equal(events[at].name, expected);
        assert_int_equal(events[at].payload, n);
        assert_int_equal(events[at].depth, depth);
        check_category(&events[at], name, node.layer >= 0 ? "/block/op" : "/op");
        assert_true(events[at + 1].pop); /* nothing nests inside a node */
        at++;
    }
}

/* What a profiler is to record stands inside one range, the last one opened at the top. */
static void check_capture(void) {
    int at = 0;
    while (at < event_count && (events[at].pop || strcmp(events[at].name, "capture") != 0)) at++;
    assert_true(at + 1 < event_count);
    assert_int_equal(events[at].depth, 0);
    assert_string_equal(events[at].category, "none");
    assert_string_equal(events[at + 1].name, "forward");
    for (int i = at + 1; i < event_count; i++) assert_true(events[i].pop || events[i].depth > 0);
}

static void test_ranges(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    random_graph r;
    run_graph(&r, &allocator);
    read_log();
    int open = 0;
    for (int i = 0; i < event_count; i++) {
        open += events[i].pop ? -1 : 1;
        assert_true(open >= 0 && open <= 4);
    }
    assert_int_equal(open, 0);
    check_phase(r.graph, MMREC_PHASE_FORWARD, "forward");
    check_phase(r.graph, MMREC_PHASE_BACKWARD, "backward");
    check_capture();
    mmrec_graph_destroy(&r.graph);
    assert_int_equal(allocator.total.live_bytes, 0);
}

int main(void) {
    if (!getenv("NVTX_INJECTION64_PATH")) {
        printf("SKIP: built without the NVTX v3 header (part of the CUDA toolkit)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
