/* Parity: every fixture passes in every way of running; a changed fixture is noticed or refused in words. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/parity.h"
#include "mmrec/safetensors.h"

enum { LIMIT = 1 << 24, MAX_TENSORS = 512 };

static const char *const fixtures[] = {"block_plain",    "block_pe",    "block_dpg",      "block_uboo",
                                       "block_one_step", "model_plain", "model_planning", "model_deep",
                                       "stream",         "train_plain", "train_planning"};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures };

static const char *fixture_path(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/fixtures/%s.safetensors", MMREC_GOLDEN, name);
    return path;
}

static mmrec_parity_options ways(const char *backend, bool hem, bool recompute) {
    mmrec_parity_options options = {.hem = hem, .recompute = recompute, .threads = 2};
    assert_int_equal(mmrec_backend_find(backend, &options.backend, NULL), MMREC_OK);
    return options;
}

static void must(mmrec_status status, const mmrec_error *error) {
    char text[1024];
    if (status != MMREC_OK) fail_msg("%s", mmrec_error_text(error, text, sizeof text));
}

/* How many tensors named out.* and grad.* a file has. */
static int expected_rows(mmrec_allocator *allocator, const char *path) {
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_safetensors *file = NULL;
    int rows = 0;
    must(mmrec_safetensors_open(&io, allocator, path, LIMIT, &file, &error), &error);
    for (size_t i = 0; i < mmrec_safetensors_count(file); i++) {
        const char *name = mmrec_safetensors_at(file, i)->name;
        rows += strncmp(name, "out.", 4) == 0 || strncmp(name, "grad.", 5) == 0;
    }
    mmrec_safetensors_destroy(&file);
    return rows;
}

static void check_fixture(const char *name, mmrec_parity_options options) {
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_parity *parity = NULL;
    must(mmrec_parity_run(&allocator, &io, fixture_path(name), &options, &parity, &error), &error);
    assert_int_equal(mmrec_parity_count(parity), expected_rows(&allocator, fixture_path(name)));
    for (int i = 0; i < mmrec_parity_count(parity); i++) {
        const mmrec_parity_row *row = mmrec_parity_at(parity, i);
        bool f64 = options.backend->real == MMREC_F64, trained = strncmp(name, "train", 5) == 0;
        assert_true(row->tolerance == (f64 ? 1e-6 : trained || row->name[0] == 'g' ? 1e-4 : 1e-5));
        if (row->passed) continue;
        fail_msg("%s %s hem %d recompute %d: %s is off by %g (L2 %g), allowed %g", options.backend->name, name,
                 options.hem, options.recompute, row->name, row->max_error, row->l2_error, row->tolerance);
    }
    assert_int_equal(mmrec_parity_failures(parity), 0);
    mmrec_parity_destroy(&parity);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void check_backend(const char *backend) {
    for (int i = 0; i < FIXTURES; i++) {
        for (int way = 0; way < 4; way++) check_fixture(fixtures[i], ways(backend, way & 1, way & 2));
    }
}

static void test_ref(void **state) {
    (void)state;
    check_backend("ref");
}

static void test_cpu(void **state) {
    (void)state;
    check_backend("cpu");
}

/* ---- changed fixtures ---- */

/* A fixture in memory that a test may change before it is written out again. */
typedef struct draft {
    mmrec_allocator allocator;
    mmrec_safetensors *file;
    mmrec_safetensors_tensor tensors[MAX_TENSORS];
    mmrec_safetensors_entry metadata[16];
    size_t count, entries;
    float values[1 << 16];
} draft;

static draft *draft_open(const char *name) {
    static draft d;
    mmrec_io io = {0};
    mmrec_error error = {0};
    memset(&d, 0, sizeof d);
    must(mmrec_safetensors_open(&io, &d.allocator, fixture_path(name), LIMIT, &d.file, &error), &error);
    d.count = mmrec_safetensors_count(d.file);
    d.entries = mmrec_safetensors_metadata_count(d.file);
    assert_true(d.count < MAX_TENSORS && d.entries < 16);
    for (size_t i = 0; i < d.count; i++) d.tensors[i] = *mmrec_safetensors_at(d.file, i);
    for (size_t i = 0; i < d.entries; i++) d.metadata[i] = *mmrec_safetensors_metadata_at(d.file, i);
    return &d;
}

static mmrec_safetensors_tensor *draft_find(draft *d, const char *name) {
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->tensors[i].name, name) == 0) return &d->tensors[i];
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Values of a tensor that can be written to. */
static float *draft_values(draft *d, const char *name) {
    mmrec_safetensors_tensor *tensor = draft_find(d, name);
    assert_true(tensor->bytes <= sizeof d->values);
    memcpy(d->values, tensor->data, tensor->bytes);
    tensor->data = d->values;
    return d->values;
}

