/* Model nsm-simple: one gated step of a set of states, then attention among them; once, or over time. The mathematics
 * in words: docs/baselines.md. With sequence off there is no time: a run's is not read.
 *
 * A gate is a linear map of [s ; u], the states and the input. It comes in two halves here, which the refresh phase
 * takes out of its weight: the input half of all gates is one product with a row for each sample, for all steps at
 * once, and the state half of the gates that meet the states as they are one product, at the first step with a row for
 * each state and none for the samples. That is exact; at 784, 128, 16, 10 it leaves 3.09 of 5.62 MFLOP a sample. */
#include <math.h>
#include <stdio.h>

#include "nsm_steps.h"
#include "transformer.h"

enum { GATES_MAX = 4, STATE_HALF = 0, INPUT_HALF = 1 };

/* Every step is nodes of its own: near 20 in the graph with their gradients. */
enum { STEPS_MAX = 4096 };

/* In the order of columns of the ops; the candidate last. */
static const char *const gate_names[][GATES_MAX] = {
    [MMREC_CELL_LSTM] = {"forget", "input", "output", "candidate"},
    [MMREC_CELL_GRU] = {"reset", "update", "candidate"},
};
static const int gate_counts[] = {[MMREC_CELL_LSTM] = 4, [MMREC_CELL_GRU] = 3};
/* Gates whose state half meets the states as they are: gru's candidate meets those after the reset. */
static const int bare_counts[] = {[MMREC_CELL_LSTM] = 4, [MMREC_CELL_GRU] = 2};

typedef struct nsm {
    mmrec_graph *graph;
    const mmrec_nsm_config *config;
    const mmrec_model_run *run;
    mmrec_tensor x, start; /* the states before the first step: the caller's, or the parameter `initial` */
    mmrec_affine input, norm, head;
    mmrec_self_attention attention;
    mmrec_affine inputs;    /* input halves of all gates (G D, D) and their biases */
    mmrec_tensor states;    /* state halves of those that meet the states as they are */
    mmrec_tensor candidate; /* state half of gru's candidate */
} nsm;

/* ---- parameters ---- */

/* Half of a gate's weight, into rows of a stack or a tensor of its own. */
static mmrec_tensor take_half(mmrec_graph *graph, mmrec_tensor weight, int half, int64_t dim, mmrec_tensor into) {
    mmrec_node_spec spec = {.in = {weight}, .into = {into}, .attr = {(double)(half * dim), (double)dim}, .attr_set = 3};
    mmrec_graph_phase(graph, MMREC_PHASE_REFRESH);
    mmrec_tensor taken = mmrec_graph_add(graph, MMREC_OP_columns, spec);
    mmrec_graph_phase(graph, MMREC_PHASE_FORWARD);
    return taken;
}

/* Gate number `i`: its weight, whose halves go where they are multiplied, and its bias, which stands there. */
static void declare_gate(nsm *m, int i) {
    int64_t dim = m->config->dim;
    mmrec_shape square = mmrec_shape2(dim, dim);
    mmrec_initial usual = mmrec_initial_uniform(1 / sqrt(2 * (double)dim));
    const char *gate = gate_names[m->config->gate][i];
    char name[40];
    snprintf(name, sizeof name, "gate.%s.weight", gate);
    mmrec_tensor weight = mmrec_param(m->graph, name, mmrec_shape2(dim, 2 * dim), usual);
    snprintf(name, sizeof name, "gate.%s.bias", gate);
    mmrec_tensor bias = mmrec_graph_stack_param(m->graph, m->inputs.bias, i * dim, name, mmrec_shape1(dim));
    mmrec_graph_initial(m->graph, bias, usual);
    take_half(m->graph, weight, INPUT_HALF, dim,
              mmrec_graph_stack_value(m->graph, m->inputs.weight, i * dim * dim, square));
    if (i < bare_counts[m->config->gate]) {
        take_half(m->graph, weight, STATE_HALF, dim,
                  mmrec_graph_stack_value(m->graph, m->states, i * dim * dim, square));
    } else {
        m->candidate = take_half(m->graph, weight, STATE_HALF, dim, 0);
    }
}

static void declare_gates(nsm *m) {
    int64_t dim = m->config->dim;
    int gates = gate_counts[m->config->gate];
    m->inputs.weight = mmrec_graph_stack(m->graph, "gates.input", mmrec_shape2(gates * dim, dim));
    m->inputs.bias = mmrec_graph_stack(m->graph, "gates.bias", mmrec_shape1(gates * dim));
    m->states = mmrec_graph_stack(m->graph, "gates.state", mmrec_shape2(bare_counts[m->config->gate] * dim, dim));
    for (int i = 0; i < gates; i++) declare_gate(m, i);
}

