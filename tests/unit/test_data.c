/* Files as data: the order of windows, what is cut where, what is held out, and what is known of them. */
#include "data_rig.h"
#include "train/data_impl.h"

/* The only place of the noise at which row `row` of the batch that was read stands, its last target included. */
static int64_t place_of(const mmrec_data *data, int64_t row, int64_t size) {
    int64_t time = mmrec_data_request_of(data)->time, found = -1;
    assert_true(time >= 8);
    for (int64_t at = 0; at + time < size; at++) {
        int64_t same = 0;
        while (same < time && noise[at + same] == ids[row * time + same]) same++;
        if (same < time || noise[at + time] != targets[row * time + time - 1]) continue;
        assert_int_equal(found, -1);
        found = at;
    }
    assert_true(found >= 0);
    return found;
}

/* ---- order of windows --------------------------------------------------------------------------------------- */

static void check_permutation(int64_t count, uint64_t seed, int64_t epoch) {
    data_order order = data_order_of(count);
    unsigned char *seen = calloc(1, (size_t)count);
    assert_non_null(seen);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = data_order_at(&order, seed, epoch, i);
        assert_true(at >= 0 && at < count && !seen[at]);
        seen[at] = 1;
    }
    free(seen);
}

static void the_order_is_a_permutation(void **state) {
    (void)state;
    static const int64_t large[] = {1023, 1024, 1025, 4095, 4096, 4097, 7919, 16129, 16130, 65537};
    for (int64_t count = 1; count <= 300; count++) check_permutation(count, 5, count % 3);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) check_permutation(large[i], UINT64_MAX - i, (int64_t)i);
}

/* Places that two orders of 1000 have in common: about 1 by chance, over 12 has a probability below 1e-10. */
static int64_t in_common(uint64_t seed, int64_t epoch, uint64_t other_seed, int64_t other_epoch) {
    data_order order = data_order_of(1000);
    int64_t same = 0;
    for (int64_t i = 0; i < 1000; i++) {
        same += data_order_at(&order, seed, epoch, i) == data_order_at(&order, other_seed, other_epoch, i);
    }
    return same;
}

static void the_order_changes_with_seed_and_epoch(void **state) {
    (void)state;
    assert_int_equal(in_common(1, 0, 1, 0), 1000);
    for (int64_t i = 0; i < 20; i++) {
        assert_true(in_common(1, i, 1, i + 1) <= 12);
        assert_true(in_common((uint64_t)i, 3, (uint64_t)i + 1, 3) <= 12);
    }
    assert_true(in_common(1, 0, UINT64_C(1) << 32 | 1, 0) <= 12);
    assert_true(in_common(1, 0, 1, INT64_C(1) << 40) <= 12);
}

/* Chi-square over the ordered pairs that the first two places may hold: all must be as likely. Sizes with a full grid,
 * with walks, and with a grid of one row. The mean of the statistic is its degrees of freedom f, its deviation sqrt(2
 * f). */
static void check_uniform(int64_t count) {
    enum { DRAWS = 20000, MOST = 16 };
    int64_t hits[MOST][MOST] = {{0}};
    data_order order = data_order_of(count);
    for (int64_t epoch = 0; epoch < DRAWS; epoch++) {
        hits[data_order_at(&order, 9, epoch, 0)][data_order_at(&order, 9, epoch, count - 1)]++;
    }
    double cells = (double)(count * (count - 1)), expected = DRAWS / cells, square = 0;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = 0; k < count; k++) {
            if (i != k) square += ((double)hits[i][k] - expected) * ((double)hits[i][k] - expected) / expected;
        }
    }
    double freedom = cells - 1;
    if (!(square < freedom + 5 * sqrt(2 * freedom) + 10)) fail_msg("size %d: chi-square %g", (int)count, square);
}

static void every_order_is_as_likely(void **state) {
    (void)state;
    static const int64_t sizes[] = {2, 3, 4, 5, 7, 9, 12, 16};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check_uniform(sizes[i]);
}

static void orders_of_the_largest_files(void **state) {
    (void)state;
    int64_t count = (INT64_C(1) << 34) - 1;
    data_order order = data_order_of(count);
    assert_true(order.tall * order.wide >= count && order.tall * order.wide - count < order.wide);
    for (int64_t i = 0; i < 1000; i++) {
        int64_t at = data_order_at(&order, 1, INT64_C(1) << 50, count - 1 - i);
        assert_true(at >= 0 && at < count);
    }
}

/* ---- windows ------------------------------------------------------------------------------------------------ */

