/* One call of an op function with everything around it under watch. */
#include "harness.h"

#include <cblas.h>
#include <omp.h>
#include <string.h>

static unsigned through(const mmrec_arg *list, unsigned mask) {
    for (int i = 0; list[i].name; i++) {
        if (list[i].flags & (MMREC_ARG_IDS | MMREC_ARG_NO_GRAD)) mask &= ~(1u << i);
    }
    return mask;
}

unsigned differentiable_inputs(const mmrec_op_def *def, const mmrec_op_sizes *sizes) {
    return mmrec_op_has_backward(def, sizes) ? through(def->in, sizes->given) : 0;
}
unsigned differentiable_outputs(const mmrec_op_def *def, const mmrec_op_sizes *sizes) {
    return mmrec_op_has_backward(def, sizes) ? through(def->out, sizes->made) : 0;
}

typedef mmrec_dtype (*dtype_rule)(const mmrec_arg *arg, mmrec_dtype storage);

static bool open_list(harness *h, tensor *list, const mmrec_arg *args, const mmrec_shape *shapes, unsigned mask,
                      dtype_rule rule, mmrec_dtype storage, int padding) {
    for (int i = 0; args[i].name; i++) {
        mmrec_dtype type = rule(&args[i], storage);
        if (((mask >> i) & 1u) && !tensor_open(h, &list[i], args[i].name, type, shapes[i], padding)) return false;
    }
    return true;
}

static bool open_tensors(harness *h, trial *t, int padding) {
    const mmrec_op_def *def = t->subject->def;
    const mmrec_op_sizes *sizes = &t->sizes;
    mmrec_dtype dtype = t->subject->dtype;
    unsigned d_in = differentiable_inputs(def, sizes), d_out = differentiable_outputs(def, sizes);
    for (int pass = 0; pass < MMREC_PASSES; pass++) {
        size_t words = (sizes->scratch_bytes[pass] + 3) / 4;
        mmrec_shape shape = mmrec_shape1((int64_t)words);
        if (words && !tensor_open(h, &t->scratch[pass], "scratch", MMREC_I32, shape, 0)) return false;
    }
    dtype_rule value = mmrec_arg_dtype, gradient = mmrec_arg_gradient_dtype;
    int further = padding < 0 ? 2 * padding : padding; /* outputs have rows of their own length */
    return open_list(h, t->in, def->in, sizes->in, sizes->given, value, dtype, padding) &&
           open_list(h, t->out, def->out, sizes->out, sizes->made, value, dtype, further) &&
           open_list(h, t->saved, def->saved, sizes->saved, sizes->stored, value, dtype, padding) &&
           open_list(h, t->d_in, def->in, sizes->in, d_in, gradient, dtype, padding) &&
           open_list(h, t->d_out, def->out, sizes->out, d_out, gradient, dtype, further);
}

bool trial_open(harness *h, trial *t, const subject *s, int threads, int padding) {
    memset(t, 0, sizeof *t);
    t->subject = s;
    mmrec_error error = {0};
    mmrec_status status = mmrec_op_from_text(s->def, h->sample, threads, &t->sizes, &error);
    if (!harness_check(h, status == MMREC_OK, "the sample is refused: %s", error.message)) return false;
    omp_set_num_threads(threads > 0 ? threads : 1);
    openblas_set_num_threads(threads > 0 ? threads : 1);
    return open_tensors(h, t, padding) && (!s->backend || device_open(h, t));
}

void trial_each(harness *h, trial *t, tensor_visit visit) {
    tensor *lists[] = {t->in, t->out, t->saved, t->d_in, t->d_out, t->scratch};
    const int counts[] = {MMREC_MAX_IN, MMREC_MAX_OUT, MMREC_MAX_SAVED, MMREC_MAX_IN, MMREC_MAX_OUT, MMREC_PASSES};
    for (int l = 0; l < (int)(sizeof counts / sizeof counts[0]); l++) {
        for (int i = 0; i < counts[l]; i++) visit(h, t, &lists[l][i]);
    }
}

static void close_one(harness *h, trial *t, tensor *one) {
    (void)t;
    tensor_close(h, one);
}

void trial_close(harness *h, trial *t) {
    trial_each(h, t, close_one);
    device_close(h, t);
}

