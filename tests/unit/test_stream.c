/* Streaming in chunks of any length, and models and streams without memory. */
#include "model_rig.h"

/* ---- streaming ---- */

enum { STREAM_BATCH = 2, STREAM_TIME = 24, STREAM_VOCAB = 19 };

static int32_t stream_id(int b, int t) { return (int32_t)mmrec_rng_below(21, (uint64_t)b, (uint64_t)t, STREAM_VOCAB); }

/* Steps [first, first + count) through the stream; logits go to their place in (B, STREAM_TIME, V). */
static mmrec_status feed(mmrec_stream *stream, int first, int count, double *logits, mmrec_error *error) {
    static int32_t ids[STREAM_BATCH * STREAM_TIME];
    static double piece[STREAM_BATCH * STREAM_TIME * STREAM_VOCAB];
    for (int i = 0; i < STREAM_BATCH * count; i++) ids[i] = stream_id(i / count, first + i % count);
    MMREC_TRY(mmrec_stream_feed(stream, ids, count, logits ? piece : NULL, error));
    for (int b = 0; b < STREAM_BATCH && logits; b++) {
        memcpy(logits + (b * STREAM_TIME + first) * STREAM_VOCAB, piece + b * count * STREAM_VOCAB,
               (size_t)(count * STREAM_VOCAB) * sizeof *logits);
    }
    return MMREC_OK;
}

static mmrec_stream *stream_of(rig *owner, const mmrec_model_config *c, bool hem) {
    mmrec_stream *stream = NULL;
    mmrec_error error = {0};
    must(mmrec_stream_create(&owner->allocator, backend_named("ref"), owner->exec, c, STREAM_BATCH, hem, 2, &stream,
                             &error),
         &error);
    return stream;
}

/* The whole sequence in pieces of the lengths given. */
static void stream_all(rig *owner, const mmrec_model_config *c, bool hem, const int *lengths, double *logits) {
    mmrec_stream *stream = stream_of(owner, c, hem);
    mmrec_error error = {0};
    int first = 0;
    for (; *lengths; lengths++) {
        must(feed(stream, first, *lengths, logits, &error), &error);
        first += *lengths;
    }
    assert_int_equal(first, STREAM_TIME);
    mmrec_stream_destroy(&stream);
}

static void owner_start(rig *owner, const mmrec_model_config *c, int64_t time) {
    mmrec_model_run run = {.batch = STREAM_BATCH, .time = time};
    mmrec_error error = {0};
    rig_start(owner, MMREC_MODEL_mmrec, c, &run, NULL);
    must(fill_kind(owner, MMREC_TENSOR_PARAM, &error), &error);
}

static double logits_error(const double *a, const double *b) {
    mmrec_difference d = mmrec_compare(a, b, STREAM_BATCH * STREAM_TIME * STREAM_VOCAB);
    return d.max_rel;
}

static double whole[STREAM_BATCH * STREAM_TIME * STREAM_VOCAB], cut[STREAM_BATCH * STREAM_TIME * STREAM_VOCAB];

/* The model in one piece, without a stream. */
static void run_whole(rig *owner, double *logits) {
    mmrec_error error = {0};
    int32_t ids[STREAM_BATCH * STREAM_TIME];
    for (int i = 0; i < STREAM_BATCH * STREAM_TIME; i++) ids[i] = stream_id(i / STREAM_TIME, i % STREAM_TIME);
    mmrec_tensor tensor = mmrec_graph_find(owner->graph, "ids");
    must(mmrec_exec_write_ids(owner->exec, tensor, ids, STREAM_BATCH * STREAM_TIME, &error), &error);
    must(mmrec_exec_run(owner->exec, MMREC_PHASE_FORWARD, &error), &error);
    read_named(owner, "logits", logits, STREAM_BATCH * STREAM_TIME * STREAM_VOCAB);
}

