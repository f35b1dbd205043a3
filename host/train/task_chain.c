/* The Markov chain of text-markov, and the least that a reader of it has to pay.
 *
 * From 8 letters each pair has its own distribution of the letter behind it: weights u^4 of uniform u, so that some
 * letters are likely and others rare, plus a share that keeps every letter possible. Then every pair is reached from
 * every other in two letters, the chain has one stationary distribution, and power iteration finds it. Weights are
 * whole numbers, so every machine has the same chain bit for bit. */
#include <math.h>
#include <string.h>

#include "train/data_impl.h"

enum { MOST_ROUNDS = 10000 };
#define SETTLED 1e-15 /* sum of changes of all probabilities in a round */

typedef double distribution[CHAIN_LETTERS];

/* ---- drawing the chain ---- */

static uint64_t draw_weight(task_words *words) {
    uint64_t u = task_word(words) >> 16;
    return (u * u * u * u >> 40) + (1 << 16);
}

static void draw_next(task_words *words, uint32_t *limits) {
    uint64_t upto[CHAIN_LETTERS], sum = 0;
    for (int i = 0; i < CHAIN_LETTERS; i++) upto[i] = sum += draw_weight(words);
    for (int i = 0; i < CHAIN_LETTERS - 1; i++) limits[i] = (uint32_t)((upto[i] << 32) / sum);
}

static void read_limits(const uint32_t *limits, double *probability) {
    double below = 0;
    for (int i = 0; i < CHAIN_LETTERS; i++) {
        double upto = i < CHAIN_LETTERS - 1 ? (double)limits[i] * 0x1p-32 : 1;
        probability[i] = upto - below;
        below = upto;
    }
}

/* ---- how often each pair stands ---- */

static double step_pairs(const distribution *next, const double *from, double *to) {
    double change = 0;
    for (int pair = 0; pair < CHAIN_PAIRS; pair++) to[pair] = 0;
    for (int pair = 0; pair < CHAIN_PAIRS; pair++) {
        double *behind = to + pair % CHAIN_LETTERS * CHAIN_LETTERS;
        for (int i = 0; i < CHAIN_LETTERS; i++) behind[i] += from[pair] * next[pair][i];
    }
    for (int pair = 0; pair < CHAIN_PAIRS; pair++) change += fabs(to[pair] - from[pair]);
    return change;
}

static void settle(const distribution *next, double *often) {
    double then[CHAIN_PAIRS], change = 1;
    for (int pair = 0; pair < CHAIN_PAIRS; pair++) often[pair] = 1.0 / CHAIN_PAIRS;
    for (int round = 0; round < MOST_ROUNDS && change > SETTLED; round++) {
        change = step_pairs(next, often, then);
        memcpy(often, then, sizeof then);
    }
}

static void limit_pairs(const double *often, uint32_t *limits) {
    double upto = 0, sum = 0;
    for (int pair = 0; pair < CHAIN_PAIRS; pair++) sum += often[pair];
    for (int pair = 0; pair < CHAIN_PAIRS - 1; pair++) limits[pair] = (uint32_t)((upto += often[pair]) / sum * 0x1p32);
}

/* ---- what is paid ---- */

/* Adds the share of one context: `weight` is how often it stands. */
static void add_context(double weight, const double *probability, double *entropy, double *accuracy) {
    double most = 0;
    for (int i = 0; i < CHAIN_LETTERS; i++) {
        if (probability[i] > 0) *entropy -= weight * probability[i] * log(probability[i]);
        if (probability[i] > most) most = probability[i];
    }
    *accuracy += weight * most;
}

static task_chain_limits limits_of(const distribution *next, const double *often) {
    task_chain_limits limits = {.entropy = {0, 0}};
    for (int letter = 0; letter < CHAIN_LETTERS; letter++) {
        double stands = 0, behind[CHAIN_LETTERS];
        for (int i = 0; i < CHAIN_LETTERS; i++) stands += often[letter * CHAIN_LETTERS + i];
        for (int i = 0; i < CHAIN_LETTERS; i++) behind[i] = often[letter * CHAIN_LETTERS + i] / stands;
        add_context(stands, behind, &limits.entropy[0], &limits.accuracy[0]);
    }
    for (int pair = 0; pair < CHAIN_PAIRS; pair++) {
        add_context(often[pair], next[pair], &limits.entropy[1], &limits.accuracy[1]);
    }
    return limits;
}

task_chain_limits task_chain_make(task_chain *chain, uint64_t seed) {
    task_words words = {.seed = seed, .stream = DATA_DRAW_CHAIN};
    distribution next[CHAIN_PAIRS];
    double often[CHAIN_PAIRS];
    for (int pair = 0; pair < CHAIN_PAIRS; pair++) {
        draw_next(&words, chain->next[pair]);
        read_limits(chain->next[pair], next[pair]);
    }
    settle((const distribution *)next, often);
    limit_pairs(often, chain->first);
    return limits_of((const distribution *)next, often);
}
