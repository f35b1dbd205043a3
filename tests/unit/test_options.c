/* Options: precedence and sources, every refusal with its exact words, the help's width. */
#include "core/units.h"
#include "mmrec/measure.h"
#include "mmrec/model.h"
#include "mmrec/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_WORDS = 40 };

static mmrec_allocator allocator;
static mmrec_io io;
static mmrec_program program; /* whose options are parsed */

static int to_bench(void **state) {
    (void)state;
    program = MMREC_PROGRAM_BENCH;
    return 0;
}

/* Parses words separated by '|' with an environment given the same way. */
static mmrec_status parse(const char *words, const char *environment, mmrec_options *out, mmrec_error *error) {
    static char argument_text[1024], environment_text[1024];
    static char name[] = "program";
    static char *argument[MOST_WORDS] = {name}, *variable[MOST_WORDS];
    int count = 1, variables = 0;
    snprintf(argument_text, sizeof argument_text, "%s", words);
    snprintf(environment_text, sizeof environment_text, "%s", environment);
    for (char *word = strtok(argument_text, "|"); word; word = strtok(NULL, "|")) argument[count++] = word;
    for (char *word = strtok(environment_text, "|"); word; word = strtok(NULL, "|")) variable[variables++] = word;
    argument[count] = NULL;
    variable[variables] = NULL;
    mmrec_error_clear(error);
    return mmrec_options_parse(&allocator, &io, program, count, argument, variable, out, error);
}

