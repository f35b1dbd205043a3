/* Reading and writing safetensors files: what is right, round trips, damage and faults. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/safetensors.h"
#include "safetensors_build.h"

static const char good_header[] = "{\"b.second\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[8,24]},"
                                  "\"__metadata__\":{\"kind\":\"test\",\"quote \\\"[{[{ \\u00e4\":\"line\\nend\"},"
                                  "\"a first\":{\"data_offsets\":[0,8],\"dtype\":\"I64\",\"shape\":[1]},"
                                  "\"none\":{\"dtype\":\"U8\",\"shape\":[3,0],\"data_offsets\":[8,8]},"
                                  "\"scalar\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[24,25]}}  ";
enum { GOOD_DATA = 25 };

static built good_file(void) {
    return build_file(sizeof good_header - 1, good_header, sizeof good_header - 1, GOOD_DATA);
}

static void tensors_and_metadata(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_safetensors *file = NULL;
    built good = good_file();
    const unsigned char *data = good.bytes + good.size - GOOD_DATA;
    assert_int_equal(mmrec_safetensors_parse(&a, good.bytes, good.size, &file, NULL), MMREC_OK);
    static const char *const names[] = {"a first", "none", "b.second", "scalar"};
    static const size_t begins[] = {0, 8, 8, 24}, bytes[] = {8, 0, 16, 1}, elements[] = {1, 0, 4, 1};
    assert_int_equal(mmrec_safetensors_count(file), 4);
    for (size_t i = 0; i < 4; i++) {
        const mmrec_safetensors_tensor *tensor = mmrec_safetensors_at(file, i);
        assert_string_equal(tensor->name, names[i]);
        assert_ptr_equal(tensor->data, data + begins[i]);
        assert_int_equal(tensor->bytes, bytes[i]);
        assert_int_equal(mmrec_safetensors_elements(tensor), elements[i]);
        assert_ptr_equal(mmrec_safetensors_find(file, names[i]), tensor);
    }
    const mmrec_safetensors_tensor *second = mmrec_safetensors_find(file, "b.second");
    assert_true(second->ndim == 2 && second->dim[0] == 2 && second->dim[1] == 2);
    assert_int_equal(second->dtype, MMREC_SAFETENSORS_F32);
    assert_int_equal(mmrec_safetensors_find(file, "scalar")->ndim, 0);
    assert_null(mmrec_safetensors_find(file, "b.secon"));
    assert_null(mmrec_safetensors_find(file, ""));
    assert_int_equal(mmrec_safetensors_metadata_count(file), 2);
    assert_string_equal(mmrec_safetensors_metadata_at(file, 0)->key, "kind");
    assert_string_equal(mmrec_safetensors_metadata(file, "kind"), "test");
    assert_string_equal(mmrec_safetensors_metadata(file, "quote \"[{[{ \xc3\xa4"), "line\nend");
    assert_null(mmrec_safetensors_metadata(file, "Kind"));
    mmrec_safetensors_destroy(&file);
    assert_null(file);
    mmrec_safetensors_destroy(&file);
    assert_int_equal(a.total.live_bytes, 0);
    free(good.bytes);
}

static void smallest_file(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_safetensors *file = NULL;
    built empty = build_file(2, "{}", 2, 0);
    assert_int_equal(mmrec_safetensors_parse(&a, empty.bytes, empty.size, &file, NULL), MMREC_OK);
    assert_int_equal(mmrec_safetensors_count(file), 0);
    assert_int_equal(mmrec_safetensors_metadata_count(file), 0);
    assert_null(mmrec_safetensors_find(file, "a"));
    assert_null(mmrec_safetensors_metadata(file, "a"));
    mmrec_safetensors_destroy(&file);
    free(empty.bytes);
}

static void element_types(void **state) {
    (void)state;
    static const size_t bytes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1};
    for (int i = 0; i < MMREC_SAFETENSORS_DTYPES; i++) {
        assert_int_equal(mmrec_safetensors_dtype_bytes((mmrec_safetensors_dtype)i), bytes[i]);
    }
    assert_string_equal(mmrec_safetensors_dtype_name(MMREC_SAFETENSORS_BF16), "BF16");
    assert_string_equal(mmrec_safetensors_dtype_name(MMREC_SAFETENSORS_DTYPES), "?");
    assert_int_equal(mmrec_safetensors_dtype_bytes(MMREC_SAFETENSORS_DTYPES), 0);
}

/* ---- values ------------------------------------------------------------------------------------------------- */

