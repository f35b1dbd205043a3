/* Files that are no checkpoints: each is refused with words, through the reader of a whole file. */
#include "checkpoint_rig.h"

#include <zlib.h>

#include "safetensors_build.h"

static built valid_file(int64_t step) {
    mmrec_allocator a = {0};
    mmrec_checkpoint *c = rig_checkpoint(&a, step);
    void *bytes = NULL;
    built file = {NULL, 0};
    assert_int_equal(mmrec_checkpoint_encode(c, &a, &bytes, &file.size, NULL), MMREC_OK);
    file.bytes = malloc(file.size);
    assert_non_null(file.bytes);
    memcpy(file.bytes, bytes, file.size);
    mmrec_alloc(&a, bytes, file.size, 0, MMREC_ALLOC_FILE);
    mmrec_checkpoint_destroy(&c);
    return file;
}

/* The digits behind the first "checksum":" become the right ones. */
static void seal(built *file) {
    static const char key[] = "\"checksum\":\"";
    unsigned char *at = memmem(file->bytes, file->size, key, sizeof key - 1);
    assert_non_null(at);
    at += sizeof key - 1;
    char digits[9];
    memset(at, '0', 8);
    (void)snprintf(digits, sizeof digits, "%08lx", crc32(0, file->bytes, (uInt)file->size));
    memcpy(at, digits, 8);
}

/* Parses, expects a refusal, and nothing left behind. */
static mmrec_status refusal(const built *file, char text[1200]) {
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    mmrec_checkpoint *out = (mmrec_checkpoint *)&a;
    mmrec_status status = mmrec_checkpoint_parse(&a, file->bytes, file->size, &out, &error);
    mmrec_error_text(&error, text, 1200);
    assert_int_not_equal(status, MMREC_OK);
    assert_true(text[0] != '\0' && !strchr(text, '\n'));
    assert_null(out);
    assert_int_equal(a.total.live_bytes, 0);
    return status;
}

static void refused(const built *file, mmrec_status wanted_status, const char *wanted) {
    char text[1200];
    mmrec_status status = refusal(file, text);
    if (strncmp(text, wanted, strlen(wanted)) != 0) print_error("wanted: %s\n   got: %s\n", wanted, text);
    assert_memory_equal(text, wanted, strlen(wanted));
    assert_int_equal(status, wanted_status);
}

/* ---- cut and flipped ---------------------------------------------------------------------------------------- */

static void the_rig_is_right(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_checkpoint *out = NULL;
    built file = valid_file(5);
    seal(&file);
    assert_int_equal(mmrec_checkpoint_parse(&a, file.bytes, file.size, &out, NULL), MMREC_OK);
    rig_expect(out, 5);
    mmrec_checkpoint_destroy(&out);
    free(file.bytes);
}

static void cut_at_every_byte(void **state) {
    (void)state;
    built file = valid_file(5);
    char text[1200], wanted[100];
    for (size_t size = 0; size < file.size; size++) {
        built cut = {malloc(size + 1), size}; /* of its own size, so that a sanitizer sees a read beyond it */
        assert_non_null(cut.bytes);
        memcpy(cut.bytes, file.bytes, size);
        assert_int_equal(refusal(&cut, text), MMREC_FORMAT);
        (void)snprintf(wanted, sizeof wanted, "a file of %zu bytes is too short, wanted at least 10", size);
        if (size < 10) assert_string_equal(text, wanted);
        free(cut.bytes);
    }
    free(file.bytes);
}

static void grown(void **state) {
    (void)state;
    built file = valid_file(5);
    built more = {calloc(1, file.size + 8), file.size + 8};
    assert_non_null(more.bytes);
    memcpy(more.bytes, file.bytes, file.size);
    refused(&more, MMREC_FORMAT, "the tensors end at byte 180 of the data, which has 188");
    free(more.bytes);
    free(file.bytes);
}

/* Every bit of every byte: where the file still reads well, the checksum must be what refuses it. */
static void every_bit_flipped(void **state) {
    (void)state;
    built file = valid_file(5);
    size_t by_sum = 0, header = 0;
    memcpy(&header, file.bytes, sizeof header);
    for (size_t i = 0; i < file.size * 8; i++) {
        char text[1200];
        file.bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        mmrec_status status = refusal(&file, text);
        file.bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        assert_true(status == MMREC_FORMAT || (status == MMREC_UNSUPPORTED && i / 8 < 8 + header));
        by_sum += strncmp(text, "it is damaged: its checksum is ", 31) == 0;
        if (i / 8 >= 8 + header) assert_memory_equal(text, "it is damaged: its checksum is ", 31);
    }
    assert_true(by_sum >= (file.size - 8 - header) * 8);
    print_message("%zu bits flipped, %zu of them found by the checksum\n", file.size * 8, by_sum);
    free(file.bytes);
}

