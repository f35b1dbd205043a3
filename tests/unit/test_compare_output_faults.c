/* Where a comparison is written: which files, what is refused before anything is measured, lack of memory and disk,
 * pictures without gnuplot, and the list of models. */
#include "compare_example.h"
#include "output_aside.h"

#include <stdlib.h>

enum { WORDS = 6, PATH = 256 };

/* ---- a folder to write to, and options for it ---- */

typedef struct place {
    char folder[64], word[WORDS][PATH];
    char *argument[WORDS + 2];
    int count;
} place;

static void place_begin(place *p) {
    static char program[] = "mmrec-compare";
    memset(p, 0, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/mmrec-compare-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    p->argument[p->count++] = program;
}

/* "--plot=<folder>/<name>"; with a name of "" the folder itself. */
static void place_add(place *p, const char *flag, const char *name) {
    char *word = p->word[p->count - 1], folder[sizeof p->folder];
    memcpy(folder, p->folder, sizeof folder);
    snprintf(word, PATH, "--%s=%s%s%s", flag, folder, *name ? "/" : "", name);
    p->argument[p->count++] = word;
}

static void place_options(place *p, mmrec_options *options) {
    mmrec_error error;
    must(mmrec_options_parse(&allocator, &io, MMREC_PROGRAM_COMPARE, p->count, p->argument, NULL, options, &error),
         &error);
}

/* An example that is to be written in every way, and gnuplot out of sight: `kept` is the path of programs till then. */
static void everything_wanted(example *e, place *p, char kept[4096]) {
    char *path = getenv("PATH");
    example_start(e);
    place_begin(p);
    place_add(p, "export-json", "out.json");
    place_add(p, "export-markdown", "deep/out.md");
    place_add(p, "export-csv", "out.csv");
    place_add(p, "plot", "pictures");
    place_options(p, &e->options);
    snprintf(kept, 4096, "%s", path ? path : "");
    setenv("PATH", "/nonexistent", 1);
}

static bool is_there(const place *p, const char *name) {
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    return access(path, F_OK) == 0;
}

static const char *const outputs[] = {"out.json",           "deep/out.md",          "out.csv",
                                      "pictures/plot.dat",  "pictures/plot.gp",     "pictures/front.svg",
                                      "pictures/front.png", "pictures/scaling.svg", "pictures/scaling.png"};

static void place_clear(const place *p) {
    char path[PATH];
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        snprintf(path, sizeof path, "%s/%s", p->folder, outputs[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/pictures", p->folder);
    rmdir(path);
    snprintf(path, sizeof path, "%s/deep", p->folder);
    rmdir(path);
}

static void place_end(const place *p) {
    place_clear(p);
    assert_int_equal(rmdir(p->folder), 0);
}

/* ---- writing ---- */

/* Standard output goes into a file meanwhile, whose text is kept. */
static char said[1 << 16];

static mmrec_status aside(mmrec_status (*write)(void *context, mmrec_error *error), void *context, mmrec_error *error) {
    char path[] = "/tmp/mmrec-compare-said-XXXXXX";
    int file = mkstemp(path), kept = output_into(file);
    mmrec_status status = write(context, error);
    output_back(kept);
    ssize_t size = pread(file, said, sizeof said - 1, 0);
    said[size < 0 ? 0 : size] = '\0';
    close(file);
    unlink(path);
    return status;
}

static mmrec_status write_all(void *context, mmrec_error *error) {
    const example *e = context;
    return mmrec_compare_write(&io, &e->options, &e->c, error);
}

static mmrec_status list_all(void *context, mmrec_error *error) {
    (void)context;
    return mmrec_compare_list(&allocator, &io, error);
}

static void every_output(void **state) {
    (void)state;
    static example e;
    place p;
    mmrec_error error;
    char kept[4096];
    everything_wanted(&e, &p, kept);
    must(mmrec_compare_check_outputs(&io, &e.options, &error), &error);
    assert_true(is_there(&p, "pictures"));
    must(aside(write_all, &e, &error), &error);
    setenv("PATH", kept, 1);
    for (int i = 0; i < 5; i++) assert_true(is_there(&p, outputs[i]));
    assert_non_null(strstr(said, "Pictures: not drawn: no gnuplot; where there is one, `gnuplot plot.gp` draws them."));
    assert_null(strstr(said, "Gradients of lstm"));
    mmrec_options_free(&e.options);
    place_end(&p);
    assert_int_equal(allocator.total.live_bytes, 0);
}

/* One that goes to standard output takes the place of the tables. */
static void to_standard_output(void **state) {
    (void)state;
    static example e;
    static char program[] = "mmrec-compare", word[] = "--export-csv=-";
    place p = {.argument = {program, word}, .count = 2};
    mmrec_error error;
    example_start(&e);
    place_options(&p, &e.options);
    must(aside(write_all, &e, &error), &error);
    assert_memory_equal(said, "row,label,", 10);
    assert_null(strstr(said, "# mmrec-compare"));
    mmrec_options_free(&e.options);
}

static void expect_refused(place *p, mmrec_status wanted, const char *message) {
    mmrec_options options;
    mmrec_error error;
    place_options(p, &options);
    assert_int_equal(mmrec_compare_check_outputs(&io, &options, &error), wanted);
    if (!strstr(error.message, message)) fail_msg("'%s' is not in '%s'", message, error.message);
    mmrec_options_free(&options);
}

static void refused_outputs(void **state) {
    (void)state;
    static const char *const flags[] = {"export-json", "export-markdown", "export-csv"};
    for (int a = 0; a < 3; a++) {
        place p;
        char message[160];
        place_begin(&p);
        place_add(&p, flags[a], "same");
        place_add(&p, flags[(a + 1) % 3], "same");
        snprintf(message, sizeof message, "both write to %s/same; give each a file of its own", p.folder);
        expect_refused(&p, MMREC_USAGE, message);
        place_end(&p);
    }
    place p;
    place_begin(&p);
    place_add(&p, "export-csv", ""); /* a folder */
    expect_refused(&p, MMREC_IO, p.folder);
    p.count = 1;
    place_add(&p, "plot", "file");
    int file = open(p.word[0] + strlen("--plot="), O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    close(file);
    expect_refused(&p, MMREC_IO, "/file");
    unlink(p.word[0] + strlen("--plot="));
    place_end(&p);
}

/* ---- faults ---- */

static mmrec_status print_all(const example *e, mmrec_error *error) {
    const compare_pictures none = {0};
    mmrec_buffer text, document;
    mmrec_buffer_begin(&text, &allocator);
    mmrec_buffer_begin(&document, &allocator);
    compare_report(&e->c, &e->options, &none, true, &text);
    compare_csv(&e->c, &text);
    compare_plot_data(&e->c, &text);
    compare_plot_script(&e->c, &text);
    mmrec_status first = mmrec_buffer_status(&text, error);
    mmrec_status second = compare_json(&e->c, &e->options, &document, first == MMREC_OK ? error : NULL);
    mmrec_buffer_free(&text);
    mmrec_buffer_free(&document);
    return first != MMREC_OK ? first : second;
}

static void no_memory(void **state) {
    (void)state;
    static example e;
    mmrec_error error;
    example_start(&e);
    uint64_t before = allocator.attempts;
    must(print_all(&e, &error), &error);
    uint64_t requests = allocator.attempts - before;
    assert_true(requests > 100);
    for (uint64_t k = 1; k <= requests; k += 1 + requests / 100) {
        allocator.fail_at = allocator.attempts + k;
        assert_int_equal(print_all(&e, &error), MMREC_NO_MEMORY);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    allocator.fail_at = allocator.attempts + 1;
    assert_int_equal(aside(list_all, NULL, &error), MMREC_NO_MEMORY);
    assert_int_equal(allocator.total.live_bytes, 0);
    allocator.fail_at = 0;
}

/* One file operation fails: the others are made all the same, and the failure is told. */
static void disk_faults(void **state) {
    (void)state;
    static example e;
    place p;
    mmrec_error error;
    char kept[4096];
    everything_wanted(&e, &p, kept);
    size_t live = allocator.total.live_bytes;
    uint64_t before = io.attempts;
    must(aside(write_all, &e, &error), &error);
    uint64_t calls = io.attempts - before;
    assert_true(calls > 20);
    int failed = 0;
    for (uint64_t k = 1; k <= calls; k += 5) {
        place_clear(&p);
        io.fail_at = io.attempts + k;
        mmrec_status status = aside(write_all, &e, &error);
        if (status != MMREC_OK && status != MMREC_IO) fail_msg("operation %d: status %d", (int)k, (int)status);
        failed += status == MMREC_IO;
        assert_int_equal(allocator.total.live_bytes, live);
        assert_true(is_there(&p, "out.csv") || is_there(&p, "out.json"));
    }
    assert_true(failed > 5);
    io.fail_at = io.attempts + 1;
    io.fail_after = true;
    assert_int_equal(aside(write_all, &e, &error), MMREC_IO);
    io.fail_at = 0;
    io.fail_after = false;
    setenv("PATH", kept, 1);
    mmrec_options_free(&e.options);
    place_end(&p);
}

/* ---- pictures ---- */

/* Where there is gnuplot it takes the script; without two rows there is nothing to draw. */
static void pictures(void **state) {
    (void)state;
    static example e;
    place p;
    mmrec_error error;
    example_start(&e);
    place_begin(&p);
    place_add(&p, "plot", "pictures");
    place_options(&p, &e.options);
    must(aside(write_all, &e, &error), &error);
    bool drawn = strstr(said, "/pictures/front.svg, front.png, scaling.svg, scaling.png\n") != NULL;
    if (!drawn) assert_non_null(strstr(said, "Pictures: not drawn: no gnuplot;"));
    for (int i = 5; i < 9; i++) assert_true(is_there(&p, outputs[i]) == drawn);
    place_clear(&p);
    e.run.axis_name = NULL;
    e.run.count = 1;
    must(aside(write_all, &e, &error), &error);
    assert_non_null(strstr(said, "not drawn: there are not two rows or points with figures to draw."));
    assert_false(is_there(&p, "pictures/plot.gp"));
    example_start(&e);
    place_options(&p, &e.options);
    example_emulated(&e);
    compare_pictures what = {0};
    compare_plot_what(&e.c, &what);
    assert_true(!what.front && what.scaling && !what.note[0]);
    e.run.axis_name = NULL;
    compare_plot_what(&e.c, &what);
    assert_non_null(strstr(what.note, "times: the device is emulated"));
    place_end(&p);
}

/* Without training the picture is over memory. */
static void front_over_memory(void **state) {
    (void)state;
    static example e;
    mmrec_buffer text;
    example_start(&e);
    for (int row = 0; row < ROWS; row++) e.c.row[row].quality.seeds = 0;
    mmrec_buffer_begin(&text, &allocator);
    compare_plot_data(&e.c, &text);
    compare_plot_script(&e.c, &text);
    mmrec_buffer_bytes(&text, "", 1);
    assert_non_null(strstr(text.data, "# front: planned memory in MB;"));
    assert_non_null(strstr(text.data, "set xlabel 'planned memory, MB'"));
    mmrec_buffer_free(&text);
}

/* ---- the list ---- */

static void list(void **state) {
    (void)state;
    mmrec_error error;
    must(aside(list_all, NULL, &error), &error);
    for (int i = 0; i < MMREC_MODELS; i++) {
        const mmrec_model_def *def = mmrec_model_get((mmrec_model_kind)i);
        char head[128];
        snprintf(head, sizeof head, "%s: %s", def->name, def->title);
        const char *at = strstr(said, head);
        if (!at) fail_msg("no '%s' in the list", head);
        for (const mmrec_model_field *f = def->fields; f->key; f++) {
            char field[64];
            snprintf(field, sizeof field, "\n  %s ", f->key);
            at = strstr(at, field);
            if (!at) fail_msg("no '%s' of %s in its place", f->key, def->name);
        }
    }
    for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n")) {
        size_t columns = 0;
        for (const char *c = line; *c; c++) columns += ((unsigned char)*c & 0xc0) != 0x80;
        if (columns > 80) fail_msg("%zu columns: %s", columns, line);
        assert_true(line[strlen(line) - 1] != ' ');
    }
    assert_int_equal(allocator.total.live_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_output),      cmocka_unit_test(to_standard_output),
        cmocka_unit_test(refused_outputs),   cmocka_unit_test(no_memory),
        cmocka_unit_test(disk_faults),       cmocka_unit_test(pictures),
        cmocka_unit_test(front_over_memory), cmocka_unit_test(list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
