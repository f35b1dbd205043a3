/* Storing activations and weights in bf16: which tensors are, where the copies are made, where gradients go, and what a
 * step computes. On the host: no device is needed to say so. */
#include "bf16_rig.h"
#include "mmrec/parity.h"

static mmrec_dtype dtype_named(const rig *r, const char *name) {
    mmrec_tensor t = mmrec_graph_find(r->graph, name);
    if (!t) fail_msg("there is no tensor %s", name);
    return mmrec_graph_tensor_info(r->graph, t).dtype;
}

static void start(rig *r, int which, bool hem) {
    mmrec_model_config c;
    mmrec_model_run run;
    mmrec_error error = {0};
    mmrec_model_kind kind = stored_model(which, &c, &run);
    run.hem = hem;
    must(stored_try(r, &rounded_backend, MMREC_BF16, kind, &c, &run, (mmrec_exec_options){0}, &error), &error);
}

/* ---- which tensors ---- */

static void parameters_inputs_and_their_gradients_are_f32(void **state) {
    (void)state;
    for (int which = 0; which < STORED_MODELS; which++) {
        rig r;
        start(&r, which, which % 2 == 0);
        for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r.graph); t++) {
            mmrec_tensor_info info = mmrec_graph_tensor_info(r.graph, t);
            mmrec_tensor gradient = mmrec_graph_gradient(r.graph, t);
            bool master = info.kind == MMREC_TENSOR_PARAM || info.kind == MMREC_TENSOR_STACK;
            if (!master && info.kind != MMREC_TENSOR_INPUT) continue;
            bool ids = strcmp(info.name, "ids") == 0 || strcmp(info.name, "targets") == 0;
            assert_int_equal(info.dtype, ids ? MMREC_I32 : MMREC_F32);
            if (master) assert_int_not_equal(gradient, 0);
            if (gradient) assert_int_equal(mmrec_graph_tensor_info(r.graph, gradient).dtype, MMREC_F32);
        }
        rig_end(&r);
    }
}

static void results_have_their_types(void **state) {
    (void)state;
    static const char *const in_f32[] = {"gamma", "h", "h_last", "aux", "mem_k", "mem_v"};
    rig r;
    start(&r, 0, true);
    assert_int_equal(dtype_named(&r, "y"), MMREC_BF16);
    for (size_t i = 0; i < sizeof in_f32 / sizeof *in_f32; i++) assert_int_equal(dtype_named(&r, in_f32[i]), MMREC_F32);
    rig_end(&r);
    start(&r, 2, true);
    assert_int_equal(dtype_named(&r, "logits"), MMREC_BF16);
    assert_int_equal(dtype_named(&r, "loss"), MMREC_F32);
    assert_int_equal(dtype_named(&r, "loss_aux"), MMREC_F32);
    assert_int_equal(dtype_named(&r, "next.1.h"), MMREC_F32);
    rig_end(&r);
}

/* The backend asks every call whether its arguments have the types that the op declares. */
static void every_call_has_its_types(void **state) {
    (void)state;
    for (int which = 0; which < STORED_MODELS; which++) {
        rig r;
        mmrec_error error = {0};
        start(&r, which, which % 2 == 1);
        must(rig_step(&r, true, &error), &error);
        rig_end(&r);
    }
}

/* ---- the copies ---- */

typedef struct copies {
    int weights, values, back_weights, back_values, widened, back_widened;
} copies;

/* A weight has two axes and a bias one; values have three, but for h0, which is as long as the batch. */
static copies count_copies(const mmrec_graph *graph, int64_t batch) {
    copies n = {0};
    for (int i = 0; i < mmrec_graph_node_count(graph); i++) {
        mmrec_node_info info = mmrec_graph_node_info(graph, i);
        const mmrec_shape *shape = &info.sizes->in[0];
        bool weight = shape->ndim == 1 || (shape->ndim == 2 && shape->dim[0] != batch);
        if (info.op == MMREC_OP_widen && info.pass == MMREC_FORWARD && !info.recompute) n.widened++;
        if (info.op == MMREC_OP_widen && info.pass == MMREC_BACKWARD) n.back_widened++;
        if (info.op != MMREC_OP_narrow || info.recompute) continue;
        assert_int_equal(info.storage, MMREC_BF16);
        if (info.pass == MMREC_BACKWARD) {
            n.back_weights += weight;
            n.back_values += !weight;
            continue;
        }
        assert_int_equal(info.phase, weight ? MMREC_PHASE_REFRESH : MMREC_PHASE_FORWARD);
        n.weights += weight;
        n.values += !weight;
    }
    return n;
}

