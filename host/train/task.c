/* The tasks that are made up from a seed: what their sequences are, and the best that any model can do on them.
 *
 * A sequence of T steps is T + 1 symbols: the model reads the first T, and target t is symbol t + 1. In copy and recall
 * the sequence is one block after another, and what stands where in a block is fixed, so what the best model has to pay
 * for a symbol follows from its place alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "train/data_impl.h"

enum {
    COPY_LETTERS = 8,
    COPY_LONGEST = 6, /* letters of a word */
    RECALL_KEYS = 4,
    RECALL_VALUES = 8,
    RECALL_MOST = 2,           /* pairs in a block */
    HELD_OUT_TOKENS = 1 << 16, /* of a task: the loss of text-markov is known to 0.003 nats then */
};

/* ---- sequences ---- */

/* One row, filled symbol by symbol. */
typedef struct task_row {
    int32_t *ids, *targets;
    int64_t at, time;
} task_row;

static void put(task_row *row, int64_t symbol) {
    if (row->at < row->time) row->ids[row->at] = (int32_t)symbol;
    if (row->at > 0 && row->at <= row->time) row->targets[row->at - 1] = (int32_t)symbol;
    row->at++;
}

static int64_t below(task_words *words, int64_t limit) {
    return (int64_t)(((uint64_t)task_word(words) * (uint64_t)limit) >> 32);
}

/* Draws element `i` of the rest of an array, which then stands at i. */
static int64_t draw_out(task_words *words, int64_t *all, int64_t i, int64_t count) {
    int64_t other = i + below(words, count - i), drawn = all[other];
    all[other] = all[i];
    all[i] = drawn;
    return drawn;
}

static void copy_block(const task_plan *plan, task_words *words, task_row *row) {
    int64_t word[COPY_LONGEST];
    for (int64_t i = 0; i < plan->unit; i++) put(row, word[i] = below(words, COPY_LETTERS));
    put(row, COPY_LETTERS);
    for (int64_t i = 0; i < plan->unit; i++) put(row, word[i]);
    put(row, COPY_LETTERS + 1);
}

static void recall_block(const task_plan *plan, task_words *words, task_row *row) {
    int64_t keys[RECALL_KEYS], value[RECALL_KEYS];
    for (int64_t i = 0; i < RECALL_KEYS; i++) keys[i] = i;
    for (int64_t i = 0; i < plan->unit; i++) {
        int64_t key = draw_out(words, keys, i, RECALL_KEYS);
        value[key] = RECALL_KEYS + below(words, RECALL_VALUES);
        put(row, key);
        put(row, value[key]);
    }
    put(row, RECALL_KEYS + RECALL_VALUES);
    for (int64_t i = 0; i < plan->unit; i++) {
        int64_t key = draw_out(words, keys, i, plan->unit);
        put(row, key);
        put(row, value[key]);
    }
    put(row, RECALL_KEYS + RECALL_VALUES + 1);
}

static int64_t draw_limit(task_words *words, const uint32_t *limits, int count) {
    uint32_t word = task_word(words);
    int64_t drawn = 0;
    for (int i = 0; i < count; i++) drawn += limits[i] <= word;
    return drawn;
}

static void chain_block(const task_plan *plan, task_words *words, task_row *row) {
    int64_t pair = draw_limit(words, plan->chain.first, CHAIN_PAIRS - 1);
    put(row, pair / CHAIN_LETTERS);
    put(row, pair % CHAIN_LETTERS);
    while (row->at <= row->time) {
        int64_t letter = draw_limit(words, plan->chain.next[pair], CHAIN_LETTERS - 1);
        put(row, letter);
        pair = pair % CHAIN_LETTERS * CHAIN_LETTERS + letter;
    }
}

/* ---- what the best model pays, and what is asked ---- */

static double copy_cost(const task_plan *plan, int64_t place) { return place < plan->unit ? log(COPY_LETTERS) : 0; }

static bool copy_asks(const task_plan *plan, int64_t place) { return place > plan->unit && place <= 2 * plan->unit; }

/* A key is one of those that did not come yet, in the pairs and in the questions alike. */
static double recall_cost(const task_plan *plan, int64_t place) {
    int64_t pairs = 2 * plan->unit, question = place - pairs - 1;
    if (place < pairs) return place % 2 == 0 ? log((double)(RECALL_KEYS - place / 2)) : log(RECALL_VALUES);
    bool key = question >= 0 && question < pairs && question % 2 == 0;
    return key ? log((double)(plan->unit - question / 2)) : 0;
}

static bool recall_asks(const task_plan *plan, int64_t place) {
    int64_t question = place - 2 * plan->unit - 1;
    return question >= 0 && question < 2 * plan->unit && question % 2 == 1;
}

