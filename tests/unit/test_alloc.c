/* The allocator: alignment, exact counts by tag, injected faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/alloc.h"
#include "mmrec/rng.h"

static void blocks_are_aligned_and_keep_their_bytes(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    size_t sizes[] = {1, 2, 63, 64, 65, 100, 4096, 100000, 70, 3};
    unsigned char *block = NULL;
    size_t size = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *moved = mmrec_alloc(&a, block, size, sizes[i], MMREC_ALLOC_GRAPH);
        assert_non_null(moved);
        assert_int_equal((uintptr_t)moved % MMREC_ALIGN, 0);
        for (size_t j = 0; j < size && j < sizes[i]; j++) assert_int_equal(moved[j], (unsigned char)(j * 7));
        for (size_t j = 0; j < sizes[i]; j++) moved[j] = (unsigned char)(j * 7);
        block = moved;
        size = sizes[i];
        assert_int_equal(a.total.live_bytes, size);
        assert_int_equal(a.by_tag[MMREC_ALLOC_GRAPH].live_bytes, size);
    }
    assert_null(mmrec_alloc(&a, block, size, 0, MMREC_ALLOC_GRAPH));
    assert_int_equal(a.total.live_bytes, 0);
    assert_int_equal(a.total.requests, 8); /* ten sizes, two of them smaller than the one before */
    assert_int_equal(a.attempts, 10);
}

static void same_size_and_nothing_are_no_requests(void **state) {
    (void)state;
    mmrec_allocator a = {.fail_at = 2, .fail_after = true};
    void *block = mmrec_alloc(&a, NULL, 0, 10, MMREC_ALLOC_OTHER);
    assert_non_null(block);
    assert_ptr_equal(mmrec_alloc(&a, block, 10, 10, MMREC_ALLOC_OTHER), block);
    assert_null(mmrec_alloc(&a, NULL, 0, 0, MMREC_ALLOC_OTHER));
    assert_null(mmrec_alloc(&a, block, 10, 0, MMREC_ALLOC_OTHER));
    assert_int_equal(a.attempts, 1);
    assert_int_equal(a.total.live_bytes, 0);
}

static void counts_are_apart_by_tag(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    void *p = mmrec_alloc(&a, NULL, 0, 100, MMREC_ALLOC_PARAMS), *q = mmrec_alloc(&a, NULL, 0, 30, MMREC_ALLOC_GRADS);
    assert_true(p && q);
    assert_int_equal(a.by_tag[MMREC_ALLOC_PARAMS].live_bytes, 100);
    assert_int_equal(a.by_tag[MMREC_ALLOC_GRADS].live_bytes, 30);
    assert_int_equal(a.total.live_bytes, 130);
    mmrec_alloc(&a, p, 100, 0, MMREC_ALLOC_PARAMS);
    assert_int_equal(a.by_tag[MMREC_ALLOC_PARAMS].peak_bytes, 100);
    assert_int_equal(a.total.peak_bytes, 130);
    mmrec_allocator_reset_peak(&a);
    assert_int_equal(a.by_tag[MMREC_ALLOC_PARAMS].peak_bytes, 0);
    assert_int_equal(a.by_tag[MMREC_ALLOC_GRADS].peak_bytes, 30);
    assert_int_equal(a.total.peak_bytes, 30);
    mmrec_alloc(&a, q, 30, 0, MMREC_ALLOC_GRADS);
}

/* While a block moves to its new size, the old and the new one live side by side: the peak says so. */
static void peak_counts_both_blocks_of_a_move(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    void *p = mmrec_alloc(&a, NULL, 0, 100, MMREC_ALLOC_PLAN);
    p = mmrec_alloc(&a, p, 100, 250, MMREC_ALLOC_PLAN);
    assert_non_null(p);
    assert_int_equal(a.total.peak_bytes, 350);
    assert_int_equal(a.total.live_bytes, 250);
    mmrec_alloc(&a, p, 250, 0, MMREC_ALLOC_PLAN);
}

