/* AdamW: twenty steps of a model, HEM on and off, against the fixture of an independent implementation. */
#include "each_backend.h"
#include "mmrec/optimizer.h"
#include "mmrec/safetensors.h"

enum { TRAIN_STEPS = 20, TRAIN_BATCH = 4, TRAIN_TIME = 8 };

typedef struct fixture {
    mmrec_allocator allocator;
    mmrec_safetensors *file;
} fixture;

static void fixture_values(const fixture *f, const char *prefix, const char *name, double *values, int64_t count) {
    char full[256];
    mmrec_error error = {0};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const mmrec_safetensors_tensor *tensor = mmrec_safetensors_find(f->file, full);
    if (!tensor) fail_msg("the fixture has no %s", full);
    must(mmrec_safetensors_read_f64(tensor, values, (size_t)count, &error), &error);
}

static mmrec_model_config train_config(void) {
    mmrec_model_config c = mmrec_model_config_default(61, 32, 2, 4);
    c.ffn = 48;
    c.inner = 8;
    c.slots = 64;
    c.level = 2;
    c.pe = 12; /* with HEM on, weights derived from parameters must be made again after every step */
    c.uboo = MMREC_UBOO_PLANNING;
    return c;
}

/* Writes every parameter, or compares it with what it should be. */
static void each_parameter(rig *r, const fixture *f, bool compare, double tolerance) {
    static double want[MAX_VALUES], got[MAX_VALUES];
    mmrec_error error = {0};
    for (mmrec_tensor t = 1; t <= mmrec_graph_tensor_count(r->graph); t++) {
        mmrec_tensor_info info = mmrec_graph_tensor_info(r->graph, t);
        if (info.kind != MMREC_TENSOR_PARAM) continue;
        int64_t count = mmrec_shape_elements(&info.shape);
        fixture_values(f, compare ? "out.param." : "param.", info.name, want, count);
        if (!compare) {
            must(mmrec_exec_write(r->exec, t, want, count, &error), &error);
            continue;
        }
        must(mmrec_exec_read(r->exec, t, got, count, &error), &error);
        mmrec_difference d = mmrec_compare(got, want, count);
        if (!mmrec_difference_within(&d, tolerance, 0)) fail_msg("%s is off by %g", info.name, d.max_rel);
    }
}

static void write_ids(rig *r, const double *ids) {
    int32_t in[TRAIN_BATCH * TRAIN_TIME], out[TRAIN_BATCH * TRAIN_TIME];
    mmrec_error error = {0};
    for (int i = 0; i < TRAIN_BATCH * TRAIN_TIME; i++) {
        const double *row = ids + i / TRAIN_TIME * (TRAIN_TIME + 1) + i % TRAIN_TIME;
        in[i] = (int32_t)row[0];
        out[i] = (int32_t)row[1];
    }
    must(mmrec_exec_write_ids(r->exec, mmrec_graph_find(r->graph, "ids"), in, TRAIN_BATCH * TRAIN_TIME, &error),
         &error);
    must(mmrec_exec_write_ids(r->exec, mmrec_graph_find(r->graph, "targets"), out, TRAIN_BATCH * TRAIN_TIME, &error),
         &error);
}

static void train(rig *r, const fixture *f, mmrec_optimizer *optimizer, double tolerance) {
    static double ids[TRAIN_STEPS][TRAIN_BATCH * (TRAIN_TIME + 1)];
    double losses[TRAIN_STEPS], norms[TRAIN_STEPS], got[2 * TRAIN_STEPS];
    mmrec_error error = {0};
    fixture_values(f, "in.", "ids", &ids[0][0], (int64_t)(sizeof ids / sizeof ids[0][0]));
    fixture_values(f, "out.", "loss", losses, TRAIN_STEPS);
    fixture_values(f, "out.", "grad_norm", norms, TRAIN_STEPS);
    for (int step = 0; step < TRAIN_STEPS; step++) {
        mmrec_optimizer_report report = {0};
        write_ids(r, ids[step]);
        must(mmrec_exec_run(r->exec, MMREC_PHASE_FORWARD, &error), &error);
        read_named(r, "loss", &got[step], 1);
        must(mmrec_exec_run(r->exec, MMREC_PHASE_BACKWARD, &error), &error);
        must(mmrec_optimizer_step(optimizer, 3e-3, &report, &error), &error);
        got[TRAIN_STEPS + step] = report.gradient_norm;
        assert_true(report.step == step + 1 && !report.skipped);
    }
    mmrec_difference loss = mmrec_compare(got, losses, TRAIN_STEPS);
    mmrec_difference norm = mmrec_compare(got + TRAIN_STEPS, norms, TRAIN_STEPS);
    if (!mmrec_difference_within(&loss, tolerance, 0)) fail_msg("the loss is off by %g", loss.max_rel);
    if (!mmrec_difference_within(&norm, 10 * tolerance, 0)) fail_msg("the norm is off by %g", norm.max_rel);
}

/* The fixture is stored in float32, which bounds what double can agree to; twenty float steps stay within 1e-5 of the
 * loss and 1e-4 of every parameter. */
static void train_fixture(const fixture *f, const mmrec_backend *backend, bool hem) {
    bool f64 = backend->real == MMREC_F64;
    mmrec_model_config c = train_config();
    mmrec_model_run run = {.batch = TRAIN_BATCH, .time = TRAIN_TIME, .hem = hem, .loss = true, .gradient = true};
    mmrec_plan_options plan = {.optimizer_slots = 2};
    mmrec_exec_options options = {0};
    mmrec_optimizer_config config = mmrec_optimizer_config_default();
    mmrec_optimizer *optimizer = NULL;
    mmrec_error error = {0};
    rig r = {0};
    int threads = mmrec_backend_threads(backend, 2);
    must(mmrec_graph_create(&r.allocator, backend->real, threads, &r.graph, &error), &error);
    must(mmrec_model_build(MMREC_MODEL_mmrec, &c, &run, r.graph, &error), &error);
    must(mmrec_plan_create(&r.allocator, r.graph, plan, &r.plan, &error), &error);
    must(mmrec_exec_create(&r.allocator, backend, r.graph, r.plan, options, &r.exec, &error), &error);
    must(mmrec_optimizer_create(&r.allocator, r.exec, &config, &optimizer, &error), &error);
    each_parameter(&r, f, false, 0);
    train(&r, f, optimizer, f64 ? 1e-6 : 1e-5);
    each_parameter(&r, f, true, f64 ? 1e-6 : 1e-4);
    mmrec_optimizer_destroy(&optimizer);
    rig_end(&r);
}

static void check_training(const mmrec_backend *backend) {
    fixture f = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    const char *path = MMREC_GOLDEN "/fixtures/train_planning.safetensors";
    must(mmrec_safetensors_open(&io, &f.allocator, path, 1 << 24, &f.file, &error), &error);
    train_fixture(&f, backend, false);
    train_fixture(&f, backend, true);
    mmrec_safetensors_destroy(&f.file);
    assert_int_equal(f.allocator.total.live_bytes, 0);
}

static void test_training(void **state) {
    (void)state;
    on_each(check_training);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_training)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
