/* A comparison on the device: what needs no clock is what the cpu has, to rounding; an emulated one has no times. */
#include "compare_rig.h"
#include "cuda_rig.h"

static const mmrec_backend *cuda;
static compare_rig r, host;

static void begin(compare_rig *on, const mmrec_backend *backend) {
    mmrec_compare_task task = classes_task(8, 3);
    compare_begin(on, &task);
    on->options.backend = backend;
    on->options.graphs = true;
    on->options.layers = true;
    on->options.train_steps = 6;
    on->options.axis_name = "batch";
    on->options.axis_count = 1;
    on->options.axis[0] = 4;
    compare_add(on, MMREC_MODEL_nsm_simple, "inputs=8 outputs=3 dim=8 states=2 heads=2");
    compare_add(on, MMREC_MODEL_mlp, "inputs=8 outputs=3 hidden=6 loss=cross-entropy");
}

static void close_to(double a, double b, double tolerance) {
    if (!(fabs(a - b) <= tolerance * fabs(b))) fail_msg("%.9g and %.9g", a, b);
}

static void test_as_on_the_host(void **state) {
    (void)state;
    begin(&r, cuda);
    begin(&host, backend_named("cpu"));
    compare_go(&r);
    compare_go(&host);
    for (int row = 0; row < r.options.count; row++) {
        const mmrec_compare_row *a = &r.result.row[row], *b = &host.result.row[row];
        if (a->failure[0]) fail_msg("%s", a->failure);
        assert_int_equal(a->parameters, b->parameters);
        assert_int_equal(a->dead, b->dead);
        assert_true(a->forward.flops == b->forward.flops && a->backward.flops == b->backward.flops);
        close_to(a->gradient_norm, b->gradient_norm, 1e-5);
        close_to(a->quality.loss[0], b->quality.loss[0], 1e-4);
        size_t planned = 0;
        for (int arena = 0; arena < MMREC_ARENAS; arena++) planned += a->memory.planned[arena];
        assert_true(a->memory.created >= planned && a->memory.peak >= a->memory.created);
        assert_true(a->layer_count == b->layer_count && a->points[0].bytes > 0);
    }
    compare_end(&r);
    compare_end(&host);
}

static void test_times(void **state) {
    (void)state;
    begin(&r, cuda);
    compare_go(&r);
    bool emulated = cuda->device->info.emulated;
    for (int row = 0; row < r.options.count; row++) {
        const mmrec_compare_row *at = &r.result.row[row];
        for (int part = 0; part < MMREC_PARTS; part++) {
            const mmrec_series *s = &at->series[part];
            assert_true(emulated ? s->untimed && s->count == 0 && !s->stats.valid : s->count == 8 && s->stats.valid);
            assert_true(emulated ? !at->paired[part].valid : row == 0 || at->paired[part].valid);
        }
        assert_true(at->points[0].step.valid == !emulated);
        for (int i = 0; i < at->layer_count && emulated; i++) assert_true(at->layers[i].ns == 0);
    }
    assert_true(r.result.front[0] || r.result.front[1]);
    compare_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_on_the_host),
        cmocka_unit_test(test_times),
    };
    int code = cuda_rig_open(&cuda);
    if (code != 0) return code;
    code = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return code;
}