static void remember(harness *h, trial *t, tensor *one) {
    (void)h, (void)t;
    tensor_remember(one);
}

static void check_guards(harness *h, trial *whole, tensor *t) {
    (void)whole;
    if (t->memory) harness_check(h, tensor_guarded(t), "%s: something outside of the tensor was written", t->name);
}

static void poison_list(tensor *list, int count) {
    for (int i = 0; i < count; i++) tensor_poison(&list[i]);
}

static void check_unchanged(harness *h, const tensor *list, int count, const char *kind) {
    for (int i = 0; i < count; i++) {
        if (!list[i].memory) continue;
        harness_check(h, tensor_unchanged(&list[i]), "%s %s is only to be read but was changed", kind, list[i].name);
    }
}

/* Everything asked for is there. */
static bool check_written(harness *h, const tensor *list, int count, unsigned mask, const char *kind) {
    bool good = true;
    for (int i = 0; i < count; i++) {
        if (!list[i].memory || !((mask >> i) & 1u)) continue;
        good &= harness_check(h, tensor_finite(&list[i]), "%s %s is not all written and finite", kind, list[i].name);
    }
    return good;
}

static void read_list(const tensor *list, int count, double *const *to) {
    for (int i = 0; i < count; i++) {
        if (list[i].memory) tensor_read(&list[i], to[i]);
    }
}

static void load_inputs(trial *t, const sample_values *values) {
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (t->in[i].memory) tensor_write(&t->in[i], values->in[i]);
    }
}

mmrec_op_call trial_call(const trial *t, mmrec_pass pass) {
    mmrec_op_call call;
    memset(&call, 0, sizeof call);
    call.sizes = &t->sizes;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        call.in[i] = t->in[i].view;
        call.d_in[i] = t->d_in[i].view;
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        call.out[i] = t->out[i].view;
        call.d_out[i] = t->d_out[i].view;
    }
    for (int i = 0; i < MMREC_MAX_SAVED; i++) call.saved[i] = t->saved[i].view;
    call.scratch = t->scratch[pass].view.data;
    call.seed = HARNESS_SEED;
    return call;
}

/* The input that saved tensor s lies over in this pass, or whose gradient lies over it; -1: it has its own memory. */
static int overlaid(const trial *t, mmrec_pass pass, int s) {
    bool in_place = ((t->in_place >> pass) & 1u) != 0 && t->saved[s].memory;
    return in_place ? t->subject->def->saved[s].over - 1 : -1;
}

/* Forward writes saved tensors over inputs: both get the contents they would have apart. */
static void part(trial *t) {
    for (int s = 0; s < MMREC_MAX_SAVED; s++) {
        int input = overlaid(t, MMREC_FORWARD, s);
        if (input < 0) continue;
        tensor_copy(&t->saved[s], &t->in[input]);
        tensor_restore(&t->in[input]);
    }
}

/* Backward finds what was saved where it writes the gradient. */
static void join(trial *t, mmrec_op_call *call) {
    for (int s = 0; s < MMREC_MAX_SAVED; s++) {
        int input = overlaid(t, MMREC_BACKWARD, s);
        if (input < 0 || !call->d_in[input].data || ((call->accumulate >> input) & 1u)) continue;
        tensor_copy(&t->d_in[input], &t->saved[s]);
        call->saved[s] = call->d_in[input];
    }
}

static bool run(harness *h, trial *t, mmrec_pass pass, const mmrec_op_call *call) {
    const mmrec_op_def *def = t->subject->def;
    mmrec_op_function function = t->subject->fast && def->fast[pass] ? def->fast[pass] : def->function[pass];
    mmrec_error error = {0};
    mmrec_status status = t->device ? device_run(h, t, pass, call, &error) : function(call, &error);
    trial_each(h, t, check_guards);
    return harness_check(h, status == MMREC_OK, "%s failed: %s", pass == MMREC_FORWARD ? "forward" : "backward",
                         error.message);
}