/* Reads `bytes` through a tensor that begins at an odd address, as in a file. */
static mmrec_status read_values(mmrec_safetensors_dtype dtype, const void *bytes, size_t count, double *out,
                                mmrec_error *error) {
    unsigned char odd[200];
    mmrec_safetensors_tensor tensor = {.name = "t", .dtype = dtype, .ndim = 1, .dim = {(int64_t)count}};
    tensor.bytes = count * mmrec_safetensors_dtype_bytes(dtype);
    memcpy(odd + 1, bytes, tensor.bytes);
    tensor.data = odd + 1;
    return mmrec_safetensors_read_f64(&tensor, out, count, error);
}

static void values_of_every_type(void **state) {
    (void)state;
    double f64[] = {1.5, -1e300, 0.1}, out[3];
    float f32[] = {1.5f, -1e30f, 0.1f};
    int64_t i64[] = {INT64_C(1) << 53, -(INT64_C(1) << 53), 7};
    int32_t i32[] = {INT32_MIN, INT32_MAX, 7};
    int16_t i16[] = {INT16_MIN, INT16_MAX, 7};
    int8_t i8[] = {INT8_MIN, INT8_MAX, 7};
    uint8_t u8[] = {0, 255, 7};
    uint16_t bf16[] = {0x3fc0, 0xff80, 0x0001};
#define CHECK(type, values, a, b, c)                                                                                   \
    assert_int_equal(read_values(MMREC_SAFETENSORS_##type, values, 3, out, NULL), MMREC_OK);                           \
    assert_true(out[0] == (a) && out[1] == (b) && out[2] == (c))
    CHECK(F64, f64, 1.5, -1e300, 0.1);
    CHECK(F32, f32, 1.5, (double)-1e30f, (double)0.1f);
    CHECK(I64, i64, 0x1p53, -0x1p53, 7);
    CHECK(I32, i32, -0x1p31, 0x1p31 - 1, 7);
    CHECK(I16, i16, -32768, 32767, 7);
    CHECK(I8, i8, -128, 127, 7);
    CHECK(U8, u8, 0, 255, 7);
    CHECK(BOOL, u8, 0, 1, 1);
    CHECK(BF16, bf16, 1.5, -INFINITY, 0x1p-133);
#undef CHECK
}

/* Known half-precision values, and all of them in order: each positive number is above the one before. */
static void half_precision(void **state) {
    (void)state;
    uint16_t known[] = {0x3c00, 0xc000, 0x0001, 0x03ff, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x8000, 0x3555};
    double values[] = {1, -2, 0x1p-24, 1023 * 0x1p-24, 0x1p-14, 65504, INFINITY, -INFINITY, 0, 0.333251953125};
    double out[10], before = -1;
    assert_int_equal(read_values(MMREC_SAFETENSORS_F16, known, 10, out, NULL), MMREC_OK);
    for (int i = 0; i < 10; i++) assert_true(out[i] == values[i]);
    for (uint16_t bits = 0; bits <= 0x7c00; bits++) {
        assert_int_equal(read_values(MMREC_SAFETENSORS_F16, &bits, 1, out, NULL), MMREC_OK);
        assert_true(out[0] > before);
        before = out[0];
    }
    uint16_t nan = 0x7c01;
    assert_int_equal(read_values(MMREC_SAFETENSORS_F16, &nan, 1, out, NULL), MMREC_OK);
    assert_true(isnan(out[0]));
}

static void values_refused(void **state) {
    (void)state;
    double out[4];
    mmrec_error error = {0};
    int64_t big[] = {1, (INT64_C(1) << 53) + 1}, low[] = {INT64_MIN};
    assert_int_equal(read_values(MMREC_SAFETENSORS_I64, big, 2, out, &error), MMREC_FORMAT);
    assert_string_equal(error.message,
                        "element 1 of tensor \"t\" is 9007199254740993, wanted at most 2^53 in magnitude");
    assert_int_equal(read_values(MMREC_SAFETENSORS_I64, low, 1, out, &error), MMREC_FORMAT);
    mmrec_safetensors_tensor tensor = {.name = "t", .dtype = MMREC_SAFETENSORS_I64, .data = big, .bytes = 16};
    assert_int_equal(mmrec_safetensors_read_f64(&tensor, out, 3, &error), MMREC_SHAPE);
    assert_string_equal(error.message, "tensor \"t\" has 2 elements, wanted 3");
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static const double f64_data[] = {1, 2};
static const float f32_data[] = {3, 4, 5};
static const unsigned char u8_data[] = {6, 7, 8, 9, 10};
static const mmrec_safetensors_tensor written[] = {
    {"bytes", MMREC_SAFETENSORS_U8, 1, {5}, u8_data, 5},
    {"single \"\\\n\xc3\xa4", MMREC_SAFETENSORS_F32, 2, {1, 3}, f32_data, 12},
    {"none", MMREC_SAFETENSORS_F64, 2, {0, 7}, NULL, 0},
    {"double", MMREC_SAFETENSORS_F64, 1, {2}, f64_data, 16},
};
static const mmrec_safetensors_entry described[] = {{"config", "{\"dim\": 8}\t\x01\\"}, {"empty", ""}};
enum { WRITTEN = 4, DESCRIBED = 2 };

static void same_tensor(const mmrec_safetensors_tensor *a, const mmrec_safetensors_tensor *b) {
    assert_non_null(b);
    assert_string_equal(a->name, b->name);
    assert_true(a->dtype == b->dtype && a->ndim == b->ndim && a->bytes == b->bytes);
    for (int i = 0; i < a->ndim; i++) assert_int_equal(a->dim[i], b->dim[i]);
    if (a->bytes > 0) assert_memory_equal(a->data, b->data, a->bytes);
}

static void holds_what_was_written(const mmrec_safetensors *file) {
    assert_int_equal(mmrec_safetensors_count(file), WRITTEN);
    for (size_t i = 0; i < WRITTEN; i++) same_tensor(&written[i], mmrec_safetensors_find(file, written[i].name));
    assert_int_equal(mmrec_safetensors_metadata_count(file), DESCRIBED);
    for (size_t i = 0; i < DESCRIBED; i++) {
        assert_string_equal(mmrec_safetensors_metadata(file, described[i].key), described[i].value);
    }
}

static void encode_then_parse(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    void *bytes = NULL;
    size_t size = 0;
    mmrec_safetensors *file = NULL;
    assert_int_equal(mmrec_safetensors_encode(&a, written, WRITTEN, described, DESCRIBED, &bytes, &size, NULL),
                     MMREC_OK);
    assert_int_equal(a.by_tag[MMREC_ALLOC_FILE].live_bytes, size);
    assert_int_equal(a.total.live_bytes, size);
    assert_int_equal(mmrec_safetensors_parse(&a, bytes, size, &file, NULL), MMREC_OK);
    holds_what_was_written(file);
    /* Data begins at a multiple of 64, and each tensor at a multiple of its element. */
    assert_int_equal((size - 5 - 12 - 16) % 64, 0);
    for (size_t i = 0; i < WRITTEN; i++) {
        const mmrec_safetensors_tensor *tensor = mmrec_safetensors_at(file, i);
        size_t place = (size_t)((const char *)tensor->data - (const char *)bytes);
        assert_int_equal(place % mmrec_safetensors_dtype_bytes(tensor->dtype), 0);
    }
    mmrec_safetensors_destroy(&file);
    mmrec_alloc(&a, bytes, size, 0, MMREC_ALLOC_FILE);
}

static void encode_nothing(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    void *bytes = NULL;
    size_t size = 0;
    assert_int_equal(mmrec_safetensors_encode(&a, NULL, 0, NULL, 0, &bytes, &size, NULL), MMREC_OK);
    assert_int_equal(size, 64);
    assert_memory_equal(bytes, "\x38\0\0\0\0\0\0\0{} ", 11);
    mmrec_alloc(&a, bytes, size, 0, MMREC_ALLOC_FILE);
}

#define CHECKING " (while checking a safetensors file before it is written)"

static void not_encoded(const mmrec_safetensors_tensor *tensors, size_t count, const mmrec_safetensors_entry *metadata,
                        size_t entries, const char *wanted) {
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    void *bytes = &a;
    size_t size = 9;
    char text[1000];
    assert_int_equal(mmrec_safetensors_encode(&a, tensors, count, metadata, entries, &bytes, &size, &error),
                     MMREC_FORMAT);
    assert_string_equal(mmrec_error_text(&error, text, sizeof text), wanted);
    assert_true(bytes == NULL && size == 0 && a.total.live_bytes == 0);
}

static void refused_tensors(void **state) {
    (void)state;
    char lengthy[257] = "";
    memset(lengthy, 'n', 256);
    const struct {
        mmrec_safetensors_tensor tensor;
        const char *wanted;
    } cases[] = {
        {{"a", MMREC_SAFETENSORS_DTYPES, 0, {0}, u8_data, 1}, "dtype of tensor \"a\" is 10, which is none"},
        {{"a", MMREC_SAFETENSORS_U8, 9, {0}, u8_data, 1}, "tensor \"a\" has 9 axes, at most 8 are allowed"},
        {{"a", MMREC_SAFETENSORS_U8, -1, {0}, u8_data, 1}, "tensor \"a\" has -1 axes, at most 8 are allowed"},
        {{"a", MMREC_SAFETENSORS_U8, 1, {-5}, u8_data, 5}, "axis 0 of tensor \"a\" is -5, wanted 0 or more"},
        {{"a", MMREC_SAFETENSORS_U8, 1, {4}, u8_data, 5},
         "tensor \"a\" has 5 bytes of data, its dtype and shape need 4"},
        {{"a", MMREC_SAFETENSORS_F64, 1, {INT64_MAX}, u8_data, 5}, "tensor \"a\" would have 2^63 bytes or more"},
        {{"a", MMREC_SAFETENSORS_U8, 1, {5}, NULL, 5}, "tensor \"a\" has no data"},
        {{"__metadata__", MMREC_SAFETENSORS_U8, 1, {5}, u8_data, 5}, "a tensor cannot be named \"__metadata__\""},
        {{"", MMREC_SAFETENSORS_U8, 1, {5}, u8_data, 5}, "tensor \"\" has a name of 0 bytes, wanted 1 to 255" CHECKING},
        {{"\xff", MMREC_SAFETENSORS_U8, 1, {5}, u8_data, 5},
         "invalid JSON near byte 2: a string is not UTF-8 (while parsing the header; while checking a safetensors file "
         "before it is written)"},
        {{lengthy, MMREC_SAFETENSORS_U8, 1, {5}, u8_data, 5},
         "tensor \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...\" has a name of 256 bytes, "
         "wanted 1 to 255" CHECKING},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        not_encoded(&cases[i].tensor, 1, NULL, 0, cases[i].wanted);
}

static void refused_pairs(void **state) {
    (void)state;
    mmrec_safetensors_tensor twice[] = {written[0], written[0]};
    mmrec_safetensors_entry keys[] = {{"k", "1"}, {"k", "2"}};
    int64_t half = INT64_C(1) << 62;
    mmrec_safetensors_tensor huge[] = {{"a", MMREC_SAFETENSORS_U8, 1, {half}, u8_data, (size_t)half},
                                       {"b", MMREC_SAFETENSORS_U8, 1, {half}, u8_data, (size_t)half}};
    not_encoded(twice, 2, NULL, 0,
                "invalid JSON near byte 64: the same key appears twice in an object (while parsing the header; while "
                "checking a safetensors file before it is written)");
    not_encoded(NULL, 0, keys, 2,
                "invalid JSON near byte 28: the same key appears twice in an object (while parsing the header; while "
                "checking a safetensors file before it is written)");
    not_encoded(huge, 2, NULL, 0, "2 tensors would have 2^63 bytes or more");
}

/* ---- damage ------------------------------------------------------------------------------------------------- */

/* Whatever parses must be consistent: tensors one after the other, covering the data, each found by its name. */
static void consistent(const mmrec_safetensors *file, const unsigned char *bytes, size_t size) {
    const unsigned char *at = NULL;
    for (size_t i = 0; i < mmrec_safetensors_count(file); i++) {
        const mmrec_safetensors_tensor *tensor = mmrec_safetensors_at(file, i);
        if (at) assert_ptr_equal(tensor->data, at);
        at = (const unsigned char *)tensor->data + tensor->bytes;
        assert_true((const unsigned char *)tensor->data > bytes && at <= bytes + size);
        assert_ptr_equal(mmrec_safetensors_find(file, tensor->name), tensor);
        size_t elements = 1;
        for (int d = 0; d < tensor->ndim; d++) elements *= (size_t)tensor->dim[d];
        assert_int_equal(elements, mmrec_safetensors_elements(tensor));
    }
    assert_true(!at || at == bytes + size);
}

/* True if it was accepted. */
static bool parse_damaged(const unsigned char *bytes, size_t size) {
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    mmrec_safetensors *file = NULL;
    mmrec_status status = mmrec_safetensors_parse(&a, bytes, size, &file, &error);
    if (status == MMREC_OK) {
        consistent(file, bytes, size);
    } else {
        assert_int_equal(status, MMREC_FORMAT);
        assert_true(strlen(error.message) > 10);
    }
    mmrec_safetensors_destroy(&file);
    assert_int_equal(a.total.live_bytes, 0);
    return status == MMREC_OK;
}

static void every_byte_changed(void **state) {
    (void)state;
    built good = good_file();
    int accepted = 0, refused = 0;
    for (size_t at = 0; at < good.size - GOOD_DATA; at++) {
        for (unsigned change = 1; change < 256; change++) {
            good.bytes[at] = (unsigned char)(good.bytes[at] ^ change);
            bool ok = parse_damaged(good.bytes, good.size);
            good.bytes[at] = (unsigned char)(good.bytes[at] ^ change);
            accepted += ok;
            refused += !ok;
        }
    }
    free(good.bytes);
    /* A changed letter of a name is another good file; a changed length, bracket or number is not. */
    assert_true(accepted > 1000);
    assert_true(refused > 10 * (int)sizeof good_header);
}

static void every_length(void **state) {
    (void)state;
    built good = good_file();
    for (size_t size = 0; size < good.size; size++) {
        /* A block of its own size, so that a sanitizer sees a read behind it. */
        unsigned char *cut = malloc(size + (size == 0));
        assert_non_null(cut);
        memcpy(cut, good.bytes, size);
        assert_false(parse_damaged(cut, size));
        free(cut);
    }
    assert_true(parse_damaged(good.bytes, good.size));
    free(good.bytes);
}

/* ---- faults ------------------------------------------------------------------------------------------------- */

static char path[64];

static int make_path(void **state) {
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/mmrec-safetensors-%ld", (long)getpid());
    return 0;
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

static void write_then_open(void **state) {
    (void)state;
    mmrec_io io = {0};
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    mmrec_safetensors *file = NULL;
    char text[500], wanted[500];
    assert_int_equal(mmrec_safetensors_write(&io, &a, path, written, WRITTEN, described, DESCRIBED, NULL), MMREC_OK);
    assert_int_equal(mmrec_safetensors_open(&io, &a, path, 10000, &file, NULL), MMREC_OK);
    holds_what_was_written(file);
    mmrec_safetensors_destroy(&file);
    assert_int_equal(mmrec_safetensors_open(&io, &a, path, 100, &file, &error), MMREC_FORMAT);
    assert_null(file);
    assert_int_equal(mmrec_io_write_file(&io, path, "short", 5, NULL), MMREC_OK);
    assert_int_equal(mmrec_safetensors_open(&io, &a, path, 100, &file, &error), MMREC_FORMAT);
    (void)snprintf(wanted, sizeof wanted, "a file of 5 bytes is too short, wanted at least 10 (while reading \"%s\")",
                   path);
    assert_string_equal(mmrec_error_text(&error, text, sizeof text), wanted);
    assert_int_equal(a.total.live_bytes, 0);
}

/* One write and one read of the file; the status of the first that fails. */
static mmrec_status write_and_open(mmrec_io *io, mmrec_allocator *a, mmrec_error *error) {
    mmrec_safetensors *file = NULL;
    MMREC_TRY(mmrec_safetensors_write(io, a, path, written, WRITTEN, described, DESCRIBED, error));
    mmrec_status status = mmrec_safetensors_open(io, a, path, 10000, &file, error);
    if (status == MMREC_OK) holds_what_was_written(file);
    if (status != MMREC_OK) assert_null(file);
    mmrec_safetensors_destroy(&file);
    return status;
}

static void every_request_for_memory_failing(void **state) {
    (void)state;
    for (int after = 0; after < 2; after++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_io io = {0};
            mmrec_allocator a = {.fail_at = k, .fail_after = after == 1};
            mmrec_error error = {0};
            mmrec_status status = write_and_open(&io, &a, &error);
            reached = a.attempts >= k;
            assert_int_equal(status, reached ? MMREC_NO_MEMORY : MMREC_OK);
            assert_int_equal(a.total.live_bytes, 0);
            if (reached) assert_non_null(strstr(error.message, "not enough memory"));
            assert_true(k < 1000);
        }
    }
}

static void every_file_operation_failing(void **state) {
    (void)state;
    for (int after = 0; after < 2; after++) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_io io = {.fail_at = k, .fail_after = after == 1, .fail_errno = EIO};
            mmrec_allocator a = {0};
            mmrec_error error = {0};
            mmrec_status status = write_and_open(&io, &a, &error);
            reached = io.attempts >= k;
            assert_true(status == MMREC_OK || (reached && status == MMREC_IO));
            assert_int_equal(a.total.live_bytes, 0);
            assert_true(k < 100);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_and_metadata),
        cmocka_unit_test(smallest_file),
        cmocka_unit_test(element_types),
        cmocka_unit_test(values_of_every_type),
        cmocka_unit_test(half_precision),
        cmocka_unit_test(values_refused),
        cmocka_unit_test(encode_then_parse),
        cmocka_unit_test(encode_nothing),
        cmocka_unit_test(refused_tensors),
        cmocka_unit_test(refused_pairs),
        cmocka_unit_test(every_byte_changed),
        cmocka_unit_test(every_length),
        cmocka_unit_test(write_then_open),
        cmocka_unit_test(every_request_for_memory_failing),
        cmocka_unit_test(every_file_operation_failing),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
