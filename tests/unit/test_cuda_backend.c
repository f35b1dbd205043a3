/* The CUDA backend through its table: memory, copies, calls, faults, events, graphs. On a device or emulated; skipped
 * where neither is there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_rig.h"
#include "mmrec/backend.h"

static const mmrec_backend *cuda;
static mmrec_error error;
static mmrec_allocator allocator;

static void must(mmrec_status status) {
    char text[1024];
    if (status != MMREC_OK) fail_msg("%s", mmrec_error_text(&error, text, sizeof text));
}

/* ---- device tensors ---- */

static mmrec_view make(mmrec_dtype dtype, mmrec_shape shape, const void *values) {
    size_t bytes = (size_t)mmrec_shape_elements(&shape) * mmrec_dtype_bytes(dtype);
    mmrec_view view = mmrec_view_dense(NULL, dtype, shape);
    must(cuda->alloc(&allocator, MMREC_ARENA_SCRATCH, bytes, &view.data, &error));
    if (values) must(cuda->device->copy_in(view.data, values, bytes, &error));
    return view;
}

static void drop(mmrec_view *view) {
    size_t bytes = (size_t)mmrec_shape_elements(&view->shape) * mmrec_dtype_bytes(view->dtype);
    cuda->free(&allocator, MMREC_ARENA_SCRATCH, view->data, bytes);
    view->data = NULL;
}

static void fetch(const mmrec_view *view, void *to) {
    size_t bytes = (size_t)mmrec_shape_elements(&view->shape) * mmrec_dtype_bytes(view->dtype);
    must(cuda->device->copy_out(to, view->data, bytes, &error));
}

/* An op at a size, its tensors to be filled in. */
typedef struct use {
    mmrec_op_id op;
    mmrec_op_sizes sizes;
    mmrec_op_call call;
} use;

static void use_create(use *u, mmrec_op_id op, const char *text) {
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F32);
    memset(u, 0, sizeof *u);
    u->op = op;
    must(mmrec_op_from_text(def, text, MMREC_ON_DEVICE, &u->sizes, &error));
    u->call.sizes = &u->sizes;
    u->call.seed_at = cuda->device->seed_at;
    size_t bytes =
        u->sizes.scratch_bytes[0] > u->sizes.scratch_bytes[1] ? u->sizes.scratch_bytes[0] : u->sizes.scratch_bytes[1];
    if (bytes) must(cuda->alloc(&allocator, MMREC_ARENA_SAVED, bytes, &u->call.scratch, &error));
}

static void use_free(use *u) {
    size_t bytes =
        u->sizes.scratch_bytes[0] > u->sizes.scratch_bytes[1] ? u->sizes.scratch_bytes[0] : u->sizes.scratch_bytes[1];
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (u->call.in[i].data) drop(&u->call.in[i]);
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if (u->call.out[i].data) drop(&u->call.out[i]);
    }
    if (bytes) cuda->free(&allocator, MMREC_ARENA_SAVED, u->call.scratch, bytes);
}

static mmrec_status run(use *u) { return cuda->run(u->op, MMREC_FORWARD, &u->call, &error); }

/* gelu of 2000 numbers: enough for several blocks. */
enum { COUNT = 2000 };
static float numbers[COUNT];
static void gelu_create(use *u) {
    use_create(u, MMREC_OP_gelu, "N=40 D=50");
    for (int i = 0; i < COUNT; i++) numbers[i] = (float)(i - COUNT / 2) * 0.004f;
    u->call.in[0] = make(MMREC_F32, u->sizes.in[0], numbers);
    u->call.out[0] = make(MMREC_F32, u->sizes.out[0], NULL);
}

static void check_gelu(const use *u) {
    float got[COUNT];
    fetch(&u->call.out[0], got);
    for (int i = 0; i < COUNT; i++) {
        double x = (double)numbers[i], want = 0.5 * x * (1 + erf(x / sqrt(2.0)));
        if (!(fabs((double)got[i] - want) <= 1e-6)) fail_msg("gelu(%g) is %g, not %g", x, (double)got[i], want);
    }
}

/* ---- memory ---- */