/* One epoch: windows of one cut, each at most once, all inside of the part; returns the offset. */
static int64_t check_epoch(const mmrec_data *data, int64_t epoch, int64_t size) {
    const mmrec_data_request *r = mmrec_data_request_of(data);
    int64_t batches = mmrec_data_info_of(data)->batches_per_epoch, offset = -1, windows = size / r->time - 1;
    unsigned char seen[LONGEST] = {0};
    assert_int_equal(batches, windows / r->batch);
    for (int64_t i = 0; i < batches; i++) {
        read_batch(data, MMREC_SPLIT_TRAIN, epoch * batches + i);
        for (int64_t row = 0; row < r->batch; row++) {
            int64_t place = place_of(data, row, size);
            if (offset < 0) offset = place % r->time;
            assert_int_equal(place % r->time, offset);
            assert_true(place / r->time < windows && !seen[place / r->time]);
            seen[place / r->time] = 1;
        }
    }
    return offset;
}

static void an_epoch_visits_every_window_once(void **state) {
    (void)state;
    write_file(noise, 1007);
    mmrec_data_request request = request_of(3, 16);
    mmrec_data *data = create(&request);
    bool seen[16] = {false};
    int64_t all = 0;
    for (int64_t epoch = 0; epoch < 120; epoch++) {
        int64_t offset = check_epoch(data, epoch, 1007);
        all += !seen[offset];
        seen[offset] = true;
    }
    /* An offset is missed by 120 epochs with probability (15/16)^120 = 4e-4; all 16 together 7e-3, and the seed is
     * fixed. */
    assert_int_equal(all, 16);
    mmrec_data_destroy(&data);
}

static void a_batch_is_addressed_by_its_number(void **state) {
    (void)state;
    write_file(noise, 3000);
    mmrec_data_request request = request_of(4, 8);
    mmrec_data *data = create(&request), *again = create(&request);
    int32_t first[50][32];
    for (int64_t i = 0; i < 50; i++) {
        read_batch(data, MMREC_SPLIT_TRAIN, i);
        memcpy(first[i], ids, sizeof first[i]);
    }
    for (int64_t i = 49; i >= 0; i--) {
        read_batch(again, MMREC_SPLIT_TRAIN, i);
        assert_memory_equal(first[i], ids, sizeof first[i]);
    }
    mmrec_data_destroy(&again);
    request.seed = 2;
    again = create(&request);
    int64_t same = 0;
    for (int64_t i = 0; i < 50; i++) {
        read_batch(again, MMREC_SPLIT_TRAIN, i);
        same += memcmp(first[i], ids, sizeof first[i]) == 0;
    }
    assert_int_equal(same, 0);
    read_batch(again, MMREC_SPLIT_TRAIN, INT64_C(1) << 50);
    mmrec_data_destroy(&again);
    mmrec_data_destroy(&data);
}

/* ---- the held-out part -------------------------------------------------------------------------------------- */

/* The tail holds one byte that stands nowhere else: no training row may show it, and held-out rows show nothing else.
 */
static void check_parts(bool stream) {
    static unsigned char bytes[1000];
    memcpy(bytes, noise, sizeof bytes);
    memset(bytes + 700, 255, 300);
    write_file(bytes, sizeof bytes);
    mmrec_data_request request = request_of(5, 9);
    request.held_out = 0.3;
    request.stream = stream;
    mmrec_data *data = create(&request);
    const mmrec_data_info *info = mmrec_data_info_of(data);
    assert_int_equal(info->tokens[MMREC_SPLIT_TRAIN], 700);
    assert_int_equal(info->tokens[MMREC_SPLIT_HELD_OUT], 300);
    for (int64_t i = 0; i < 60 * info->batches_per_epoch; i++) {
        read_batch(data, MMREC_SPLIT_TRAIN, i);
        for (int k = 0; k < 45; k++) assert_true(ids[k] != 255 && targets[k] != 255);
    }
    assert_true(info->held_out_batches >= 6);
    for (int64_t i = 0; i < info->held_out_batches; i++) {
        read_batch(data, MMREC_SPLIT_HELD_OUT, i);
        for (int k = 0; k < 45; k++) assert_true(ids[k] == 255 && targets[k] == 255);
    }
    mmrec_data_destroy(&data);
}

static void the_tail_is_held_out(void **state) {
    (void)state;
    check_parts(false);
    check_parts(true);
}

