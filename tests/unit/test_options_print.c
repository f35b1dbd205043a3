/* --print-config: a file that gives the same options again, in both programs. */
#include "mmrec/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { MOST_WORDS = 24, ROOM = 32768 };

static mmrec_allocator allocator;
static mmrec_io io;

typedef struct printed {
    char text[ROOM];
    size_t size;
} printed;

static void collect(void *context, const char *text, size_t size) {
    printed *p = context;
    assert_true(p->size + size < sizeof p->text);
    memcpy(p->text + p->size, text, size);
    p->size += size;
    p->text[p->size] = '\0';
}

/* `words` ends with NULL. */
static void parse(mmrec_program program, const char *const *words, mmrec_options *out) {
    static char name[] = "program";
    char *argument[MOST_WORDS] = {name};
    mmrec_error error = {0};
    int count = 1;
    for (; words[count - 1]; count++) argument[count] = (char *)(uintptr_t)words[count - 1];
    if (mmrec_options_parse(&allocator, &io, program, count, argument, NULL, out, &error) != MMREC_OK) {
        fail_msg("%s", error.message);
    }
}

static void print(const mmrec_options *options, printed *out) {
    out->size = 0;
    mmrec_options_print(options, (mmrec_option_writer){collect, out});
}

static void read_back(mmrec_program program, const printed *text, mmrec_options *out) {
    static const char *const nothing[] = {NULL};
    mmrec_error error = {0};
    parse(program, nothing, out);
    if (mmrec_options_parse_config(out, "printed.ini", text->text, text->size, &error) != MMREC_OK) {
        fail_msg("%s\n%s", error.message, text->text);
    }
}

static void same_value(const mmrec_options *a, const mmrec_options *b, mmrec_option_id id) {
    const mmrec_option_value *x = &a->value[id], *y = &b->value[id];
    int64_t size = 0;
    if (x->count == 0 && mmrec_option_size(a, id, &size)) {
        assert_int_equal(y->whole, size);
        return;
    }
    if (x->count != y->count) fail_msg("%s: %d values, then %d", mmrec_option_get(id)->flag, x->count, y->count);
    for (int i = 0; i < x->count; i++) assert_string_equal(x->text[i], y->text[i]);
    assert_true(x->whole == y->whole && x->bits == y->bits && memcmp(&x->real, &y->real, sizeof x->real) == 0);
}

/* Options, printed and read again, are the same; printed again they differ at most in where they came from. */
static void round_trip(mmrec_program program, const char *const *words) {
    static printed first, second;
    mmrec_options options, again, third;
    parse(program, words, &options);
    print(&options, &first);
    read_back(program, &first, &again);
    for (int i = 0; i < MMREC_OPTIONS; i++) same_value(&options, &again, (mmrec_option_id)i);
    print(&again, &second);
    read_back(program, &second, &third);
    for (int i = 0; i < MMREC_OPTIONS; i++) same_value(&again, &third, (mmrec_option_id)i);
    mmrec_options_free(&third);
    mmrec_options_free(&again);
    mmrec_options_free(&options);
    assert_int_equal(allocator.total.live_bytes, 0);
}

#define ROUND_TRIP(program, ...) round_trip(program, (const char *const[]){__VA_ARGS__ NULL})

static void nothing_given(void **state) {
    (void)state;
    for (int p = 0; p < MMREC_PROGRAMS; p++) round_trip((mmrec_program)p, (const char *const[]){NULL});
}

static void everything_of_bench(void **state) {
    (void)state;
    ROUND_TRIP(MMREC_PROGRAM_BENCH, "--hem=on", "--self-test=on", "--size=medium", "--seed=18446744073709551615",
               "--dim=96", "--dropout=0.1", "--warmup=5ms", "--max-time=1.5min", "--target-ci=2 %", "--op=gelu,matmul",
               "--op=relu", "--at=B=1 T=2", "--memory=24GiB", "--plan", "--quiet", "--context=a=b", "--context=c= d;e ",
               "--export-json=-", "--data=a;b", "--graphs=off", "--threads=3", "--level=0", );
    ROUND_TRIP(MMREC_PROGRAM_BENCH, "--min-time=1ms", "--max-time=6s", "--total-time=0", );
}

static void everything_of_train(void **state) {
    (void)state;
    ROUND_TRIP(MMREC_PROGRAM_TRAIN, "--data=text.txt", "--val=0.25", "--size=small", "--hem=off", "--uboo=planning",
               "--uboo-weight=0.3", "--epochs=0.1", "--lr=3e-4", "--lr-warmup=0", "--clip=0", "--stream=on",
               "--prompt= \n\"two\"\\\t;lines ", "--sample=5", "--resume", "--checkpoint=\"quoted\"", "--keep=1",
               "--max-time=90min", "--seed=0", "--log=- ", );
    ROUND_TRIP(MMREC_PROGRAM_TRAIN, "--task=recall", "--steps=1000", "--study=hem", "--seeds=3", "--target=1.88",
               "--output=;", "--bench", );
}

