/* From options to a place to run and a model, for every program. */
#include "report/setup.h"

mmrec_status mmrec_setup_place(const mmrec_options *options, bool runs, mmrec_place *out, mmrec_error *error) {
    const char *name = mmrec_option_text(options, MMREC_OPTION_backend);
    mmrec_device_options device = {.tf32 = mmrec_option_on(options, MMREC_OPTION_tf32),
                                   .recurrence = (mmrec_recurrence_regime)options->value[MMREC_OPTION_recurrence].whole,
                                   .rnn = (mmrec_library_choice)options->value[MMREC_OPTION_rnn].whole,
                                   .attention = (mmrec_library_choice)options->value[MMREC_OPTION_attention].whole,
                                   .no_self_check = !mmrec_option_on(options, MMREC_OPTION_self_check)};
    *out = (mmrec_place){.tf32 = device.tf32};
    mmrec_backend_device_options(&device);
    out->threads = (int)mmrec_option_whole(options, MMREC_OPTION_threads, mmrec_backend_processors());
    out->graphs = mmrec_option_on(options, MMREC_OPTION_graphs);
    out->bf16 = mmrec_option_is(options, MMREC_OPTION_dtype, "bf16");
    if (runs)
        MMREC_TRY(mmrec_backend_find(name, &out->backend, error));
    else
        MMREC_TRY(mmrec_backend_describe(name, &out->backend, error));
    return mmrec_backend_stores(out->backend, mmrec_backend_dtype(out->backend, out->bf16), error);
}

/* Where each size of the model goes: every COUNT option of the MODEL group has its line here, but for programs that make
 * no case. */
static const size_t field_offset[MMREC_OPTIONS] = {
    [MMREC_OPTION_dim] = offsetof(mmrec_bench_case, model.dim),
    [MMREC_OPTION_layers] = offsetof(mmrec_bench_case, model.layers),
    [MMREC_OPTION_heads] = offsetof(mmrec_bench_case, model.heads),
    [MMREC_OPTION_time] = offsetof(mmrec_bench_case, time),
    [MMREC_OPTION_batch] = offsetof(mmrec_bench_case, batch),
    [MMREC_OPTION_vocab] = offsetof(mmrec_bench_case, model.vocab),
    [MMREC_OPTION_ffn] = offsetof(mmrec_bench_case, model.ffn),
    [MMREC_OPTION_slots] = offsetof(mmrec_bench_case, model.slots),
    [MMREC_OPTION_inner] = offsetof(mmrec_bench_case, model.inner),
    [MMREC_OPTION_level] = offsetof(mmrec_bench_case, model.level),
    [MMREC_OPTION_pe] = offsetof(mmrec_bench_case, model.pe),
    [MMREC_OPTION_dpg] = offsetof(mmrec_bench_case, model.dpg),
};

static int64_t *case_field(mmrec_bench_case *c, mmrec_option_id id) {
    const mmrec_option_def *def = mmrec_option_get(id);
    if (def->group != MMREC_GROUP_MODEL || def->kind != MMREC_KIND_COUNT) return NULL;
    return (int64_t *)(void *)((char *)c + field_offset[id]);
}

static int64_t size_of(const mmrec_options *options, const mmrec_sweep *sweep, mmrec_option_id id, int64_t otherwise) {
    for (int i = 0; sweep && i < sweep->axis_count; i++) {
        if (sweep->id[i] == id) return sweep->axis[i].value[sweep->index[i]];
    }
    (void)mmrec_option_size(options, id, &otherwise);
    return mmrec_option_whole(options, id, otherwise);
}

mmrec_bench_case mmrec_setup_case(const mmrec_options *options, const mmrec_sweep *sweep) {
    const mmrec_option_value *value = options->value;
    mmrec_bench_case c = {0};
    /* ffn and inner follow the width unless they are given. */
    c.model = mmrec_model_config_default(256, size_of(options, sweep, MMREC_OPTION_dim, 1), 1, 1);
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        bool taken = mmrec_option_taken(options->program, (mmrec_option_id)i);
        int64_t *field = taken ? case_field(&c, (mmrec_option_id)i) : NULL;
        if (field) *field = size_of(options, sweep, (mmrec_option_id)i, *field);
    }
    c.model.uboo = (mmrec_uboo)value[MMREC_OPTION_uboo].whole;
    c.model.dropout = value[MMREC_OPTION_dropout].real;
    if (mmrec_option_given(options, MMREC_OPTION_uboo_weight)) {
        c.model.uboo_weight = value[MMREC_OPTION_uboo_weight].real;
        c.model.memory_decay = value[MMREC_OPTION_memory_decay].real;
    }
    return c;
}

mmrec_status mmrec_setup_case_check(const mmrec_bench_case *c, mmrec_error *error) {
    MMREC_TRY(mmrec_model_config_check(&c->model, error));
    if (c->batch > INT32_MAX / c->time) {
        MMREC_FAIL(error, MMREC_CONFIG, "batch (%lld) times time (%lld) is more than %d tokens", (long long)c->batch,
                   (long long)c->time, INT32_MAX);
    }
    return MMREC_OK;
}