/* Changes a value of the metadata, or takes the key out where `value` is NULL. */
static void draft_meta(draft *d, const char *key, const char *value) {
    for (size_t i = 0; i < d->entries; i++) {
        if (strcmp(d->metadata[i].key, key) != 0) continue;
        d->metadata[i].value = value;
        if (!value) d->metadata[i] = d->metadata[--d->entries];
        return;
    }
    fail_msg("no metadata %s", key);
}

/* Writes the draft to a file of its own, runs it, removes it. */
static mmrec_status draft_run(draft *d, mmrec_parity_options options, mmrec_parity **out, mmrec_error *error) {
    char path[] = "/tmp/mmrec-parity-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    mmrec_io io = {0};
    must(mmrec_safetensors_write(&io, &d->allocator, path, d->tensors, d->count, d->metadata, d->entries, error),
         error);
    mmrec_status status = mmrec_parity_run(&d->allocator, &io, path, &options, out, error);
    unlink(path);
    return status;
}

static void draft_close(draft *d) {
    mmrec_safetensors_destroy(&d->file);
    assert_int_equal(d->allocator.total.live_bytes, 0);
}

/* The draft is run and exactly the named row fails. */
static void assert_one_failure(draft *d, const char *backend, const char *name) {
    mmrec_parity *parity = NULL;
    mmrec_error error = {0};
    must(draft_run(d, ways(backend, true, false), &parity, &error), &error);
    assert_int_equal(mmrec_parity_failures(parity), 1);
    for (int i = 0; i < mmrec_parity_count(parity); i++) {
        const mmrec_parity_row *row = mmrec_parity_at(parity, i);
        assert_int_equal(row->passed, strcmp(row->name, name) != 0);
    }
    mmrec_parity_destroy(&parity);
}

static void test_wrong_values_are_found(void **state) {
    (void)state;
    static const struct {
        const char *fixture, *tensor;
    } at[] = {{"block_pe", "out.gamma"},
              {"block_pe", "grad.e.weight"},
              {"block_plain", "out.aux"},
              {"model_deep", "grad.blocks.0.uboo_head.weight"},
              {"stream", "out.state.1.mem_v"},
              {"train_plain", "out.loss"},
              {"train_plain", "out.loss_aux"},
              {"train_planning", "out.grad_norm"},
              {"train_planning", "out.param.blocks.1.e.bias"}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        for (int bad = 0; bad < 3; bad++) {
            draft *d = draft_open(at[i].fixture);
            float *values = draft_values(d, at[i].tensor);
            float largest = 1e-3f;
            for (size_t n = 0; n < draft_find(d, at[i].tensor)->bytes / sizeof *values; n++) {
                largest = fmaxf(largest, fabsf(values[n]));
            }
            values[0] = bad == 0 ? values[0] + 1e-3f * largest : bad == 1 ? NAN : INFINITY;
            /* Twenty steps on cpu take a fifth of the time; what is told apart is the same. */
            bool trains = strncmp(at[i].fixture, "train", 5) == 0;
            assert_one_failure(d, trains ? "cpu" : "ref", at[i].tensor);
            draft_close(d);
        }
    }
}