static void pieces_zeroed_and_swapped(void **state) {
    (void)state;
    built file = valid_file(5);
    size_t header = 0;
    memcpy(&header, file.bytes, sizeof header);
    unsigned char *data = file.bytes + 8 + header, kept[16];
    memcpy(kept, data, 16);
    memset(data, 0, 16);
    refused(&file, MMREC_FORMAT, "it is damaged: its checksum is ");
    memcpy(data, data + 16, 16);
    memcpy(data + 16, kept, 16);
    refused(&file, MMREC_FORMAT, "it is damaged: its checksum is ");
    free(file.bytes);
}

/* ---- whole files of another kind ---------------------------------------------------------------------------- */

typedef struct header_case {
    const char *header;
    size_t data_size;
    mmrec_status status;
    const char *wanted;
} header_case;

#define KIND "\"format\":\"mmrec-checkpoint\""
#define SUM "\"checksum\":\"00000000\""
#define ONE "\"version\":\"1\""
#define META(text) "\"__metadata__\":{" text "}"
#define GOOD META(SUM "," KIND "," ONE)
#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
#define UNPLAIN "its checksum is not written as 8 plain hexadecimal digits"

static const header_case cases[] = {
    /* no checkpoint */
    {"{}", 0, MMREC_FORMAT, "it is a safetensors file but no checkpoint: it names no format"},
    {"{" A "}", 4, MMREC_FORMAT, "it is a safetensors file but no checkpoint: it names no format"},
    {"{" META("") "}", 0, MMREC_FORMAT, "it is a safetensors file but no checkpoint: it names no format"},
    {"{" META(SUM "," ONE) "," A "}", 4, MMREC_FORMAT,
     "it is a safetensors file but no checkpoint: it names no format"},
    {"{" META(SUM ",\"format\":\"pt\"," ONE) "}", 0, MMREC_FORMAT,
     "it is no checkpoint: its format is \"pt\", wanted \"mmrec-checkpoint\""},
    {"{" META(SUM ",\"format\":\"\\u001b[31m\\n\"," ONE) "}", 0, MMREC_FORMAT,
     "it is no checkpoint: its format is \"?[31m?\", wanted"},
    {"{" META(SUM ",\"Format\":\"mmrec-checkpoint\"," ONE) "}", 0, MMREC_FORMAT, "it is a safetensors file but no"},
    {"{" META(SUM ",\"format\":\"mmrec-checkpoint \"," ONE) "}", 0, MMREC_FORMAT, "it is no checkpoint: its format is"},
    /* its version */
    {"{" META(SUM "," KIND) "}", 0, MMREC_FORMAT, "the checkpoint has no \"version\""},
    {"{" META(SUM "," KIND ",\"version\":\"2\"") "}", 0, MMREC_UNSUPPORTED,
     "it has version 2 of the format, this build reads up to version 1: use a newer one"},
    {"{" META(KIND ",\"version\":\"2\"") "}", 0, MMREC_UNSUPPORTED, "it has version 2 of the format"},
    {"{" META(SUM "," KIND ",\"version\":\"9223372036854775807\"") "}", 0, MMREC_UNSUPPORTED,
     "it has version 9223372036854775807 of the format"},
    {"{" META(SUM "," KIND ",\"version\":\"0\"") "}", 0, MMREC_FORMAT, "it has version 0, wanted 1 or more"},
    {"{" META(SUM "," KIND ",\"version\":\"-1\"") "}", 0, MMREC_FORMAT, "it has version -1, wanted 1 or more"},
    {"{" META(SUM "," KIND ",\"version\":\"1.0\"") "}", 0, MMREC_FORMAT,
     "\"version\" is \"1.0\" in the checkpoint, wanted a whole number of 64 bits"},
    {"{" META(SUM "," KIND ",\"version\":\"01\"") "}", 0, MMREC_FORMAT, "\"version\" is \"01\" in the checkpoint"},
    {"{" META(SUM "," KIND ",\"version\":\"\"") "}", 0, MMREC_FORMAT, "\"version\" is \"\" in the checkpoint"},
    {"{" META(SUM "," KIND ",\"version\":1") "}", 0, MMREC_FORMAT,
     "metadata \"version\" is an integer, wanted a string"},
    /* its checksum: none, elsewhere, twice, in another form */
    {"{" META(KIND "," ONE) "," A "}", 4, MMREC_FORMAT, "it has no checksum"},
    {"{" META(KIND "," ONE ",\"sum\":\"\\\"checksum\\\":\\\"00000000\"") "}", 0, MMREC_FORMAT, "it has no checksum"},
    {"{" SUM "," META(KIND "," ONE) "}", 0, MMREC_FORMAT, "tensor \"checksum\" is a string, wanted an object"},
    {"{" META(SUM "," SUM "," KIND "," ONE) "}", 0, MMREC_FORMAT,
     "invalid JSON near byte 49: the same key appears twice in an object"},
    {"{" META(SUM "," KIND "," ONE) "," SUM "}", 0, MMREC_FORMAT, "tensor \"checksum\" is a string, wanted an object"},
    {"{" META("\"check\\u0073um\":\"00000000\"," KIND "," ONE) "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META("\"checksum\": \"00000000\"," KIND "," ONE) "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META("\"checksum\" :\"00000000\"," KIND "," ONE) "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META("\"checksum\":\"\"," KIND "," ONE) "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META("\"checksum\":\"0000000\"," KIND "," ONE) "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META("\"checksum\":\"000000000\"," KIND "," ONE) "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META("\"checksum\":\"\\u0030000000\"," KIND "," ONE) "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META(KIND "," ONE ",\"checksum\":\"\"") "}", 0, MMREC_FORMAT, UNPLAIN},
    {"{" META("\"checksum\":\"xxxxxxxx\"," KIND "," ONE) "}", 0, MMREC_FORMAT,
     "it is damaged: its checksum is xxxxxxxx, its bytes have "},
    {"{" META("\"checksum\":\"ABCDEF01\"," KIND "," ONE) "," A "}", 4, MMREC_FORMAT,
     "it is damaged: its checksum is ABCDEF01, its bytes have "},
    {"{" GOOD "," A "}", 4, MMREC_FORMAT, "it is damaged: its checksum is 00000000, its bytes have "},
    {"{" META("\"checksum\":00000000," KIND "," ONE) "}", 0, MMREC_FORMAT, "invalid JSON near byte "},
    {"{" META("\"checksum\":12345678," KIND "," ONE) "}", 0, MMREC_FORMAT,
     "metadata \"checksum\" is an integer, wanted a string"},
};