static void arenas_are_zeroed_and_counted(void **state) {
    (void)state;
    enum { BYTES = 100000 };
    static unsigned char bytes[BYTES];
    void *memory = NULL;
    mmrec_alloc_count before = cuda->device->allocated(MMREC_ARENA_GRADS);
    must(cuda->alloc(&allocator, MMREC_ARENA_GRADS, BYTES, &memory, &error));
    assert_int_equal((uintptr_t)memory % MMREC_ALIGN, 0);
    memset(bytes, 1, sizeof bytes);
    must(cuda->device->copy_out(bytes, memory, BYTES, &error));
    for (int i = 0; i < BYTES; i++) assert_int_equal(bytes[i], 0);
    assert_int_equal(cuda->device->allocated(MMREC_ARENA_GRADS).live_bytes, before.live_bytes + BYTES);
    cuda->free(&allocator, MMREC_ARENA_GRADS, memory, BYTES);
    assert_int_equal(cuda->device->allocated(MMREC_ARENA_GRADS).live_bytes, before.live_bytes);
    assert_int_equal(cuda->device->allocated(MMREC_ARENAS + 1).live_bytes, 0);
    assert_int_equal(allocator.total.live_bytes, 0); /* the host's allocator counts host memory alone */
}

static void too_much_memory_is_refused_and_over(void **state) {
    (void)state;
    void *memory = NULL;
    size_t free_bytes = 0, total = 0;
    must(cuda->device->memory(&free_bytes, &total, &error));
    assert_true(free_bytes <= total);
    assert_int_equal(cuda->alloc(&allocator, MMREC_ARENA_GRADS, total * 2, &memory, &error), MMREC_NO_MEMORY);
    assert_null(memory);
    assert_non_null(strstr(error.message, "cudaErrorMemoryAllocation"));
    must(cuda->synchronize(&error));
}

/* ---- calls ---- */

static void calls_run(void **state) {
    (void)state;
    use u;
    gelu_create(&u);
    uint64_t before = cuda->device->launches();
    must(run(&u));
    assert_int_equal(cuda->device->launches(), before + 1);
    must(cuda->synchronize(&error));
    check_gelu(&u);
    use_free(&u);
}

static void an_id_out_of_range_is_the_error_of_the_next_wait(void **state) {
    (void)state;
    const int32_t bad[] = {0, 6, 7, 3}, good[] = {0, 6, 1, 3};
    float table[7 * 5] = {0};
    use u;
    use_create(&u, MMREC_OP_embedding, "B=2 T=2 V=7 D=5");
    u.call.in[0] = make(MMREC_I32, u.sizes.in[0], bad);
    u.call.in[1] = make(MMREC_F32, u.sizes.in[1], table);
    u.call.out[0] = make(MMREC_F32, u.sizes.out[0], NULL);
    must(run(&u));
    assert_int_equal(cuda->synchronize(&error), MMREC_CONFIG);
    assert_string_equal(error.message, "embedding: id 7 of row 2 is not in [0, 7)");
    must(cuda->synchronize(&error)); /* said once */
    must(cuda->device->copy_in(u.call.in[0].data, good, sizeof good, &error));
    must(run(&u));
    must(cuda->synchronize(&error));
    use_free(&u);
}

static void a_target_out_of_range_is_too(void **state) {
    (void)state;
    const int32_t bad[] = {2, 3};
    float logits[2 * 3] = {0};
    use u;
    use_create(&u, MMREC_OP_cross_entropy, "N=2 V=3 -share");
    u.call.in[0] = make(MMREC_F32, u.sizes.in[0], logits);
    u.call.in[1] = make(MMREC_I32, u.sizes.in[1], bad);
    u.call.out[0] = make(MMREC_F32, u.sizes.out[0], NULL);
    must(run(&u));
    assert_int_equal(cuda->synchronize(&error), MMREC_CONFIG);
    assert_string_equal(error.message, "cross_entropy: target 3 of row 1 is not in [0, 3)");
    use_free(&u);
}

static void the_seed_is_read_from_the_device(void **state) {
    (void)state;
    float first[64], again[64], other[64];
    use u;
    use_create(&u, MMREC_OP_randn, "rows=1 columns=64");
    u.call.out[0] = make(MMREC_F32, u.sizes.out[0], NULL);
    must(cuda->device->seed(7, &error));
    must(run(&u));
    fetch(&u.call.out[0], first);
    must(cuda->device->seed(8, &error));
    must(run(&u));
    fetch(&u.call.out[0], other);
    must(cuda->device->seed(7, &error));
    uint64_t before = cuda->device->launches();
    must(cuda->device->seed(7, &error));
    assert_int_equal(cuda->device->launches(), before); /* the seed counts as no kernel of the step */
    must(run(&u));
    fetch(&u.call.out[0], again);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
    use_free(&u);
}

/* ---- products ---- */

static double element(const float *m, int64_t stride, bool transposed, int64_t r, int64_t c) {
    return (double)(transposed ? m[c * stride + r] : m[r * stride + c]);
}

