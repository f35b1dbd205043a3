/* Plan fuzz: random graphs. No two live regions share a byte; a run in shared memory gives the bits of a run in which
 * every region has memory of its own, from arenas filled with NaN before; a second step, without anything written in
 * between, gives them again; so does recomputation; the gradient is the numeric derivative. MMREC_FUZZ_GRAPHS sets the
 * number of graphs. And the check that judges the plans sees the faults it is for, wrong sharing of one region among
 * them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/plan_impl.h"
#include "random_graph.h"

enum { MAX_VALUES = 1 << 15, MAX_TENSOR = 512 };

typedef struct outcome {
    double loss, gradients[MAX_VALUES];
    int count;
} outcome;

static const mmrec_backend *ref_backend(void) {
    const mmrec_backend *ref = NULL;
    mmrec_error error = {0};
    assert_int_equal(mmrec_backend_find("ref", &ref, &error), MMREC_OK);
    return ref;
}

static void must(mmrec_status status, const mmrec_error *error) {
    if (status != MMREC_OK) fail_msg("%s", error->message);
}

/* NaN in everything that a run must not read before writing. */
static void poison(mmrec_exec *exec, const mmrec_graph *graph) {
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(graph, t);
        mmrec_view view = mmrec_exec_view(exec, t);
        if (info.base || !view.data || info.kind == MMREC_TENSOR_INPUT || info.kind == MMREC_TENSOR_PARAM) continue;
        memset(view.data, 0xFF, (size_t)mmrec_shape_elements(&info.shape) * mmrec_dtype_bytes(info.dtype));
    }
}

/* What has a gradient: the parameters and the two inputs. */
static bool varies(const random_graph *r, mmrec_tensor t) {
    return mmrec_graph_tensor_info(r->graph, t).kind == MMREC_TENSOR_PARAM || t == r->x || t == r->h0;
}

/* `shift` moves everything that varies along one random direction. */
static void set_values(mmrec_exec *exec, const random_graph *r, double shift) {
    mmrec_error error = {0};
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        if (!varies(r, t) && t != r->dy) continue;
        double values[MAX_TENSOR], step = t == r->dy ? 0 : shift;
        int64_t count = mmrec_shape_elements(&info.shape);
        assert_true(count <= MAX_TENSOR);
        for (int64_t i = 0; i < count; i++) {
            values[i] = mmrec_rng_normal(3, (uint64_t)t, (uint64_t)i) / sqrt((double)mmrec_shape_columns(&info.shape));
            values[i] += step * mmrec_rng_normal(4, (uint64_t)t, (uint64_t)i);
        }
        must(mmrec_exec_write(exec, t, values, count, &error), &error);
    }
    const int32_t targets[] = {2, 0, 1, 1, 2, 0};
    if (r->targets) must(mmrec_exec_write_ids(exec, r->targets, targets, 6, &error), &error);
}

/* Gradients of everything that varies, in order; their product with the random direction of set_values. */
static double collect(const random_graph *r, mmrec_exec *exec, outcome *out) {
    mmrec_error error = {0};
    double along = 0;
    out->count = 0;
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        if (!varies(r, t)) continue;
        int count = (int)mmrec_shape_elements(&info.shape);
        double *at = out->gradients + out->count;
        assert_true(out->count + count <= MAX_VALUES);
        must(mmrec_exec_read(exec, mmrec_graph_gradient(r->graph, t), at, count, &error), &error);
        for (int i = 0; i < count; i++) along += at[i] * mmrec_rng_normal(4, (uint64_t)t, (uint64_t)i);
        out->count += count;
    }
    return along;
}

static double total_loss(const random_graph *r, mmrec_exec *exec) {
    mmrec_error error = {0};
    double a, b, c = 0;
    must(mmrec_exec_read(exec, mmrec_graph_find(r->graph, "loss0"), &a, 1, &error), &error);
    must(mmrec_exec_read(exec, mmrec_graph_find(r->graph, "loss1"), &b, 1, &error), &error);
    if (r->classified) must(mmrec_exec_read(exec, r->classified, &c, 1, &error), &error);
    double value[MAX_TENSOR], dy[MAX_TENSOR], sum = 0;
    mmrec_shape shape = mmrec_graph_tensor_info(r->graph, r->seeded).shape;
    int64_t count = mmrec_shape_elements(&shape);
    must(mmrec_exec_read(exec, r->seeded, value, count, &error), &error);
    must(mmrec_exec_read(exec, r->dy, dy, count, &error), &error);
    for (int64_t i = 0; i < count; i++) sum += value[i] * dy[i];
    return a + 0.5 * b + c + r->seeded_times * sum;
}

