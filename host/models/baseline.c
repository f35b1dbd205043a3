/* What the models that MM-Rec is compared with share. */
#include "baseline.h"

#include <math.h>
#include <stdio.h>

/* ---- a run ---- */

static mmrec_status refuse(const mmrec_abilities *can, const char *what, mmrec_error *error) {
    MMREC_FAIL(error, MMREC_CONFIG, "model %s has no %s; run it without", can->model, what);
}

bool mmrec_baseline_loss(const mmrec_model_run *run) { return run->loss || (run->gradient && !run->seeded); }

static mmrec_status check_loss(const mmrec_model_run *run, const mmrec_abilities *can, mmrec_error *error) {
    if (run->seeded && run->loss) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "gradients of model %s are to start from seeds and from a loss; choose one of them", can->model);
    }
    if (!mmrec_baseline_loss(run) || can->loss) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "model %s has no loss%s%s%s", can->model,
               run->gradient ? " that gradients could start from" : "", can->to_have_loss ? "; to have one " : "",
               can->to_have_loss ? can->to_have_loss : "");
}

mmrec_status mmrec_baseline_check(const mmrec_model_run *run, const mmrec_abilities *can, mmrec_error *error) {
    if (run->carried && !can->carried) return refuse(can, "state that could be carried", error);
    if (run->masked && !can->masked) return refuse(can, "input that hides tokens (masked)", error);
    if (run->seeded && !can->seeded) return refuse(can, "seeded gradients, only those of its loss", error);
    if (run->growth) return refuse(can, "multipliers of h (growth)", error);
    if (run->state_gradient) return refuse(can, "gradients of carried memory", error);
    if (run->part != MMREC_LOSS_ALL) return refuse(can, "loss of several parts", error);
    return check_loss(run, can, error);
}

void mmrec_baseline_scope(mmrec_graph *graph, const char *what, int layer) {
    char prefix[40];
    snprintf(prefix, sizeof prefix, "%s.%d.", what, layer);
    mmrec_graph_scope(graph, layer, prefix);
}

/* More ends than there is room for can only be a mistake in a model. */
static bool has_room(mmrec_baseline *model, int count) {
    if (count < MMREC_BASELINE_ENDS) return true;
    mmrec_graph_refuse(model->graph, MMREC_INTERNAL, "a model has more than %d results or inputs", MMREC_BASELINE_ENDS);
    return false;
}

mmrec_tensor mmrec_baseline_input(mmrec_baseline *model, const char *name, mmrec_shape shape) {
    mmrec_tensor input = mmrec_graph_input(model->graph, name, MMREC_F32, shape);
    if (input && model->run->input_gradient && has_room(model, model->wanted_count)) {
        model->wanted[model->wanted_count++] = input;
    }
    return input;
}

static void add_seed(mmrec_baseline *model, mmrec_seed seed) {
    if (seed.tensor && has_room(model, model->seed_count)) model->seeds[model->seed_count++] = seed;
}

void mmrec_baseline_result(mmrec_baseline *model, mmrec_tensor tensor, const char *name) {
    mmrec_graph_keep(model->graph, tensor, name);
    if (model->run->seeded) add_seed(model, (mmrec_seed){.tensor = tensor});
}

void mmrec_baseline_keep_loss(mmrec_baseline *model, mmrec_tensor loss) {
    mmrec_graph_keep(model->graph, loss, "loss");
    add_seed(model, (mmrec_seed){.tensor = loss, .value = 1});
}

void mmrec_baseline_class_loss(mmrec_baseline *model, mmrec_tensor scores) {
    if (!scores) return;
    mmrec_shape shape = mmrec_graph_tensor_info(model->graph, scores).shape;
    shape.dim[--shape.ndim] = 0;
    mmrec_tensor targets = mmrec_graph_input(model->graph, "targets", MMREC_I32, shape);
    mmrec_baseline_keep_loss(model, mmrec_add2(model->graph, MMREC_OP_cross_entropy, scores, targets));
}

/* The input "d.<name of the result>". */
static void add_seed_input(mmrec_baseline *model, mmrec_seed *seed) {
    char name[168];
    mmrec_tensor_info info = mmrec_graph_tensor_info(model->graph, seed->tensor);
    snprintf(name, sizeof name, "d.%s", info.name);
    seed->gradient = mmrec_graph_input(model->graph, name, MMREC_F32, info.shape);
}

mmrec_status mmrec_baseline_finish(mmrec_baseline *model, mmrec_error *error) {
    const mmrec_model_run *run = model->run;
    MMREC_TRY(mmrec_graph_status(model->graph, error));
    if (!run->gradient) return MMREC_OK;
    mmrec_graph_scope(model->graph, -1, "");
    for (int i = 0; run->seeded && i < model->seed_count; i++) add_seed_input(model, &model->seeds[i]);
    return mmrec_graph_differentiate(model->graph, model->seeds, model->seed_count, model->wanted, model->wanted_count,
                                     run->recompute, error);
}

/* ---- parameters by their initial values ---- */

mmrec_affine mmrec_usual_param(mmrec_graph *graph, const char *name, int64_t out, int64_t in) {
    mmrec_initial initial = mmrec_initial_uniform(1 / sqrt((double)in));
    return mmrec_affine_drawn(graph, name, out, in, initial, initial);
}

double mmrec_xavier_bound(int64_t out, int64_t in) { return sqrt(6 / ((double)out + (double)in)); }

mmrec_affine mmrec_xavier_param(mmrec_graph *graph, const char *name, int64_t out, int64_t in) {
    return mmrec_affine_drawn(graph, name, out, in, mmrec_initial_uniform(mmrec_xavier_bound(out, in)),
                              mmrec_initial_constant(0));
}