static void expect_refusal(const char *words, const char *environment, const char *message) {
    mmrec_options options;
    mmrec_error error;
    mmrec_status status = parse(words, environment, &options, &error);
    if (status == MMREC_OK || mmrec_status_exit(status) != 2 || strcmp(error.message, message) != 0) {
        fail_msg("'%s' with '%s': status %s, message\n  %s\nexpected\n  %s", words, environment,
                 mmrec_status_name(status), error.message, message);
    }
    mmrec_options_free(&options);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static mmrec_options expect_good(const char *words, const char *environment) {
    mmrec_options options;
    mmrec_error error;
    mmrec_status status = parse(words, environment, &options, &error);
    if (status != MMREC_OK) fail_msg("'%s': %s", words, error.message);
    return options;
}

static void defaults(void **state) {
    (void)state;
    mmrec_options o = expect_good("", "");
    assert_true(mmrec_option_is(&o, MMREC_OPTION_hem, "both"));
    assert_true(mmrec_option_is(&o, MMREC_OPTION_size, "small"));
    assert_false(mmrec_option_given(&o, MMREC_OPTION_dim));
    assert_int_equal(mmrec_option_whole(&o, MMREC_OPTION_dim, 512), 512);
    assert_null(mmrec_option_text(&o, MMREC_OPTION_data));
    assert_false(mmrec_option_on(&o, MMREC_OPTION_quiet));
    assert_true(o.value[MMREC_OPTION_target_ci].real == 0.01);
    assert_true(o.value[MMREC_OPTION_seed].bits == 1);
    assert_int_equal(o.value[MMREC_OPTION_hem].source, MMREC_SOURCE_DEFAULT);
}

/* The library's own sampling and the program's are the same one. */
static void sampling_defaults(void **state) {
    (void)state;
    mmrec_options o = expect_good("", "");
    mmrec_sampling sampling = mmrec_sampling_default();
    assert_float_equal(o.value[MMREC_OPTION_warmup].real, sampling.warmup_s, 1e-12);
    assert_float_equal(o.value[MMREC_OPTION_min_time].real, sampling.min_time_s, 1e-12);
    assert_float_equal(o.value[MMREC_OPTION_max_time].real, sampling.max_time_s, 1e-12);
    assert_float_equal(o.value[MMREC_OPTION_target_ci].real, sampling.target_ci, 1e-12);
}

/* "dim", or, for a flag that stands twice, "train_dim". */
static void check_id(const char *id, const mmrec_option_def *def) {
    char flag[32];
    snprintf(flag, sizeof flag, "%s", def->flag);
    for (char *c = flag; *c; c++) *c = *c == '-' ? '_' : *c;
    if (strcmp(id, flag) == 0) return;
    for (int p = 0; p < MMREC_PROGRAMS; p++) {
        char own[64];
        snprintf(own, sizeof own, "%s_%s", mmrec_program_name((mmrec_program)p) + strlen("mmrec-"), flag);
        if (def->programs == 1u << p && strcmp(id, own) == 0) return;
    }
    fail_msg("id %s of flag %s", id, def->flag);
}

/* Every default must be a value the option itself accepts (all are read by a parse), every flag fit its identifier and
 * be there once in a program, every help be a help. */
static void table_is_sound(void **state) {
    (void)state;
    static const char *const ids[] = {
#define MMREC_OPTION(id, ...) #id,
#include "mmrec/options.def"
#undef MMREC_OPTION
    };
    for (int i = 0; i < MMREC_OPTIONS; i++) {
        const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
        check_id(ids[i], def);
        assert_true(def->programs > 0 && def->programs < 1u << MMREC_PROGRAMS);
        for (int p = 0; p < MMREC_PROGRAMS; p++) {
            if (def->programs >> p & 1) assert_int_equal(mmrec_option_find((mmrec_program)p, def->flag), i);
        }
        assert_true(strlen(def->help) > 5 &&
                    isupper((unsigned char)def->help[0]) | islower((unsigned char)def->help[0]));
        assert_true((def->kind == MMREC_KIND_FLAG) == (def->metavar[0] == '\0'));
        assert_true(!def->yields || def->standard[0]);
    }
    /* Choices stand in the order of their enumerations. */
    mmrec_options o = expect_good("--uboo=deep|--recompute=on", "");
    assert_int_equal(o.value[MMREC_OPTION_uboo].whole, MMREC_UBOO_DEEP);
    assert_true(mmrec_option_on(&o, MMREC_OPTION_recompute));
}

/* What a flag means is the program's affair, and the other one's variables are not even looked at. */
static void programs(void **state) {
    (void)state;
    mmrec_options o = expect_good("--hem=both|--size=small", "MMREC_STEPS=none|MMREC_LR=high");
    assert_true(mmrec_option_is(&o, MMREC_OPTION_hem, "both"));
    assert_false(mmrec_option_given(&o, MMREC_OPTION_train_hem));
    assert_false(mmrec_option_given(&o, MMREC_OPTION_steps));
    expect_refusal("--steps=3", "", "--steps is an option of mmrec-train; see mmrec-bench --help");
    program = MMREC_PROGRAM_TRAIN;
    o = expect_good("--hem=off|--size=nano|--max-time=90min", "MMREC_OP=nothing|MMREC_TIMER=sand|MMREC_STEPS=7");
    assert_false(mmrec_option_on(&o, MMREC_OPTION_train_hem));
    assert_false(mmrec_option_given(&o, MMREC_OPTION_hem));
    assert_false(mmrec_option_given(&o, MMREC_OPTION_max_time));
    assert_true(o.value[MMREC_OPTION_train_max_time].real == 5400);
    assert_int_equal(o.value[MMREC_OPTION_steps].source, MMREC_SOURCE_ENVIRONMENT);
    expect_refusal("--hem=both", "", "--hem must be off or on, got 'both'");
    expect_refusal("--op=gelu", "", "--op is an option of mmrec-bench; see mmrec-train --help");
    expect_refusal("--export-jso=x", "", "unknown option --export-jso; see mmrec-train --help");
    expect_refusal("--stpes=3", "", "unknown option --stpes, did you mean --steps?");
    expect_refusal("", "MMREC_STEPS=0", "MMREC_STEPS must be a whole number from 1 to 1000000000, got '0'");
    expect_refusal("", "MMREC_HEM=both", "MMREC_HEM must be off or on, got 'both'");
}

/* The flag with a value that suits it. */
static void expect_taken(const mmrec_option_def *def) {
    static const char *const samples[] = {
        [MMREC_KIND_COUNT] = "7",    [MMREC_KIND_REAL] = "0.5",     [MMREC_KIND_TIME] = "2s",
        [MMREC_KIND_SIZE] = "24GiB", [MMREC_KIND_TEXT] = "a text",  [MMREC_KIND_LIST] = "gelu",
        [MMREC_KIND_PAIRS] = "a=b",  [MMREC_KIND_AXES] = "time=1,2"};
    char words[64];
    const char *sample = def->standard[0] ? def->standard : samples[def->kind];
    bool flag = def->kind == MMREC_KIND_FLAG, config = strcmp(def->flag, "config") == 0;
    snprintf(words, sizeof words, "--%s%s%s", def->flag, flag ? "" : "=", flag ? "" : config ? "/dev/null" : sample);
    mmrec_options options;
    mmrec_error error;
    mmrec_status status = parse(words, "", &options, &error);
    /* A file of options must be a regular one: what matters is that it was looked for. */
    if (config && status == MMREC_IO) status = MMREC_OK;
    if (status != MMREC_OK) fail_msg("%s: %s", words, error.message);
    const mmrec_option_value *value = &options.value[mmrec_option_find(program, def->flag)];
    assert_true(value->count == 1 && value->source == MMREC_SOURCE_FLAG);
    mmrec_options_free(&options);
}

/* No character by which getopt_long reports a fault is taken for an option, however many there are. */
static void every_flag_is_found(void **state) {
    (void)state;
    for (int p = 0; p < MMREC_PROGRAMS; p++) {
        program = (mmrec_program)p;
        for (int i = 0; i < MMREC_OPTIONS; i++) {
            const mmrec_option_def *def = mmrec_option_get((mmrec_option_id)i);
            char words[64], message[128];
            if (!mmrec_option_taken(program, (mmrec_option_id)i)) continue;
            bool flag = def->kind == MMREC_KIND_FLAG;
            snprintf(words, sizeof words, "--%s%s", def->flag, flag ? "=on" : "");
            if (flag)
                snprintf(message, sizeof message, "--%s takes no value", def->flag);
            else
                snprintf(message, sizeof message, "--%s needs a value: %s", def->flag, def->metavar);
            expect_refusal(words, "", message);
            expect_taken(def);
        }
    }
}

static int64_t size_of(const mmrec_options *options, mmrec_option_id id) {
    int64_t value = 0;
    assert_true(mmrec_option_size(options, id, &value));
    return value;
}

/* --size, in numbers and in the words of the help. */
static void sizes(void **state) {
    (void)state;
    for (int p = 0; p < MMREC_PROGRAMS; p++) {
        program = (mmrec_program)p;
        mmrec_option_id size = mmrec_option_find(program, "size");
        if (size == MMREC_OPTIONS) continue;
        const mmrec_option_def *def = mmrec_option_get(size);
        for (const char *name = def->choices; name; name = strchr(name, '|') ? strchr(name, '|') + 1 : NULL) {
            char words[64], told[96];
            int64_t none = 5;
            snprintf(words, sizeof words, "--size=%.*s", (int)strcspn(name, "|"), name);
            mmrec_options o = expect_good(words, "");
            snprintf(told, sizeof told, "%.*s: D %lld, T %lld, B %lld", (int)strcspn(name, "|"), name,
                     (long long)size_of(&o, MMREC_OPTION_dim), (long long)size_of(&o, MMREC_OPTION_time),
                     (long long)size_of(&o, MMREC_OPTION_batch));
            if (!strstr(def->help, told)) fail_msg("'%s' is not in '%s'", told, def->help);
            snprintf(told, sizeof told, "%lld layers, %lld heads, %lld slots of level %lld",
                     (long long)size_of(&o, MMREC_OPTION_layers), (long long)size_of(&o, MMREC_OPTION_heads),
                     (long long)size_of(&o, MMREC_OPTION_slots), (long long)size_of(&o, MMREC_OPTION_level));
            if (!strstr(def->help, told)) fail_msg("'%s' is not in '%s'", told, def->help);
            assert_false(mmrec_option_size(&o, MMREC_OPTION_ffn, &none));
            assert_int_equal(mmrec_option_size(&o, MMREC_OPTION_vocab, &none), program == MMREC_PROGRAM_BENCH);
        }
    }
}

static void values(void **state) {
    (void)state;
    mmrec_options o =
        expect_good("--dim=256|--time|128|--quiet|--warmup|5ms|--memory=24GiB|--target-ci=2%|--dropout|0.1|"
                    "--export-json|-|--seed=18446744073709551615|--op=matmul,softmax|--op|gelu",
                    "");
    assert_int_equal(mmrec_option_whole(&o, MMREC_OPTION_dim, 0), 256);
    assert_int_equal(mmrec_option_whole(&o, MMREC_OPTION_time, 0), 128);
    assert_true(mmrec_option_on(&o, MMREC_OPTION_quiet));
    assert_true(o.value[MMREC_OPTION_warmup].real == 5 * 1e-3);
    assert_true(o.value[MMREC_OPTION_memory].bits == 24ull << 30);
    assert_true(o.value[MMREC_OPTION_target_ci].real == 0.02);
    assert_true(o.value[MMREC_OPTION_dropout].real == 0.1);
    assert_string_equal(mmrec_option_text(&o, MMREC_OPTION_export_json), "-");
    assert_true(o.value[MMREC_OPTION_seed].bits == UINT64_MAX);
    assert_int_equal(o.value[MMREC_OPTION_op].count, 2);
    assert_string_equal(o.value[MMREC_OPTION_op].text[1], "gelu");
}

/* The file is written by the test; its values lose against the environment, those against flags. */
static const char *write_config(const char *text, size_t size) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/mmrec-test-options-%ld.ini", (long)getpid());
    mmrec_error error;
    if (mmrec_io_write_file(&io, path, text, size, &error) != MMREC_OK) fail_msg("%s", error.message);
    return path;
}

