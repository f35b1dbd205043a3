/* A device takes a call only if every argument has the type that the op declares for what the call stores: each in turn
 * comes as another one, and must be refused by the op's name before anything runs. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

typedef mmrec_dtype (*dtype_rule)(const mmrec_arg *arg, mmrec_dtype storage);

/* A list of arguments of a call. */
typedef struct typed_list {
    const char *kind;
    const mmrec_arg *args;
    mmrec_view *views;
    dtype_rule rule;
} typed_list;

static bool follows(const typed_list *list, int i) {
    return list->views[i].data && list->rule(&list->args[i], MMREC_BF16) == MMREC_BF16;
}

static int count_followers(const typed_list *lists, int count) {
    int followers = 0;
    for (int l = 0; l < count; l++) {
        for (int i = 0; lists[l].args[i].name; i++) followers += follows(&lists[l], i);
    }
    return followers;
}

static void check_refused(harness *h, trial *t, mmrec_pass pass, const mmrec_op_call *call, const char *kind,
                          const char *name) {
    mmrec_error error = {0};
    mmrec_status status = device_run(h, t, pass, call, &error);
    size_t length = strlen(t->subject->def->name);
    bool named = strncmp(error.message, t->subject->def->name, length) == 0 && error.message[length] == ':';
    harness_check(h, status == MMREC_UNSUPPORTED && named, "%s %s of a wrong type gives %s: %s", kind, name,
                  mmrec_status_name(status), error.message);
}

static void check_pass(harness *h, trial *t, mmrec_pass pass) {
    const mmrec_op_def *def = t->subject->def;
    mmrec_op_call call = trial_call(t, pass);
    const typed_list lists[] = {{"input", def->in, call.in, mmrec_arg_dtype},
                                {"output", def->out, call.out, mmrec_arg_dtype},
                                {"saved tensor", def->saved, call.saved, mmrec_arg_dtype},
                                {"gradient of output", def->out, call.d_out, mmrec_arg_gradient_dtype},
                                {"gradient of", def->in, call.d_in, mmrec_arg_gradient_dtype}};
    const int count = (int)(sizeof lists / sizeof *lists), followers = count_followers(lists, count);
    for (int l = 0; l < count; l++) {
        for (int i = 0; lists[l].args[i].name; i++) {
            mmrec_view *view = &lists[l].views[i];
            /* The only one that follows what the call stores says what that is. */
            if (!view->data || (follows(&lists[l], i) && followers == 1)) continue;
            mmrec_dtype right = view->dtype;
            view->dtype = right == MMREC_F32 ? MMREC_BF16 : MMREC_F32;
            check_refused(h, t, pass, &call, lists[l].kind, lists[l].args[i].name);
            view->dtype = right;
        }
    }
}

void check_types(harness *h, const subject *device) {
    trial t;
    h->sample = device->def->samples[0];
    snprintf(h->where, sizeof h->where, "%s, types", device->name);
    if (trial_open(h, &t, device, MMREC_ON_DEVICE, 0)) {
        check_pass(h, &t, MMREC_FORWARD);
        if (differentiable_inputs(device->def, &t.sizes)) check_pass(h, &t, MMREC_BACKWARD);
    }
    trial_close(h, &t);
}