static void chosen_attempts_fail(void **state) {
    (void)state;
    for (int after = 0; after < 2; after++) {
        mmrec_allocator a = {.fail_at = 3, .fail_after = after == 1};
        for (int i = 1; i <= 6; i++) {
            void *p = mmrec_alloc(&a, NULL, 0, 8, MMREC_ALLOC_OTHER);
            assert_int_equal(p == NULL, i == 3 || (after && i > 3));
            if (p) mmrec_alloc(&a, p, 8, 0, MMREC_ALLOC_OTHER);
        }
        assert_int_equal(a.attempts, 6);
        assert_int_equal(a.total.requests, after ? 2 : 5);
    }
}

static void failure_leaves_the_old_block(void **state) {
    (void)state;
    mmrec_allocator a = {.fail_at = 2};
    char *p = mmrec_alloc(&a, NULL, 0, 6, MMREC_ALLOC_OTHER);
    assert_non_null(p);
    memcpy(p, "hello", 6);
    assert_null(mmrec_alloc(&a, p, 6, 600, MMREC_ALLOC_OTHER));
    assert_string_equal(p, "hello");
    assert_int_equal(a.total.live_bytes, 6);
    mmrec_alloc(&a, p, 6, 0, MMREC_ALLOC_OTHER);
}

static void limit_is_kept_to_the_byte(void **state) {
    (void)state;
    mmrec_allocator a = {.limit_bytes = 100};
    void *p = mmrec_alloc(&a, NULL, 0, 60, MMREC_ALLOC_OTHER);
    assert_non_null(p);
    assert_null(mmrec_alloc(&a, NULL, 0, 41, MMREC_ALLOC_OTHER));
    void *q = mmrec_alloc(&a, NULL, 0, 40, MMREC_ALLOC_OTHER);
    assert_non_null(q);
    assert_null(mmrec_alloc(&a, NULL, 0, SIZE_MAX, MMREC_ALLOC_OTHER));
    a.limit_bytes = 50; /* lowered below what lives already */
    assert_null(mmrec_alloc(&a, NULL, 0, 1, MMREC_ALLOC_OTHER));
    mmrec_alloc(&a, p, 60, 0, MMREC_ALLOC_OTHER);
    mmrec_alloc(&a, q, 40, 0, MMREC_ALLOC_OTHER);
    assert_int_equal(a.total.live_bytes, 0);
}

static void sizes_beyond_the_address_space(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_error error = {0};
    void *p = &a;
    assert_null(mmrec_alloc(&a, NULL, 0, SIZE_MAX, MMREC_ALLOC_OTHER));
    assert_null(mmrec_alloc(&a, NULL, 0, (size_t)PTRDIFF_MAX + 1, MMREC_ALLOC_OTHER));
    assert_int_equal(mmrec_alloc_zero(&a, SIZE_MAX / 2, 3, MMREC_ALLOC_GRADS, &p, &error), MMREC_NO_MEMORY);
    assert_null(p);
    assert_string_equal(error.message, "not enough memory: 9223372036854775807 x 3 bytes wanted for gradients, 0 bytes "
                                       "are in use");
    assert_int_equal(a.total.live_bytes, 0);
    assert_int_equal(a.total.peak_bytes, 0);
}

static void zeroed_blocks(void **state) {
    (void)state;
    mmrec_allocator a = {.fail_at = 2};
    void *p = NULL, *q = &a;
    assert_int_equal(mmrec_alloc_zero(&a, 33, 3, MMREC_ALLOC_TRACE, &p, NULL), MMREC_OK);
    for (size_t i = 0; i < 99; i++) assert_int_equal(((char *)p)[i], 0);
    assert_int_equal(mmrec_alloc_zero(&a, 33, 3, MMREC_ALLOC_TRACE, &q, NULL), MMREC_NO_MEMORY);
    assert_null(q);
    assert_int_equal(mmrec_alloc_zero(&a, 0, 8, MMREC_ALLOC_TRACE, &q, NULL), MMREC_OK);
    assert_null(q);
    mmrec_alloc(&a, p, 99, 0, MMREC_ALLOC_TRACE);
    assert_int_equal(a.total.live_bytes, 0);
}

