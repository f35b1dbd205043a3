/* Gradient flow: what the gradient of each parameter looks like after a step. */
#include <math.h>

#include "trainer_impl.h"

const char *mmrec_gradient_state_name(mmrec_gradient_state state) {
    static const char *const names[MMREC_GRADIENT_STATES] = {"flows", "zero", "missing", "not finite"};
    return (unsigned)state < MMREC_GRADIENT_STATES ? names[state] : "?";
}

int mmrec_trainer_gradient_count(const mmrec_trainer *t) { return (int)t->param_count; }

/* What is counted of a tensor, piece by piece. */
typedef struct tally {
    int64_t zeros, not_finite;
    double squares; /* of the finite elements */
} tally;

static void count_piece(const double *values, int64_t count, tally *sum) {
    for (int64_t i = 0; i < count; i++) {
        bool finite = isfinite(values[i]);
        sum->zeros += values[i] == 0;
        sum->not_finite += !finite;
        if (finite) sum->squares += values[i] * values[i];
    }
}

static mmrec_status count_tensor(mmrec_trainer *t, mmrec_tensor tensor, tally *sum, mmrec_error *error) {
    mmrec_view view = mmrec_exec_view(t->net.exec, tensor);
    int64_t all = mmrec_shape_elements(&view.shape);
    *sum = (tally){0};
    for (int64_t first = 0; first < all; first += TRAIN_PIECE) {
        int64_t count = all - first < TRAIN_PIECE ? all - first : TRAIN_PIECE;
        mmrec_view part = flat_part(view, first, mmrec_shape1(count));
        MMREC_TRY(mmrec_exec_read_view(t->net.exec, &part, t->piece, error));
        count_piece(t->piece, count, sum);
    }
    return MMREC_OK;
}

/* Steps from the first look in a row that found nothing but zeros. */
static int64_t dead_steps(mmrec_trainer *t, train_param *param, bool zero) {
    if (!zero)
        param->zero_since = 0;
    else if (param->zero_since == 0)
        param->zero_since = t->totals.steps;
    return zero ? t->totals.steps - param->zero_since + 1 : 0;
}

/* A first memory of a stream gets its gradient from outside of the graph, where an epoch begins: then it flows. */
static mmrec_gradient_state state_of(const mmrec_trainer *t, const train_param *param, const tally *gradient) {
    if (gradient->not_finite) return MMREC_GRADIENT_NOT_FINITE;
    if (gradient->zeros < param->count) return MMREC_GRADIENT_FLOWS;
    return mmrec_graph_unreached(t->net.graph, param->tensor) ? MMREC_GRADIENT_MISSING : MMREC_GRADIENT_ZERO;
}

static mmrec_status look(mmrec_trainer *t, train_param *param, mmrec_gradient_stat *out, mmrec_error *error) {
    tally gradient, value;
    MMREC_TRY(count_tensor(t, param->gradient, &gradient, error));
    MMREC_TRY(count_tensor(t, param->tensor, &value, error));
    *out = (mmrec_gradient_stat){.name = param->name,
                                 .count = param->count,
                                 .zeros = gradient.zeros,
                                 .not_finite = gradient.not_finite,
                                 .norm = sqrt(gradient.squares),
                                 .parameter_norm = sqrt(value.squares)};
    out->state = state_of(t, param, &gradient);
    out->dead_steps = dead_steps(t, param, gradient.zeros == param->count);
    return MMREC_OK;
}

mmrec_status mmrec_trainer_gradients(mmrec_trainer *t, mmrec_gradient_stat *out, mmrec_error *error) {
    if (t->totals.steps == 0) {
        MMREC_FAIL(error, MMREC_CONFIG, "there are no gradients to look at before the first step is made");
    }
    for (int64_t i = 0; i < t->param_count; i++) {
        MMREC_TRY_WHILE(look(t, &t->params[i], &out[i], error), error, "looking at the gradient of %s",
                        t->params[i].name);
    }
    return MMREC_OK;
}