static void test_tolerance_decides(void **state) {
    (void)state;
    draft *d = draft_open("block_one_step");
    float *values = draft_values(d, "out.y");
    for (int i = 0; i < 32; i++) values[i] *= 1 + 1e-3f;
    for (int loose = 0; loose < 2; loose++) {
        mmrec_parity_options options = ways("cpu", true, false);
        options.tolerance = loose ? 2e-3 : 5e-4;
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        must(draft_run(d, options, &parity, &error), &error);
        assert_int_equal(mmrec_parity_failures(parity), !loose);
        mmrec_parity_destroy(&parity);
    }
    draft_close(d);
}

/* Small errors everywhere are an error too: the largest is below the tolerance, their sum of squares is not. */
static void test_both_errors_count(void **state) {
    (void)state;
    draft *d = draft_open("block_plain");
    mmrec_parity_options options = ways("ref", true, false);
    mmrec_parity *parity = NULL;
    mmrec_error error = {0};
    float *values = draft_values(d, "out.y"), largest = 0;
    size_t count = draft_find(d, "out.y")->bytes / sizeof *values;
    for (size_t i = 0; i < count; i++) largest = fmaxf(largest, fabsf(values[i]));
    for (size_t i = 0; i < count; i++) values[i] += 8e-4f * largest;
    options.tolerance = 1e-3;
    must(draft_run(d, options, &parity, &error), &error);
    assert_int_equal(mmrec_parity_failures(parity), 1);
    const mmrec_parity_row *y = mmrec_parity_at(parity, 0);
    assert_string_equal(y->name, "out.y");
    assert_true(y->max_error < 1e-3 && y->l2_error > 1e-3);
    mmrec_parity_destroy(&parity);
    draft_close(d);
}

/* A change to a draft, and the words it is refused with. */
typedef struct refusal {
    const char *fixture, *key, *value; /* metadata to change; key NULL: the tensor */
    const char *tensor, *rename;       /* rename NULL: remove */
    mmrec_status status;
    const char *message;
} refusal;

#define CONFIG_OF(pe, rest)                                                                                            \
    "{\"vocab\": 61, \"dim\": 32, \"layers\": 1, \"heads\": 4, \"ffn\": 48, \"inner\": 8, \"slots\": 64, \"level\": "  \
    "2, \"pe\": " pe ", \"dpg\": 0, \"memory_decay\": 0.99, " rest "}"

#define ADAMW_OF(name, lr, beta1, eps, rest)                                                                           \
    "{\"name\": " name ", \"lr\": " lr ", \"beta1\": " beta1 ", \"beta2\": 0.95, \"eps\": " eps                        \
    ", \"weight_decay\": 0.1, \"clip_norm\": 1.0" rest "}"