bool trial_forward(harness *h, trial *t, const sample_values *values, results *r) {
    poison_list(t->out, MMREC_MAX_OUT);
    poison_list(t->saved, MMREC_MAX_SAVED);
    poison_list(t->scratch, MMREC_PASSES);
    load_inputs(t, values);
    trial_each(h, t, remember);
    mmrec_op_call call = trial_call(t, MMREC_FORWARD);
    memset(call.d_in, 0, sizeof call.d_in);
    memset(call.d_out, 0, sizeof call.d_out);
    for (int s = 0; s < MMREC_MAX_SAVED; s++) {
        if (overlaid(t, MMREC_FORWARD, s) >= 0) call.saved[s] = call.in[overlaid(t, MMREC_FORWARD, s)];
    }
    bool good = run(h, t, MMREC_FORWARD, &call);
    part(t);
    check_unchanged(h, t->in, MMREC_MAX_IN, "input");
    if (!good) return false;
    good = check_written(h, t->out, MMREC_MAX_OUT, ~0u, "output");
    if (!t->subject->saves_elsewhere) good &= check_written(h, t->saved, MMREC_MAX_SAVED, ~0u, "saved tensor");
    read_list(t->out, MMREC_MAX_OUT, r->out);
    read_list(t->saved, MMREC_MAX_SAVED, r->saved);
    return good;
}

static void adopt_list(tensor *list, const mmrec_arg *args, mmrec_dtype storage, double *const *stored) {
    for (int i = 0; args[i].name; i++) {
        if (list[i].memory && mmrec_arg_dtype(&args[i], storage) == MMREC_BF16) tensor_write(&list[i], stored[i]);
    }
}

void trial_adopt(trial *t, const subject *s, const results *stored) {
    adopt_list(t->out, s->def->out, s->dtype, stored->out);
    adopt_list(t->saved, s->def->saved, s->dtype, stored->saved);
}

/* What backward may not read is full of NaN, or not there at all. */
static void hide(const mmrec_arg *args, tensor *list, mmrec_view *views, bool forget) {
    for (int i = 0; args[i].name; i++) {
        if (!list[i].memory || (args[i].flags & MMREC_ARG_KEEP)) continue;
        tensor_poison(&list[i]);
        if (forget) views[i].data = NULL;
    }
}

static void load_gradients(trial *t, const sample_values *values, backward_options options) {
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if (!t->d_out[i].memory) continue;
        tensor_write(&t->d_out[i], values->d_out[i]);
        if (!((options.zero_out >> i) & 1u)) continue;
        mmrec_view *view = &t->d_out[i].view;
        for (int64_t row = 0; row < mmrec_shape_rows(&view->shape); row++) {
            size_t element = mmrec_dtype_bytes(view->dtype);
            memset((char *)view->data + (size_t)(row * view->stride) * element, 0,
                   (size_t)mmrec_shape_columns(&view->shape) * element);
        }
    }
    poison_list(t->d_in, MMREC_MAX_IN);
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if (t->d_in[i].memory && ((options.accumulate >> i) & 1u)) tensor_write(&t->d_in[i], values->old[i]);
    }
}

bool trial_backward(harness *h, trial *t, const sample_values *values, backward_options options, results *r) {
    const mmrec_op_def *def = t->subject->def;
    mmrec_op_call call = trial_call(t, MMREC_BACKWARD);
    load_inputs(t, values);
    load_gradients(t, values, options);
    poison_list(t->scratch, MMREC_PASSES);
    hide(def->in, t->in, call.in, options.forget);
    hide(def->out, t->out, call.out, options.forget);
    call.accumulate = options.accumulate;
    for (int i = 0; i < MMREC_MAX_IN; i++) {
        if ((options.skip_in >> i) & 1u) call.d_in[i].data = NULL;
    }
    for (int i = 0; i < MMREC_MAX_OUT; i++) {
        if ((options.skip_out >> i) & 1u) call.d_out[i].data = NULL;
    }
    join(t, &call);
    trial_each(h, t, remember);
    bool good = run(h, t, MMREC_BACKWARD, &call);
    check_unchanged(h, t->in, MMREC_MAX_IN, "input");
    check_unchanged(h, t->out, MMREC_MAX_OUT, "output");
    check_unchanged(h, t->saved, MMREC_MAX_SAVED, "saved tensor");
    check_unchanged(h, t->d_out, MMREC_MAX_OUT, "gradient of output");
    if (!good) return false;
    good = check_written(h, t->d_in, MMREC_MAX_IN, ~options.skip_in, "gradient of");
    read_list(t->d_in, MMREC_MAX_IN, r->d_in);
    return good;
}
