/* Files that are no safetensors files, each with the exact words it is refused with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "mmrec/safetensors.h"
#include "safetensors_build.h"

/* Parses, expects a refusal in these words, and nothing left behind. */
static void refused(built file, const char *wanted) {
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    mmrec_safetensors *out = (mmrec_safetensors *)&a;
    char text[1200];
    mmrec_status status = mmrec_safetensors_parse(&a, file.bytes, file.size, &out, &error);
    mmrec_error_text(&error, text, sizeof text);
    free(file.bytes);
    if (strcmp(text, wanted) != 0) print_error("wanted: %s\n", wanted);
    assert_string_equal(text, wanted);
    assert_int_equal(status, MMREC_FORMAT);
    assert_null(out);
    assert_int_equal(a.total.live_bytes, 0);
}

/* ---- the frame ---------------------------------------------------------------------------------------------- */

static void too_short(void **state) {
    (void)state;
    for (size_t size = 0; size < 10; size++) {
        char wanted[100];
        built file = build_file(2, "{}", 2, 0);
        file.size = size;
        (void)snprintf(wanted, sizeof wanted, "a file of %zu bytes is too short, wanted at least 10", size);
        refused(file, wanted);
    }
}

static void wrong_length(void **state) {
    (void)state;
    static const struct {
        uint64_t claimed;
        const char *wanted;
    } cases[] = {
        {0, "a header of 0 bytes, wanted 2 to 16777216"},
        {1, "a header of 1 bytes, wanted 2 to 16777216"},
        {3, "a header of 3 bytes, but only 2 follow its length"},
        {1 << 24, "a header of 16777216 bytes, but only 2 follow its length"},
        {(1 << 24) + 1, "a header of 16777217 bytes, wanted 2 to 16777216"},
        {UINT64_C(1) << 32, "a header of 4294967296 bytes, wanted 2 to 16777216"},
        {UINT64_C(1) << 63, "a header of 9223372036854775808 bytes, wanted 2 to 16777216"},
        {UINT64_MAX, "a header of 18446744073709551615 bytes, wanted 2 to 16777216"},
        {UINT64_C(0x0200000000000000), "a header of 144115188075855872 bytes, wanted 2 to 16777216"}, /* big-endian 2 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(build_file(cases[i].claimed, "{}", 2, 0), cases[i].wanted);
    }
}

/* ---- the header --------------------------------------------------------------------------------------------- */

typedef struct header_case {
    const char *header;
    size_t data_size;
    const char *wanted;
} header_case;

#define PARSING " (while parsing the header)"
#define A(rest) "{\"a\":{" rest "}}"
#define TYPES " wanted one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL"

static const header_case not_json[] = {
    {"[]", 0, "the header begins with byte 0x5b, wanted '{'"},
    {" {}", 0, "the header begins with byte 0x20, wanted '{'"},
    {"\xef\xbb\xbf{}", 0, "the header begins with byte 0xef, wanted '{'"},
    {"null", 0, "the header begins with byte 0x6e, wanted '{'"},
    {"{ ", 0, "invalid JSON near byte 2: it ends too early" PARSING},
    {"{\"a", 0, "invalid JSON near byte 3: it ends too early" PARSING},
    {"{\"a\\", 0, "invalid JSON near byte 4: the syntax is wrong" PARSING},
    {"{\"a\":}", 0, "invalid JSON near byte 6: the syntax is wrong" PARSING},
    {"{\"a\" 1}", 0, "invalid JSON near byte 6: the syntax is wrong" PARSING},
    {"{a:1}", 0, "invalid JSON near byte 2: the syntax is wrong" PARSING},
    {"{'a':1}", 0, "invalid JSON near byte 2: the syntax is wrong" PARSING},
    {"{\"a\":1,}", 0, "invalid JSON near byte 8: the syntax is wrong" PARSING},
    {"{,}", 0, "invalid JSON near byte 2: the syntax is wrong" PARSING},
    {"{]", 0, "invalid JSON near byte 2: the syntax is wrong" PARSING},
    {"{}}", 0, "invalid JSON near byte 3: something follows its end" PARSING},
    {"{}{}", 0, "invalid JSON near byte 3: something follows its end" PARSING},
    {"{} x", 0, "invalid JSON near byte 4: something follows its end" PARSING},
    {"{\"a\":01}", 0, "invalid JSON near byte 6: the syntax is wrong" PARSING},
    {"{\"a\":NaN}", 0, "invalid JSON near byte 8: the syntax is wrong" PARSING},
    {"{\"a\":\"\x01\"}", 0, "invalid JSON near byte 6: the syntax is wrong" PARSING},
    {"{\"a\":\"\\x\"}", 0, "invalid JSON near byte 8: the syntax is wrong" PARSING},
    {"{\"a\":\"\\ud800\"}", 0, "invalid JSON near byte 13: the syntax is wrong" PARSING},
    {"{\"\xff\":1}", 0, "invalid JSON near byte 2: a string is not UTF-8" PARSING},
    {"{\"\xc0\x80\":1}", 0, "invalid JSON near byte 2: a string is not UTF-8" PARSING},
    {"{\"a\\u0000b\":1}", 0, "invalid JSON near byte 11: a string has a NUL character" PARSING},
    {"{\"a\":\"\\u0000\"}", 0, "invalid JSON near byte 13: a string has a NUL character" PARSING},
    {"{\"a\":1,\"a\":2}", 0, "invalid JSON near byte 10: the same key appears twice in an object" PARSING},
    {"{\"a\":{\"b\":1,\"b\":2}}", 0, "invalid JSON near byte 15: the same key appears twice in an object" PARSING},
    {"{\"a\":9223372036854775808}", 0, "invalid JSON near byte 24: a number is too large" PARSING},
    {"{\"a\":1e999}", 0, "invalid JSON near byte 10: a number is too large" PARSING},
    {"{\"a\":{\"shape\":[[1]]}}", 0, "the header is nested 4 deep at its byte 15, at most 3 are allowed"},
    {"{\"a\":{\"shape\":[{}]}}", 0, "the header is nested 4 deep at its byte 15, at most 3 are allowed"},
};

static const header_case not_tensors[] = {
    {"{\"a\":1}", 0, "tensor \"a\" is an integer, wanted an object"},
    {"{\"a\":null}", 0, "tensor \"a\" is null, wanted an object"},
    {"{\"a\":true}", 0, "tensor \"a\" is a boolean, wanted an object"},
    {"{\"a\":1.5}", 0, "tensor \"a\" is a real number, wanted an object"},
    {"{\"a\":\"x\"}", 0, "tensor \"a\" is a string, wanted an object"},
    {"{\"a\":[]}", 0, "tensor \"a\" is an array, wanted an object"},
    {"{\"\":{}}", 0, "tensor \"\" has a name of 0 bytes, wanted 1 to 255"},
    {"{\"a\\u001b[31m\":{}}", 0, "tensor \"a?[31m\" has no dtype"},
    {A(""), 0, "tensor \"a\" has no dtype"},
    {A("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, "tensor \"a\" has no shape"},
    {A("\"dtype\":\"F32\",\"shape\":[1]"), 4, "tensor \"a\" has no data_offsets"},
    {A("\"Dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 4, "tensor \"a\" has no dtype"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1"), 4,
     "tensor \"a\" has 4 keys, wanted only dtype, shape and data_offsets"},
    {A("\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]"), 4, "dtype of tensor \"a\" is an integer, wanted a string"},
    {A("\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]"), 1, "dtype of tensor \"a\" is \"F8_E4M3\"," TYPES},
    {A("\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]"), 4, "dtype of tensor \"a\" is \"f32\"," TYPES},
    {A("\"dtype\":\"\",\"shape\":[1],\"data_offsets\":[0,4]"), 4, "dtype of tensor \"a\" is \"\"," TYPES},
    {A("\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]"), 4,
     "shape of tensor \"a\" is an integer, wanted an array"},
    {A("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4,
     "tensor \"a\" has 9 axes, at most 8 are allowed"},
    {A("\"dtype\":\"F32\",\"shape\":[1,-1],\"data_offsets\":[0,4]"), 4,
     "axis 1 of tensor \"a\" is -1, wanted 0 or more"},
    {A("\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]"), 4,
     "axis 0 of tensor \"a\" is a real number, wanted an integer"},
    {A("\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]"), 4,
     "axis 0 of tensor \"a\" is a string, wanted an integer"},
    {A("\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,4]"), 4,
     "tensor \"a\" would have 2^63 bytes or more"},
    {A("\"dtype\":\"I8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"), 4,
     "tensor \"a\" would have 2^63 bytes or more"},
    {A("\"dtype\":\"I8\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]"), 0,
     "tensor \"a\" would have 2^63 bytes or more"},
};

static const header_case not_covering[] = {
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{}"), 4,
     "data_offsets of tensor \"a\" is an object, wanted an array"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), 4,
     "data_offsets of tensor \"a\" has 1 values, wanted 2"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]"), 8,
     "data_offsets of tensor \"a\" has 3 values, wanted 2"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,null]"), 4,
     "data offset 1 of tensor \"a\" is null, wanted an integer"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), 4,
     "data_offsets of tensor \"a\" are 4 and 0, wanted 0 <= begin <= end"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]"), 4,
     "data_offsets of tensor \"a\" are -4 and 0, wanted 0 <= begin <= end"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 3,
     "tensor \"a\" ends at byte 4 of the data, which has 3"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]"), 4,
     "tensor \"a\" ends at byte 9223372036854775807 of the data, which has 4"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]"), 8,
     "tensor \"a\" has 8 bytes of data, its dtype and shape need 4"},
    {A("\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,4]"), 4,
     "tensor \"a\" has 4 bytes of data, its dtype and shape need 8"},
    {A("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]"), 0,
     "tensor \"a\" has 0 bytes of data, its dtype and shape need 4"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 5,
     "the tensors end at byte 4 of the data, which has 5"},
    {"{}", 1, "the tensors end at byte 0 of the data, which has 1"},
    {A("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), 8,
     "tensor \"a\" begins at byte 4 of the data, wanted 0: there is a gap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
     7, "tensor \"b\" begins at byte 3 of the data, wanted 4: there is an overlap with the tensor before"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
     4, "tensor \"b\" begins at byte 0 of the data, wanted 4: there is an overlap with the tensor before"},
    {"{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[5,7]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
     7, "tensor \"b\" begins at byte 5 of the data, wanted 4: there is a gap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
     4, "tensor \"a\" begins at byte 2 of the data, wanted 4: there is an overlap with the tensor before"},
};