static void precedence(void **state) {
    (void)state;
    const char text[] = "# a comment\n; another\ndim = 16\ntime: 17\n  batch = 3 ; said inline\nhem=off\nquiet = on\n"
                        "op = gelu\nop = relu\naxis = layers=1,2\n";
    const char *path = write_config(text, sizeof text - 1);
    char words[128];
    snprintf(words, sizeof words, "--hem=on|--config=%s", path);
    mmrec_options o =
        expect_good(words, "MMREC_TIME=18|MMREC_HEM=both|MMREC_OP=softmax|MMREC_VOCAB=|MMREC_MIN_TIME=3s");
    const struct {
        mmrec_option_id id;
        mmrec_option_source source;
        const char *text;
        int line;
    } expected[] = {
        {MMREC_OPTION_dim, MMREC_SOURCE_FILE, "16", 3},
        {MMREC_OPTION_batch, MMREC_SOURCE_FILE, "3", 5},
        {MMREC_OPTION_time, MMREC_SOURCE_ENVIRONMENT, "18", 0},
        {MMREC_OPTION_hem, MMREC_SOURCE_FLAG, "on", 0},
        {MMREC_OPTION_op, MMREC_SOURCE_ENVIRONMENT, "softmax", 0},
        {MMREC_OPTION_size, MMREC_SOURCE_DEFAULT, "small", 0},
        {MMREC_OPTION_axis, MMREC_SOURCE_FILE, "layers=1,2", 10},
        {MMREC_OPTION_min_time, MMREC_SOURCE_ENVIRONMENT, "3s", 0},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const mmrec_option_value *value = &o.value[expected[i].id];
        assert_int_equal(value->source, expected[i].source);
        assert_string_equal(value->text[0], expected[i].text);
        assert_int_equal(value->line, expected[i].line);
    }
    assert_int_equal(o.value[MMREC_OPTION_op].count, 1);
    assert_false(mmrec_option_given(&o, MMREC_OPTION_vocab));
    assert_true(mmrec_option_on(&o, MMREC_OPTION_quiet));
    mmrec_options_free(&o);
    assert_int_equal(allocator.total.live_bytes, 0);
    unlink(path);
}