/* Memory that never changes makes every cut the same function: h alone must be carried, exactly. */
static void test_stream_any_cut(void **state) {
    (void)state;
    static const int cuts[][STREAM_TIME + 1] = {
        {24},
        {8, 8, 8},
        {5, 7, 12},
        {10, 10, 4},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 2, 1, 3, 2, 1, 4, 1, 2, 3, 1, 1, 2}};
    mmrec_model_config c = small_config();
    c.pe = 7;
    c.memory_decay = 1;
    rig owner;
    owner_start(&owner, &c, STREAM_TIME);
    run_whole(&owner, whole);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        stream_all(&owner, &c, i % 2, cuts[i], cut);
        assert_true(logits_error(cut, whole) <= 1e-12);
    }
    rig_end(&owner);
}

/* Carried state of two layers by hand: h, mem_k, mem_v. */
static double carried[6][STREAM_BATCH * 16 * 12];

static int64_t carried_count(int n) { return n % 3 == 0 ? STREAM_BATCH * 12 : STREAM_BATCH * 16 * 12; }

static const char *carried_name(int n, const char *what, char text[32]) {
    static const char *const part[] = {"h", "mem_k", "mem_v"};
    snprintf(text, 32, "%s.%d.%s", what, n / 3, part[n % 3]);
    return text;
}

/* One chunk in a graph of its own, without a stream: steps [first, first + count). */
static void step_by_hand(rig *owner, const mmrec_model_config *c, int first, int count, double *logits) {
    rig chunk;
    int32_t ids[STREAM_BATCH * STREAM_TIME];
    char name[32];
    mmrec_error error = {0};
    mmrec_model_run run = {.batch = STREAM_BATCH, .time = count, .carried = first > 0};
    rig_start(&chunk, MMREC_MODEL_mmrec, c, &run, owner->exec);
    for (int n = 0; n < STREAM_BATCH * count; n++) ids[n] = stream_id(n / count, first + n % count);
    mmrec_tensor tensor = mmrec_graph_find(chunk.graph, "ids");
    must(mmrec_exec_write_ids(chunk.exec, tensor, ids, STREAM_BATCH * count, &error), &error);
    for (int n = 0; n < 6; n++) {
        tensor = mmrec_graph_find(chunk.graph, carried_name(n, "state", name));
        assert_int_equal(tensor != 0, n % 3 == 0 || first > 0);
        if (tensor) must(mmrec_exec_write(chunk.exec, tensor, carried[n], carried_count(n), &error), &error);
    }
    must(mmrec_exec_run(chunk.exec, MMREC_PHASE_FORWARD, &error), &error);
    for (int n = 0; n < 6; n++) read_named(&chunk, carried_name(n, "next", name), carried[n], carried_count(n));
    static double piece[STREAM_BATCH * STREAM_TIME * STREAM_VOCAB];
    read_named(&chunk, "logits", piece, STREAM_BATCH * count * STREAM_VOCAB);
    for (int b = 0; b < STREAM_BATCH; b++) {
        memcpy(logits + (b * STREAM_TIME + first) * STREAM_VOCAB, piece + b * count * STREAM_VOCAB,
               (size_t)(count * STREAM_VOCAB) * sizeof *logits);
    }
    rig_end(&chunk);
}

/* Memory that changes: the cut matters, and graphs with carried state, used by hand, give the same bits as a stream. */
static void test_stream_carries_memory(void **state) {
    (void)state;
    static const int first_cut[] = {5, 7, 12, 0}, other_cut[] = {12, 7, 5, 0};
    mmrec_model_config c = small_config();
    c.memory_decay = 0.5;
    rig owner;
    owner_start(&owner, &c, STREAM_TIME);
    stream_all(&owner, &c, false, first_cut, whole);
    stream_all(&owner, &c, false, other_cut, cut);
    assert_true(logits_error(cut, whole) > 1e-3);
    memset(carried, 0, sizeof carried);
    for (int i = 0, first = 0; first_cut[i]; first += first_cut[i++])
        step_by_hand(&owner, &c, first, first_cut[i], cut);
    assert_true(logits_error(cut, whole) == 0);
    rig_end(&owner);
}

