/* Running a trial on a device: the tensors, guards and padding included, have a copy in one piece of device memory. All
 * checks look at the host's side afterwards, so a kernel that writes beside a tensor is found like any other function.
 */
#include "harness.h"

/* Tensors keep the place they have in exec's arenas: aligned to MMREC_ALIGN and no better. */
static void place(harness *h, trial *t, tensor *one) {
    (void)h;
    one->device_at = t->device_bytes;
    t->device_bytes += one->bytes;
}

bool device_open(harness *h, trial *t) {
    const mmrec_backend *backend = t->subject->backend;
    mmrec_error error = {0};
    void *memory = NULL;
    t->device_bytes = 0;
    trial_each(h, t, place);
    mmrec_status status = backend->alloc(h->allocator, MMREC_ARENA_SCRATCH, t->device_bytes, &memory, &error);
    t->device = memory;
    return harness_check(h, status == MMREC_OK, "no device memory: %s", error.message);
}

void device_close(harness *h, trial *t) {
    if (t->device) t->subject->backend->free(h->allocator, MMREC_ARENA_SCRATCH, t->device, t->device_bytes);
    t->device = NULL;
}

static void copy_in(harness *h, trial *t, tensor *one) {
    mmrec_error error = {0};
    if (!one->memory) return;
    mmrec_status status =
        t->subject->backend->device->copy_in(t->device + one->device_at, one->memory, one->bytes, &error);
    harness_check(h, status == MMREC_OK, "copying %s in: %s", one->name, error.message);
}

static void copy_out(harness *h, trial *t, tensor *one) {
    mmrec_error error = {0};
    if (!one->memory) return;
    mmrec_status status =
        t->subject->backend->device->copy_out(one->memory, t->device + one->device_at, one->bytes, &error);
    harness_check(h, status == MMREC_OK, "copying %s out: %s", one->name, error.message);
}

static const tensor *owner_in(const tensor *list, int count, const unsigned char *at) {
    for (int i = 0; i < count; i++) {
        if (list[i].memory && at >= list[i].memory && at < list[i].memory + list[i].bytes) return &list[i];
    }
    return NULL;
}

/* An absent argument stays absent. A view may lie in another tensor than its own (trial.in_place). */
static void move_views(const trial *t, const tensor *list, mmrec_view *views, int count) {
    for (int i = 0; i < count; i++) {
        const unsigned char *at = views[i].data;
        if (!at) continue;
        const tensor *owner = owner_in(list, count, at);
        if (!owner) owner = owner_in(t->in, MMREC_MAX_IN, at);
        if (!owner) owner = owner_in(t->d_in, MMREC_MAX_IN, at);
        views[i].data = t->device + owner->device_at + (at - owner->memory);
    }
}

static mmrec_op_call moved(const trial *t, mmrec_pass pass, const mmrec_op_call *call) {
    mmrec_op_call there = *call;
    move_views(t, t->in, there.in, MMREC_MAX_IN);
    move_views(t, t->out, there.out, MMREC_MAX_OUT);
    move_views(t, t->saved, there.saved, MMREC_MAX_SAVED);
    move_views(t, t->d_in, there.d_in, MMREC_MAX_IN);
    move_views(t, t->d_out, there.d_out, MMREC_MAX_OUT);
    const tensor *scratch = &t->scratch[pass];
    if (there.scratch)
        there.scratch = t->device + scratch->device_at + ((char *)scratch->view.data - (char *)scratch->memory);
    return there;
}

static void hash_written(harness *h, const tensor *list, int count) {
    for (int i = 0; i < count; i++) {
        for (size_t k = 0; k < list[i].bytes && list[i].memory; k++)
            h->hash = (h->hash ^ list[i].memory[k]) * 1099511628211u;
    }
}

mmrec_status device_run(harness *h, trial *t, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_backend *backend = t->subject->backend;
    mmrec_op_call there = moved(t, pass, call);
    there.seed_at = backend->device->seed_at;
    trial_each(h, t, copy_in);
    mmrec_status status = backend->device->seed(call->seed, error);
    if (status == MMREC_OK) status = backend->run(t->subject->op, pass, &there, error);
    if (status == MMREC_OK) status = backend->synchronize(error);
    trial_each(h, t, copy_out);
    hash_written(h, pass == MMREC_FORWARD ? t->out : t->d_in, pass == MMREC_FORWARD ? MMREC_MAX_OUT : MMREC_MAX_IN);
    if (pass == MMREC_FORWARD) hash_written(h, t->saved, MMREC_MAX_SAVED);
    return status;
}