static void refused_words(void **state) {
    (void)state;
    expect_refusal("--hme=on", "", "unknown option --hme, did you mean --hem?");
    expect_refusal("--frobnicate", "", "unknown option --frobnicate; see mmrec-bench --help");
    expect_refusal("--exp", "", "unknown option --exp; see mmrec-bench --help");
    expect_refusal("--export-jso=x", "", "unknown option --export-jso, did you mean --export-json?");
    expect_refusal("--dim", "", "--dim needs a value: N");
    expect_refusal("--dim|--time=3", "", "--dim needs a value: N; '--time=3' is an option");
    expect_refusal("--quiet=on", "", "--quiet takes no value");
    expect_refusal("file", "", "unexpected argument 'file'; options are words that begin with --");
    expect_refusal("-q", "", "unexpected argument '-q'; options are words that begin with --");
    expect_refusal("--", "", "unexpected argument '--'; options are words that begin with --");
    expect_refusal("--dim=8|--dim=8", "", "--dim is given twice");
    expect_refusal("--a\tb\x1b[31m", "", "unknown option --a?b?[31m; see mmrec-bench --help");
}

static void refused_values(void **state) {
    (void)state;
    expect_refusal("--dim=0", "", "--dim must be a whole number from 1 to 1048576, got '0'");
    expect_refusal("--dim=-4", "", "--dim must be a whole number from 1 to 1048576, got '-4'");
    expect_refusal("--batch=99999999999999999999", "",
                   "--batch must be a whole number from 1 to 1048576, got '99999999999999999999'");
    expect_refusal("--dim=1.5", "", "--dim must be a whole number from 1 to 1048576, got '1.5'");
    expect_refusal("--hem=maybe", "", "--hem must be off, on or both, got 'maybe'");
    expect_refusal("--hem=o", "", "--hem must be off, on or both, got 'o'");
    expect_refusal("--hem=", "", "--hem must be off, on or both, got ''");
    expect_refusal("--recompute=1", "", "--recompute must be off or on, got '1'");
    expect_refusal("--dropout=1", "", "--dropout must be a number from 0 to 0.999999, got '1'");
    expect_refusal("--dropout=nan", "", "--dropout must be a number from 0 to 0.999999, got 'nan'");
    expect_refusal("--warmup=5", "",
                   "--warmup must be a time with its unit from 0 ns to 86400 s, like 500us, 200ms or 2s, got '5'");
    expect_refusal("--target-ci=0", "", "--target-ci must be a percentage above 0 and up to 100, like 1%, got '0'");
    expect_refusal("--memory=24gb", "",
                   "--memory must be a size in bytes from 1 B to 4 EiB, like 24GiB or 500MB, got '24gb'");
    expect_refusal("--memory=0", "",
                   "--memory must be a size in bytes from 1 B to 4 EiB, like 24GiB or 500MB, got '0'");
    expect_refusal("--seed=-1", "", "--seed must be a whole number from 0 to 18446744073709551615, got '-1'");
    expect_refusal("--data=", "", "--data must be at least one character, got ''");
    expect_refusal("--context=abc", "", "--context must be KEY=VALUE, got 'abc'");
    expect_refusal("--context==abc", "", "--context must be KEY=VALUE, got '=abc'");
    expect_refusal("", "MMREC_DIM=x", "MMREC_DIM must be a whole number from 1 to 1048576, got 'x'");
    expect_refusal("", "MMREC_QUIET=yes", "MMREC_QUIET must be on or off, got 'yes'");
    /* Checked even where a flag replaces it. */
    expect_refusal("--dim=8", "MMREC_DIM=x", "MMREC_DIM must be a whole number from 1 to 1048576, got 'x'");
}

