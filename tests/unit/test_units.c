/* Numbers with units: what is read, what is refused, and how they are printed. */
#include "core/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void whole_numbers(void **state) {
    (void)state;
    int64_t value = 7;
    assert_true(mmrec_units_whole("512", &value) && value == 512);
    assert_true(mmrec_units_whole("-12", &value) && value == -12);
    assert_true(mmrec_units_whole("9223372036854775807", &value) && value == INT64_MAX);
    static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "9223372036854775808", "12a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        value = 7;
        if (mmrec_units_whole(bad[i], &value) || value != 7)
            fail_msg("'%s' was read as %lld", bad[i], (long long)value);
    }
}

static void seeds(void **state) {
    (void)state;
    uint64_t value = 7;
    assert_true(mmrec_units_seed("18446744073709551615", &value) && value == UINT64_MAX);
    assert_true(mmrec_units_seed("0", &value) && value == 0);
    assert_false(mmrec_units_seed("18446744073709551616", &value));
    assert_false(mmrec_units_seed("-1", &value));
    assert_false(mmrec_units_seed("", &value));
}

typedef bool (*real_reader)(const char *text, double *out);

typedef struct real_case {
    real_reader read;
    const char *text;
    double value;
} real_case;

static void reals(void **state) {
    (void)state;
    static const real_case good[] = {
        {mmrec_units_real, "0.25", 0.25},    {mmrec_units_real, "1e-5", 1e-5},       {mmrec_units_real, "-3.5", -3.5},
        {mmrec_units_real, ".5", 0.5},       {mmrec_units_percent, "1%", 0.01},      {mmrec_units_percent, "1 %", 0.01},
        {mmrec_units_percent, "2.5", 0.025}, {mmrec_units_seconds, "500us", 500e-6}, {mmrec_units_seconds, "2s", 2},
        {mmrec_units_seconds, "1.5min", 90}, {mmrec_units_seconds, "20ns", 20e-9},   {mmrec_units_seconds, "7ms", 7e-3},
        {mmrec_units_seconds, "0", 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = -1;
        bool read = good[i].read(good[i].text, &value);
        if (!read || !(value - good[i].value < 1e-12 && good[i].value - value < 1e-12)) {
            fail_msg("'%s' gave %d, %.17g", good[i].text, read, value);
        }
    }
}

static void reals_refused(void **state) {
    (void)state;
    static const real_case bad[] = {
        {mmrec_units_real, "", 0},       {mmrec_units_real, ".", 0},       {mmrec_units_real, "nan", 0},
        {mmrec_units_real, "inf", 0},    {mmrec_units_real, "0x10", 0},    {mmrec_units_real, "1e999", 0},
        {mmrec_units_real, "1,5", 0},    {mmrec_units_real, " 1", 0},      {mmrec_units_real, "1 ", 0},
        {mmrec_units_percent, "1%%", 0}, {mmrec_units_percent, "%", 0},    {mmrec_units_seconds, "5", 0},
        {mmrec_units_seconds, "5 s", 0}, {mmrec_units_seconds, "5sec", 0}, {mmrec_units_seconds, "s", 0},
        {mmrec_units_seconds, "5S", 0},  {mmrec_units_real, "--1", 0},     {mmrec_units_real, "-", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value = -1;
        if (bad[i].read(bad[i].text, &value) || value != -1) fail_msg("'%s' was read as %.17g", bad[i].text, value);
    }
}

static void bytes(void **state) {
    (void)state;
    uint64_t value = 0;
    assert_true(mmrec_units_bytes("24GiB", &value) && value == 24ull << 30);
    assert_true(mmrec_units_bytes("500MB", &value) && value == 500000000);
    assert_true(mmrec_units_bytes("1.5KiB", &value) && value == 1536);
    assert_true(mmrec_units_bytes("12", &value) && value == 12);
    assert_true(mmrec_units_bytes("12B", &value) && value == 12);
    assert_true(mmrec_units_bytes("3TiB", &value) && value == 3ull << 40);
    static const char *const bad[] = {"",       "GiB",     "-1GiB",      "1gib", "1GiBs",
                                      "24 GiB", "1e30GiB", "5000000TiB", "1K",   "0x1GiB"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (mmrec_units_bytes(bad[i], &value)) fail_msg("'%s' was read as %llu", bad[i], (unsigned long long)value);
    }
}

static void assert_axis(const char *text, const char *name, int count, const int64_t *values) {
    mmrec_axis axis;
    const char *fault = mmrec_units_axis(text, &axis);
    if (fault) fail_msg("'%s': %s", text, fault);
    assert_string_equal(axis.name, name);
    assert_int_equal(axis.count, count);
    for (int i = 0; i < count; i++) assert_int_equal(axis.value[i], values[i]);
}

static void axes(void **state) {
    (void)state;
    assert_axis("time=512:8192:*2", "time", 5, (int64_t[]){512, 1024, 2048, 4096, 8192});
    assert_axis("time=512:8191:*2", "time", 4, (int64_t[]){512, 1024, 2048, 4096});
    assert_axis("dim=0:10:+4", "dim", 3, (int64_t[]){0, 4, 8});
    assert_axis("batch=7", "batch", 1, (int64_t[]){7});
    assert_axis("batch=3,1,2", "batch", 3, (int64_t[]){3, 1, 2});
    assert_axis("batch=5:5:+1", "batch", 1, (int64_t[]){5});
    assert_axis("x=4611686018427387904:9223372036854775807:*2", "x", 1, (int64_t[]){1ll << 62});
}

static void axes_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"time", "an axis is NAME=RANGE"},
        {"a-name-too-long-for-it=1", "an axis is NAME=RANGE"},
        {"time=", "a value is not a whole number"},
        {"time=1,,2", "a value is not a whole number"},
        {"time=1,2,", "a value is not a whole number"},
        {"time=1:2", "a range is LOW:HIGH:*FACTOR or LOW:HIGH:+STEP"},
        {"time=a:2:*2", "a value is not a whole number"},
        {"time=1:2:2", "the step is *FACTOR or +STEP"},
        {"time=1:2:*x", "the step is *FACTOR or +STEP"},
        {"time=1:8:*1", "the step does not move upwards"},
        {"time=1:8:+0", "the step does not move upwards"},
        {"time=1:8:*-2", "the step does not move upwards"},
        {"time=9:8:+1", "the range is empty"},
        {"time=0:8:*2", "a factor never leaves 0"},
        {"time=1:65:+1", "more than 64 values"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mmrec_axis axis;
        const char *fault = mmrec_units_axis(bad[i][0], &axis);
        if (!fault || strcmp(fault, bad[i][1]) != 0) fail_msg("'%s': %s", bad[i][0], fault ? fault : "accepted");
    }
}