static void not_checkpoints(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = strlen(cases[i].header);
        built file = build_file(length, cases[i].header, length, cases[i].data_size);
        refused(&file, cases[i].status, cases[i].wanted);
        free(file.bytes);
    }
    assert_true(sizeof cases / sizeof *cases >= 30);
}

/* Sealed: the checksum is right, and so cannot be what refuses them. */
static const header_case sealed[] = {
    {"{" GOOD ",\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, MMREC_FORMAT,
     "tensor \"\" has a name of 0 bytes, wanted 1 to 255"},
    {"{" GOOD ",\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, MMREC_FORMAT,
     "invalid JSON near byte "},
    {"{" GOOD ",\"../../etc/passwd\\u001b[2J\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     MMREC_FORMAT, "dtype of tensor \"../../etc/passwd?[2J\" is \"F31\", wanted one of F64 "},
    {"{" GOOD "," A "," A "}", 4, MMREC_FORMAT, "invalid JSON near byte "},
    {"{" GOOD ",\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4, MMREC_FORMAT,
     "tensor \"a\" would have 2^63 bytes or more"},
    {"{" GOOD ",\"a\":{\"dtype\":\"F32\",\"shape\":[1000000000],\"data_offsets\":[0,4000000000]}}", 4, MMREC_FORMAT,
     "tensor \"a\" ends at byte 4000000000 of the data, which has 4"},
    {"{" GOOD "," A "}", 5, MMREC_FORMAT, "the tensors end at byte 4 of the data, which has 5"},
    {"{" GOOD "," A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6, MMREC_FORMAT,
     "tensor \"b\" begins at byte 2 of the data, wanted 4: there is an overlap"},
    {"{" GOOD ",\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"checksum\":\"00000000\"}}", 4,
     MMREC_FORMAT, "tensor \"a\" has 4 keys, wanted only dtype, shape and data_offsets"},
    {"{" GOOD "," A "}x", 4, MMREC_FORMAT, "invalid JSON near byte "},
    {"[" SUM "]", 0, MMREC_FORMAT, "the header begins with byte 0x5b, wanted '{'"},
};

static void sealed_and_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof sealed / sizeof *sealed; i++) {
        size_t length = strlen(sealed[i].header);
        built file = build_file(length, sealed[i].header, length, sealed[i].data_size);
        seal(&file);
        refused(&file, sealed[i].status, sealed[i].wanted);
        free(file.bytes);
    }
}