static const refusal refusals[] = {
    {"block_pe", NULL, NULL, "out.gamma", NULL, MMREC_FORMAT, "tensor 'out.gamma' is missing"},
    {"block_pe", NULL, NULL, "grad.e.bias", NULL, MMREC_FORMAT, "tensor 'grad.e.bias' is missing"},
    {"block_pe", NULL, NULL, "param.q.weight", NULL, MMREC_FORMAT, "tensor 'param.q.weight' is missing"},
    {"block_pe", NULL, NULL, "in.x", NULL, MMREC_FORMAT, "tensor 'in.x' is missing"},
    {"block_pe", NULL, NULL, "in.dy", NULL, MMREC_FORMAT, "tensor 'in.dy' is missing"},
    {"model_plain", NULL, NULL, "in.ids", NULL, MMREC_FORMAT, "tensor 'in.ids' is missing"},
    {"stream", NULL, NULL, "out.state.1.h", NULL, MMREC_FORMAT, "tensor 'out.state.1.h' is missing"},
    {"block_pe", NULL, NULL, "out.aux", "out.auks", MMREC_FORMAT, "tensor 'out.aux' is missing"},
    {"block_pe", "kind", "nsm\n", NULL, NULL, MMREC_UNSUPPORTED,
     "fixtures of kind 'nsm?' are not supported; the kinds are block, model, stream and train"},
    {"train_plain", "kind", "train_gpt", NULL, NULL, MMREC_UNSUPPORTED,
     "fixtures of kind 'train_gpt' are not supported; the kinds are block, model, stream and train"},
    {"block_pe", "config", "{", NULL, NULL, MMREC_FORMAT, NULL},
    {"block_pe", "config", "[]", NULL, NULL, MMREC_CONFIG, "config must be a JSON object"},
    {"block_pe", "config", "{}", NULL, NULL, MMREC_CONFIG, "config: vocab is missing"},
    {"block_pe", "config", CONFIG_OF("1.5", "\"uboo\": \"off\", \"uboo_weight\": 0.1"), NULL, NULL, MMREC_CONFIG,
     "config: pe must be a whole number"},
    {"block_pe", "config", CONFIG_OF("12", "\"uboo\": \"off\", \"uboo_weight\": \"x\""), NULL, NULL, MMREC_CONFIG,
     "config: uboo_weight must be a number"},
    {"block_pe", "config", CONFIG_OF("12", "\"uboo\": 3, \"uboo_weight\": 0.1"), NULL, NULL, MMREC_CONFIG,
     "config: uboo must be a word"},
    {"block_pe", "config", CONFIG_OF("12", "\"uboo\": \"of\", \"uboo_weight\": 0.1"), NULL, NULL, MMREC_CONFIG,
     "uboo is 'of'; it must be off, planning or deep"},
    {"block_pe", "config", CONFIG_OF("12", "\"uboo\": \"off\", \"uboo_weight\": 0.1, \"x\": 1"), NULL, NULL,
     MMREC_CONFIG, "config: 'x' is not a key of the MM-Rec model"},
    {"block_pe", "config", CONFIG_OF("-2", "\"uboo\": \"off\", \"uboo_weight\": 0.1"), NULL, NULL, MMREC_CONFIG,
     "pe is -2; it must be from 0 to 268435456"},
    {"block_pe", "config", CONFIG_OF("13", "\"uboo\": \"off\", \"uboo_weight\": 0.1"), NULL, NULL, MMREC_SHAPE,
     "tensor 'param.p.weight' has shape (12, 32); the configuration makes it (13, 32)"},
    {"block_pe", "config", CONFIG_OF("0", "\"uboo\": \"off\", \"uboo_weight\": 0.1"), NULL, NULL, MMREC_FORMAT, NULL},
    {"train_plain", "optimizer", NULL, NULL, NULL, MMREC_FORMAT, "metadata 'optimizer' is missing"},
    {"train_plain", "optimizer", "{\"name\"", NULL, NULL, MMREC_FORMAT, NULL},
    {"train_plain", "optimizer", "[\"adamw\"]", NULL, NULL, MMREC_CONFIG, "optimizer must be a JSON object"},
    {"train_plain", "optimizer", "{}", NULL, NULL, MMREC_CONFIG, "optimizer: name is missing"},
    {"train_plain", "optimizer", ADAMW_OF("\"sgd\\n\"", "0.003", "0.9", "1e-8", ""), NULL, NULL, MMREC_UNSUPPORTED,
     "optimizer: name is 'sgd?'; it must be adamw"},
    {"train_plain", "optimizer", ADAMW_OF("1", "0.003", "0.9", "1e-8", ""), NULL, NULL, MMREC_CONFIG,
     "optimizer: name must be a word"},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "\"fast\"", "0.9", "1e-8", ""), NULL, NULL, MMREC_CONFIG,
     "optimizer: lr must be a number"},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "-0.003", "0.9", "1e-8", ""), NULL, NULL, MMREC_CONFIG,
     "a learning rate must be finite and at least 0, got -0.003"},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "1e999", "0.9", "1e-8", ""), NULL, NULL, MMREC_FORMAT, NULL},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "0.003", "1", "1e-8", ""), NULL, NULL, MMREC_CONFIG,
     "the optimizer's beta1 is 1, it must be at least 0 and below 1"},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "0.003", "0.9", "0", ""), NULL, NULL, MMREC_CONFIG,
     "the optimizer's epsilon is 0, it must be above 0"},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "0.003", "0.9", "null", ""), NULL, NULL, MMREC_CONFIG,
     "optimizer: eps must be a number"},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "0.003", "0.9", "1e-8", ", \"amsgrad\": true"), NULL, NULL,
     MMREC_CONFIG, "optimizer: 'amsgrad' is not a key of AdamW"},
    {"train_plain", "optimizer", ADAMW_OF("\"adamw\"", "0.003", "0.9", "1e-8", ", \"lr\": 0.003"), NULL, NULL,
     MMREC_FORMAT, NULL},
    {"train_plain", "optimizer",
     "{\"name\": \"adamw\", \"lr\": 0.003, \"beta1\": 0.9, \"beta2\": 0.95, \"eps\": 1e-8, "
     "\"weight_decay\": 0.1}",
     NULL, NULL, MMREC_CONFIG, "optimizer: clip_norm is missing"},
    {"train_plain", NULL, NULL, "out.grad_norm", NULL, MMREC_FORMAT, "tensor 'out.grad_norm' is missing"},
    {"train_plain", NULL, NULL, "out.param.norm.weight", NULL, MMREC_FORMAT,
     "tensor 'out.param.norm.weight' is missing"},
    {"train_plain", NULL, NULL, "out.param.norm.weight", "grad.norm.weight", MMREC_FORMAT,
     "tensor 'out.param.norm.weight' is missing"},
    {"stream", "chunks", "25", NULL, NULL, MMREC_FORMAT,
     "metadata 'chunks' must be a whole number from 1 to the 24 steps of in.ids"},
    {"stream", "chunks", "three", NULL, NULL, MMREC_FORMAT,
     "metadata 'chunks' must be a whole number from 1 to the 24 steps of in.ids"},
};