static void arrays_grow_by_doubling(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    int64_t *array = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 10000; i++) {
        void *block = array;
        assert_int_equal(mmrec_alloc_grow(&a, &block, &capacity, i + 1, sizeof *array, MMREC_ALLOC_PLAN, NULL),
                         MMREC_OK);
        array = block;
        array[i] = (int64_t)i * 3;
    }
    for (size_t i = 0; i < 10000; i++) assert_int_equal(array[i], (int64_t)i * 3);
    assert_in_range(a.attempts, 8, 14);
    a.fail_at = a.attempts + 1;
    void *block = array;
    size_t before = capacity;
    mmrec_error error = {0};
    assert_int_equal(mmrec_alloc_grow(&a, &block, &capacity, capacity + 1, sizeof *array, MMREC_ALLOC_PLAN, &error),
                     MMREC_NO_MEMORY);
    assert_true(block == array && capacity == before);
    assert_int_equal(mmrec_alloc_grow(&a, &block, &capacity, SIZE_MAX, sizeof *array, MMREC_ALLOC_PLAN, &error),
                     MMREC_NO_MEMORY);
    mmrec_alloc(&a, array, capacity * sizeof *array, 0, MMREC_ALLOC_PLAN);
    assert_int_equal(a.total.live_bytes, 0);
}

/* Random requests against a plain model of the counts. */
static void counts_agree_with_a_model(void **state) {
    (void)state;
    enum { SLOTS = 20, STEPS = 20000 };
    mmrec_allocator a = {.limit_bytes = 20000};
    struct {
        void *block;
        size_t size;
        mmrec_alloc_tag tag;
    } slot[SLOTS] = {{0}};
    size_t live[MMREC_ALLOC_TAGS] = {0};
    for (uint64_t step = 0; step < STEPS; step++) {
        uint32_t i = mmrec_rng_below(1, 0, step, SLOTS);
        size_t wanted = mmrec_rng_below(1, 1, step, 3) ? mmrec_rng_below(1, 2, step, 3000) : 0;
        if (!slot[i].block) slot[i].tag = (mmrec_alloc_tag)mmrec_rng_below(1, 3, step, MMREC_ALLOC_TAGS);
        void *fresh = mmrec_alloc(&a, slot[i].block, slot[i].size, wanted, slot[i].tag);
        if (!fresh && wanted > 0) continue;
        live[slot[i].tag] += wanted - slot[i].size;
        slot[i].block = fresh;
        slot[i].size = wanted;
        size_t total = 0;
        for (int tag = 0; tag < MMREC_ALLOC_TAGS; tag++) {
            assert_int_equal(a.by_tag[tag].live_bytes, live[tag]);
            total += live[tag];
        }
        assert_int_equal(a.total.live_bytes, total);
        assert_true(a.total.peak_bytes <= a.limit_bytes);
    }
    assert_true(a.attempts > a.total.requests); /* the limit was met */
    for (int i = 0; i < SLOTS; i++) mmrec_alloc(&a, slot[i].block, slot[i].size, 0, slot[i].tag);
    assert_int_equal(a.total.live_bytes, 0);
}

static void every_tag_has_a_text(void **state) {
    (void)state;
    for (int i = 0; i < MMREC_ALLOC_TAGS; i++) assert_true(strlen(mmrec_alloc_tag_text((mmrec_alloc_tag)i)) > 2);
    assert_string_equal(mmrec_alloc_tag_text(MMREC_ALLOC_PARAMS), "parameters");
    assert_string_equal(mmrec_alloc_tag_text(MMREC_ALLOC_TAGS), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_keep_their_bytes),
        cmocka_unit_test(same_size_and_nothing_are_no_requests),
        cmocka_unit_test(counts_are_apart_by_tag),
        cmocka_unit_test(peak_counts_both_blocks_of_a_move),
        cmocka_unit_test(chosen_attempts_fail),
        cmocka_unit_test(failure_leaves_the_old_block),
        cmocka_unit_test(limit_is_kept_to_the_byte),
        cmocka_unit_test(sizes_beyond_the_address_space),
        cmocka_unit_test(zeroed_blocks),
        cmocka_unit_test(arrays_grow_by_doubling),
        cmocka_unit_test(counts_agree_with_a_model),
        cmocka_unit_test(every_tag_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