/* What is right although this program would write it otherwise: spaces, other keys first, tensors of other types. */
static void sealed_and_right(void **state) {
    (void)state;
    static const char *const headers[] = {
        "{" META(SUM "," KIND "," ONE) "}", "{" A "," META("\"zzz\":\"checksum\"," ONE "," KIND "," SUM) " }   ",
        "{" META(SUM "," KIND "," ONE ",\"x\":\"\\\"checksum\\\":\\\"12345678\\\"\"") "," A "}",
        "{\"checksum\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}," META(ONE "," SUM "," KIND) "}"};
    mmrec_allocator a = {0};
    for (size_t i = 0; i < 4; i++) {
        built file = build_file(strlen(headers[i]), headers[i], strlen(headers[i]), i == 0 ? 0 : 4);
        mmrec_checkpoint *out = NULL;
        mmrec_error error = {0};
        double values[4];
        mmrec_shape shape = mmrec_shape1(i == 3 ? 4 : 1);
        seal(&file);
        if (mmrec_checkpoint_parse(&a, file.bytes, file.size, &out, &error) != MMREC_OK) fail_msg("%s", error.message);
        mmrec_status got = mmrec_checkpoint_get(out, i == 3 ? "checksum" : "a", &shape, values, &error);
        assert_int_equal(got, i == 0 ? MMREC_FORMAT : MMREC_OK);
        if (i == 3) assert_true(values[3] == 3);
        mmrec_checkpoint_destroy(&out);
        free(file.bytes);
    }
    assert_int_equal(a.total.live_bytes, 0);
}

/* ---- files -------------------------------------------------------------------------------------------------- */

static void read_refused(const char *path, mmrec_status wanted_status, const char *wanted) {
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_error error = {0};
    mmrec_checkpoint *out = (mmrec_checkpoint *)&a;
    char text[1200], frame[PATH_MAX + 20];
    assert_int_equal(mmrec_checkpoint_read_file(&a, &io, path, &out, &error), wanted_status);
    mmrec_error_text(&error, text, sizeof text);
    (void)snprintf(frame, sizeof frame, "(while reading \"%s\")", path);
    assert_non_null(strstr(text, wanted));
    assert_non_null(strstr(text, frame));
    assert_null(out);
    assert_int_equal(a.total.live_bytes, 0);
}

static void files_that_cannot_be_read(void **state) {
    (void)state;
    read_refused(rig_path("none"), MMREC_IO, "No such file or directory");
    read_refused(rig_folder, MMREC_IO, "it is a folder");
    assert_int_equal(mkfifo(rig_path("pipe"), 0600), 0);
    read_refused(rig_path("pipe"), MMREC_IO, "it is not a regular file");
    assert_int_equal(symlink("loop", rig_path("loop")), 0);
    read_refused(rig_path("loop"), MMREC_IO, "Too many levels of symbolic links");
    rig_write(rig_path("text"), "{\"format\":\"mmrec-checkpoint\"}", 29);
    read_refused(rig_path("text"), MMREC_FORMAT, "a header of ");
}

/* A file of 16 GiB and one byte that takes no room on disk: no memory is asked for. */
static void a_file_that_is_too_large(void **state) {
    (void)state;
    rig_write(rig_path("large"), "x", 1);
    if (truncate(rig_path("large"), (off_t)MMREC_CHECKPOINT_MOST_BYTES + 1) != 0) skip();
    read_refused(rig_path("large"), MMREC_FORMAT, "has 17179869185 bytes, at most 17179869184 are read");
}

/* Every damaged file of this suite as the newest one of a folder: it is named, and the older one is used. */
static void damaged_newest_is_skipped(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    rig_save(&a, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = strlen(cases[i].header);
        built file = build_file(length, cases[i].header, length, cases[i].data_size);
        rig_write(rig_step_path(2), file.bytes, file.size);
        rig_skips skips = rig_expect_newest(1);
        assert_int_equal(skips.count, 1);
        assert_string_equal(skips.file[0], "step-000000000002.safetensors");
        assert_memory_equal(skips.why[0], cases[i].wanted, strlen(cases[i].wanted));
        free(file.bytes);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, rig_empty)
    const struct CMUnitTest tests[] = {
        TEST(the_rig_is_right),         TEST(cut_at_every_byte),         TEST(grown),
        TEST(every_bit_flipped),        TEST(pieces_zeroed_and_swapped), TEST(not_checkpoints),
        TEST(sealed_and_wrong),         TEST(sealed_and_right),          TEST(files_that_cannot_be_read),
        TEST(a_file_that_is_too_large), TEST(damaged_newest_is_skipped),
    };
    return cmocka_run_group_tests(tests, rig_make, rig_remove);
}