static void draft_change(draft *d, const refusal *r) {
    if (r->key) {
        draft_meta(d, r->key, r->value);
        return;
    }
    mmrec_safetensors_tensor *tensor = draft_find(d, r->tensor);
    if (r->rename)
        tensor->name = r->rename;
    else
        *tensor = d->tensors[--d->count];
}

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const refusal *r = &refusals[i];
        draft *d = draft_open(r->fixture);
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        draft_change(d, r);
        assert_int_equal(draft_run(d, ways("ref", true, false), &parity, &error), r->status);
        assert_null(parity);
        assert_true(error.message[0] != '\0');
        if (r->message) assert_string_equal(error.message, r->message);
        draft_close(d);
    }
}

/* Tensors of a training fixture in other shapes. */
static void test_training_shapes(void **state) {
    (void)state;
    static const struct {
        const char *tensor;
        int ndim;
        int64_t dim[4];
        mmrec_status status;
        const char *message;
    } bad[] = {
        {"in.ids", 2, {80, 9}, MMREC_SHAPE, "tensor 'in.ids' has shape (80, 9); it must have 3 axes"},
        {"in.ids", 3, {0, 4, 9}, MMREC_SHAPE, "in.ids holds no step of training; it must be (steps, B, T + 1)"},
        {"in.ids", 3, {180, 4, 1}, MMREC_CONFIG, "time is 0; it must be from 1 to 268435456"},
        {"in.ids", 3, {20, 0, 9}, MMREC_CONFIG, "batch is 0; it must be from 1 to 268435456"},
        {"in.ids", 3, {10, 4, 9}, MMREC_SHAPE, "tensor 'out.loss' has shape (20); the configuration makes it (10)"},
        {"out.loss_main",
         1,
         {19},
         MMREC_SHAPE,
         "tensor 'out.loss_main' has shape (19); the configuration makes it (20)"},
        {"out.loss_aux",
         2,
         {20, 1},
         MMREC_SHAPE,
         "tensor 'out.loss_aux' has shape (20, 1); the configuration makes it (20)"},
        {"out.param.norm.weight",
         2,
         {4, 8},
         MMREC_SHAPE,
         "tensor 'out.param.norm.weight' has shape (4, 8); the configuration makes it (32)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        draft *d = draft_open("train_plain");
        mmrec_safetensors_tensor *tensor = draft_find(d, bad[i].tensor);
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        tensor->ndim = bad[i].ndim;
        tensor->bytes = sizeof(float);
        for (int a = 0; a < bad[i].ndim; a++) tensor->bytes *= (size_t)(tensor->dim[a] = bad[i].dim[a]);
        assert_int_equal(draft_run(d, ways("ref", true, false), &parity, &error), bad[i].status);
        assert_string_equal(error.message, bad[i].message);
        draft_close(d);
    }
}

/* Every setting of the optimizer decides: with another value the parameters are others, by more than float may be off.
 */
static void test_settings_of_training_decide(void **state) {
    (void)state;
#define OTHER(lr, beta1, beta2, eps, decay, clip)                                                                      \
    "{\"name\": \"adamw\", \"lr\": " lr ", \"beta1\": " beta1 ", \"beta2\": " beta2 ", \"eps\": " eps                  \
    ", \"weight_decay\": " decay ", \"clip_norm\": " clip "}"
    static const char *const other[] = {
        OTHER("0.003", "0.9", "0.95", "1e-8", "0.1", "1"),  OTHER("0.00301", "0.9", "0.95", "1e-8", "0.1", "1"),
        OTHER("0.003", "0.91", "0.95", "1e-8", "0.1", "1"), OTHER("0.003", "0.9", "0.96", "1e-8", "0.1", "1"),
        OTHER("0.003", "0.9", "0.95", "1e-5", "0.1", "1"),  OTHER("0.003", "0.9", "0.95", "1e-8", "0", "1"),
        OTHER("0.003", "0.9", "0.95", "1e-8", "0.1", "0.5")};
#undef OTHER
    for (int i = 0; i < 7; i++) {
        draft *d = draft_open("train_plain");
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        draft_meta(d, "optimizer", other[i]);
        must(draft_run(d, ways("cpu", true, false), &parity, &error), &error);
        int failures = mmrec_parity_failures(parity);
        if ((failures == 0) != (i == 0)) fail_msg("%d rows fail with %s", failures, other[i]);
        mmrec_parity_destroy(&parity);
        draft_close(d);
    }
}

/* A tensor more than the kind has, in each group of names. */
static void test_unknown_tensors(void **state) {
    (void)state;
    static const char *const names[] = {"out.extra", "grad.extra", "in.extra", "param.extra", "extra"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        draft *d = draft_open("block_one_step");
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        char message[160];
        size_t known = d->count;
        d->tensors[d->count] = *draft_find(d, "out.aux");
        d->tensors[d->count++].name = names[i];
        assert_int_equal(draft_run(d, ways("ref", true, false), &parity, &error), MMREC_FORMAT);
        snprintf(message, sizeof message,
                 "tensor '%s' is not one this fixture can have: the model of its config has %zu others", names[i],
                 known);
        assert_string_equal(error.message, message);
        draft_close(d);
    }
}

static void test_wrong_ids(void **state) {
    (void)state;
    static const int32_t bad[] = {-1, 61, INT32_MAX};
    for (int i = 0; i < 3; i++) {
        draft *d = draft_open(i % 2 ? "train_plain" : "model_plain");
        mmrec_parity *parity = NULL;
        mmrec_error error = {0};
        char message[96];
        memcpy(&draft_values(d, "in.ids")[5], &bad[i], sizeof bad[i]);
        assert_int_equal(draft_run(d, ways("ref", true, false), &parity, &error), MMREC_FORMAT);
        snprintf(message, sizeof message, "in.ids holds %g; ids must be whole numbers from 0 to 60", (double)bad[i]);
        assert_string_equal(error.message, message);
        draft_close(d);
    }
}

/* ---- printing ---- */

static void test_print(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_parity *parity = NULL;
    mmrec_parity_options options = ways("ref", true, false);
    char path[] = "/tmp/mmrec-parity-XXXXXX", text[16384];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    must(mmrec_parity_run(&allocator, &io, fixture_path("block_pe"), &options, &parity, &error), &error);
    must(mmrec_parity_print(parity, &io, fd, &error), &error);
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    assert_in_range(size, 1000, sizeof text - 1);
    text[size] = '\0';
    int lines = 0, width = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        if (lines < mmrec_parity_count(parity) + 1) { /* columns line up under the heading's */
            const char *end = strchr(line, '\n');
            int length = (int)(end - line) - (lines == 0 ? 0 : (int)strlen("  ok"));
            width = lines == 0 ? length : width;
            assert_int_equal(length, width);
        }
        lines++;
    }
    assert_int_equal(lines, mmrec_parity_count(parity) + 3);
    assert_non_null(strstr(text, "\ngrad.memory.query.weight  (32, 32) "));
    assert_non_null(strstr(text, "\nblock_pe.safetensors: block, 45 tensors, all within tolerance; closest to it: "));
    close(fd);
    unlink(path);
    assert_int_equal(mmrec_parity_print(parity, &io, fd, &error), MMREC_IO);
    mmrec_parity_destroy(&parity);
}

