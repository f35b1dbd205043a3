/* From words of a command line to the setup of mmrec-compare. */
#ifndef MMREC_TESTS_COMPARE_SETUP_RIG_H
#define MMREC_TESTS_COMPARE_SETUP_RIG_H

#include "mmrec/comparison.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 48, WORDS_ROOM = 1024 };

static mmrec_allocator allocator;
static mmrec_io io;
static mmrec_options options;
static mmrec_compare_setup setup;

/* The options of words separated by '|', on one thread of the backend cpu. */
static inline void parse(const char *words) {
    static char text[WORDS_ROOM], name[] = "mmrec-compare", cpu[] = "--backend=cpu", threads[] = "--threads=1";
    static char *argument[MOST_WORDS] = {name, cpu, threads};
    mmrec_error error = {0};
    int count = 3;
    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok(text, "|"); word; word = strtok(NULL, "|")) argument[count++] = word;
    argument[count] = NULL;
    mmrec_status status =
        mmrec_options_parse(&allocator, &io, MMREC_PROGRAM_COMPARE, count, argument, NULL, &options, &error);
    if (status != MMREC_OK) fail_msg("'%s': %s", words, error.message);
}

static inline const mmrec_compare_setup *expect_good(const char *words) {
    mmrec_error error = {0};
    parse(words);
    if (mmrec_compare_setup_create(&allocator, &io, &options, &setup, &error) != MMREC_OK) {
        fail_msg("'%s': %s", words, error.message);
    }
    assert_int_equal(allocator.total.live_bytes, 0);
    return &setup;
}

static inline void expect_refusal(const char *words, mmrec_status wanted, const char *message) {
    char text[2 * MMREC_ERROR_MESSAGE];
    mmrec_error error = {0};
    parse(words);
    mmrec_status status = mmrec_compare_setup_create(&allocator, &io, &options, &setup, &error);
    mmrec_error_text(&error, text, sizeof text);
    if (status != wanted || strcmp(text, message) != 0) {
        fail_msg("'%s': status %s, message\n  %s\nexpected\n  %s", words, mmrec_status_name(status), text, message);
    }
    assert_int_equal(allocator.total.live_bytes, 0);
}

static inline void expect_refused(const mmrec_compare_entry *e, const char *message) {
    if (strcmp(e->refused, message) != 0) fail_msg("%s is\n  %s\nexpected\n  %s", e->label, e->refused, message);
}

/* Trained values of an entry's graph. */
static inline int64_t parameters_of(const mmrec_compare_entry *e, const mmrec_compare_task *task) {
    mmrec_model_run run = {.batch = task->batch, .time = task->time, .hem = true, .loss = true, .gradient = true};
    mmrec_graph *graph = NULL;
    mmrec_error error = {0};
    assert_int_equal(mmrec_graph_create(&allocator, MMREC_F32, 1, &graph, &error), MMREC_OK);
    mmrec_status status = mmrec_model_build(e->kind, &e->config, &run, graph, &error);
    if (status != MMREC_OK) fail_msg("%s: %s", e->label, error.message);
    int64_t count = mmrec_graph_param_count(graph);
    mmrec_graph_destroy(&graph);
    return count;
}

#endif
