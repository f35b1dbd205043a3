/* Shapes, element types and bfloat16. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/shape.h"

static void element_types(void **state) {
    (void)state;
    assert_int_equal(mmrec_dtype_bytes(MMREC_F32), 4);
    assert_int_equal(mmrec_dtype_bytes(MMREC_F64), 8);
    assert_int_equal(mmrec_dtype_bytes(MMREC_I32), 4);
    assert_int_equal(mmrec_dtype_bytes(MMREC_BF16), 2);
    assert_int_equal(mmrec_dtype_bytes(MMREC_DTYPES), 0);
    assert_string_equal(mmrec_dtype_name(MMREC_F32), "f32");
    assert_string_equal(mmrec_dtype_name(MMREC_BF16), "bf16");
    assert_string_equal(mmrec_dtype_name((mmrec_dtype)77), "?");
}

static void valid_shapes(void **state) {
    (void)state;
    mmrec_shape scalar = {0, {0}}, zero = {2, {3, 0}}, negative = {1, {-1}}, five = {5, {1, 1, 1, 1}}, less = {-1, {1}},
                largest = {2, {INT64_C(1) << 31, (INT64_C(1) << 31) - 1}},
                large = {2, {INT64_C(1) << 31, INT64_C(1) << 31}}, overflow = {3, {INT64_MAX, INT64_MAX, 4}};
    assert_true(mmrec_shape_valid(&scalar) && mmrec_shape_valid(&largest));
    assert_false(mmrec_shape_valid(&zero) || mmrec_shape_valid(&negative) || mmrec_shape_valid(&five));
    assert_false(mmrec_shape_valid(&less) || mmrec_shape_valid(&large) || mmrec_shape_valid(&overflow));
}

static void rows_and_columns(void **state) {
    (void)state;
    mmrec_shape scalar = {0, {0}}, s = mmrec_shape3(2, 9, 32), v = mmrec_shape1(5);
    assert_int_equal(mmrec_shape_elements(&scalar), 1);
    assert_int_equal(mmrec_shape_rows(&s), 18);
    assert_int_equal(mmrec_shape_columns(&s), 32);
    assert_int_equal(mmrec_shape_elements(&s), 576);
    assert_int_equal(mmrec_shape_rows(&v), 1);
    float data[5] = {0};
    mmrec_view view = mmrec_view_dense(data, MMREC_F32, v);
    assert_int_equal(view.stride, 5);
}

static void equality(void **state) {
    (void)state;
    mmrec_shape a = mmrec_shape2(3, 4), b = mmrec_shape2(3, 4), c = mmrec_shape2(4, 3), d = mmrec_shape3(3, 4, 1);
    b.dim[2] = 99; /* beyond ndim, so no part of the shape */
    assert_true(mmrec_shape_equal(&a, &b));
    assert_false(mmrec_shape_equal(&a, &c) || mmrec_shape_equal(&a, &d));
}

static void texts(void **state) {
    (void)state;
    char text[200];
    mmrec_shape scalar = {0, {0}}, one = mmrec_shape1(5), s = mmrec_shape3(2, 9, 32);
    mmrec_shape wide = {4, {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN}};
    assert_string_equal(mmrec_shape_text(&scalar, text, sizeof text), "()");
    assert_string_equal(mmrec_shape_text(&one, text, sizeof text), "(5)");
    assert_string_equal(mmrec_shape_text(&s, text, sizeof text), "(2, 9, 32)");
    assert_int_equal(strlen(mmrec_shape_text(&wide, text, sizeof text)), 4 * 20 + 3 * 2 + 2);
    for (size_t size = 0; size < 12; size++) {
        memset(text, '#', sizeof text);
        const char *result = mmrec_shape_text(&s, text, size);
        assert_int_equal(strlen(result), size == 0 ? 0 : size - 1 < 10 ? size - 1 : 10);
        assert_int_equal(text[size], '#');
    }
}

static void bfloat16_exact_values(void **state) {
    (void)state;
    assert_int_equal(mmrec_bf16_from_float(1.0f), 0x3f80);
    assert_int_equal(mmrec_bf16_from_float(-2.0f), 0xc000);
    assert_int_equal(mmrec_bf16_from_float(0.0f), 0);
    assert_int_equal(mmrec_bf16_from_float(-0.0f), 0x8000);
    assert_int_equal(mmrec_bf16_from_float(INFINITY), 0x7f80);
    assert_int_equal(mmrec_bf16_from_float(3.4028235e38f), 0x7f80); /* beyond the largest bfloat16 */
    assert_int_equal(mmrec_bf16_from_float(1.00390625f), 0x3f80);   /* 1 + 2^-8, halfway: to even */
    assert_int_equal(mmrec_bf16_from_float(1.01171875f), 0x3f82);   /* 1 + 3 2^-8, halfway: to even */
    assert_int_equal(mmrec_bf16_from_float(1.00390637f), 0x3f81);   /* just above halfway */
}

/* All 65,536 values come back; NaN stays NaN, also when all its set bits are in the half that is cut. */
static void bfloat16_round_trip(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        float value = mmrec_bf16_to_float((uint16_t)i);
        if (isnan(value)) {
            assert_true(isnan(mmrec_bf16_to_float(mmrec_bf16_from_float(value))));
        } else {
            assert_int_equal(mmrec_bf16_from_float(value), i);
        }
    }
    uint32_t bits = 0x7f800001;
    float nan_below;
    memcpy(&nan_below, &bits, sizeof nan_below);
    assert_true(isnan(mmrec_bf16_to_float(mmrec_bf16_from_float(nan_below))));
}

/* Nearest: no neighbour is closer, over all exponents. */
static void bfloat16_is_nearest(void **state) {
    (void)state;
    for (uint32_t bits = 1; bits < 0x7f700000u; bits += 40961) {
        float value;
        memcpy(&value, &bits, sizeof value);
        uint16_t rounded = mmrec_bf16_from_float(value);
        float error = fabsf(mmrec_bf16_to_float(rounded) - value);
        assert_true(error <= fabsf(mmrec_bf16_to_float((uint16_t)(rounded + 1)) - value));
        if (rounded > 0) assert_true(error <= fabsf(mmrec_bf16_to_float((uint16_t)(rounded - 1)) - value));
        assert_int_equal(mmrec_bf16_from_float(-value), rounded | 0x8000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(element_types),
        cmocka_unit_test(valid_shapes),
        cmocka_unit_test(rows_and_columns),
        cmocka_unit_test(equality),
        cmocka_unit_test(texts),
        cmocka_unit_test(bfloat16_exact_values),
        cmocka_unit_test(bfloat16_round_trip),
        cmocka_unit_test(bfloat16_is_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