static void held_out_windows_come_in_order(void **state) {
    (void)state;
    write_file(noise, 2000);
    mmrec_data_request request = request_of(3, 10);
    request.held_out = 0.25;
    mmrec_data *data = create(&request);
    assert_int_equal(mmrec_data_info_of(data)->held_out_batches, 499 / 30);
    for (int64_t i = 0; i < 499 / 30; i++) {
        read_batch(data, MMREC_SPLIT_HELD_OUT, i);
        for (int64_t row = 0; row < 3; row++) assert_int_equal(place_of(data, row, 2000), 1500 + (i * 3 + row) * 10);
        assert_true(mmrec_data_starts(data, MMREC_SPLIT_HELD_OUT, i));
    }
    read_batch(data, MMREC_SPLIT_HELD_OUT, 499 / 30); /* behind the last one it begins again */
    assert_int_equal(place_of(data, 0, 2000), 1500);
    mmrec_data_destroy(&data);
    write_file(noise, 240); /* 60 bytes: the sixth window has no last target */
    data = create(&request);
    assert_int_equal(mmrec_data_info_of(data)->held_out_batches, 1);
    mmrec_data_destroy(&data);
}

/* ---- streams ------------------------------------------------------------------------------------------------ */

static void check_stream(const mmrec_data *data, mmrec_split split, int64_t begin, int64_t size, int64_t batches) {
    const mmrec_data_request *r = mmrec_data_request_of(data);
    int64_t region = (size - 1) / r->batch;
    assert_int_equal(batches, region / r->time);
    for (int64_t i = 0; i < 2 * batches + 1; i++) {
        read_batch(data, split, i);
        assert_int_equal(mmrec_data_starts(data, split, i), i % batches == 0);
        for (int64_t row = 0; row < r->batch; row++) {
            assert_int_equal(place_of(data, row, LONGEST), begin + row * region + i % batches * r->time);
        }
    }
}

static void streams_read_on(void **state) {
    (void)state;
    write_file(noise, 2000);
    mmrec_data_request request = request_of(4, 11);
    request.stream = true;
    request.held_out = 0.2;
    mmrec_data *data = create(&request);
    const mmrec_data_info *info = mmrec_data_info_of(data);
    check_stream(data, MMREC_SPLIT_TRAIN, 0, 1600, info->batches_per_epoch);
    check_stream(data, MMREC_SPLIT_HELD_OUT, 1600, 400, info->held_out_batches);
    mmrec_data_destroy(&data);
}

/* ---- what is known of the data ------------------------------------------------------------------------------ */

static void what_is_known(void **state) {
    (void)state;
    mmrec_data_request request = request_of(1, 4);
    write_file("123456789", 9);
    mmrec_data *data = create(&request);
    const mmrec_data_info *info = mmrec_data_info_of(data);
    assert_string_equal(info->name, "text");
    assert_int_equal(info->vocab, 256);
    assert_int_equal(info->checksum, 0xcbf43926); /* the check value of CRC-32 */
    assert_int_equal(info->tokens[MMREC_SPLIT_TRAIN], 9);
    assert_int_equal(info->tokens[MMREC_SPLIT_HELD_OUT], 0);
    assert_int_equal(info->batches_per_epoch, 1);
    assert_int_equal(info->held_out_batches, 0);
    assert_true(isnan(info->best_loss) && isnan(info->best_accuracy));
    request.path = NULL; /* the data has its own copy of the request */
    assert_string_equal(mmrec_data_request_of(data)->path, path);
    mmrec_data_destroy(&data);
    assert_null(data);
    mmrec_data_destroy(&data);
}

static void a_file_that_changes_later_does_not_matter(void **state) {
    (void)state;
    mmrec_data_request request = request_of(2, 8);
    write_file(noise, 500);
    mmrec_data *data = create(&request);
    int32_t before[16];
    read_batch(data, MMREC_SPLIT_TRAIN, 3);
    memcpy(before, ids, sizeof before);
    write_file("gone", 4);
    read_batch(data, MMREC_SPLIT_TRAIN, 3);
    assert_memory_equal(before, ids, sizeof before);
    mmrec_data_destroy(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_is_a_permutation),
        cmocka_unit_test(the_order_changes_with_seed_and_epoch),
        cmocka_unit_test(every_order_is_as_likely),
        cmocka_unit_test(orders_of_the_largest_files),
        cmocka_unit_test(an_epoch_visits_every_window_once),
        cmocka_unit_test(a_batch_is_addressed_by_its_number),
        cmocka_unit_test(the_tail_is_held_out),
        cmocka_unit_test(held_out_windows_come_in_order),
        cmocka_unit_test(streams_read_on),
        cmocka_unit_test(what_is_known),
        cmocka_unit_test(a_file_that_changes_later_does_not_matter),
    };
    return cmocka_run_group_tests(tests, fill_noise, remove_folder);
}