static void step(mmrec_exec *exec) {
    mmrec_error error = {0};
    must(mmrec_exec_run(exec, MMREC_PHASE_FORWARD, &error), &error);
    must(mmrec_exec_run(exec, MMREC_PHASE_BACKWARD, &error), &error);
}

static void compare(const outcome *a, const outcome *b, const char *what, uint64_t seed) {
    assert_int_equal(a->count, b->count);
    if (memcmp(&a->loss, &b->loss, sizeof a->loss) != 0 ||
        memcmp(a->gradients, b->gradients, (size_t)a->count * sizeof(double)) != 0) {
        fail_msg("graph %llu: %s changes the result", (unsigned long long)seed, what);
    }
}

static void check_derivative(const random_graph *r, mmrec_exec *exec, double along) {
    mmrec_error error = {0};
    double side[2];
    for (int s = 0; s < 2; s++) {
        set_values(exec, r, s ? 1e-6 : -1e-6);
        must(mmrec_exec_run(exec, MMREC_PHASE_FORWARD, &error), &error);
        side[s] = total_loss(r, exec);
    }
    double numeric = (side[1] - side[0]) / 2e-6, scale = fabs(along) + fabs(numeric) + 1e-3;
    /* Central difference in double: truncation 1e-12 and cancellation 1e-16 / 1e-6, both relative to a loss near 1. */
    if (!(fabs(numeric - along) <= 1e-4 * scale)) {
        fail_msg("graph %llu: derivative %g, numeric %g", (unsigned long long)r->seed, along, numeric);
    }
}

static void run_once(const random_graph *r, const mmrec_plan *plan, mmrec_allocator *allocator, outcome *out) {
    static outcome repeated;
    mmrec_error error = {0};
    mmrec_exec *exec = NULL;
    double along = 0;
    must(mmrec_exec_create(allocator, ref_backend(), r->graph, plan, (mmrec_exec_options){0}, &exec, &error), &error);
    /* First from NaN, then from what the step before left behind, then from NaN again. */
    for (int repeat = 0; repeat < 3; repeat++) {
        outcome *into = repeat ? &repeated : out;
        if (repeat != 1) {
            poison(exec, r->graph);
            set_values(exec, r, 0);
        }
        uint64_t requests = allocator->total.requests;
        step(exec);
        assert_true(allocator->total.requests == requests); /* a step allocates nothing */
        into->loss = total_loss(r, exec);
        along = collect(r, exec, into);
        if (repeat) compare(out, into, repeat == 1 ? "a second step" : "NaN in unused memory", r->seed);
    }
    check_derivative(r, exec, along);
    mmrec_exec_destroy(&exec);
}

static mmrec_plan *make_plan(const random_graph *r, mmrec_allocator *allocator, mmrec_plan_options options) {
    mmrec_plan *plan = NULL;
    mmrec_error error = {0};
    must(mmrec_plan_create(allocator, r->graph, options, &plan, &error), &error);
    must(mmrec_plan_check(plan, &error), &error);
    return plan;
}

/* Uses of the classifier by whether its share lies over the logits, and the gradient over the share. */
static int in_place[2][2];

static void count_in_place(const mmrec_plan *plan) {
    const mmrec_graph *graph = plan->graph;
    for (size_t n = 0; n < graph->node_count; n++) {
        const graph_node *back = &graph->nodes[n];
        if (back->op != MMREC_OP_cross_entropy || back->pass != MMREC_BACKWARD) continue;
        const mmrec_plan_entry *share = mmrec_plan_find(plan, back->saved[0]);
        for (size_t m = 0; m < n; m++) {
            const graph_node *node = &graph->nodes[m];
            if (node->pass != MMREC_FORWARD || node->saved[0] != back->saved[0]) continue;
            in_place[mmrec_plan_find(plan, node->in[0]) == share][mmrec_plan_find(plan, back->d_in[0]) == share]++;
        }
    }
}