static const header_case not_metadata[] = {
    {"{\"__metadata__\":[]}", 0, "__metadata__ is an array, wanted an object"},
    {"{\"__metadata__\":null}", 0, "__metadata__ is null, wanted an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "metadata \"k\" is an integer, wanted a string"},
    {"{\"__metadata__\":{\"k\":{}}}", 0, "metadata \"k\" is an object, wanted a string"},
    {"{\"__metadata__\":{\"\":\"v\"}}", 0, "metadata \"\" has a name of 0 bytes, wanted 1 to 255"},
    {"{\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"}}", 0,
     "invalid JSON near byte 28: the same key appears twice in an object" PARSING},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0,
     "invalid JSON near byte 33: the same key appears twice in an object" PARSING},
};

static void walk(const header_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(cases[i].header);
        refused(build_file(size, cases[i].header, size, cases[i].data_size), cases[i].wanted);
    }
}

#define WALK(cases) walk(cases, sizeof cases / sizeof *cases)

static void headers_that_are_no_json(void **state) {
    (void)state;
    WALK(not_json);
}

static void headers_without_tensors(void **state) {
    (void)state;
    WALK(not_tensors);
}

static void data_not_covered(void **state) {
    (void)state;
    WALK(not_covering);
}

static void metadata_of_wrong_type(void **state) {
    (void)state;
    WALK(not_metadata);
}