/* block with a positional path and planning: linear maps, each with weight and bias, are q, k, v, z, p, e (with HEM one
 * stack), two of each decay network, memory query and out, two of the feed-forward, four of the planning error. Values:
 * x, h, h0 and n narrowed, z widened; d.y comes as f32 and is rounded. n has no gradient. */
static void each_weight_is_copied_once(void **state) {
    (void)state;
    for (int hem = 0; hem < 2; hem++) {
        rig r;
        start(&r, 0, hem);
        copies n = count_copies(r.graph, 2);
        assert_int_equal(n.weights, 2 * ((hem ? 1 : 6) + 4 + 2 + 2 + 4));
        assert_int_equal(n.back_weights, 0);
        assert_int_equal(n.values, 4);
        assert_int_equal(n.back_values, 3);
        assert_int_equal(n.widened, 1);
        assert_int_equal(n.back_widened, 2);
        rig_end(&r);
    }
}

/* The table is the weight of the head, read once more as it is by the embedding: one copy, one gradient. */
static void a_tied_table_has_one_copy(void **state) {
    (void)state;
    rig r;
    start(&r, 3, false);
    int heads = 0;
    for (int i = 0; i < mmrec_graph_node_count(r.graph); i++) {
        mmrec_node_info info = mmrec_graph_node_info(r.graph, i);
        bool table = info.op == MMREC_OP_narrow && info.sizes->in[0].dim[0] == r.vocab;
        heads += table;
        if (table) assert_int_equal(info.phase, MMREC_PHASE_REFRESH);
    }
    assert_int_equal(heads, 1);
    rig_end(&r);
}

static void copies_follow_their_parameters(void **state) {
    (void)state;
    for (int hem = 0; hem < 2; hem++) {
        static double before[2 * 5 * 19], after[2 * 5 * 19], values[12 * 12];
        rig r;
        mmrec_error error = {0};
        start(&r, 3, hem);
        must(rig_step(&r, false, &error), &error);
        read_named(&r, "logits", before, 2 * 5 * 19);
        mmrec_tensor weight = mmrec_graph_find(r.graph, "blocks.1.v.weight");
        must(mmrec_exec_read(r.exec, weight, values, 12 * 12, &error), &error);
        for (int i = 0; i < 12 * 12; i++) values[i] += 0.5;
        must(mmrec_exec_write(r.exec, weight, values, 12 * 12, &error), &error);
        must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
        must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
        read_named(&r, "logits", after, 2 * 5 * 19);
        assert_true(mmrec_compare(after, before, 2 * 5 * 19).max_rel > 0.05);
        rig_end(&r);
    }
}

/* What is written into a stack after somebody read it in bf16 would be missing in the copy. */
static void a_copied_stack_is_closed(void **state) {
    (void)state;
    for (int late = 0; late < 2; late++) {
        mmrec_allocator allocator = {0};
        mmrec_graph *g = NULL;
        mmrec_error error = {0};
        must(mmrec_graph_create(&allocator, MMREC_BF16, 1, &g, &error), &error);
        mmrec_tensor x = mmrec_graph_input(g, "x", MMREC_F32, mmrec_shape2(3, 4));
        mmrec_tensor stack = mmrec_graph_stack(g, "stack", mmrec_shape2(8, 4));
        mmrec_tensor w = mmrec_graph_stack_param(g, stack, 0, "w", mmrec_shape2(4, 4));
        mmrec_tensor fold = mmrec_graph_stack_value(g, stack, 16, mmrec_shape2(4, 4));
        if (late) mmrec_graph_add(g, MMREC_OP_linear, (mmrec_node_spec){.in = {x, stack}});
        mmrec_graph_phase(g, MMREC_PHASE_REFRESH);
        mmrec_graph_add(g, MMREC_OP_matmul, (mmrec_node_spec){.in = {w, w}, .into = {fold}});
        mmrec_graph_phase(g, MMREC_PHASE_FORWARD);
        if (!late) mmrec_graph_add(g, MMREC_OP_linear, (mmrec_node_spec){.in = {x, stack}});
        assert_int_equal(mmrec_graph_status(g, &error), late ? MMREC_INTERNAL : MMREC_OK);
        if (late) assert_non_null(strstr(error.message, "after its bf16 copy was made"));
        mmrec_graph_destroy(&g);
    }
}