static void refused_axes(void **state) {
    (void)state;
    expect_refusal("--axis=time", "",
                   "--axis: 'time': an axis is NAME=RANGE; write time=512:8192:*2, time=512:2048:+512 or time=100,200");
    expect_refusal("--axis=tme=1,2", "", "--axis: 'tme' is not a size of the model, did you mean time?");
    expect_refusal("--axis=threads=1,2", "", "--axis: 'threads' is not a size of the model, did you mean heads?");
    expect_refusal("--axis=seed=1,2", "", "--axis: 'seed' is not a size of the model");
    expect_refusal("--axis=time=0,2", "", "--axis: time must be a whole number from 1 to 16777216, got 0");
    expect_refusal("", "MMREC_AXIS=time=1 dim=0", "MMREC_AXIS: dim must be a whole number from 1 to 1048576, got 0");
    expect_refusal("--axis= ", "",
                   "--axis: '': an axis is NAME=RANGE; write time=512:8192:*2, time=512:2048:+512 or time=100,200");
    mmrec_options o = expect_good("--axis=time=1,2 dim=8:64:*2|--axis=pe=0,4", "");
    assert_int_equal(o.value[MMREC_OPTION_axis].count, 2);
}

static void refused_config(const char *text, size_t size, const char *message) {
    char words[128], expected[512];
    const char *path = write_config(text, size);
    snprintf(words, sizeof words, "--config=%s", path);
    snprintf(expected, sizeof expected, message, path);
    expect_refusal(words, "", expected);
    unlink(path);
}