static void printed(void **state) {
    (void)state;
    char text[MMREC_UNITS_TEXT];
    assert_string_equal(mmrec_units_bytes_text(0, text), "0 B");
    assert_string_equal(mmrec_units_bytes_text(1023, text), "1023 B");
    assert_string_equal(mmrec_units_bytes_text(1024, text), "1.00 KiB");
    assert_string_equal(mmrec_units_bytes_text(1.5 * 1073741824, text), "1.50 GiB");
    assert_string_equal(mmrec_units_bytes_text(1048575, text), "1.00 MiB");
    assert_string_equal(mmrec_units_bytes_text(123456789, text), "118 MiB");
    assert_string_equal(mmrec_units_time_text(850, text), "850 ns");
    assert_string_equal(mmrec_units_time_text(999.9, text), "1.00 us");
    assert_string_equal(mmrec_units_time_text(12345678, text), "12.3 ms");
    assert_string_equal(mmrec_units_time_text(-1.2e9, text), "-1.20 s");
    assert_string_equal(mmrec_units_time_text(9.9999e6, text), "10.0 ms");
    assert_string_equal(mmrec_units_scaled_text(2.53e10, "FLOP", text), "25.3 GFLOP");
    assert_string_equal(mmrec_units_scaled_text(12, "FLOP", text), "12 FLOP");
    assert_string_equal(mmrec_units_scaled_text(0.5, "", text), "0.50");
    assert_string_equal(mmrec_units_scaled_text(3409408, "", text), "3.41 M");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers), cmocka_unit_test(seeds),   cmocka_unit_test(reals),
        cmocka_unit_test(reals_refused), cmocka_unit_test(bytes),   cmocka_unit_test(axes),
        cmocka_unit_test(axes_refused),  cmocka_unit_test(printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