/* ---- sizes beyond the limits -------------------------------------------------------------------------------- */

static void nul_bytes_in_the_header(void **state) {
    (void)state;
    refused(build_file(3, "{}\0", 3, 0), "invalid JSON near byte 3: something follows its end" PARSING);
    refused(build_file(9, "{\"a\0b\":1}", 9, 0), "invalid JSON near byte 3: the syntax is wrong" PARSING);
}

static void long_names(void **state) {
    (void)state;
    static const char *const shapes[] = {"{\"%s\":{}}", "{\"__metadata__\":{\"%s\":\"\"}}"};
    static const char *const kinds[] = {"tensor", "metadata"};
    for (int i = 0; i < 2; i++) {
        char name[257] = "", header[300], wanted[300];
        memset(name, 'n', 256);
        (void)snprintf(header, sizeof header, shapes[i], name);
        (void)snprintf(wanted, sizeof wanted, "%s \"%.68s...\" has a name of 256 bytes, wanted 1 to 255", kinds[i],
                       name);
        refused(build_file(strlen(header), header, strlen(header), 0), wanted);
    }
}

/* A header of `count` members, each text followed by its number, between `begin` and `end`. */
static built repeated(const char *begin, const char *member, int count, const char *end) {
    size_t room = strlen(begin) + (size_t)count * (strlen(member) + 12) + strlen(end) + 1, used = 0;
    char *header = malloc(room);
    if (!header) abort();
    used += (size_t)snprintf(header, room, "%s", begin);
    for (int i = 0; i < count; i++) {
        if (i > 0) header[used++] = ',';
        /* The text of every member holds one number. */
        const char *hole = strchr(member, '#');
        size_t front = (size_t)(hole - member);
        memcpy(header + used, member, front);
        used += front;
        used += (size_t)snprintf(header + used, room - used, "%d%s", i, hole + 1);
    }
    used += (size_t)snprintf(header + used, room - used, "%s", end);
    built file = build_file(used, header, used, 0);
    free(header);
    return file;
}