static void check_graph(uint64_t seed) {
    static outcome shared, apart, again;
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    random_graph r, c;
    int nodes = 4 + (int)(seed % 29), layers = 1 + (int)(seed % 3);
    must(random_graph_build(&r, &allocator, seed, nodes, layers, false, &error), &error);
    must(random_graph_build(&c, &allocator, seed, nodes, layers, true, &error), &error);
    mmrec_plan *plan = make_plan(&r, &allocator, (mmrec_plan_options){.guard_bytes = seed % 2 ? 64 : 0});
    mmrec_plan *wide = make_plan(&r, &allocator, (mmrec_plan_options){.unshared = true});
    mmrec_plan *lean = make_plan(&c, &allocator, (mmrec_plan_options){0});
    assert_true(mmrec_plan_total_bytes(plan) <= mmrec_plan_total_bytes(wide) + (seed % 2 ? 1u << 20 : 0));
    count_in_place(plan);
    count_in_place(lean);
    run_once(&r, plan, &allocator, &shared);
    run_once(&r, wide, &allocator, &apart);
    run_once(&c, lean, &allocator, &again);
    compare(&shared, &apart, "sharing memory", seed);
    compare(&shared, &again, "recomputation", seed);
    mmrec_plan_destroy(&plan);
    mmrec_plan_destroy(&wide);
    mmrec_plan_destroy(&lean);
    mmrec_graph_destroy(&r.graph);
    mmrec_graph_destroy(&c.graph);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void test_random_graphs(void **state) {
    (void)state;
    const char *text = getenv("MMREC_FUZZ_GRAPHS");
    long graphs = text ? strtol(text, NULL, 10) : 600;
    for (long seed = 1; seed <= graphs; seed++) check_graph((uint64_t)seed);
    print_message(
        "%ld random graphs; classifiers with all apart %d, share over logits %d, gradient over share %d, both %d\n",
        graphs, in_place[0][0], in_place[1][0], in_place[0][1], in_place[1][1]);
    for (int i = 0; i < 4 && graphs >= 100; i++) assert_true(in_place[i / 2][i % 2] > 0);
}

/* Every allocation while building, planning and creating fails once: NO_MEMORY, nothing leaks. */
static mmrec_status build_all(mmrec_allocator *allocator, mmrec_error *error) {
    random_graph r;
    mmrec_plan *plan = NULL;
    mmrec_exec *exec = NULL;
    mmrec_status status = random_graph_build(&r, allocator, 11, 12, 2, true, error);
    if (status == MMREC_OK)
        status = mmrec_plan_create(allocator, r.graph, (mmrec_plan_options){2, 0, false}, &plan, error);
    if (status == MMREC_OK) {
        status = mmrec_exec_create(allocator, ref_backend(), r.graph, plan, (mmrec_exec_options){.trace = true}, &exec,
                                   error);
    }
    mmrec_exec_destroy(&exec);
    mmrec_plan_destroy(&plan);
    mmrec_graph_destroy(&r.graph);
    return status;
}

static void test_no_memory(void **state) {
    (void)state;
    for (uint64_t k = 1;; k++) {
        for (int after = 0; after < 2; after++) {
            mmrec_allocator allocator = {.fail_at = k, .fail_after = after != 0};
            mmrec_error error = {0};
            mmrec_status status = build_all(&allocator, &error);
            assert_int_equal(allocator.total.live_bytes, 0);
            if (allocator.attempts < k) {
                assert_int_equal(status, MMREC_OK);
                assert_true(k > 10);
                return;
            }
            assert_int_equal(status, MMREC_NO_MEMORY);
            assert_true(error.message[0] != '\0');
        }
    }
}

static void test_optimizer_is_counted(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    random_graph r;
    must(random_graph_build(&r, &allocator, 5, 10, 1, false, &error), &error);
    mmrec_plan *plan = make_plan(&r, &allocator, (mmrec_plan_options){.optimizer_slots = 2});
    size_t bytes = 2 * 8 * (size_t)mmrec_graph_param_count(r.graph);
    assert_int_equal(mmrec_plan_arena_bytes(plan, MMREC_ARENA_OPTIMIZER), (bytes + 63) / 64 * 64);
    mmrec_plan_destroy(&plan);
    mmrec_graph_destroy(&r.graph);
}

/* ---- the judge of plans ---- */

static void expect_fault(const mmrec_plan *plan, const char *words) {
    mmrec_error error = {0};
    assert_int_equal(mmrec_plan_check(plan, &error), MMREC_INTERNAL);
    if (!strstr(error.message, words)) fail_msg("\"%s\" lacks \"%s\"", error.message, words);
}

/* Two regions of an arena that live at the same time, the second one not of the whole run. */
static bool living_pair(const mmrec_plan *plan, mmrec_plan_entry **a, mmrec_plan_entry **b) {
    for (size_t i = 0; i < plan->count; i++) {
        for (size_t j = 0; j < plan->count; j++) {
            *a = &plan->entries[i];
            *b = &plan->entries[j];
            if (i != j && (*a)->arena == (*b)->arena && plan_lives_meet(*a, *b) && (*b)->last > (*b)->first &&
                (*b)->last < (int)plan->graph->node_count) {
                return true;
            }
        }
    }
    return false;
}

static void test_check_sees_faults(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    random_graph r;
    must(random_graph_build(&r, &allocator, 3, 24, 2, false, &error), &error);
    mmrec_plan *plan = make_plan(&r, &allocator, (mmrec_plan_options){0});
    mmrec_plan_entry *a = NULL, *b = NULL;
    assert_true(living_pair(plan, &a, &b));
    const mmrec_plan_entry kept = *b;
    b->offset = a->offset;
    expect_fault(plan, "share memory while both are live");
    *b = kept;
    b->offset += 8;
    expect_fault(plan, "is not aligned or leaves its arena");
    *b = kept;
    b->offset = plan->arena_bytes[b->arena];
    expect_fault(plan, "is not aligned or leaves its arena");
    *b = kept;
    b->last--;
    expect_fault(plan, "has no memory that lives long enough");
    *b = kept;
    b->first++;
    expect_fault(plan, "has no memory that lives long enough");
    *b = kept;
    must(mmrec_plan_check(plan, &error), &error);
    mmrec_plan_destroy(&plan);
    mmrec_graph_destroy(&r.graph);
}

/* loss = cross_entropy(linear(x, w)), the logits kept (`kept`) or read again after it (`later`). */
typedef struct classifier {
    mmrec_allocator allocator;
    mmrec_graph *graph;
    mmrec_plan *plan;
    mmrec_tensor logits, share, gradient, loss, sum;
} classifier;

static mmrec_tensor add_one(classifier *c, mmrec_op_id op, mmrec_tensor a, mmrec_tensor b) {
    return mmrec_graph_add(c->graph, op, (mmrec_node_spec){.in = {a, b}});
}

static void plan_classifier(classifier *c, bool kept, bool later) {
    mmrec_error error = {0};
    memset(c, 0, sizeof *c);
    must(mmrec_graph_create(&c->allocator, MMREC_F64, 1, &c->graph, &error), &error);
    mmrec_tensor x = mmrec_graph_input(c->graph, "x", MMREC_F64, mmrec_shape2(2, 3));
    mmrec_tensor targets = mmrec_graph_input(c->graph, "targets", MMREC_I32, mmrec_shape1(2));
    c->logits = add_one(c, MMREC_OP_linear, x, mmrec_graph_param(c->graph, "w", mmrec_shape2(4, 3)));
    c->loss = add_one(c, MMREC_OP_cross_entropy, c->logits, targets);
    c->sum = c->loss;
    if (kept) mmrec_graph_keep(c->graph, c->logits, "logits");
    if (later) {
        mmrec_tensor zeros = mmrec_graph_input(c->graph, "zeros", MMREC_F64, mmrec_shape2(2, 4));
        c->sum = add_one(c, MMREC_OP_combine, c->loss, add_one(c, MMREC_OP_mean_square, c->logits, zeros));
    }
    mmrec_seed seed = {c->sum, 0, 1};
    must(mmrec_graph_differentiate(c->graph, &seed, 1, NULL, 0, false, &error), &error);
    must(mmrec_plan_create(&c->allocator, c->graph, (mmrec_plan_options){0}, &c->plan, &error), &error);
    must(mmrec_plan_check(c->plan, &error), &error);
    c->share = c->graph->nodes[1].saved[0];
    c->gradient = graph_tensor_at(c->graph, c->logits)->gradient;
}

static void free_classifier(classifier *c) {
    mmrec_plan_destroy(&c->plan);
    mmrec_graph_destroy(&c->graph);
    assert_int_equal(c->allocator.total.live_bytes, 0);
}

/* Which nodes of the classifier, the first and its copy, store a share: in a graph without gradients, in one whose seed
 * it does not reach, in one it does, and there with recomputation. */
static void test_share_is_stored_where_it_is_read(void **state) {
    (void)state;
    static const bool first[] = {false, false, true, false}, second[] = {false, false, false, true};
    for (int way = 0; way < 4; way++) {
        mmrec_error error = {0};
        classifier c = {.share = 0};
        must(mmrec_graph_create(&c.allocator, MMREC_F64, 1, &c.graph, &error), &error);
        mmrec_tensor x = mmrec_graph_input(c.graph, "x", MMREC_F64, mmrec_shape2(2, 3));
        mmrec_tensor targets = mmrec_graph_input(c.graph, "targets", MMREC_I32, mmrec_shape1(2));
        mmrec_graph_scope(c.graph, 0, "block.");
        c.logits = add_one(&c, MMREC_OP_linear, x, mmrec_graph_param(c.graph, "w", mmrec_shape2(4, 3)));
        c.loss = add_one(&c, MMREC_OP_cross_entropy, c.logits, targets);
        c.sum = add_one(&c, MMREC_OP_mean_square, c.logits, add_one(&c, MMREC_OP_gelu, c.logits, 0));
        mmrec_seed seed = {way < 2 ? c.sum : c.loss, 0, 1};
        if (way) must(mmrec_graph_differentiate(c.graph, &seed, 1, NULL, 0, way == 3, &error), &error);
        const graph_node *node = &c.graph->nodes[1], *copy = NULL;
        for (size_t n = 2; n < c.graph->node_count; n++) {
            if (c.graph->nodes[n].recompute && c.graph->nodes[n].op == node->op) copy = &c.graph->nodes[n];
        }
        assert_int_equal(node->saved[0] != 0, first[way]);
        assert_int_equal(node->sizes.stored, first[way]);
        assert_int_equal(copy && copy->saved[0] && copy->sizes.stored == 1, second[way]);
        free_classifier(&c);
    }
}

static bool together(const classifier *c, mmrec_tensor a, mmrec_tensor b) {
    return mmrec_plan_find(c->plan, a) == mmrec_plan_find(c->plan, b);
}

/* What the planner must not do: `to` gets the region of `from`, alive all the time. */
static void force_together(classifier *c, mmrec_tensor from, mmrec_tensor to) {
    mmrec_plan_entry *entry = &c->plan->entries[c->plan->by_tensor[from]];
    c->plan->by_tensor[to] = c->plan->by_tensor[from];
    entry->first = 0;
    entry->last = (int)c->graph->node_count;
}

static void test_taking_over(void **state) {
    (void)state;
    classifier c;
    plan_classifier(&c, false, false);
    assert_true(together(&c, c.logits, c.share) && together(&c, c.share, c.gradient));
    assert_int_equal(mmrec_plan_find(c.plan, c.gradient)->arena, MMREC_ARENA_SAVED);
    free_classifier(&c);
    plan_classifier(&c, true, false);
    assert_true(!together(&c, c.logits, c.share) && together(&c, c.share, c.gradient));
    free_classifier(&c);
    plan_classifier(&c, false, true); /* the gradient of what comes later is there when the classifier's is added */
    assert_true(!together(&c, c.logits, c.share) && !together(&c, c.share, c.gradient));
    free_classifier(&c);
}

static void expect_wrong_pair(bool kept, bool later, int pair, const char *words) {
    classifier c;
    plan_classifier(&c, kept, later);
    const mmrec_tensor pairs[][2] = {{c.logits, c.share}, {c.share, c.gradient}, {c.loss, c.sum}};
    force_together(&c, pairs[pair][0], pairs[pair][1]);
    expect_fault(c.plan, words);
    free_classifier(&c);
}

static void test_check_sees_wrong_pairs(void **state) {
    (void)state;
    expect_wrong_pair(true, false, 0, "the first must last");
    expect_wrong_pair(false, true, 0, "the first is read after the second was written over it");
    expect_wrong_pair(false, true, 1, "the first is read after the second was written over it");
    expect_wrong_pair(false, true, 2, "the second is written while the first is live");
}

static void add_huge(mmrec_graph *graph, int count) {
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", mmrec_graph_tensor_count(graph));
        mmrec_graph_param(graph, name, mmrec_shape2((int64_t)1 << 29, (int64_t)1 << 28));
    }
}

/* 48 tensors of 2^60 bytes: each can be counted, but their sum, 3 times 2^64, comes out as 0. */
static void test_sum_that_wraps(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_graph *graph = NULL;
    mmrec_plan *plan = NULL;
    must(mmrec_graph_create(&allocator, MMREC_F64, 1, &graph, &error), &error);
    add_huge(graph, 48);
    assert_int_equal(mmrec_plan_create(&allocator, graph, (mmrec_plan_options){0}, &plan, &error), MMREC_SHAPE);
    assert_null(plan);
    assert_true(mmrec_graph_param_count(graph) == (int64_t)48 << 57);
    add_huge(graph, 32);
    assert_true(mmrec_graph_param_count(graph) == INT64_MAX);
    mmrec_graph_destroy(&graph);
    assert_int_equal(allocator.total.live_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),          cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_optimizer_is_counted),   cmocka_unit_test(test_check_sees_faults),
        cmocka_unit_test(test_sum_that_wraps),         cmocka_unit_test(test_taking_over),
        cmocka_unit_test(test_check_sees_wrong_pairs), cmocka_unit_test(test_share_is_stored_where_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