static void declare(nsm *m) {
    const mmrec_nsm_config *c = m->config;
    double deviation = c->sequence == MMREC_NSM_OFF ? 1 : 0.1;
    m->input = mmrec_usual_param(m->graph, "input", c->dim, c->inputs);
    m->start = mmrec_param(m->graph, "initial", mmrec_shape2(c->states, c->dim), mmrec_initial_normal(deviation));
    declare_gates(m);
    m->attention = mmrec_self_attention_param(m->graph, c->dim);
    m->norm = mmrec_norm_param(m->graph, "norm", c->dim);
    m->head = mmrec_usual_param(m->graph, "head", c->outputs, c->states * c->dim);
}

/* ---- one step ---- */

/* New states (B,S,D) from states s, (S,D) or (B,S,D), and the input halves u (B, G D) of the gates. */
static mmrec_tensor gated_step(const nsm *m, mmrec_tensor s, mmrec_tensor u) {
    mmrec_tensor a = mmrec_add2(m->graph, MMREC_OP_linear, s, m->states);
    mmrec_node_spec bare = {.in = {a, u, s}};
    if (m->config->gate == MMREC_CELL_LSTM) return mmrec_graph_add(m->graph, MMREC_OP_nsm_lstm, bare);
    mmrec_tensor kept = mmrec_graph_add(m->graph, MMREC_OP_nsm_reset, bare);
    mmrec_tensor n = mmrec_add2(m->graph, MMREC_OP_linear, kept, m->candidate);
    mmrec_node_spec update = {.in = {a, u, n, s}};
    return mmrec_graph_add(m->graph, MMREC_OP_nsm_update, update);
}

/* The step, and LN(s1 + MHA(s1)). */
static mmrec_tensor propagate(const nsm *m, mmrec_tensor s, mmrec_tensor u) {
    mmrec_tensor s1 = gated_step(m, s, u);
    mmrec_attend how = {.heads = m->config->heads};
    mmrec_term sum[] = {{s1, 1}, {mmrec_self_attention_apply(m->graph, &m->attention, s1, how), 1}};
    return mmrec_norm_apply(m->graph, m->norm, mmrec_add_sum(m->graph, sum, 2));
}

/* linear(flatten(s); head) */
static mmrec_tensor read_out(const nsm *m, mmrec_tensor s) {
    mmrec_shape flat = mmrec_shape2(m->run->batch, m->config->states * m->config->dim);
    return mmrec_affine_apply(m->graph, m->head, mmrec_graph_reshape(m->graph, s, flat));
}

/* The input halves of all gates, of all steps where there are some. */
static mmrec_tensor input_halves(const nsm *m) {
    return mmrec_affine_apply(m->graph, m->inputs, mmrec_affine_apply(m->graph, m->input, m->x));
}

/* ---- over time ---- */

static mmrec_tensor halves_at(const nsm *m, mmrec_tensor all, int64_t t) {
    mmrec_node_spec spec = {.in = {all}, .attr = {(double)t, 1}, .attr_set = 3};
    mmrec_shape row = mmrec_shape2(m->run->batch, gate_counts[m->config->gate] * m->config->dim);
    return mmrec_graph_reshape(m->graph, mmrec_graph_add(m->graph, MMREC_OP_take_steps, spec), row);
}

/* What the steps leave behind. */
typedef struct history {
    mmrec_steps_sum mean;
    mmrec_steps_join y, states;
    bool states_wanted; /* a result to look at: B T S D values that training does not need */
} history;

static void remember(const nsm *m, history *past, mmrec_tensor s) {
    mmrec_shape flat = mmrec_shape2(m->run->batch, m->config->states * m->config->dim);
    if (m->config->sequence == MMREC_NSM_MEAN) {
        mmrec_steps_sum_add(m->graph, &past->mean, s, 1 / (double)m->run->time);
    }
    if (m->config->sequence == MMREC_NSM_ALL) mmrec_steps_join_add(m->graph, &past->y, read_out(m, s));
    if (past->states_wanted) {
        mmrec_steps_join_add(m->graph, &past->states, mmrec_graph_reshape(m->graph, s, flat));
    }
}

/* The head is affine: that of the mean of the states is the mean of those of the steps. */
static mmrec_tensor sequence_result(const nsm *m, history *past, mmrec_tensor last) {
    mmrec_shape steps = mmrec_shape3(m->run->batch, m->run->time, m->config->outputs);
    switch (m->config->sequence) {
    case MMREC_NSM_MEAN:
        return read_out(m, mmrec_steps_sum_end(m->graph, &past->mean));
    case MMREC_NSM_ALL:
        return mmrec_graph_reshape(m->graph, mmrec_steps_join_end(m->graph, &past->y), steps);
    default:
        return read_out(m, last);
    }
}