/* y = x w^T + b by the op `linear` goes through the product with a transposed factor and a bias. */
static void products_are_recorded_once(void **state) {
    (void)state;
    enum { N = 3, D = 7, F = 5 };
    float x[N * D], w[F * D], b[F], y[N * F];
    use u;
    use_create(&u, MMREC_OP_linear, "N=3 D=7 F=5");
    for (int i = 0; i < N * D; i++) x[i] = (float)(i % 5) - 2;
    for (int i = 0; i < F * D; i++) w[i] = (float)(i % 7) - 3;
    for (int i = 0; i < F; i++) b[i] = (float)i;
    u.call.in[0] = make(MMREC_F32, u.sizes.in[0], x);
    u.call.in[1] = make(MMREC_F32, u.sizes.in[1], w);
    if (u.sizes.given & 4u) u.call.in[2] = make(MMREC_F32, u.sizes.in[2], b);
    u.call.out[0] = make(MMREC_F32, u.sizes.out[0], NULL);
    for (int turn = 0; turn < 2; turn++) must(run(&u));
    must(cuda->synchronize(&error));
    fetch(&u.call.out[0], y);
    for (int r = 0; r < N; r++) {
        for (int o = 0; o < F; o++) {
            double want = u.sizes.given & 4u ? (double)b[o] : 0;
            for (int k = 0; k < D; k++) want += element(x, D, false, r, k) * element(w, D, true, k, o);
            assert_true(fabs((double)y[r * F + o] - want) < 1e-5);
        }
    }
    mmrec_gemm_record record;
    int index = 0, found = 0;
    for (; cuda->device->gemm(index, &record); index++) {
        if (record.m != N || record.n != F || record.k != D) continue;
        found++;
        assert_int_equal(record.calls, 2);
        assert_true(!record.transpose_a && record.transpose_b && record.in == MMREC_F32);
        assert_true(record.workspace_bytes <= (size_t)32 << 20);
    }
    assert_int_equal(found, 1);
    use_free(&u);
}

/* Small whole numbers are exact in bf16, and so are these sums in float. The epilogue takes a bias of bf16; one of
 * float is refused. */
static void products_of_bf16(void **state) {
    (void)state;
    enum { N = 3, D = 9, F = 5 };
    uint16_t x[N * D], w[F * D], b[F], y[N * F];
    float wide[F] = {0};
    mmrec_gemm_record record;
    use u;
    use_create(&u, MMREC_OP_linear, "N=3 D=9 F=5");
    for (int i = 0; i < N * D; i++) x[i] = mmrec_bf16_from_float((float)(i % 5) - 2);
    for (int i = 0; i < F * D; i++) w[i] = mmrec_bf16_from_float((float)(i % 3) - 1);
    for (int i = 0; i < F; i++) b[i] = mmrec_bf16_from_float((float)i);
    u.call.in[0] = make(MMREC_BF16, u.sizes.in[0], x);
    u.call.in[1] = make(MMREC_BF16, u.sizes.in[1], w);
    u.call.out[0] = make(MMREC_BF16, u.sizes.out[0], NULL);
    mmrec_view good = make(MMREC_BF16, u.sizes.in[2], b);
    u.call.in[2] = make(MMREC_F32, u.sizes.in[2], wide);
    assert_int_equal(run(&u), MMREC_UNSUPPORTED);
    assert_string_equal(error.message, "linear: bias is f32, in a call that stores bf16 it must be bf16");
    drop(&u.call.in[2]);
    u.call.in[2] = good;
    must(run(&u));
    must(cuda->synchronize(&error));
    fetch(&u.call.out[0], y);
    for (int i = 0; i < N * F; i++) {
        float want = mmrec_bf16_to_float(b[i % F]);
        for (int k = 0; k < D; k++) {
            want += mmrec_bf16_to_float(x[i / F * D + k]) * mmrec_bf16_to_float(w[i % F * D + k]);
        }
        assert_true(mmrec_bf16_to_float(y[i]) == want);
    }
    int index = 0;
    while (cuda->device->gemm(index, &record) && (record.k != D || record.in != MMREC_BF16)) index++;
    assert_true(cuda->device->gemm(index, &record));
    assert_true(record.out == MMREC_BF16 && record.bias_in_epilogue);
    use_free(&u);
}

/* ---- events, graphs, holding ---- */

static void events_measure(void **state) {
    (void)state;
    use u;
    void *from = NULL, *to = NULL;
    double ns = -1;
    gelu_create(&u);
    must(cuda->device->event_create(&from, &error));
    must(cuda->device->event_create(&to, &error));
    must(cuda->device->hold(&error));
    must(cuda->device->event_record(from, &error));
    must(run(&u));
    must(cuda->device->event_record(to, &error));
    cuda->device->release();
    must(cuda->device->event_elapsed_ns(from, to, &ns, &error));
    assert_true(ns > 0 && ns < 1e9);
    cuda->device->event_destroy(from);
    cuda->device->event_destroy(to);
    use_free(&u);
}

