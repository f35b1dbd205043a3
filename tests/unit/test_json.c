/* JSON with counted memory: parsing, its refusals, and no memory at any point. Foreign text in messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "core/text.h"

static mmrec_status parse(mmrec_allocator *a, const char *text, json_t **out, mmrec_error *error) {
    return mmrec_json_parse(a, text, strlen(text), out, error);
}

static void parsed_and_counted(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    json_t *root = NULL;
    assert_int_equal(parse(&a, " {\"dim\": 8, \"name\": \"block\"}\n", &root, NULL), MMREC_OK);
    assert_int_equal(json_integer_value(json_object_get(root, "dim")), 8);
    assert_true(a.by_tag[MMREC_ALLOC_JSON].live_bytes > 0);
    assert_int_equal(a.by_tag[MMREC_ALLOC_JSON].live_bytes, a.total.live_bytes);
    json_decref(root);
    assert_int_equal(a.total.live_bytes, 0);
}

static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"", "invalid JSON near byte 0: it ends too early"},
        {"7", "invalid JSON near byte 1: the syntax is wrong"},
        {"[1,]", "invalid JSON near byte 4: the syntax is wrong"},
        {"[1] 2", "invalid JSON near byte 5: something follows its end"},
        {"{\"a\":1,\"a\":1}", "invalid JSON near byte 10: the same key appears twice in an object"},
        {"[1e400]", "invalid JSON near byte 6: a number is too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mmrec_allocator a = {0};
        mmrec_error error = {0};
        json_t *root = NULL;
        assert_int_equal(parse(&a, cases[i].text, &root, &error), MMREC_FORMAT);
        assert_string_equal(error.message, cases[i].wanted);
        assert_null(root);
        assert_int_equal(a.total.live_bytes, 0);
    }
}

/* jansson's own limit: 2048 levels are parsed, one more is refused, and a million is no deeper. */
static void nesting(void **state) {
    (void)state;
    static char text[1000000];
    static const int depths[] = {2048, 2049, 500000};
    for (int i = 0; i < 3; i++) {
        mmrec_allocator a = {0};
        mmrec_error error = {0};
        json_t *root = NULL;
        size_t depth = (size_t)depths[i];
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(mmrec_json_parse(&a, text, 2 * depth, &root, &error), i == 0 ? MMREC_OK : MMREC_FORMAT);
        if (i > 0) assert_string_equal(error.message, "invalid JSON near byte 2049: it is nested too deeply");
        json_decref(root);
        assert_int_equal(a.total.live_bytes, 0);
    }
}

static const char *const rich =
    "{\"a long key of some forty bytes, so that buffers grow\": [1, 2.5, true, null, \"\\u00e4\"],"
    "\"b\":{\"c\":[[],[{}],\"a string longer than sixteen bytes\"],\"d\":-12345678901234567},"
    "\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,\"j\":0,\"k\":0,\"l\":0,\"m\":0,\"n\":0}";

/* Each request failing in turn, for a text that is right and for one that is cut: the parser may fail at any point
 * where it has memory or not, and leaves nothing behind. */
static void no_memory_at_any_point(void **state) {
    (void)state;
    for (size_t size = strlen(rich); size > 0; size -= size > 20 ? 20 : size) {
        bool reached = true;
        for (uint64_t k = 1; reached; k++) {
            mmrec_allocator a = {.fail_at = k, .fail_after = size % 2};
            mmrec_error error = {0};
            json_t *root = NULL;
            mmrec_status status = mmrec_json_parse(&a, rich, size, &root, &error);
            reached = a.attempts >= k;
            mmrec_status otherwise = size == strlen(rich) ? MMREC_OK : MMREC_FORMAT;
            assert_int_equal(status, reached ? MMREC_NO_MEMORY : otherwise);
            assert_int_equal(root != NULL, status == MMREC_OK);
            json_decref(root);
            assert_int_equal(a.total.live_bytes, 0);
        }
    }
}

/* Two allocators in turn: each block goes back to its own. */
static void allocators_side_by_side(void **state) {
    (void)state;
    mmrec_allocator a = {0}, b = {0};
    assert_null(mmrec_json_use(&a));
    json_t *array = json_array();
    assert_ptr_equal(mmrec_json_use(&b), &a);
    json_t *number = json_integer(5);
    assert_ptr_equal(mmrec_json_use(NULL), &b);
    assert_null(json_integer(6)); /* no allocator, no memory */
    assert_true(a.total.live_bytes > 0 && b.total.live_bytes > 0);
    assert_int_equal(json_array_append_new(array, number), 0);
    json_decref(array);
    assert_int_equal(a.total.live_bytes, 0);
    assert_int_equal(b.total.live_bytes, 0);
}

static void printable_text(void **state) {
    (void)state;
    char text[12];
    assert_string_equal(mmrec_text_printable("plain", 5, text, sizeof text), "plain");
    assert_string_equal(mmrec_text_printable("a\x1b[1m\n\x7f", 7, text, sizeof text), "a?[1m??");
    assert_string_equal(mmrec_text_printable("elevenbytes", 11, text, sizeof text), "elevenbytes");
    assert_string_equal(mmrec_text_printable("twelve bytes", 12, text, sizeof text), "twelve b...");
    assert_string_equal(mmrec_text_printable("1234567\xc3\xa4 cut", 13, text, sizeof text), "1234567...");
    assert_string_equal(mmrec_text_printable("\xa4\xa4\xa4\xa4\xa4\xa4\xa4\xa4\xa4\xa4\xa4\xa4", 12, text, sizeof text),
                        "...");
    assert_string_equal(mmrec_text_printable("", 0, text, sizeof text), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsed_and_counted),
        cmocka_unit_test(refusals),
        cmocka_unit_test(nesting),
        cmocka_unit_test(no_memory_at_any_point),
        cmocka_unit_test(allocators_side_by_side),
        cmocka_unit_test(printable_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
