/* The types of a call's arguments: do its views have those that the op declares? */
#include "mmrec/op.h"

typedef mmrec_dtype (*dtype_rule)(const mmrec_arg *arg, mmrec_dtype storage);

/* One list of a call. */
typedef struct typed_list {
    const char *kind;
    const mmrec_arg *args;
    const mmrec_view *views;
    dtype_rule rule;
} typed_list;

enum { LISTS = 5 };

static void lists_of(const mmrec_op_def *def, const mmrec_op_call *call, typed_list lists[LISTS]) {
    lists[0] = (typed_list){"", def->in, call->in, mmrec_arg_dtype};
    lists[1] = (typed_list){"", def->out, call->out, mmrec_arg_dtype};
    lists[2] = (typed_list){"", def->saved, call->saved, mmrec_arg_dtype};
    lists[3] = (typed_list){"the gradient of ", def->out, call->d_out, mmrec_arg_gradient_dtype};
    lists[4] = (typed_list){"the gradient of ", def->in, call->d_in, mmrec_arg_gradient_dtype};
}

/* What the call stores: the type of the first argument that has no other one of its own. */
static mmrec_dtype storage_of(const typed_list lists[LISTS]) {
    for (int l = 0; l < LISTS; l++) {
        for (int i = 0; lists[l].args[i].name; i++) {
            bool follows = lists[l].rule(&lists[l].args[i], MMREC_BF16) == MMREC_BF16;
            if (follows && lists[l].views[i].data) return lists[l].views[i].dtype;
        }
    }
    return MMREC_F32;
}

mmrec_status mmrec_op_check_types(const mmrec_op_def *def, const mmrec_op_call *call, mmrec_error *error) {
    typed_list lists[LISTS];
    lists_of(def, call, lists);
    mmrec_dtype storage = storage_of(lists);
    for (int l = 0; l < LISTS; l++) {
        for (int i = 0; lists[l].args[i].name; i++) {
            mmrec_dtype wanted = lists[l].rule(&lists[l].args[i], storage), got = lists[l].views[i].dtype;
            if (!lists[l].views[i].data || got == wanted) continue;
            MMREC_FAIL(error, MMREC_UNSUPPORTED, "%s: %s%s is %s, in a call that stores %s it must be %s", def->name,
                       lists[l].kind, lists[l].args[i].name, mmrec_dtype_name(got), mmrec_dtype_name(storage),
                       mmrec_dtype_name(wanted));
        }
    }
    return MMREC_OK;
}