/* Parameters that change under a stream reach it, folded product included. */
static void test_stream_sees_new_parameters(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    c.pe = 7;
    rig owner;
    owner_start(&owner, &c, 4);
    mmrec_stream *on = stream_of(&owner, &c, true), *off = stream_of(&owner, &c, false);
    mmrec_error error = {0};
    static double old[STREAM_BATCH * STREAM_TIME * STREAM_VOCAB];
    for (int first = 0; first < STREAM_TIME; first += 8) {
        must(feed(on, first, 8, cut, &error), &error);
        must(feed(off, first, 8, whole, &error), &error);
        if (first == 8) {
            double values[7 * 12];
            for (int i = 0; i < 7 * 12; i++) values[i] = sin(i);
            must(mmrec_exec_write(owner.exec, mmrec_graph_find(owner.graph, "blocks.1.p.weight"), values, 7 * 12,
                                  &error),
                 &error);
            memcpy(old, cut, sizeof old);
        }
    }
    assert_true(logits_error(cut, whole) <= 1e-12);
    assert_true(logits_error(cut, old) > 1e-3);
    mmrec_stream_destroy(&on);
    mmrec_stream_destroy(&off);
    rig_end(&owner);
}

/* Lengths used lately need no memory again; a cache of eight forgets the one used longest ago. */
static void test_stream_reuses(void **state) {
    (void)state;
    static const struct {
        int time;
        bool known;
    } use[] = {{1, false}, {1, false}, {2, false}, {3, false}, {2, true}, {4, false}, {5, false}, {6, false},
               {7, false}, {2, true},  {8, false}, {2, true},  {3, true}, {9, false}, {1, false}, {2, true}};
    mmrec_model_config c = small_config();
    c.layers = 1;
    rig owner;
    owner_start(&owner, &c, 1);
    mmrec_stream *stream = stream_of(&owner, &c, true);
    mmrec_error error = {0};
    for (size_t i = 0; i < sizeof use / sizeof *use; i++) {
        uint64_t before = owner.allocator.attempts;
        must(feed(stream, 0, use[i].time, NULL, &error), &error);
        assert_int_equal(owner.allocator.attempts == before, use[i].known);
    }
    mmrec_stream_destroy(&stream);
    rig_end(&owner);
}

/* Streaming is inference: the dropout of training is not applied. */
static void test_stream_never_drops(void **state) {
    (void)state;
    static const int one_cut[] = {12, 12, 0};
    mmrec_model_config c = small_config(), dropping = c;
    dropping.dropout = 0.5;
    rig owner;
    owner_start(&owner, &c, 4);
    stream_all(&owner, &c, true, one_cut, whole);
    stream_all(&owner, &dropping, true, one_cut, cut);
    assert_true(logits_error(cut, whole) == 0);
    rig_end(&owner);
}