static void keep_states(const nsm *m, history *past) {
    const mmrec_nsm_config *c = m->config;
    mmrec_shape shape = {4, {m->run->batch, m->run->time, c->states, c->dim}};
    if (!past->states_wanted) return;
    mmrec_tensor all = mmrec_steps_join_end(m->graph, &past->states);
    mmrec_graph_keep(m->graph, mmrec_graph_reshape(m->graph, all, shape), "states");
}

/* Steps are layers of the graph, so that recomputation keeps nothing of a step but its states. */
static mmrec_tensor run_sequence(const nsm *m) {
    history past = {.states_wanted = m->run->seeded || !m->run->gradient};
    mmrec_tensor all = input_halves(m), s = m->start;
    for (int64_t t = 0; t < m->run->time; t++) {
        mmrec_graph_scope(m->graph, (int)t, "");
        s = propagate(m, s, halves_at(m, all, t));
        mmrec_graph_scope(m->graph, -1, "");
        remember(m, &past, s);
    }
    keep_states(m, &past);
    return sequence_result(m, &past, s);
}

static mmrec_tensor run_once(const nsm *m) {
    mmrec_tensor u = input_halves(m);
    mmrec_graph_scope(m->graph, 0, "");
    mmrec_tensor s = propagate(m, m->start, u);
    mmrec_graph_scope(m->graph, -1, "");
    mmrec_graph_keep(m->graph, s, "states");
    return read_out(m, s);
}

/* ---- the model ---- */

static mmrec_status check_time(const mmrec_nsm_config *c, const mmrec_model_run *run, mmrec_error *error) {
    if (c->sequence == MMREC_NSM_OFF || run->time <= STEPS_MAX) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "time is %lld, but nsm-simple makes nodes for every step: give at most %d",
               (long long)run->time, STEPS_MAX);
}

static mmrec_status build(const void *settings, const mmrec_model_run *run, mmrec_graph *graph, mmrec_error *error) {
    const mmrec_nsm_config *c = settings;
    const mmrec_abilities can = {.model = "nsm-simple", .carried = true, .seeded = true, .loss = true};
    bool once = c->sequence == MMREC_NSM_OFF;
    MMREC_TRY(mmrec_baseline_check(run, &can, error));
    MMREC_TRY(check_time(c, run, error));
    mmrec_baseline ends = {.graph = graph, .run = run};
    nsm m = {.graph = graph, .config = c, .run = run};
    mmrec_graph_scope(graph, -1, "");
    m.x = mmrec_baseline_input(
        &ends, "x", once ? mmrec_shape2(run->batch, c->inputs) : mmrec_shape3(run->batch, run->time, c->inputs));
    declare(&m);
    if (run->carried) m.start = mmrec_baseline_input(&ends, "s0", mmrec_shape3(run->batch, c->states, c->dim));
    mmrec_tensor y = once ? run_once(&m) : run_sequence(&m);
    mmrec_baseline_result(&ends, y, "y");
    if (mmrec_baseline_loss(run)) mmrec_baseline_class_loss(&ends, y);
    return mmrec_baseline_finish(&ends, error);
}

#define WHOLE(member, standard, help) MMREC_WHOLE(mmrec_nsm_config, member, standard, 1, MMREC_SIZE_LIMIT, help)
static const mmrec_model_field fields[] = {
    WHOLE(inputs, "784", "width I of x"),
    WHOLE(dim, "128", "width D of a state"),
    WHOLE(states, "16", "states S"),
    WHOLE(outputs, "10", "outputs O"),
    MMREC_WORD(mmrec_nsm_config, gate, "gru", "lstm|gru", "form of the gated step"),
    WHOLE(heads, "4", "attention heads, a divisor of D"),
    MMREC_WORD(mmrec_nsm_config, sequence, "off", "off|last|mean|all", "one step, or which steps over time are read"),
    {0},
};
#undef WHOLE

static void scale(void *config, int64_t width) {
    mmrec_nsm_config *c = config;
    c->dim = width;
    c->heads = mmrec_heads_for(width, c->heads);
}

static mmrec_status check(const void *config, mmrec_error *error) {
    const mmrec_nsm_config *c = config;
    MMREC_TRY(mmrec_transformer_check(c->heads, c->dim, error));
    if (c->states * c->dim <= MMREC_SIZE_LIMIT) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "states times dim is %lld, the width of what the head reads; it may be at most %d",
               (long long)(c->states * c->dim), MMREC_SIZE_LIMIT);
}

const mmrec_model_def mmrec_model_nsm_simple = {
    .name = "nsm-simple",
    .title = "SimpleNSM",
    .source = "the published SimpleNSM, a Neural State Machine",
    .fields = fields,
    .config_bytes = sizeof(mmrec_nsm_config),
    .width = "dim",
    .scale = scale,
    .check = check,
    .build = build,
};