#define CONFIG(text, message) refused_config(text, sizeof(text) - 1, message)

static void refused_files(void **state) {
    (void)state;
    CONFIG("\ndmi = 3\n", "%s:2: unknown option 'dmi', did you mean dim?");
    CONFIG("frobnicate = 3\n", "%s:1: unknown option 'frobnicate'");
    CONFIG("dim = 8\n\ndim = 9\n", "%s:3: dim is given twice");
    CONFIG("dim = zero", "%s:1: dim must be a whole number from 1 to 1048576, got 'zero'");
    CONFIG("dim =", "%s:1: dim must be a whole number from 1 to 1048576, got ''");
    CONFIG("dim = 8\nquiet\n", "%s:2: not a line of the form flag = value");
    CONFIG("[bench]\ndim = 8\n", "%s:2: sections are not used, remove [bench]");
    CONFIG("config = other.ini\n", "%s:1: config is for the command line only");
    CONFIG("help = on\n", "%s:1: help is for the command line only");
    CONFIG("print-config = on\n", "%s:1: print-config is for the command line only");
    CONFIG("dim = 8\nsteps = 3\n", "%s:2: steps is an option of mmrec-train");
    CONFIG("data = \"a\n", "%s:1: data has no closing quote (a ; behind a blank is written \\x3b)");
    CONFIG("data = \"a ; b\"\n", "%s:1: data has no closing quote (a ; behind a blank is written \\x3b)");
    CONFIG("data = \"a\" b\n", "%s:1: data has more text behind the closing quote");
    CONFIG("data = \"\\q\"\n", "%s:1: data has an escape other than \\\\ \\\" \\n \\r \\t or \\x and two digits");
    CONFIG("data = \"\\x00\"\n", "%s:1: data has an escape other than \\\\ \\\" \\n \\r \\t or \\x and two digits");
    CONFIG("data = \"\\x4\"\n", "%s:1: data has an escape other than \\\\ \\\" \\n \\r \\t or \\x and two digits");
    CONFIG("data = \"\"\n", "%s:1: data must be at least one character, got ''");
    CONFIG("dim = 8\0\n", "%s:1: the line holds a zero byte");
    CONFIG("dim = 8\r\ntime = x\r\n", "%s:2: time must be a whole number from 1 to 16777216, got 'x'");
    char longest[300];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "data = ", 7);
    refused_config(longest, sizeof longest, "%s:1: the line is longer than 198 characters");
    expect_refusal("--config=/nonexistent/x.ini", "", "cannot open \"/nonexistent/x.ini\": No such file or directory");
    expect_refusal("--config=/tmp", "", "cannot read \"/tmp\": it is a folder");
}

static void quoted_values(void **state) {
    (void)state;
    const char text[] = "data = \" \\\"a\\\\\\n\\t\\r\\x3b\\xe9= \"  ; said\nat=a \"b\" c\n";
    char words[128];
    const char *path = write_config(text, sizeof text - 1);
    snprintf(words, sizeof words, "--config=%s", path);
    mmrec_options o = expect_good(words, "");
    assert_string_equal(mmrec_option_text(&o, MMREC_OPTION_data), " \"a\\\n\t\r;\xe9= ");
    assert_string_equal(mmrec_option_text(&o, MMREC_OPTION_at), "a \"b\" c");
    mmrec_options_free(&o);
    unlink(path);
}

/* The line that just fits is read whole, and a file without an end of line too. */
static void longest_line(void **state) {
    (void)state;
    char text[198], words[128];
    memset(text, 'a', sizeof text);
    memcpy(text, "data=", 5);
    const char *path = write_config(text, sizeof text);
    snprintf(words, sizeof words, "--config=%s", path);
    mmrec_options o = expect_good(words, "");
    assert_int_equal(strlen(mmrec_option_text(&o, MMREC_OPTION_data)), 193);
    mmrec_options_free(&o);
    unlink(path);
}