/* ---- memory ---- */

/* Elements of the SAVED arena by type; gives its bytes. */
static size_t saved_bytes(mmrec_dtype storage, size_t by_type[MMREC_DTYPES]) {
    mmrec_model_config c = small_config();
    mmrec_model_run run = {.batch = 2, .time = 64, .hem = true, .loss = true, .gradient = true};
    rig r;
    mmrec_error error = {0};
    must(stored_try(&r, &rounded_backend, storage, MMREC_MODEL_mmrec, &c, &run, (mmrec_exec_options){0}, &error),
         &error);
    for (int i = 0; i < mmrec_plan_entry_count(r.plan); i++) {
        const mmrec_plan_entry *entry = mmrec_plan_entry_at(r.plan, i);
        if (!entry->tensor) continue;
        mmrec_tensor_info info = mmrec_graph_tensor_info(r.graph, entry->tensor);
        size_t elements = (size_t)mmrec_shape_elements(&info.shape);
        assert_int_equal(entry->bytes, elements * (info.dtype == MMREC_BF16 ? 2 : 4));
        if (entry->arena == MMREC_ARENA_SAVED) by_type[info.dtype] += elements;
    }
    size_t bytes = mmrec_plan_arena_bytes(r.plan, MMREC_ARENA_SAVED);
    rig_end(&r);
    return bytes;
}

/* What is stored in bf16 takes half. Not all is: the recurrence keeps z, gamma, h and its gate in f32. */
static void saved_activations_take_half(void **state) {
    (void)state;
    size_t plain[MMREC_DTYPES] = {0}, stored[MMREC_DTYPES] = {0};
    size_t before = saved_bytes(MMREC_F32, plain), after = saved_bytes(MMREC_BF16, stored);
    assert_int_equal(plain[MMREC_BF16], 0);
    assert_true(stored[MMREC_BF16] > stored[MMREC_F32]);
    assert_true((double)after < 0.75 * (double)before);
}

/* ---- gradients ---- */

/* Against the exact values: as far off as rounding makes them, and no further. */
static void expect_gradient(rig *r, rig *truth, const char *name, double tolerance) {
    mmrec_error error = {0};
    static double got[MAX_VALUES], want[MAX_VALUES];
    mmrec_tensor t = mmrec_graph_find(truth->graph, name), here = mmrec_graph_find(r->graph, name);
    mmrec_tensor_info info = mmrec_graph_tensor_info(truth->graph, t);
    int64_t count = mmrec_shape_elements(&info.shape);
    must(mmrec_exec_read(truth->exec, mmrec_graph_gradient(truth->graph, t), want, count, &error), &error);
    must(mmrec_exec_read(r->exec, mmrec_graph_gradient(r->graph, here), got, count, &error), &error);
    mmrec_difference d = mmrec_compare(got, want, count);
    if (!(d.max_rel <= tolerance)) fail_msg("the gradient of %s is off by %.3g", name, d.max_rel);
}

/* Weights of every kind: a parameter, an input, a value, one weight twice; a parameter where an op wants a value. */
static void build_oddities(rig *r, const mmrec_backend *backend, mmrec_dtype storage) {
    mmrec_error error = {0};
    memset(r, 0, sizeof *r);
    must(mmrec_graph_create(&r->allocator, storage, 1, &r->graph, &error), &error);
    mmrec_graph *g = r->graph;
    mmrec_tensor x = mmrec_graph_input(g, "x", MMREC_F32, mmrec_shape2(6, 8));
    mmrec_tensor w = mmrec_graph_param(g, "w", mmrec_shape2(8, 8)), v = mmrec_graph_param(g, "v", mmrec_shape2(8, 8));
    mmrec_tensor dy = mmrec_graph_input(g, "dy", MMREC_F32, mmrec_shape2(8, 6));
    mmrec_tensor given = mmrec_graph_input(g, "given", MMREC_F32, mmrec_shape2(8, 8));
    mmrec_tensor a = mmrec_graph_add(g, MMREC_OP_linear, (mmrec_node_spec){.in = {x, w}});
    mmrec_tensor b = mmrec_graph_add(g, MMREC_OP_linear, (mmrec_node_spec){.in = {a, w}});
    mmrec_tensor c = mmrec_graph_add(g, MMREC_OP_linear, (mmrec_node_spec){.in = {b, given}});
    mmrec_tensor made = mmrec_graph_add(g, MMREC_OP_combine, (mmrec_node_spec){.in = {v, w, v}});
    mmrec_tensor d = mmrec_graph_add(g, MMREC_OP_linear, (mmrec_node_spec){.in = {c, made}});
    mmrec_tensor y = mmrec_graph_add(g, MMREC_OP_linear, (mmrec_node_spec){.in = {made, d}});
    mmrec_seed seed = {y, dy, 0};
    mmrec_tensor wanted[] = {x, given};
    must(mmrec_graph_differentiate(g, &seed, 1, wanted, 2, false, &error), &error);
    must(mmrec_plan_create(&r->allocator, g, (mmrec_plan_options){0}, &r->plan, &error), &error);
    must(mmrec_plan_check(r->plan, &error), &error);
    must(mmrec_exec_create(&r->allocator, backend, g, r->plan, (mmrec_exec_options){0}, &r->exec, &error), &error);
    must(rig_step(r, true, &error), &error);
}

