/* Random numbers: known answers of Philox 4x32-10, and moments. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mmrec/rng.h"

static uint64_t pair(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

/* The known-answer vectors published with the generator. */
static void known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) {
        const uint32_t *c = vectors[v].counter, *k = vectors[v].key;
        mmrec_rng_block block = mmrec_rng_philox(pair(k[0], k[1]), pair(c[2], c[3]), pair(c[0], c[1]));
        for (int i = 0; i < 4; i++) assert_int_equal(block.word[i], vectors[v].answer[i]);
    }
}

static void words_are_those_of_the_blocks(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 40; i++) {
        mmrec_rng_block block = mmrec_rng_philox(5, 6, i / 4);
        assert_int_equal(mmrec_rng_word(5, 6, i), block.word[i % 4]);
    }
}

static void uniform_stays_inside(void **state) {
    (void)state;
    assert_true(mmrec_rng_unit(0) > 0.0f);
    assert_true(mmrec_rng_unit(UINT32_MAX) < 1.0f);
    for (uint64_t i = 0; i < 100000; i++) {
        float u = mmrec_rng_uniform(1, 2, i);
        assert_true(u > 0.0f && u < 1.0f);
    }
}

/* Sums of z, z^2, z^3, z^4 over a million numbers. */
static void moments(double (*draw)(uint64_t), int count, double sum[4]) {
    for (int k = 0; k < 4; k++) sum[k] = 0;
    for (int i = 0; i < count; i++) {
        double z = draw((uint64_t)i), power = 1;
        for (int k = 0; k < 4; k++) sum[k] += power *= z;
    }
    for (int k = 0; k < 4; k++) sum[k] /= count;
}

static double draw_uniform(uint64_t index) { return (double)mmrec_rng_uniform(42, 0, index); }
static double draw_normal(uint64_t index) { return mmrec_rng_normal(42, 1, index); }

static void near(double got, double wanted, double standard_deviation, int count) {
    assert_true(fabs(got - wanted) < 5 * standard_deviation / sqrt(count));
}

/* Bounds are five standard errors of the moment. */
static void uniform_moments(void **state) {
    (void)state;
    enum { COUNT = 1000000 };
    double m[4];
    moments(draw_uniform, COUNT, m);
    near(m[0], 1.0 / 2, 0.289, COUNT);
    near(m[1], 1.0 / 3, 0.299, COUNT);
    near(m[2], 1.0 / 4, 0.284, COUNT);
    near(m[3], 1.0 / 5, 0.267, COUNT);
}

static void normal_moments(void **state) {
    (void)state;
    enum { COUNT = 1000000 };
    double m[4];
    moments(draw_normal, COUNT, m);
    near(m[0], 0, 1, COUNT);
    near(m[1], 1, sqrt(2), COUNT);
    near(m[2], 0, sqrt(15), COUNT);
    near(m[3], 3, sqrt(96), COUNT);
}

static void normal_neighbours_are_not_correlated(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    double along = 0, across = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        along += mmrec_rng_normal(7, 0, i) * mmrec_rng_normal(7, 0, i + 1);
        across += mmrec_rng_normal(7, 0, i) * mmrec_rng_normal(7, 1, i);
    }
    near(along / COUNT, 0, 1, COUNT);
    near(across / COUNT, 0, 1, COUNT);
}

/* A pair shares radius and angle: its squares add up to -2 ln of its first word. */
static void normal_pairs_are_box_muller(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 100; i += 2) {
        double a = mmrec_rng_normal(3, 4, i), b = mmrec_rng_normal(3, 4, i + 1);
        double u = ((double)mmrec_rng_word(3, 4, i) + 0.5) / 4294967296.0;
        double turn = ((double)mmrec_rng_word(3, 4, i + 1) + 0.5) / 4294967296.0;
        assert_true(fabs(a * a + b * b + 2 * log(u)) < 1e-12);
        assert_true(fabs(remainder(atan2(b, a) / (2 * acos(-1.0)) - turn, 1.0)) < 1e-12);
    }
}

static void below_is_even(void **state) {
    (void)state;
    enum { SIDES = 7, COUNT = 70000 };
    int seen[SIDES] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        uint32_t n = mmrec_rng_below(9, 0, i, SIDES);
        assert_true(n < SIDES);
        seen[n]++;
    }
    double chi_square = 0;
    for (int i = 0; i < SIDES; i++) chi_square += pow(seen[i] - COUNT / SIDES, 2) / (COUNT / SIDES);
    assert_true(chi_square < 27.9); /* 6 degrees of freedom, probability 1e-4 */
    assert_int_equal(mmrec_rng_below(9, 0, 1, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(words_are_those_of_the_blocks),
        cmocka_unit_test(uniform_stays_inside),
        cmocka_unit_test(uniform_moments),
        cmocka_unit_test(normal_moments),
        cmocka_unit_test(normal_neighbours_are_not_correlated),
        cmocka_unit_test(normal_pairs_are_box_muller),
        cmocka_unit_test(below_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