/* ---- faults ---- */

static mmrec_status run_quietly(mmrec_allocator *allocator, mmrec_io *io, const char *name, mmrec_error *error) {
    mmrec_parity_options options = ways("ref", true, true);
    mmrec_parity *parity = NULL;
    mmrec_status status = mmrec_parity_run(allocator, io, fixture_path(name), &options, &parity, error);
    mmrec_parity_destroy(&parity);
    assert_int_equal(allocator->total.live_bytes, 0);
    return status;
}

static void test_no_memory(void **state) {
    (void)state;
    static const char *const names[] = {"block_one_step", "model_plain", "stream", "train_plain"};
    for (int i = 0; i < 4; i++) {
        mmrec_allocator counter = {0};
        mmrec_io io = {0};
        mmrec_error error = {0};
        must(run_quietly(&counter, &io, names[i], &error), &error);
        assert_true(counter.attempts > 100);
        /* Every request of the first 60, then every 7th: names of tensors repeat the same path hundreds of times. */
        for (uint64_t k = 1; k <= counter.attempts; k += k < 60 ? 1 : 7) {
            mmrec_allocator allocator = {.fail_at = k};
            assert_int_equal(run_quietly(&allocator, &io, names[i], &error), MMREC_NO_MEMORY);
        }
    }
}

static void test_io_faults(void **state) {
    (void)state;
    mmrec_status status = MMREC_IO;
    int failures = 0;
    for (uint64_t k = 1; status != MMREC_OK; k++) {
        mmrec_allocator allocator = {0};
        mmrec_io io = {.fail_at = k};
        mmrec_error error = {0};
        status = run_quietly(&allocator, &io, "block_one_step", &error);
        if (status != MMREC_OK) assert_int_equal(status, MMREC_IO);
        failures += status != MMREC_OK;
    }
    assert_true(failures >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_wrong_values_are_found),
        cmocka_unit_test(test_tolerance_decides),
        cmocka_unit_test(test_both_errors_count),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_training_shapes),
        cmocka_unit_test(test_settings_of_training_decide),
        cmocka_unit_test(test_unknown_tensors),
        cmocka_unit_test(test_wrong_ids),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_io_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