/* Whatever bytes a text has, alone and in company. */
static void every_byte(void **state) {
    (void)state;
    for (int c = 1; c < 256; c++) {
        char alone[16], between[32], twice[32];
        snprintf(alone, sizeof alone, "--prompt=%c", c);
        snprintf(between, sizeof between, "--log=a %cb%c c", c, c);
        snprintf(twice, sizeof twice, "--data=%c%c", c, c);
        ROUND_TRIP(MMREC_PROGRAM_TRAIN, alone, between, twice, );
    }
}

/* An axis and its single value exclude each other in one file, whatever gave them. */
static void swept_sizes(void **state) {
    (void)state;
    static printed text;
    mmrec_options options, again;
    parse(MMREC_PROGRAM_BENCH, (const char *const[]){"--axis=time=1,2 dim=8:64:*2", "--axis=pe=0,4", NULL}, &options);
    print(&options, &text);
    read_back(MMREC_PROGRAM_BENCH, &text, &again);
    assert_int_equal(again.value[MMREC_OPTION_axis].count, 2);
    assert_int_equal(again.value[MMREC_OPTION_time].count, 0);
    assert_int_equal(again.value[MMREC_OPTION_dim].count, 0);
    assert_int_equal(again.value[MMREC_OPTION_pe].source, MMREC_SOURCE_DEFAULT);
    assert_int_equal(again.value[MMREC_OPTION_layers].whole, 2);
    mmrec_options_free(&again);
    mmrec_options_free(&options);
}

/* A default that something else may stand in for is not said: it would stand against that. */
static void defaults_that_yield(void **state) {
    (void)state;
    static printed text;
    mmrec_options options, again;
    parse(MMREC_PROGRAM_TRAIN, (const char *const[]){"--epochs=2", NULL}, &options);
    print(&options, &text);
    assert_non_null(strstr(text.text, "\n# steps = 1000 "));
    assert_non_null(strstr(text.text, "\n# lr-warmup = 100 "));
    read_back(MMREC_PROGRAM_TRAIN, &text, &again);
    assert_int_equal(again.value[MMREC_OPTION_steps].source, MMREC_SOURCE_DEFAULT);
    assert_int_equal(again.value[MMREC_OPTION_lr_warmup].source, MMREC_SOURCE_DEFAULT);
    assert_int_equal(again.value[MMREC_OPTION_epochs].source, MMREC_SOURCE_FILE);
    mmrec_options_free(&again);
    mmrec_options_free(&options);
}

static void expect_line(const char *text, const char *line) {
    char whole[160];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    if (!strstr(text, whole)) fail_msg("'%s' is not a line of\n%s", line, text);
}

static void lines(void **state) {
    (void)state;
    static printed text;
    static char file[] = "dim = 64\nprompt = \"a b\"\n", name[] = "program", lr[] = "--lr=2e-3", env[] = "MMREC_KEEP=4";
    static char *argument[] = {name, lr, NULL}, *environment[] = {env, NULL};
    mmrec_options o;
    mmrec_error error = {0};
    assert_int_equal(mmrec_options_parse(&allocator, &io, MMREC_PROGRAM_TRAIN, 2, argument, environment, &o, &error),
                     MMREC_OK);
    assert_int_equal(mmrec_options_parse_config(&o, "my.ini", file, sizeof file - 1, &error), MMREC_OK);
    print(&o, &text);
    expect_line(text.text, "# Log and checkpoints");
    expect_line(text.text, "lr = 2e-3                            ; flag");
    expect_line(text.text, "keep = 4                             ; environment");
    expect_line(text.text, "dim = 64                             ; file my.ini:1");
    expect_line(text.text, "prompt = a b                         ; file my.ini:2");
    expect_line(text.text, "layers = 2                           ; of --size nano");
    expect_line(text.text, "beta2 = 0.95                         ; default");
    expect_line(text.text, "# threads is not given");
    assert_null(strstr(text.text, "help"));
    assert_null(strstr(text.text, "print-config"));
    mmrec_options_free(&o);
}

/* A value up to what a line holds comes back; a longer one is left out with a word about it, and the rest is read. */
static void long_values(void **state) {
    (void)state;
    static printed text;
    char word[300] = "--log=";
    for (size_t length = 150; length < 200; length++) {
        mmrec_options options, again;
        memset(word + 6, 'x', length);
        word[6 + length] = '\0';
        parse(MMREC_PROGRAM_TRAIN, (const char *const[]){word, "--keep=3", NULL}, &options);
        print(&options, &text);
        read_back(MMREC_PROGRAM_TRAIN, &text, &again);
        bool told = strstr(text.text, "\n# log is longer than a line may be: give it as a flag") != NULL;
        assert_true(told == (again.value[MMREC_OPTION_log].count == 0));
        assert_true(told == (length > 191));
        assert_int_equal(again.value[MMREC_OPTION_keep].whole, 3);
        mmrec_options_free(&again);
        mmrec_options_free(&options);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_given), cmocka_unit_test(everything_of_bench), cmocka_unit_test(everything_of_train),
        cmocka_unit_test(every_byte),    cmocka_unit_test(swept_sizes),         cmocka_unit_test(defaults_that_yield),
        cmocka_unit_test(lines),         cmocka_unit_test(long_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