typedef struct task_def {
    const char *name;
    int64_t least_time, vocab;
    int64_t unit_steps, most_units; /* T of one more unit in a block */
    int64_t period_base, period_unit;
    void (*block)(const task_plan *plan, task_words *words, task_row *row);
    double (*cost)(const task_plan *plan, int64_t place); /* NULL: known from the chain, and every place is asked for */
    bool (*asks)(const task_plan *plan, int64_t place);
} task_def;

static const task_def tasks[MMREC_TASKS] = {
    [MMREC_TASK_NONE] = {.name = "none"},
    [MMREC_TASK_COPY] = {"copy", 4, COPY_LETTERS + 2, 2, COPY_LONGEST, 2, 2, copy_block, copy_cost, copy_asks},
    [MMREC_TASK_RECALL] = {"recall", 8, RECALL_KEYS + RECALL_VALUES + 2, 4, RECALL_MOST, 2, 4, recall_block,
                           recall_cost, recall_asks},
    [MMREC_TASK_TEXT_MARKOV] = {"text-markov", 2, CHAIN_LETTERS, 1, 0, 0, 0, chain_block, NULL, NULL},
};

const char *mmrec_task_name(mmrec_task task) { return (int)task >= 0 && task < MMREC_TASKS ? tasks[task].name : "?"; }

/* ---- batches ---- */

static void mark_asked(const task_def *def, const task_plan *plan, int64_t time, uint8_t *asked) {
    for (int64_t t = 0; t < time; t++) asked[t] = def->asks ? def->asks(plan, (t + 1) % plan->period) : true;
}

void task_batch(const mmrec_data *data, mmrec_split split, int64_t number, int32_t *ids, int32_t *targets,
                uint8_t *asked) {
    const mmrec_data_request *r = &data->request;
    const task_def *def = &tasks[r->task];
    uint64_t purpose = split == MMREC_SPLIT_TRAIN ? DATA_DRAW_TRAIN : DATA_DRAW_HELD_OUT;
    for (int64_t b = 0; b < r->batch; b++) {
        task_words words = {.seed = r->seed, .stream = purpose | (uint64_t)(number * r->batch + b)};
        task_row row = {.ids = ids + b * r->time, .targets = targets + b * r->time, .time = r->time};
        while (row.at <= row.time) def->block(&data->task, &words, &row);
        if (asked) mark_asked(def, &data->task, r->time, asked + b * r->time);
    }
}

/* ---- definition ---- */

static double mean_cost(const task_def *def, const task_plan *plan, int64_t time) {
    double sum = 0;
    for (int64_t t = 1; t <= time; t++) sum += def->cost(plan, t % plan->period);
    return sum / (double)time;
}

/* The first target of a row stands behind one letter, all others behind two. */
static void know_chain(mmrec_data *data) {
    mmrec_data_info *info = &data->info;
    double time = (double)data->request.time;
    task_chain_limits limits = task_chain_make(&data->task.chain, data->request.seed);
    info->best_loss = (limits.entropy[0] + (time - 1) * limits.entropy[1]) / time;
    info->best_accuracy = (limits.accuracy[0] + (time - 1) * limits.accuracy[1]) / time;
}

/* Two tasks with the same checksum have the same sequences, number by number. */
static uint32_t checksum(const mmrec_data *data) {
    const mmrec_data_request *r = &data->request;
    const task_plan *plan = &data->task;
    int64_t sizes[] = {r->batch, r->time, plan->vocab, plan->unit, plan->period, (int64_t)r->seed};
    const char *name = tasks[r->task].name;
    uLong sum = crc32_z(crc32_z(0, NULL, 0), (const void *)name, strlen(name));
    sum = crc32_z(sum, (const void *)sizes, sizeof sizes);
    return (uint32_t)crc32_z(sum, (const void *)&plan->chain, sizeof plan->chain);
}

mmrec_status task_define(mmrec_data *data, mmrec_error *error) {
    const mmrec_data_request *r = &data->request;
    const task_def *def = &tasks[r->task];
    task_plan *plan = &data->task;
    mmrec_data_info *info = &data->info;
    if (r->time < def->least_time) {
        MMREC_FAIL(error, MMREC_CONFIG, "task %s needs sequences of at least %lld steps, time is %lld", def->name,
                   (long long)def->least_time, (long long)r->time);
    }
    int64_t units = r->time / def->unit_steps;
    plan->vocab = def->vocab;
    plan->unit = units < def->most_units ? units : def->most_units;
    plan->period = def->period_base + def->period_unit * plan->unit;
    info->vocab = def->vocab;
    info->held_out_batches = (HELD_OUT_TOKENS + r->batch * r->time - 1) / (r->batch * r->time);
    info->best_accuracy = 1;
    if (def->cost) info->best_loss = mean_cost(def, plan, r->time);
    if (r->task == MMREC_TASK_TEXT_MARKOV) know_chain(data);
    (void)snprintf(info->name, sizeof info->name, "task %s", def->name);
    info->checksum = checksum(data);
    return MMREC_OK;
}
