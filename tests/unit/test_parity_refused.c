/* Parity: fixtures that are refused, in which words. */
#include "parity_rig.h"

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
     "fixtures of kind 'nsm?' are not supported; the kinds are block, model, stream, train, nsm_simple, nsm_sequence, "
     "nsm_hybrid, nsm_router, nsm_layer, nsm_states, lstm, gru, rnn_classifier, transformer_encoder, "
     "encoder_classifier, gpt, mlp, train_gpt, train_mlp"},
    {"train_plain", "kind", "train_gpt", NULL, NULL, MMREC_CONFIG, "config: context is missing"},
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
     "config: uboo is 'of'; it must be off|planning|deep"},
    {"block_pe", "config", CONFIG_OF("12", "\"uboo\": \"off\", \"uboo_weight\": 0.1, \"x\": 1"), NULL, NULL,
     MMREC_CONFIG, "config: 'x' is not a key of MM-Rec block"},
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
    {"nsm_layer", "zero_grad", "[]", NULL, NULL, MMREC_FORMAT, "zero_grad must be a JSON object"},
    {"nsm_layer", "zero_grad", "{\"query.bias\": [3]}", NULL, NULL, MMREC_FORMAT,
     "zero_grad: query.bias must be [first row, end]"},
    {"nsm_layer", "zero_grad", "{\"query.bias\": [3, 3]}", NULL, NULL, MMREC_FORMAT,
     "zero_grad: query.bias must be [first row, end]"},
    {"nsm_states", "allocate", "-1", NULL, NULL, MMREC_FORMAT, "metadata 'allocate' must be a whole number of slots"},
    {"nsm_states", NULL, NULL, "in.active", NULL, MMREC_FORMAT, "tensor 'in.active' is missing"},
    {"nsm_states", NULL, NULL, "in.weights", NULL, MMREC_FORMAT, "tensor 'in.weights' is missing"},
    {"mlp", "config", "{\"inputs\": 5, \"hidden\": [64, \"32\"], \"outputs\": 1}", NULL, NULL, MMREC_CONFIG,
     "config: hidden must hold whole numbers"},
    {"mlp", "config", "{\"inputs\": 5, \"hidden\": 64, \"outputs\": 1}", NULL, NULL, MMREC_CONFIG,
     "config: hidden must be an array of at most 8 whole numbers"},
    {"lstm", NULL, NULL, "in.c0", NULL, MMREC_FORMAT, "tensor 'in.c0' is missing"},
    {"nsm_advanced_faithful", NULL, NULL, "in.memory", NULL, MMREC_FORMAT, "tensor 'in.memory' is missing"},
    {"stream", "chunks", "25", NULL, NULL, MMREC_FORMAT,
     "metadata 'chunks' must be a whole number from 1 to the 24 steps of in.ids"},
    {"stream", "chunks", "three", NULL, NULL, MMREC_FORMAT,
     "metadata 'chunks' must be a whole number from 1 to the 24 steps of in.ids"},
};

/* What is refused leaves nothing behind; the draft is closed. message NULL: any words. */
static void expect_refused(draft *d, mmrec_status status, const char *message) {
    mmrec_parity *parity = NULL;
    mmrec_error error = {0};
    assert_int_equal(draft_run(d, ways("ref", true, false), &parity, &error), status);
    assert_null(parity);
    assert_true(error.message[0] != '\0');
    if (message) assert_string_equal(error.message, message);
    draft_close(d);
}

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
        draft_change(d, r);
        expect_refused(d, r->status, r->message);
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
        {"in.ids", 3, {0, 4, 9}, MMREC_SHAPE, "in.ids holds no step; its first axis counts steps"},
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
        tensor->ndim = bad[i].ndim;
        tensor->bytes = sizeof(float);
        for (int a = 0; a < bad[i].ndim; a++) tensor->bytes *= (size_t)(tensor->dim[a] = bad[i].dim[a]);
        expect_refused(d, bad[i].status, bad[i].message);
    }
}

/* A tensor more than the kind has, in each group of names. */
static void test_unknown_tensors(void **state) {
    (void)state;
    static const char *const names[] = {"out.extra", "grad.extra", "in.extra", "param.extra", "extra"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        draft *d = draft_open("block_one_step");
        char message[160];
        size_t known = d->count;
        d->tensors[d->count] = *draft_find(d, "out.aux");
        d->tensors[d->count++].name = names[i];
        snprintf(message, sizeof message,
                 "tensor '%s' is not one this fixture can have: the model of its config has %zu others", names[i],
                 known);
        expect_refused(d, MMREC_FORMAT, message);
    }
}

static void test_wrong_ids(void **state) {
    (void)state;
    static const int32_t bad[] = {-1, 61, INT32_MAX};
    for (int i = 0; i < 3; i++) {
        draft *d = draft_open(i % 2 ? "train_plain" : "model_plain");
        char message[96];
        memcpy(&draft_values(d, "in.ids")[5], &bad[i], sizeof bad[i]);
        snprintf(message, sizeof message, "in.ids holds %g; ids must be whole numbers from 0 to 60", (double)bad[i]);
        expect_refused(d, MMREC_FORMAT, message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_training_shapes),
        cmocka_unit_test(test_unknown_tensors),
        cmocka_unit_test(test_wrong_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