static void test_stream_refusals(void **state) {
    (void)state;
    mmrec_model_config c = small_config(), other = c;
    rig owner;
    owner_start(&owner, &c, 4);
    mmrec_stream *stream = stream_of(&owner, &c, true), *none = NULL;
    mmrec_error error = {0};
    double h[STREAM_BATCH * 12];
    assert_int_equal(mmrec_stream_state(stream, 0, h, NULL, NULL, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "a stream has no carried state before its first chunk");
    assert_int_equal(mmrec_stream_feed(stream, NULL, 0, NULL, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "time is 0; it must be from 1 to 268435456");
    must(feed(stream, 0, 4, NULL, &error), &error);
    must(mmrec_stream_state(stream, 1, h, NULL, NULL, &error), &error);
    assert_int_equal(mmrec_stream_state(stream, 2, h, NULL, NULL, &error), MMREC_CONFIG);
    assert_string_equal(error.message, "layer 2 of a stream; the model has layers 0 to 1");
    assert_int_equal(
        mmrec_stream_create(&owner.allocator, backend_named("ref"), owner.exec, &c, 0, true, 2, &none, &error),
        MMREC_CONFIG);
    other.heads = 1;
    other.slots = other.dim = 1 << 28; /* 2^31 rows of 2^57 numbers would wrap */
    assert_int_equal(mmrec_stream_create(&owner.allocator, backend_named("ref"), owner.exec, &other, INT32_MAX, true, 2,
                                         &none, &error),
                     MMREC_SHAPE);
    other = c;
    other.ffn++; /* parameters of another model: told at the first chunk */
    mmrec_stream *wrong = stream_of(&owner, &other, true);
    assert_int_equal(feed(wrong, 0, 4, NULL, &error), MMREC_CONFIG);
    mmrec_stream_destroy(&wrong);
    mmrec_stream_destroy(&stream);
    rig_end(&owner);
}

/* A chunk for which memory runs out, at any request, leaves the stream as it was. */
static void test_stream_without_memory(void **state) {
    (void)state;
    mmrec_model_config c = small_config();
    c.layers = 1;
    rig owner;
    owner_start(&owner, &c, STREAM_TIME);
    mmrec_stream *stream = stream_of(&owner, &c, true), *calm = stream_of(&owner, &c, true);
    mmrec_error error = {0};
    must(feed(stream, 0, 9, cut, &error), &error);
    must(feed(calm, 0, 9, whole, &error), &error);
    mmrec_status status = MMREC_NO_MEMORY;
    int failures = 0;
    size_t before = owner.allocator.total.live_bytes;
    for (uint64_t k = 1; status != MMREC_OK; k++) {
        owner.allocator.fail_at = owner.allocator.attempts + k;
        status = feed(stream, 9, 15, cut, &error);
        owner.allocator.fail_at = 0;
        if (status == MMREC_OK) break;
        assert_int_equal(status, MMREC_NO_MEMORY);
        assert_int_equal(owner.allocator.total.live_bytes, before);
        failures++;
    }
    assert_true(failures > 10);
    must(feed(calm, 9, 15, whole, &error), &error);
    assert_true(logits_error(cut, whole) == 0);
    mmrec_stream_destroy(&stream);
    mmrec_stream_destroy(&calm);
    rig_end(&owner);
}

/* ---- no memory ---- */

static mmrec_status use_everything(rig *r, const mmrec_model_config *c, mmrec_error *error) {
    mmrec_model_run run = {.batch = STREAM_BATCH, .time = 3, .hem = true, .gradient = true, .recompute = true};
    MMREC_TRY(rig_try(r, MMREC_MODEL_mmrec, c, &run, NULL, error));
    MMREC_TRY(mmrec_model_init(r->exec, r->graph, &r->allocator, 1, error));
    MMREC_TRY(rig_step(r, true, error));
    mmrec_stream *stream = NULL;
    mmrec_status status =
        mmrec_stream_create(&r->allocator, backend_named("ref"), r->exec, c, STREAM_BATCH, true, 2, &stream, error);
    for (int i = 0; i < 2 && status == MMREC_OK; i++) status = feed(stream, 2 * i, 2, NULL, error);
    mmrec_stream_destroy(&stream);
    return status;
}

static void no_memory(bool from_then_on) {
    mmrec_model_config c = small_config();
    c.layers = 1;
    c.pe = 3;
    c.uboo = MMREC_UBOO_PLANNING;
    mmrec_status status = MMREC_NO_MEMORY;
    int failures = 0;
    for (uint64_t k = 1; status != MMREC_OK; k++) {
        rig r = {.allocator = {.fail_at = k, .fail_after = from_then_on}};
        mmrec_error error = {0};
        status = use_everything(&r, &c, &error);
        if (status != MMREC_OK) {
            assert_int_equal(status, MMREC_NO_MEMORY);
            assert_true(error.message[0] != '\0');
            failures++;
        }
        rig_end(&r); /* checks that nothing is left */
    }
    assert_true(failures > 50);
}

static void test_no_memory_once(void **state) {
    (void)state;
    no_memory(false);
}

static void test_no_memory_from_then_on(void **state) {
    (void)state;
    no_memory(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_any_cut),
        cmocka_unit_test(test_stream_carries_memory),
        cmocka_unit_test(test_stream_sees_new_parameters),
        cmocka_unit_test(test_stream_reuses),
        cmocka_unit_test(test_stream_never_drops),
        cmocka_unit_test(test_stream_refusals),
        cmocka_unit_test(test_stream_without_memory),
        cmocka_unit_test(test_no_memory_once),
        cmocka_unit_test(test_no_memory_from_then_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