static void a_forgotten_hold_ends(void **state) {
    (void)state;
    use u;
    gelu_create(&u);
    must(cuda->device->hold(&error));
    must(run(&u));
    must(cuda->synchronize(&error));
    cuda->device->release();
    check_gelu(&u);
    use_free(&u);
}

static void graphs_replay(void **state) {
    (void)state;
    use u;
    void *graph = NULL;
    static const float zero[COUNT];
    gelu_create(&u);
    must(run(&u)); /* once as it is: what is chosen once is chosen then */
    must(cuda->synchronize(&error));
    uint64_t before = cuda->device->launches();
    must(cuda->device->copy_in(u.call.out[0].data, zero, sizeof zero, &error));
    must(cuda->device->capture_begin(&error));
    for (int i = 0; i < 3; i++) must(run(&u));
    must(cuda->device->capture_end(&graph, &error));
    assert_int_equal(cuda->device->launches(), before); /* recorded, not run */
    must(cuda->device->graph_launch(graph, &error));
    must(cuda->device->graph_launch(graph, &error));
    assert_int_equal(cuda->device->launches(), before + 6);
    must(cuda->synchronize(&error));
    check_gelu(&u);
    cuda->device->graph_destroy(graph);
    use_free(&u);
}

static void an_abandoned_capture_leaves_no_trace(void **state) {
    (void)state;
    use u;
    gelu_create(&u);
    uint64_t before = cuda->device->launches();
    must(cuda->device->capture_begin(&error));
    must(run(&u));
    cuda->device->capture_abandon();
    cuda->device->capture_abandon(); /* nothing to abandon: nothing happens */
    assert_int_equal(cuda->device->launches(), before);
    must(run(&u));
    must(cuda->synchronize(&error));
    check_gelu(&u);
    use_free(&u);
}

static void too_many_graphs_are_refused(void **state) {
    (void)state;
    enum { MORE = 200 };
    void *graphs[MORE] = {NULL};
    use u;
    int made = 0;
    gelu_create(&u);
    for (; made < MORE; made++) {
        if (cuda->device->capture_begin(&error) != MMREC_OK) break;
        must(run(&u));
        must(cuda->device->capture_end(&graphs[made], &error));
    }
    assert_true(made >= 16 && made < MORE);
    assert_int_equal(error.code, MMREC_UNSUPPORTED);
    while (made > 0) cuda->device->graph_destroy(graphs[--made]);
    must(cuda->device->capture_begin(&error));
    cuda->device->capture_abandon();
    use_free(&u);
}

static void the_cache_is_flushed_by_memory_of_its_own(void **state) {
    (void)state;
    must(cuda->device->flush_cache(&error));
    size_t own = cuda->device->allocated(MMREC_ARENAS).live_bytes;
    must(cuda->device->flush_cache(&error));
    must(cuda->synchronize(&error));
    assert_true(own >= cuda->device->info.l2_bytes);
    assert_int_equal(cuda->device->allocated(MMREC_ARENAS).live_bytes, own);
    cuda->device->profiler(true);
    cuda->device->profiler(false);
}

static void the_device_opens_again_after_closing(void **state) {
    (void)state;
    mmrec_backend_close();
    assert_int_equal(cuda->device->allocated(MMREC_ARENAS).live_bytes, 0);
    mmrec_backend_close();
    const mmrec_backend *again = NULL;
    must(mmrec_backend_find("cuda", &again, &error));
    assert_ptr_equal(again, cuda);
    calls_run(NULL);
}

/* An argument names the tests to run; kernels.mutants needs one of them. */
int main(int argc, char **argv) {
    int unusable = cuda_rig_open(&cuda);
    if (unusable) return unusable;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arenas_are_zeroed_and_counted),
        cmocka_unit_test(too_much_memory_is_refused_and_over),
        cmocka_unit_test(calls_run),
        cmocka_unit_test(an_id_out_of_range_is_the_error_of_the_next_wait),
        cmocka_unit_test(a_target_out_of_range_is_too),
        cmocka_unit_test(the_seed_is_read_from_the_device),
        cmocka_unit_test(products_are_recorded_once),
        cmocka_unit_test(products_of_bf16),
        cmocka_unit_test(events_measure),
        cmocka_unit_test(a_forgotten_hold_ends),
        cmocka_unit_test(graphs_replay),
        cmocka_unit_test(an_abandoned_capture_leaves_no_trace),
        cmocka_unit_test(too_many_graphs_are_refused),
        cmocka_unit_test(the_cache_is_flushed_by_memory_of_its_own),
        cmocka_unit_test(the_device_opens_again_after_closing),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mmrec_backend_close();
    return failed;
}