static void too_many_of_anything(void **state) {
    (void)state;
    const char *tensor = "\"#\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,0],\"data_offsets\":[0,0]}";
    refused(repeated("{", "\"#\":{}", 65537, "}"), "the header lists 65537 tensors, at most 65536 are allowed");
    refused(repeated("{\"__metadata__\":{", "\"#\":\"\"", 65537, "}}"),
            "__metadata__ has 65537 entries, at most 65536 are allowed");
    refused(repeated("{", "\"#\":{}", 65538, "}"), "the header has more than 65536 commas 1 deep");
    refused(repeated("{\"a\":[", "#", 200000, "]}"), "the header has more than 196608 commas 2 deep");
    refused(repeated("{\"a\":{\"b\":[", "#", 600000, "]}}"), "the header has more than 524288 commas 3 deep");
    mmrec_allocator a = {0};
    mmrec_safetensors *file = NULL;
    built full = repeated("{", tensor, 65536, "}");
    assert_int_equal(mmrec_safetensors_parse(&a, full.bytes, full.size, &file, NULL), MMREC_OK);
    assert_int_equal(mmrec_safetensors_count(file), 65536);
    assert_string_equal(mmrec_safetensors_find(file, "31415")->name, "31415");
    assert_in_range(a.by_tag[MMREC_ALLOC_JSON].peak_bytes, 1, 200u << 20);
    mmrec_safetensors_destroy(&file);
    free(full.bytes);
}

/* 16 MiB of nothing but depth: refused by a scan that takes neither stack nor memory. */
static void deep_nesting(void **state) {
    (void)state;
    enum { SIZE = 1 << 24 };
    static const char openings[] = "[{";
    for (int i = 0; i < 2; i++) {
        built file = build_file(SIZE, "{", 1, SIZE - 1);
        memset(file.bytes + 9, openings[i], SIZE - 1);
        mmrec_allocator a = {0};
        mmrec_safetensors *out = NULL;
        mmrec_error error = {0};
        assert_int_equal(mmrec_safetensors_parse(&a, file.bytes, file.size, &out, &error), MMREC_FORMAT);
        assert_string_equal(error.message, "the header is nested 4 deep at its byte 3, at most 3 are allowed");
        assert_int_equal(a.attempts, 1); /* the handle */
        free(file.bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_short),
        cmocka_unit_test(wrong_length),
        cmocka_unit_test(headers_that_are_no_json),
        cmocka_unit_test(headers_without_tensors),
        cmocka_unit_test(data_not_covered),
        cmocka_unit_test(metadata_of_wrong_type),
        cmocka_unit_test(nul_bytes_in_the_header),
        cmocka_unit_test(long_names),
        cmocka_unit_test(too_many_of_anything),
        cmocka_unit_test(deep_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