static void repeats_are_bounded(void **state) {
    (void)state;
    char words[256] = "--op=a";
    for (int i = 1; i < MMREC_OPTION_REPEATS; i++) strcat(words, "|--op=a");
    mmrec_options o = expect_good(words, "");
    assert_int_equal(o.value[MMREC_OPTION_op].count, MMREC_OPTION_REPEATS);
    strcat(words, "|--op=a");
    expect_refusal(words, "", "--op is given more than 16 times");
}

static void config_without_memory(void **state) {
    (void)state;
    const char *path = write_config("dim = 8\n", 8);
    char words[128];
    snprintf(words, sizeof words, "--config=%s", path);
    for (uint64_t k = 1; k <= 2; k++) {
        mmrec_options options;
        mmrec_error error;
        allocator.fail_at = allocator.attempts + k;
        assert_int_equal(parse(words, "", &options, &error), MMREC_NO_MEMORY);
        mmrec_options_free(&options);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    allocator.fail_at = 0;
    unlink(path);
}

typedef struct help_text {
    char text[16384];
    size_t size;
} help_text;

static void collect(void *context, const char *text, size_t size) {
    help_text *help = context;
    assert_true(help->size + size < sizeof help->text);
    memcpy(help->text + help->size, text, size);
    help->size += size;
}

static void help_fits(void **state) {
    (void)state;
    for (int p = 0; p < MMREC_PROGRAMS; p++) {
        static help_text help;
        memset(&help, 0, sizeof help);
        mmrec_options_help((mmrec_program)p, (mmrec_option_writer){collect, &help});
        assert_non_null(strstr(help.text, mmrec_program_name((mmrec_program)p)));
        for (int i = 0; i < MMREC_OPTIONS; i++) {
            char flag[64];
            if (!mmrec_option_taken((mmrec_program)p, (mmrec_option_id)i)) continue;
            snprintf(flag, sizeof flag, "\n  --%s ", mmrec_option_get((mmrec_option_id)i)->flag);
            const char *at = strstr(help.text, flag);
            assert_non_null(at);
            assert_null(strstr(at + 1, flag));
        }
        for (char *line = strtok(help.text, "\n"); line; line = strtok(NULL, "\n")) {
            if (strlen(line) > 80) fail_msg("%zu columns: %s", strlen(line), line);
            assert_true(line[strlen(line) - 1] != ' ');
        }
    }
}

static void nearest(void **state) {
    (void)state;
    static const char *const names[] = {"matmul", "softmax", "gelu"};
    assert_string_equal(mmrec_nearest_name("matmull", names, 3), "matmul");
    assert_string_equal(mmrec_nearest_name("sfotmax", names, 3), "softmax");
    assert_null(mmrec_nearest_name("conv", names, 3));
    assert_null(mmrec_nearest_name("a-very-long-word-that-no-option-can-be", names, 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults, to_bench),
        cmocka_unit_test_setup(table_is_sound, to_bench),
        cmocka_unit_test_setup(programs, to_bench),
        cmocka_unit_test_setup(every_flag_is_found, to_bench),
        cmocka_unit_test_setup(sizes, to_bench),
        cmocka_unit_test_setup(quoted_values, to_bench),
        cmocka_unit_test_setup(values, to_bench),
        cmocka_unit_test_setup(precedence, to_bench),
        cmocka_unit_test_setup(refused_words, to_bench),
        cmocka_unit_test_setup(refused_values, to_bench),
        cmocka_unit_test_setup(refused_axes, to_bench),
        cmocka_unit_test_setup(refused_files, to_bench),
        cmocka_unit_test_setup(longest_line, to_bench),
        cmocka_unit_test_setup(help_fits, to_bench),
        cmocka_unit_test_setup(repeats_are_bounded, to_bench),
        cmocka_unit_test_setup(nearest, to_bench),
        cmocka_unit_test_setup(config_without_memory, to_bench),
        cmocka_unit_test_setup(sampling_defaults, to_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
