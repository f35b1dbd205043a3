/* The angle between the gradients of the main and of the auxiliary loss. */
#include <math.h>

#include "trainer_impl.h"

enum { MAIN, AUX, PARTS };

/* Sums of products of the two gradients of one parameter, or of all. */
typedef struct products {
    double main, aux, both;
} products;

static mmrec_status run_part(mmrec_trainer *t, int part, mmrec_error *error) {
    static const mmrec_loss_part parts[PARTS] = {MMREC_LOSS_MAIN, MMREC_LOSS_AUX};
    train_use use = {.gradient = true, .part = parts[part], .params_from = t->net.exec};
    train_net *net = &t->part[part];
    if (!net->exec) MMREC_TRY(train_net_create(t, &use, net, error));
    MMREC_TRY(train_feed(t, net, t->batch.ids, t->batch.targets, NULL, error));
    MMREC_TRY(mmrec_exec_run(net->exec, MMREC_PHASE_FORWARD, error));
    return mmrec_exec_run(net->exec, MMREC_PHASE_BACKWARD, error);
}

/* A piece of the gradient of one parameter, from both graphs: half of the room each. */
static mmrec_status add_piece(mmrec_trainer *t, const train_param *param, int64_t first, int64_t count, products *sum,
                              mmrec_error *error) {
    const double *values[PARTS];
    for (int i = 0; i < PARTS; i++) {
        const train_net *net = &t->part[i];
        mmrec_tensor gradient = mmrec_graph_gradient(net->graph, mmrec_graph_find(net->graph, param->name));
        mmrec_view part = flat_part(mmrec_exec_view(net->exec, gradient), first, mmrec_shape1(count));
        double *to = t->piece + i * (TRAIN_PIECE / PARTS);
        MMREC_TRY(mmrec_exec_read_view(net->exec, &part, to, error));
        values[i] = to;
    }
    for (int64_t i = 0; i < count; i++) {
        sum->main += values[MAIN][i] * values[MAIN][i];
        sum->aux += values[AUX][i] * values[AUX][i];
        sum->both += values[MAIN][i] * values[AUX][i];
    }
    return MMREC_OK;
}

static mmrec_status multiply(mmrec_trainer *t, const train_param *param, products *sum, mmrec_error *error) {
    const int64_t room = TRAIN_PIECE / PARTS;
    *sum = (products){0};
    for (int64_t first = 0; first < param->count; first += room) {
        int64_t count = param->count - first < room ? param->count - first : room;
        MMREC_TRY(add_piece(t, param, first, count, sum, error));
    }
    return MMREC_OK;
}

/* `common`: over the parameters that both gradients reach. */
static mmrec_status measure(mmrec_trainer *t, mmrec_gradient_angle *out, mmrec_error *error) {
    products all = {0}, common = {0};
    for (int64_t i = 0; i < t->param_count; i++) {
        products one;
        MMREC_TRY(multiply(t, &t->params[i], &one, error));
        all.main += one.main;
        all.aux += one.aux;
        if (one.main == 0 || one.aux == 0) continue;
        common.main += one.main;
        common.aux += one.aux;
        common.both += one.both;
    }
    out->main_norm = sqrt(all.main);
    out->aux_norm = sqrt(all.aux);
    out->cosine = common.main > 0 && common.aux > 0 ? common.both / (sqrt(common.main) * sqrt(common.aux)) : NAN;
    return MMREC_OK;
}

static mmrec_status run(mmrec_trainer *t, mmrec_gradient_angle *out, mmrec_error *error) {
    bool held_out = mmrec_data_info_of(t->data)->held_out_batches > 0;
    MMREC_TRY(train_need_batch(t, error));
    mmrec_data_batch(t->data, held_out ? MMREC_SPLIT_HELD_OUT : MMREC_SPLIT_TRAIN, 0, t->batch.ids, t->batch.targets,
                     NULL);
    for (int i = 0; i < PARTS; i++) MMREC_TRY(run_part(t, i, error));
    return measure(t, out, error);
}

mmrec_status mmrec_trainer_angle(mmrec_trainer *t, mmrec_gradient_angle *out, mmrec_error *error) {
    if (!t->net.loss_aux) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "there is no auxiliary loss whose gradient could be compared: uboo is %s, layers %lld",
                   mmrec_uboo_name(t->config.model.uboo), (long long)t->config.model.layers);
    }
    MMREC_TRY_WHILE(run(t, out, error), error, "comparing the gradients of the two losses");
    return MMREC_OK;
}
