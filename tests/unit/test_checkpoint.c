/* Checkpoints: what is kept to the bit, one file, folders of them, and what a file promises to other programs. */
#include "checkpoint_rig.h"

#include <zlib.h>

#include "mmrec/safetensors.h"

/* ---- in memory ---------------------------------------------------------------------------------------------- */

/* The same bits, NaN and the sign of zero included. */
static void same_bits(const double *got, const double *wanted, size_t count) {
    assert_memory_equal(got, wanted, count * sizeof *got);
}

static void values_to_the_bit(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_checkpoint *c = NULL, *copy = NULL;
    double values[9] = {0.1, -0.0, INFINITY, -INFINITY, NAN, 5e-324, 1.7976931348623157e308, 1e-40, 0}, got[9];
    uint64_t strange = UINT64_C(0xfff8000000000123); /* a NaN that says something */
    memcpy(&values[8], &strange, sizeof strange);
    mmrec_shape shape = mmrec_shape3(1, 3, 3), scalar = {0};
    void *bytes = NULL;
    size_t size = 0;
    assert_int_equal(mmrec_checkpoint_create(&a, &c, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put(c, "f64", MMREC_SAFETENSORS_F64, &shape, values, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put(c, "f32", MMREC_SAFETENSORS_F32, &shape, values, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put(c, "one", MMREC_SAFETENSORS_F64, &scalar, values, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_encode(c, &a, &bytes, &size, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_parse(&a, bytes, size, &copy, NULL), MMREC_OK);
    const mmrec_checkpoint *both[] = {c, copy};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mmrec_checkpoint_get(both[i], "f64", &shape, got, NULL), MMREC_OK);
        same_bits(got, values, 9);
        assert_int_equal(mmrec_checkpoint_get(both[i], "one", &scalar, got, NULL), MMREC_OK);
        same_bits(got, values, 1);
        assert_int_equal(mmrec_checkpoint_get(both[i], "f32", &shape, got, NULL), MMREC_OK);
        for (int k = 0; k < 9; k++) {
            double rounded = (double)(float)values[k];
            same_bits(&got[k], &rounded, 1);
        }
        assert_true(mmrec_checkpoint_has(both[i], "f32") && !mmrec_checkpoint_has(both[i], "f3"));
    }
    mmrec_checkpoint_destroy(&copy);
    mmrec_checkpoint_destroy(&c);
    mmrec_checkpoint_destroy(&c);
    mmrec_alloc(&a, bytes, size, 0, MMREC_ALLOC_FILE);
    assert_int_equal(a.total.live_bytes, 0);
}

static void texts_and_numbers(void **state) {
    (void)state;
    static const int64_t wholes[] = {0, -1, 42, INT64_MAX, INT64_MIN};
    static const double reals[] = {0.0, -0.0, 0.1, -1e300, 5e-324, INFINITY, -INFINITY, 3};
    static const char text[] = "two \"lines\",\n a tab\t, \xc3\xa4, \"checksum\":\"";
    mmrec_allocator a = {0};
    mmrec_checkpoint *c = NULL, *copy = NULL;
    char key[20];
    void *bytes = NULL;
    size_t size = 0;
    assert_int_equal(mmrec_checkpoint_create(&a, &c, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put_text(c, "\"checksum\":\"", text, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_put_text(c, "empty", "", NULL), MMREC_OK);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(key, sizeof key, "whole %d", i);
        assert_int_equal(mmrec_checkpoint_put_whole(c, key, wholes[i], NULL), MMREC_OK);
    }
    for (int i = 0; i < 8; i++) {
        (void)snprintf(key, sizeof key, "real %d", i);
        assert_int_equal(mmrec_checkpoint_put_real(c, key, reals[i], NULL), MMREC_OK);
    }
    assert_int_equal(mmrec_checkpoint_put_real(c, "nan", NAN, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_encode(c, &a, &bytes, &size, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_parse(&a, bytes, size, &copy, NULL), MMREC_OK);
    assert_string_equal(mmrec_checkpoint_text(copy, "\"checksum\":\""), text);
    assert_string_equal(mmrec_checkpoint_text(copy, "empty"), "");
    assert_null(mmrec_checkpoint_text(copy, "none"));
    assert_string_equal(mmrec_checkpoint_text(copy, "real 2"), "0x1.999999999999ap-4");
    for (int i = 0; i < 5; i++) {
        int64_t got = 7;
        (void)snprintf(key, sizeof key, "whole %d", i);
        assert_int_equal(mmrec_checkpoint_whole(copy, key, &got, NULL), MMREC_OK);
        assert_true(got == wholes[i]);
    }
    double got = 0;
    for (int i = 0; i < 8; i++) {
        (void)snprintf(key, sizeof key, "real %d", i);
        assert_int_equal(mmrec_checkpoint_real(copy, key, &got, NULL), MMREC_OK);
        same_bits(&got, &reals[i], 1);
    }
    assert_int_equal(mmrec_checkpoint_real(copy, "nan", &got, NULL), MMREC_OK);
    assert_true(isnan(got));
    mmrec_checkpoint_destroy(&copy);
    mmrec_checkpoint_destroy(&c);
    mmrec_alloc(&a, bytes, size, 0, MMREC_ALLOC_FILE);
    assert_int_equal(a.total.live_bytes, 0);
}

static void refused(mmrec_status got, mmrec_status wanted, mmrec_error *error, const char *text) {
    assert_string_equal(error->message, text);
    assert_int_equal(got, wanted);
    mmrec_error_clear(error);
}

static void refused_puts(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_error e = {0};
    double one = 1;
    mmrec_shape shape = mmrec_shape1(1), huge = mmrec_shape2(1 << 20, 1 << 14), wrong = mmrec_shape1(-1);
    mmrec_checkpoint *c = rig_checkpoint(&a, 1), *copy = NULL;
    void *bytes = NULL;
    size_t size = 0;
#define PUT(to, name, dtype, shape) mmrec_checkpoint_put(to, name, MMREC_SAFETENSORS_##dtype, shape, &one, &e)
    refused(PUT(c, "x", BF16, &shape), MMREC_CONFIG, &e, "values of \"x\" cannot be kept as BF16, wanted F64 or F32");
    refused(PUT(c, "exact", F32, &shape), MMREC_CONFIG, &e, "the checkpoint has values \"exact\" already");
    refused(PUT(c, "x", F32, &wrong), MMREC_CONFIG, &e, "the shape of \"x\" is none");
    refused(PUT(c, "x\n", F32, &huge), MMREC_CONFIG, &e,
            "with \"x?\" the checkpoint would have more than the 17179869184 bytes that are allowed");
    refused(mmrec_checkpoint_put_whole(c, "step", 1, &e), MMREC_CONFIG, &e,
            "the checkpoint has a text \"step\" already");
    refused(mmrec_checkpoint_put_text(c, "checksum", "1", &e), MMREC_CONFIG, &e,
            "the checkpoint has a text \"checksum\" already");
    refused(mmrec_checkpoint_put_text(c, "format", "1", &e), MMREC_CONFIG, &e,
            "the checkpoint has a text \"format\" already");
    rig_expect(c, 1);
    assert_int_equal(mmrec_checkpoint_encode(c, &a, &bytes, &size, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_parse(&a, bytes, size, &copy, NULL), MMREC_OK);
    refused(PUT(copy, "x", F32, &shape), MMREC_CONFIG, &e, "cannot put \"x\" into a checkpoint that was read");
    refused(mmrec_checkpoint_put_text(copy, "x", "1", &e), MMREC_CONFIG, &e,
            "cannot put \"x\" into a checkpoint that was read");
#undef PUT
    mmrec_checkpoint_destroy(&copy);
    mmrec_alloc(&a, bytes, size, 0, MMREC_ALLOC_FILE);
    assert_int_equal(mmrec_checkpoint_put_text(c, "path", "\xff", NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_encode(c, &a, &bytes, &size, &e), MMREC_FORMAT);
    assert_non_null(strstr(e.message, "a string is not UTF-8"));
    assert_true(bytes == NULL && size == 0);
    mmrec_checkpoint_destroy(&c);
    assert_int_equal(a.total.live_bytes, 0);
}

static void refused_gets(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_error e = {0};
    double values[RIG_VALUES], real = 0;
    int64_t whole = 0;
    mmrec_shape flat = mmrec_shape1(RIG_VALUES), turned = mmrec_shape2(RIG_COLUMNS, RIG_ROWS);
    mmrec_checkpoint *c = rig_checkpoint(&a, 1);
    assert_int_equal(mmrec_checkpoint_put_text(c, "word", "1x", NULL), MMREC_OK);
    refused(mmrec_checkpoint_get(c, "weight", &flat, values, &e), MMREC_FORMAT, &e,
            "the checkpoint has no values \"weight\"");
    refused(mmrec_checkpoint_get(c, "exact", &flat, values, &e), MMREC_FORMAT, &e,
            "\"exact\" has the shape (3, 5) in the checkpoint, wanted (15)");
    refused(mmrec_checkpoint_get(c, "exact", &turned, values, &e), MMREC_FORMAT, &e,
            "\"exact\" has the shape (3, 5) in the checkpoint, wanted (5, 3)");
    refused(mmrec_checkpoint_whole(c, "steps", &whole, &e), MMREC_FORMAT, &e, "the checkpoint has no \"steps\"");
    refused(mmrec_checkpoint_whole(c, "word", &whole, &e), MMREC_FORMAT, &e,
            "\"word\" is \"1x\" in the checkpoint, wanted a whole number of 64 bits");
    refused(mmrec_checkpoint_real(c, "word", &real, &e), MMREC_FORMAT, &e,
            "\"word\" is \"1x\" in the checkpoint, wanted a real number as 0x1.8p+1");
    mmrec_checkpoint_destroy(&c);
}

/* Numbers in another form than the one they are put in. */
static void strange_numbers(void **state) {
    (void)state;
    static const char *const wholes[] = {"", " 1", "1 ", "+1", "01", "-0", "0x1", "1e3", "9223372036854775808"};
    static const char *const reals[] = {"", " 0x1p+0", "0x1p+0 ", "1", "0.5", "0x2p+0", "+0x1p+0", "0x1p+99999", "NAN"};
    mmrec_allocator a = {0};
    for (size_t i = 0; i < 9; i++) {
        mmrec_checkpoint *c = rig_checkpoint(&a, 1);
        int64_t whole = 7;
        double real = 7;
        assert_int_equal(mmrec_checkpoint_put_text(c, "whole", wholes[i], NULL), MMREC_OK);
        assert_int_equal(mmrec_checkpoint_put_text(c, "real", reals[i], NULL), MMREC_OK);
        assert_int_equal(mmrec_checkpoint_whole(c, "whole", &whole, NULL), MMREC_FORMAT);
        assert_int_equal(mmrec_checkpoint_real(c, "real", &real, NULL), MMREC_FORMAT);
        assert_true(whole == 7 && real == 7);
        mmrec_checkpoint_destroy(&c);
    }
}

/* The second save of the same values asks for no memory to keep them in. */
static void cleared_memory_is_used_again(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    double values[600] = {0};
    mmrec_shape shapes[] = {mmrec_shape1(600), mmrec_shape1(20), mmrec_shape1(599)};
    mmrec_checkpoint *c = NULL;
    assert_int_equal(mmrec_checkpoint_create(&a, &c, NULL), MMREC_OK);
    uint64_t requests = 0;
    for (int round = 0; round < 4; round++) {
        mmrec_checkpoint_clear(c);
        for (int i = 0; i < 3; i++) {
            char name[12];
            (void)snprintf(name, sizeof name, "%d", i);
            values[0] = round;
            mmrec_shape *shape = &shapes[round == 3 ? 2 - i : i];
            assert_int_equal(mmrec_checkpoint_put(c, name, MMREC_SAFETENSORS_F64, shape, values, NULL), MMREC_OK);
        }
        if (round == 1 || round == 2) assert_int_equal(a.attempts, requests);
        requests = a.attempts;
        double got[600];
        assert_int_equal(mmrec_checkpoint_get(c, "0", &shapes[round == 3 ? 2 : 0], got, NULL), MMREC_OK);
        assert_true(got[0] == round);
    }
    mmrec_checkpoint_clear(c);
    assert_false(mmrec_checkpoint_has(c, "0"));
    mmrec_checkpoint_destroy(&c);
    assert_int_equal(a.total.live_bytes, 0);
}

/* ---- one file ----------------------------------------------------------------------------------------------- */

/* The checksum as docs/checkpoints.md says it: any program can compute it. */
static void checksum_as_documented(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_checkpoint *c = rig_checkpoint(&a, 3);
    mmrec_safetensors *file = NULL;
    void *memory = NULL;
    size_t size = 0;
    char digits[9] = "", wanted[9] = "";
    assert_int_equal(mmrec_checkpoint_encode(c, &a, &memory, &size, NULL), MMREC_OK);
    assert_int_equal(mmrec_safetensors_parse(&a, memory, size, &file, NULL), MMREC_OK);
    assert_string_equal(mmrec_safetensors_metadata(file, "format"), "mmrec-checkpoint");
    assert_string_equal(mmrec_safetensors_metadata(file, "version"), "1");
    static const char front[] = "{\"__metadata__\":{\"checksum\":\"";
    char *at = (char *)memory + 8;
    assert_memory_equal(at, front, sizeof front - 1);
    at += sizeof front - 1;
    memcpy(digits, at, 8);
    assert_string_equal(mmrec_safetensors_metadata(file, "checksum"), digits);
    memset(at, '0', 8);
    (void)snprintf(wanted, sizeof wanted, "%08lx", crc32(0, memory, (uInt)size));
    assert_string_equal(digits, wanted);
    mmrec_safetensors_destroy(&file);
    mmrec_alloc(&a, memory, size, 0, MMREC_ALLOC_FILE);
    mmrec_checkpoint_destroy(&c);
}

static void file_round_trip(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_checkpoint *c = rig_checkpoint(&a, 12), *copy = NULL;
    void *first = NULL, *again = NULL;
    size_t first_size = 0, again_size = 0;
    assert_int_equal(mmrec_checkpoint_write_file(c, &io, rig_path("x/y"), NULL), MMREC_OK);
    assert_int_equal(io.calls[MMREC_IO_SYNC], 3);                        /* the new folder's entry, the file, its own */
    assert_int_equal(io.bytes[MMREC_IO_READ], io.bytes[MMREC_IO_WRITE]); /* read back */
    assert_int_equal(mmrec_checkpoint_read_file(&a, &io, rig_path("x/y"), &copy, NULL), MMREC_OK);
    rig_expect(copy, 12);
    assert_int_equal(mmrec_checkpoint_encode(c, &a, &first, &first_size, NULL), MMREC_OK);
    assert_int_equal(mmrec_checkpoint_encode(copy, &a, &again, &again_size, NULL), MMREC_OK);
    assert_int_equal(first_size, again_size);
    assert_memory_equal(first, again, first_size);
    mmrec_checkpoint_destroy(&c);
    mmrec_checkpoint_destroy(&copy);
    mmrec_alloc(&a, first, first_size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(&a, again, again_size, 0, MMREC_ALLOC_FILE);
    assert_int_equal(a.total.live_bytes, 0);
}

/* ---- a folder ----------------------------------------------------------------------------------------------- */

static void newest_of_none(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_checkpoint *out = (mmrec_checkpoint *)&a;
    mmrec_error e = {0};
    int64_t step = 7;
    assert_int_equal(rig_expect_newest(-1).count, 0);
    assert_int_equal(mmrec_checkpoint_newest(&a, &io, rig_path("none"), NULL, NULL, &out, &step, NULL), MMREC_OK);
    assert_true(out == NULL && step == -1);
    rig_write(rig_path("file"), "x", 1);
    assert_int_equal(mmrec_checkpoint_newest(&a, &io, rig_path("file"), NULL, NULL, &out, &step, &e), MMREC_IO);
    assert_non_null(strstr(e.message, "cannot list the folder \""));
    assert_non_null(strstr(e.message, "/file\": Not a directory"));
    assert_int_equal(a.total.live_bytes, 0);
}

/* By number, not by time; names that are nearly right are not looked at. */
static void newest_by_name(void **state) {
    (void)state;
    static const char *const others[] = {"step-00000000099.safetensors",  "step-0000000000990.safetensors",
                                         "step-000000000099.safetensor",  "step-000000000099.safetensorsx",
                                         "Step-000000000099.safetensors", "step-00000000009x.safetensors",
                                         "step--00000000099.safetensors", ".mmrec-1-0.tmp",
                                         "xstep-000000000099.safetensors"};
    mmrec_allocator a = {0};
    rig_save(&a, 30);
    rig_save(&a, 4);
    rig_save(&a, 200);
    rig_save(&a, 7);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) rig_write(rig_path(others[i]), "x", 1);
    assert_int_equal(rig_expect_newest(200).count, 0);
}

static void damage(int64_t step) {
    FILE *file = fopen(rig_step_path(step), "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    int last = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_int_equal(fputc(last ^ 1, file), last ^ 1);
    assert_int_equal(fclose(file), 0);
}

static void damaged_ones_are_skipped_and_named(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    for (int64_t step = 10; step <= 40; step += 10) rig_save(&a, step);
    damage(40);
    rig_write(rig_step_path(50), "", 0);
    assert_int_equal(mkdir(rig_step_path(60), 0700), 0);
    rig_skips skips = rig_expect_newest(30);
    assert_int_equal(skips.count, 3);
    assert_string_equal(skips.file[0], "step-000000000060.safetensors");
    assert_string_equal(skips.file[1], "step-000000000050.safetensors");
    assert_string_equal(skips.file[2], "step-000000000040.safetensors");
    assert_non_null(strstr(skips.why[0], "it is a folder"));
    assert_string_equal(skips.why[1], "a file of 0 bytes is too short, wanted at least 10");
    assert_non_null(strstr(skips.why[2], "it is damaged: its checksum is "));
}

static void all_are_damaged(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error e = {0};
    mmrec_checkpoint *out = NULL;
    int64_t step = 0;
    rig_skips skips = {0};
    rig_save(&a, 1);
    rig_save(&a, 2);
    damage(1);
    damage(2);
    assert_int_equal(mmrec_checkpoint_newest(&a, &io, rig_folder, rig_skipped, &skips, &out, &step, &e), MMREC_FORMAT);
    assert_true(out == NULL && step == -1 && skips.count == 2);
    char wanted[600];
    (void)snprintf(wanted, sizeof wanted,
                   "none of the checkpoints in \"%s\" is valid, 2 of them; the newest, step-000000000002.safetensors: "
                   "it is damaged: its checksum is ",
                   rig_folder);
    assert_memory_equal(e.message, wanted, strlen(wanted));
    assert_int_equal(a.total.live_bytes, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, rig_empty)
    const struct CMUnitTest tests[] = {
        TEST(values_to_the_bit),
        TEST(texts_and_numbers),
        TEST(refused_puts),
        TEST(refused_gets),
        TEST(strange_numbers),
        TEST(cleared_memory_is_used_again),
        TEST(checksum_as_documented),
        TEST(file_round_trip),
        TEST(newest_of_none),
        TEST(newest_by_name),
        TEST(damaged_ones_are_skipped_and_named),
        TEST(all_are_damaged),
    };
    return cmocka_run_group_tests(tests, rig_make, rig_remove);
}