static void gradients_go_where_they_belong(void **state) {
    (void)state;
    rig r, truth;
    build_oddities(&truth, backend_named("ref"), MMREC_F64);
    build_oddities(&r, &rounded_backend, MMREC_BF16);
    static const char *const names[] = {"w", "v", "x", "given"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) expect_gradient(&r, &truth, names[i], 3e-2);
    rig_end(&r);
    rig_end(&truth);
}

/* A sum of losses is not rounded to 8 bits, nor is what it sums. */
static void losses_are_exact(void **state) {
    (void)state;
    for (int which = 1; which < 3; which++) {
        rig r;
        mmrec_error error = {0};
        double loss, main, aux;
        start(&r, which, true);
        must(rig_step(&r, false, &error), &error);
        read_named(&r, "loss", &loss, 1);
        read_named(&r, "loss_main", &main, 1);
        read_named(&r, "loss_aux", &aux, 1);
        double want = which == 2 ? (main + aux) / 2 : main + aux;
        assert_true(fabs(loss - want) <= 1e-6 * fabs(want));
        rig_end(&r);
    }
}

/* ---- fixtures ---- */

/* Rounding alone keeps every fixture within what parity allows for bf16, and none within what float has. */
static void fixtures_are_off_by_rounding(void **state) {
    (void)state;
    static const char *const files[] = {"block_dpg", "block_uboo", "model_planning", "stream"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        mmrec_allocator allocator = {0};
        mmrec_io io = {0};
        mmrec_error error = {0};
        mmrec_parity *parity = NULL;
        mmrec_parity_options options = {.backend = &rounded_backend, .hem = i % 2 == 0, .bf16 = true, .threads = 1};
        char path[256];
        int beyond_float = 0;
        snprintf(path, sizeof path, "%s/fixtures/%s.safetensors", MMREC_GOLDEN, files[i]);
        must(mmrec_parity_run(&allocator, &io, path, &options, &parity, &error), &error);
        assert_int_equal(mmrec_parity_failures(parity), 0);
        for (int r = 0; r < mmrec_parity_count(parity); r++) {
            const mmrec_parity_row *row = mmrec_parity_at(parity, r);
            bool gradient = strncmp(row->name, "grad.", 5) == 0;
            assert_true(row->tolerance == (gradient ? 8e-2 : 2e-2));
            beyond_float += row->max_error > 1e-4;
        }
        assert_true(beyond_float > mmrec_parity_count(parity) / 2);
        mmrec_parity_destroy(&parity);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
}

/* ---- refusals, values in and out ---- */

static void other_backends_refuse(void **state) {
    (void)state;
    static const char *const messages[][2] = {
        {"cpu", "backend cpu stores f32 only: bf16 needs --backend cuda"},
        {"ref", "backend ref stores f64 only: bf16 needs --backend cuda"},
    };
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        mmrec_error error = {0};
        const mmrec_backend *backend = backend_named(messages[i][0]);
        assert_int_equal(mmrec_backend_stores(backend, MMREC_BF16, &error), MMREC_UNSUPPORTED);
        assert_string_equal(error.message, messages[i][1]);
        must(mmrec_backend_stores(backend, backend->real, &error), &error);
    }
    rig r;
    mmrec_error error = {0};
    mmrec_model_config c;
    mmrec_model_run run;
    mmrec_model_kind kind = stored_model(3, &c, &run);
    mmrec_exec_options options = {0};
    assert_int_equal(stored_try(&r, backend_named("cpu"), MMREC_BF16, kind, &c, &run, options, &error),
                     MMREC_UNSUPPORTED);
    assert_string_equal(error.message, messages[0][1]);
    rig_end(&r);
}