mmrec_affine mmrec_norm_param(mmrec_graph *graph, const char *name, int64_t width) {
    char text[64];
    mmrec_affine norm;
    snprintf(text, sizeof text, "%s.weight", name);
    norm.weight = mmrec_param(graph, text, mmrec_shape1(width), mmrec_initial_constant(1));
    snprintf(text, sizeof text, "%s.bias", name);
    norm.bias = mmrec_param(graph, text, mmrec_shape1(width), mmrec_initial_constant(0));
    return norm;
}

mmrec_tensor mmrec_norm_apply(mmrec_graph *graph, mmrec_affine norm, mmrec_tensor x) {
    mmrec_node_spec spec = {.in = {x, norm.weight, norm.bias}};
    return mmrec_graph_add(graph, MMREC_OP_layernorm, spec);
}

/* ---- attention ---- */

mmrec_tensor mmrec_attend_add(mmrec_graph *graph, mmrec_tensor query, mmrec_tensor key, mmrec_tensor value,
                              mmrec_attend how) {
    mmrec_node_spec spec = {.in = {query, key, value, how.visible},
                            .attr = {(double)how.heads, how.causal, how.drop.p, (double)how.drop.stream},
                            .attr_set = 15};
    return mmrec_graph_add(graph, MMREC_OP_attention, spec);
}

mmrec_self_attention mmrec_self_attention_param(mmrec_graph *graph, int64_t width) {
    mmrec_self_attention map;
    map.qkv = mmrec_xavier_param(graph, "attention.qkv", 3 * width, width);
    map.out = mmrec_affine_drawn(graph, "attention.out", width, width, mmrec_initial_uniform(1 / sqrt((double)width)),
                                 mmrec_initial_constant(0));
    return map;
}

mmrec_tensor mmrec_self_attention_apply(mmrec_graph *graph, const mmrec_self_attention *map, mmrec_tensor x,
                                        mmrec_attend how) {
    mmrec_tensor all = mmrec_affine_apply(graph, map->qkv, x), part[3] = {0};
    if (!all) return 0;
    mmrec_shape shape = mmrec_graph_tensor_info(graph, all).shape;
    int64_t width = mmrec_shape_columns(&shape) / 3;
    for (int i = 0; i < 3; i++) part[i] = mmrec_graph_columns(graph, all, i * width, width);
    return mmrec_affine_apply(graph, map->out, mmrec_attend_add(graph, part[0], part[1], part[2], how));
}

/* ---- recurrent layers ---- */

int64_t mmrec_rnn_gates(mmrec_cell cell) { return cell == MMREC_CELL_LSTM ? 4 : 3; }

mmrec_rnn_initial mmrec_rnn_usual(int64_t hidden) {
    mmrec_initial all = mmrec_initial_uniform(1 / sqrt((double)hidden));
    return (mmrec_rnn_initial){all, all, all};
}

static mmrec_tensor rnn_tensor(mmrec_graph *graph, const char *prefix, const char *name, int layer, mmrec_shape shape,
                               mmrec_initial initial) {
    char text[64];
    snprintf(text, sizeof text, "%s%s_l%d", prefix, name, layer);
    return mmrec_param(graph, text, shape, initial);
}

mmrec_rnn_weights mmrec_rnn_param(mmrec_graph *graph, mmrec_cell cell, const char *prefix, int layer, int64_t inputs,
                                  int64_t hidden, const mmrec_rnn_initial *initial) {
    int64_t rows = mmrec_rnn_gates(cell) * hidden;
    mmrec_rnn_weights w = {.cell = cell};
    w.weight_ih = rnn_tensor(graph, prefix, "weight_ih", layer, mmrec_shape2(rows, inputs), initial->weight_ih);
    w.weight_hh = rnn_tensor(graph, prefix, "weight_hh", layer, mmrec_shape2(rows, hidden), initial->weight_hh);
    w.bias_ih = rnn_tensor(graph, prefix, "bias_ih", layer, mmrec_shape1(rows), initial->bias);
    w.bias_hh = rnn_tensor(graph, prefix, "bias_hh", layer, mmrec_shape1(rows), initial->bias);
    return w;
}

enum { OUT_H_LAST = 1, OUT_C_LAST };

void mmrec_rnn_add(mmrec_graph *graph, const mmrec_rnn_weights *w, mmrec_rnn_pass *pass) {
    bool lstm = w->cell == MMREC_CELL_LSTM, last = pass->last || pass->state;
    mmrec_node_spec spec = {.attr = {(double)pass->steps}, .attr_set = 1};
    int used = 0;
    spec.in[used++] = pass->x;
    spec.in[used++] = pass->h0;
    if (lstm) spec.in[used++] = pass->c0;
    spec.in[used++] = w->weight_ih;
    spec.in[used++] = w->weight_hh;
    spec.in[used++] = w->bias_ih;
    spec.in[used++] = w->bias_hh;
    if (!last) spec.skip |= 1u << OUT_H_LAST;
    if (lstm && !pass->state) spec.skip |= 1u << OUT_C_LAST;
    pass->y = mmrec_graph_add(graph, lstm ? MMREC_OP_lstm : MMREC_OP_gru, spec);
    pass->h_last = last ? mmrec_graph_result(graph, OUT_H_LAST) : 0;
    pass->c_last = lstm && pass->state ? mmrec_graph_result(graph, OUT_C_LAST) : 0;
}

mmrec_tensor mmrec_dropout_add(mmrec_graph *graph, mmrec_tensor x, mmrec_drop drop) {
    mmrec_node_spec spec = {.in = {x}, .attr = {drop.p, (double)drop.stream}, .attr_set = 3};
    return drop.p > 0 ? mmrec_graph_add(graph, MMREC_OP_dropout, spec) : x;
}