static void values_are_rounded_to_nearest_even(void **state) {
    (void)state;
    rig r;
    mmrec_error error = {0};
    static double values[2 * 5 * 19];
    start(&r, 3, false);
    values[0] = 1 + 0x1p-9;      /* below half of what the last bit is worth */
    values[1] = 1 + 0x1p-8;      /* half: to even, down */
    values[2] = 1 + 3 * 0x1p-8;  /* half: to even, up */
    values[3] = -(1 + 0x1.8p-8); /* above half */
    mmrec_tensor logits = mmrec_graph_find(r.graph, "logits");
    must(mmrec_exec_write(r.exec, logits, values, 2 * 5 * 19, &error), &error);
    read_named(&r, "logits", values, 2 * 5 * 19);
    assert_true(values[0] == 1 && values[1] == 1 && values[2] == 1 + 0x1p-6 && values[3] == -(1 + 0x1p-7));
    rig_end(&r);
}

static void what_is_not_finite_is_found(void **state) {
    (void)state;
    rig r;
    mmrec_error error = {0};
    mmrec_model_config c;
    mmrec_model_run run;
    mmrec_model_kind kind = stored_model(3, &c, &run);
    mmrec_exec_options options = {.check_finite = true};
    must(stored_try(&r, &rounded_backend, MMREC_BF16, kind, &c, &run, options, &error), &error);
    must(rig_step(&r, false, &error), &error);
    int count = 0, found = 0;
    const mmrec_trace_record *trace = mmrec_exec_trace(r.exec, &count);
    for (int i = 0; i < count; i++) assert_true(trace[i].finite);
    double huge[19 * 12];
    for (int i = 0; i < 19 * 12; i++) huge[i] = 3.4e38; /* a float; the nearest bf16 is infinite */
    must(mmrec_exec_write(r.exec, mmrec_graph_find(r.graph, "embedding.weight"), huge, 19 * 12, &error), &error);
    must(fill_kind(&r, MMREC_TENSOR_INPUT, &error), &error);
    must(mmrec_exec_run(r.exec, MMREC_PHASE_FORWARD, &error), &error);
    for (int i = 0; i < count; i++) {
        mmrec_node_info info = mmrec_graph_node_info(r.graph, i);
        found += info.op == MMREC_OP_narrow && info.sizes->in[0].dim[0] == 19 && !trace[i].finite;
    }
    assert_int_equal(found, 1);
    rig_end(&r);
}

/* Work counts the bytes of each argument in its own type: of a copy 4 read and 2 written. */
static void bytes_are_counted_by_type(void **state) {
    (void)state;
    rig r;
    start(&r, 3, false);
    double bytes = 0;
    for (int i = 0; i < mmrec_graph_node_count(r.graph); i++) {
        mmrec_node_info info = mmrec_graph_node_info(r.graph, i);
        if (info.phase != MMREC_PHASE_REFRESH) continue;
        assert_int_equal(info.op, MMREC_OP_narrow);
        bytes += 6.0 * (double)mmrec_shape_elements(&info.sizes->in[0]);
    }
    assert_true(bytes > 0 && mmrec_graph_work(r.graph, MMREC_PHASE_REFRESH).bytes == bytes);
    rig_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_inputs_and_their_gradients_are_f32),
        cmocka_unit_test(results_have_their_types),
        cmocka_unit_test(every_call_has_its_types),
        cmocka_unit_test(each_weight_is_copied_once),
        cmocka_unit_test(a_tied_table_has_one_copy),
        cmocka_unit_test(copies_follow_their_parameters),
        cmocka_unit_test(a_copied_stack_is_closed),
        cmocka_unit_test(saved_activations_take_half),
        cmocka_unit_test(gradients_go_where_they_belong),
        cmocka_unit_test(losses_are_exact),
        cmocka_unit_test(fixtures_are_off_by_rounding),
        cmocka_unit_test(other_backends_refuse),
        cmocka_unit_test(values_are_rounded_to_nearest_even),
        cmocka_unit_test(what_is_not_finite_is_found),
        cmocka_unit_test(bytes_are_counted_by_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
