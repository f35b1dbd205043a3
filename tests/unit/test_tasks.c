/* Tasks: their sequences read back by the words of mmrec/data.h alone, and the best loss and accuracy they claim
 * against a reader that knows everything that can be known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mmrec/data.h"
#include "train/data_impl.h"

enum { MOST_TIME = 200, MOST = 4 * MOST_TIME };
static int32_t ids[MOST + 1], targets[MOST + 1];
static uint8_t asked[MOST + 1];

static mmrec_data *create(mmrec_task task, uint64_t seed, int64_t batch, int64_t time) {
    static mmrec_allocator allocator;
    static mmrec_io io;
    mmrec_data_request request = {.task = task, .seed = seed, .batch = batch, .time = time, .held_out = 0.1};
    mmrec_error error = {0};
    mmrec_data *data = NULL;
    memset(&allocator, 0, sizeof allocator);
    if (mmrec_data_create(&allocator, &io, &request, &data, &error) != MMREC_OK) fail_msg("%s", error.message);
    return data;
}

/* Reads a batch between guards. */
static void read_batch(const mmrec_data *data, mmrec_split split, int64_t number) {
    const mmrec_data_request *r = mmrec_data_request_of(data);
    int64_t count = r->batch * r->time, vocab = mmrec_data_info_of(data)->vocab;
    assert_true(count <= MOST);
    ids[count] = targets[count] = -7;
    asked[count] = 77;
    mmrec_data_batch(data, split, number, ids, targets, asked);
    assert_true(ids[count] == -7 && targets[count] == -7 && asked[count] == 77);
    for (int64_t i = 0; i < count; i++) {
        assert_true(ids[i] >= 0 && ids[i] < vocab && targets[i] >= 0 && targets[i] < vocab && asked[i] <= 1);
        if ((i + 1) % r->time != 0) assert_int_equal(targets[i], ids[i + 1]);
    }
}

/* The T + 1 symbols of a row. */
static void symbols_of(int64_t row, int64_t time, int32_t *symbols) {
    memcpy(symbols, ids + row * time, (size_t)time * sizeof *symbols);
    symbols[time] = targets[row * time + time - 1];
}

/* ---- a reader of each task ---------------------------------------------------------------------------------- */

/* What the reader says of a symbol before it sees it: the probability of each, 0 where it cannot stand; and whether it
 * is asked for. `seen` symbols stand before it. */
typedef struct forecast {
    double probability[16];
    bool asked;
} forecast;

typedef void (*reader)(const mmrec_data *data, const int32_t *symbols, int64_t seen, forecast *out);

static void certain(forecast *out, int32_t symbol, bool is_asked) {
    out->probability[symbol] = 1;
    out->asked = is_asked;
}

static void any_of(forecast *out, int first, int count) {
    for (int i = 0; i < count; i++) out->probability[first + i] = 1.0 / count;
}

enum { LETTERS = 8, KEYS = 4, VALUES = 8, PAIRS = 2 };

static void read_copy(const mmrec_data *data, const int32_t *symbols, int64_t seen, forecast *out) {
    int64_t time = mmrec_data_request_of(data)->time, word = time / 2 < 6 ? time / 2 : 6;
    int64_t place = seen % (2 * word + 2);
    if (place < word) any_of(out, 0, LETTERS);
    if (place == word) certain(out, LETTERS, false);
    if (place > word && place <= 2 * word) certain(out, symbols[seen - word - 1], true);
    if (place == 2 * word + 1) certain(out, LETTERS + 1, false);
}

/* Keys that do not stand among `count` symbols, taken two by two; of `among` keys. */
static void fresh_keys(forecast *out, const int32_t *taken, int64_t count, const int32_t *among, int among_count) {
    int fresh = 0;
    for (int i = 0; i < among_count; i++) {
        bool old = false;
        for (int64_t k = 0; k < count; k += 2) old = old || taken[k] == among[i];
        out->probability[among[i]] = old ? 0 : 1;
        fresh += !old;
    }
    for (int i = 0; i < among_count; i++) out->probability[among[i]] /= fresh;
}

static void read_recall(const mmrec_data *data, const int32_t *symbols, int64_t seen, forecast *out) {
    static const int32_t keys[KEYS] = {0, 1, 2, 3};
    (void)data;
    int64_t place = seen % (4 * PAIRS + 2), question = place - 2 * PAIRS - 1;
    const int32_t *block = symbols + seen - place, named[PAIRS] = {block[0], block[2]};
    if (place < 2 * PAIRS && place % 2 == 0) fresh_keys(out, block, place, keys, KEYS);
    if (place < 2 * PAIRS && place % 2 == 1) any_of(out, KEYS, VALUES);
    if (place == 2 * PAIRS) certain(out, KEYS + VALUES, false);
    if (place == 4 * PAIRS + 1) certain(out, KEYS + VALUES + 1, false);
    if (question < 0 || question >= 2 * PAIRS) return;
    if (question % 2 == 0) {
        fresh_keys(out, block + 2 * PAIRS + 1, question, named, PAIRS);
        return;
    }
    int32_t key = symbols[seen - 1];
    assert_true(key == named[0] || key == named[1]);
    certain(out, key == named[0] ? block[1] : block[3], true);
}

static double between(const uint32_t *limits, int count, int i) {
    double below = i > 0 ? limits[i - 1] : 0, upto = i < count - 1 ? limits[i] : 0x1p32;
    return (upto - below) * 0x1p-32;
}

/* By Bayes' rule: behind one letter the pair is known to begin with it. */
static void read_markov(const mmrec_data *data, const int32_t *symbols, int64_t seen, forecast *out) {
    const task_chain *chain = &data->task.chain;
    double sum = 0;
    out->asked = true;
    for (int i = 0; i < LETTERS; i++) {
        int pair = seen == 0 ? 0 : symbols[seen - 1] * LETTERS + i;
        out->probability[i] =
            seen < 2 ? between(chain->first, CHAIN_PAIRS, pair)
                     : between(chain->next[symbols[seen - 2] * LETTERS + symbols[seen - 1]], CHAIN_LETTERS, i);
        sum += out->probability[i];
    }
    for (int i = 0; i < LETTERS; i++) out->probability[i] /= sum;
}

static const reader readers[MMREC_TASKS] = {NULL, read_copy, read_recall, read_markov};

/* ---- what is true of every row ------------------------------------------------------------------------------ */

typedef struct paid {
    double loss, right; /* sums over the targets of a row */
    int64_t asked;
} paid;

/* Lets the reader forecast every target of a row; what stands there must be possible, and asked for as he says. */
static paid read_row(const mmrec_data *data, int64_t row) {
    int64_t time = mmrec_data_request_of(data)->time;
    int32_t symbols[MOST_TIME + 1];
    paid sum = {0};
    symbols_of(row, time, symbols);
    for (int64_t t = 1; t <= time; t++) {
        forecast f = {.asked = false};
        readers[mmrec_data_request_of(data)->task](data, symbols, t, &f);
        double p = f.probability[symbols[t]];
        bool best = true;
        assert_true(p > 0);
        assert_int_equal(asked[row * time + t - 1], f.asked);
        for (int i = 0; i < 16; i++) best = best && f.probability[i] <= p;
        sum.loss -= log(p);
        sum.right += f.asked && best ? 1 : 0;
        sum.asked += f.asked;
    }
    return sum;
}

/* copy and recall: every row costs the same, so one batch proves the best loss, and the reader is always right. */
static void rows_follow_their_words(void **state) {
    (void)state;
    for (int task = MMREC_TASK_COPY; task <= MMREC_TASK_RECALL; task++) {
        for (int64_t time = task == MMREC_TASK_COPY ? 4 : 8; time <= 130; time++) {
            mmrec_data *data = create((mmrec_task)task, (uint64_t)time, 4, time);
            const mmrec_data_info *info = mmrec_data_info_of(data);
            for (int64_t i = 0; i < 6; i++) {
                read_batch(data, i % 2 ? MMREC_SPLIT_HELD_OUT : MMREC_SPLIT_TRAIN, i);
                for (int64_t row = 0; row < 4; row++) {
                    paid sum = read_row(data, row);
                    assert_true(fabs(sum.loss / (double)time - info->best_loss) < 1e-12);
                    assert_true(sum.asked > 0 && sum.right == (double)sum.asked);
                }
            }
            assert_true(info->best_accuracy == 1);
            mmrec_data_destroy(&data);
        }
    }
}

/* What stands where a symbol is drawn must be drawn evenly: chi-square of the letters of copy at each place of a word,
 * and of the pairs of recall. */
static void check_even(const int64_t *hits, int cells) {
    double sum = 0, square = 0;
    for (int i = 0; i < cells; i++) sum += (double)hits[i];
    for (int i = 0; i < cells; i++) {
        double off = (double)hits[i] - sum / cells;
        square += off * off / (sum / cells);
    }
    double freedom = cells - 1;
    if (!(square < freedom + 5 * sqrt(2 * freedom) + 10)) fail_msg("chi-square %g of %d cells", square, cells);
}

static void drawn_symbols_are_even(void **state) {
    (void)state;
    enum { BATCHES = 2000 };
    int64_t letters[6][LETTERS] = {{0}}, pairs[KEYS * VALUES] = {0}, order[2] = {0}, keys[KEYS * KEYS] = {0};
    mmrec_data *copy = create(MMREC_TASK_COPY, 3, 4, 12), *recall = create(MMREC_TASK_RECALL, 3, 4, 8);
    for (int64_t i = 0; i < BATCHES; i++) {
        read_batch(copy, MMREC_SPLIT_TRAIN, i);
        for (int row = 0; row < 4; row++) {
            for (int k = 0; k < 6; k++) letters[k][ids[row * 12 + k]]++;
        }
        read_batch(recall, MMREC_SPLIT_TRAIN, i);
        for (int row = 0; row < 4; row++) {
            const int32_t *block = ids + row * 8;
            pairs[block[2] * VALUES + block[3] - KEYS]++;
            keys[block[0] * KEYS + block[2]]++;
            order[block[5] == block[0]]++;
        }
    }
    for (int k = 0; k < 6; k++) check_even(letters[k], LETTERS);
    check_even(pairs, KEYS * VALUES);
    check_even(order, 2);
    int64_t unequal[KEYS * (KEYS - 1)], count = 0;
    for (int i = 0; i < KEYS * KEYS; i++) {
        if (i % (KEYS + 1) == 0) assert_int_equal(keys[i], 0);
        if (i % (KEYS + 1) != 0) unequal[count++] = keys[i];
    }
    check_even(unequal, (int)count);
    mmrec_data_destroy(&copy);
    mmrec_data_destroy(&recall);
}

/* ---- text-markov -------------------------------------------------------------------------------------------- */

/* Rows are independent, so the mean of their losses has the deviation of a row over the square root of their number; 5
 * of these are passed by chance once in 1.7 million. The bounds come out near 0.01 nats: the entropy behind one letter
 * alone is 0.6 above. */
static void check_drawn_text(uint64_t seed, int64_t time) {
    enum { BATCHES = 1000, ROWS = 4 * BATCHES };
    mmrec_data *data = create(MMREC_TASK_TEXT_MARKOV, seed, 4, time);
    const mmrec_data_info *info = mmrec_data_info_of(data);
    double sum[2] = {0}, square[2] = {0}, best[2] = {info->best_loss, info->best_accuracy};
    for (int64_t i = 0; i < BATCHES; i++) {
        read_batch(data, i % 2 ? MMREC_SPLIT_HELD_OUT : MMREC_SPLIT_TRAIN, i);
        for (int64_t row = 0; row < 4; row++) {
            paid p = read_row(data, row);
            double mean[2] = {p.loss / (double)time, p.right / (double)time};
            assert_int_equal(p.asked, time);
            for (int k = 0; k < 2; k++) sum[k] += mean[k];
            for (int k = 0; k < 2; k++) square[k] += mean[k] * mean[k];
        }
    }
    for (int k = 0; k < 2; k++) {
        double mean = sum[k] / ROWS, bound = 5 * sqrt((square[k] / ROWS - mean * mean) / ROWS);
        if (!(fabs(mean - best[k]) < bound && bound < 0.05)) {
            fail_msg("seed %d, T %d: %g drawn, %g claimed, bound %g", (int)seed, (int)time, mean, best[k], bound);
        }
    }
    mmrec_data_destroy(&data);
}

static void drawn_text_costs_what_is_claimed(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) check_drawn_text(seed, 40);
    check_drawn_text(5, 2);
    check_drawn_text(6, 3);
}

/* The chain rule by another way: the entropy behind two letters is that of three in a row less that of two. */
static void entropies_of_blocks(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        task_chain chain;
        task_chain_limits limits = task_chain_make(&chain, seed);
        double one[LETTERS] = {0}, entropy[4] = {0}, then[CHAIN_PAIRS] = {0};
        for (int pair = 0; pair < CHAIN_PAIRS; pair++) {
            double p = between(chain.first, CHAIN_PAIRS, pair);
            assert_true(p > 0);
            one[pair / LETTERS] += p;
            entropy[2] -= p * log(p);
            for (int i = 0; i < LETTERS; i++) {
                double q = p * between(chain.next[pair], LETTERS, i);
                assert_true(q > 0);
                entropy[3] -= q * log(q);
                then[pair % LETTERS * LETTERS + i] += q;
            }
        }
        for (int i = 0; i < LETTERS; i++) entropy[1] -= one[i] * log(one[i]);
        /* The first pair is drawn in multiples of 2^-32. */
        for (int pair = 0; pair < CHAIN_PAIRS; pair++) {
            assert_true(fabs(then[pair] - between(chain.first, CHAIN_PAIRS, pair)) < 1e-8);
        }
        assert_true(fabs(entropy[2] - entropy[1] - limits.entropy[0]) < 1e-6);
        assert_true(fabs(entropy[3] - entropy[2] - limits.entropy[1]) < 1e-6);
        /* What there is to learn: knowing one letter is worth little, knowing two is worth more than half a nat. */
        assert_true(limits.entropy[0] > 1.85 && limits.entropy[0] < log(LETTERS));
        assert_true(limits.entropy[1] > 1.1 && limits.entropy[1] < limits.entropy[0] - 0.4);
        assert_true(limits.accuracy[1] > limits.accuracy[0] + 0.1 && limits.accuracy[1] < 0.6);
    }
}

/* ---- seeds and streams -------------------------------------------------------------------------------------- */

static void seeds_and_streams(void **state) {
    (void)state;
    for (int task = MMREC_TASK_COPY; task < MMREC_TASKS; task++) {
        mmrec_data *data = create((mmrec_task)task, 1, 4, 40), *again = create((mmrec_task)task, 1, 2, 40);
        mmrec_data *other = create((mmrec_task)task, 2, 4, 40);
        int32_t train[160], seen[4][160];
        for (int64_t i = 0; i < 20; i++) {
            read_batch(data, MMREC_SPLIT_TRAIN, i);
            memcpy(train, ids, sizeof train);
            for (int64_t k = 0; k < 2; k++) { /* sequences are numbered through the batches, whatever their size */
                read_batch(again, MMREC_SPLIT_TRAIN, 2 * i + k);
                assert_memory_equal(ids, train + 80 * k, 80 * sizeof *ids);
            }
            read_batch(data, MMREC_SPLIT_HELD_OUT, i);
            assert_memory_not_equal(ids, train, sizeof train);
            read_batch(other, MMREC_SPLIT_TRAIN, i);
            assert_memory_not_equal(ids, train, sizeof train);
            if (i < 4) memcpy(seen[i], train, sizeof train);
        }
        for (int a = 0; a < 16; a++) { /* no row stands twice */
            for (int b = 0; b < a; b++) {
                assert_memory_not_equal(seen[a / 4] + a % 4 * 40, seen[b / 4] + b % 4 * 40, 40 * sizeof *ids);
            }
        }
        assert_int_not_equal(mmrec_data_info_of(data)->checksum, mmrec_data_info_of(other)->checksum);
        assert_true(mmrec_data_starts(data, MMREC_SPLIT_TRAIN, 3));
        read_batch(data, MMREC_SPLIT_TRAIN, INT64_C(1) << 40);
        mmrec_data_destroy(&data);
        mmrec_data_destroy(&again);
        mmrec_data_destroy(&other);
    }
}

/* A task asked for as a stream is the same: every row is a sequence of its own. */
static void streams_of_tasks(void **state) {
    (void)state;
    mmrec_allocator a = {0};
    mmrec_io io = {0};
    mmrec_data_request request = {.task = MMREC_TASK_RECALL, .seed = 1, .batch = 4, .time = 40, .stream = true};
    mmrec_data *data = NULL, *windows = create(MMREC_TASK_RECALL, 1, 4, 40);
    int32_t before[160];
    assert_int_equal(mmrec_data_create(&a, &io, &request, &data, NULL), MMREC_OK);
    for (int64_t i = 0; i < 10; i++) {
        assert_true(mmrec_data_starts(data, MMREC_SPLIT_TRAIN, i) && mmrec_data_starts(data, MMREC_SPLIT_HELD_OUT, i));
        read_batch(windows, MMREC_SPLIT_TRAIN, i);
        memcpy(before, ids, sizeof before);
        read_batch(data, MMREC_SPLIT_TRAIN, i);
        assert_memory_equal(before, ids, sizeof before);
    }
    mmrec_data_destroy(&data);
    mmrec_data_destroy(&windows);
}

static void what_is_known(void **state) {
    (void)state;
    static const int64_t vocab[] = {0, 10, 14, 8};
    static const char *const names[] = {"none", "copy", "recall", "text-markov"};
    uint32_t sums[MMREC_TASKS] = {0};
    for (int task = MMREC_TASK_COPY; task < MMREC_TASKS; task++) {
        mmrec_data *data = create((mmrec_task)task, 1, 3, 50), *again = create((mmrec_task)task, 1, 3, 50);
        const mmrec_data_info *info = mmrec_data_info_of(data);
        char name[64];
        (void)snprintf(name, sizeof name, "task %s", names[task]);
        assert_string_equal(info->name, name);
        assert_int_equal(info->vocab, vocab[task]);
        assert_true(info->tokens[0] == 0 && info->tokens[1] == 0 && info->batches_per_epoch == 0);
        assert_int_equal(info->held_out_batches, 437); /* 65,536 tokens in batches of 150 */
        assert_int_equal(info->checksum, mmrec_data_info_of(again)->checksum);
        sums[task] = info->checksum;
        mmrec_data_destroy(&data);
        mmrec_data_destroy(&again);
    }
    assert_true(sums[1] != sums[2] && sums[2] != sums[3] && sums[1] != sums[3]);
    for (int task = 0; task < MMREC_TASKS; task++) assert_string_equal(mmrec_task_name((mmrec_task)task), names[task]);
    assert_string_equal(mmrec_task_name(MMREC_TASKS), "?");
}

static void refusals(void **state) {
    (void)state;
    static const char *const messages[] = {"", "task copy needs sequences of at least 4 steps, time is 3",
                                           "task recall needs sequences of at least 8 steps, time is 7",
                                           "task text-markov needs sequences of at least 2 steps, time is 1"};
    static const int64_t least[] = {0, 4, 8, 2};
    for (int task = MMREC_TASK_COPY; task < MMREC_TASKS; task++) {
        mmrec_allocator a = {0};
        mmrec_io io = {0};
        mmrec_error error = {0};
        mmrec_data *data = NULL;
        mmrec_data_request request = {.task = (mmrec_task)task, .batch = 1, .time = least[task] - 1};
        assert_int_equal(mmrec_data_create(&a, &io, &request, &data, &error), MMREC_CONFIG);
        assert_string_equal(error.message, messages[task]);
        assert_int_equal(a.total.live_bytes, 0);
        request.time = least[task];
        a.fail_at = a.attempts + 1;
        assert_int_equal(mmrec_data_create(&a, &io, &request, &data, &error), MMREC_NO_MEMORY);
        assert_null(data);
        assert_int_equal(a.total.live_bytes, 0);
        assert_int_equal(mmrec_data_create(&a, &io, &request, &data, &error), MMREC_OK);
        mmrec_data_destroy(&data);
        assert_int_equal(a.total.live_bytes, 0);
        assert_int_equal(io.attempts, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_follow_their_words),
        cmocka_unit_test(drawn_symbols_are_even),
        cmocka_unit_test(drawn_text_costs_what_is_claimed),
        cmocka_unit_test(entropies_of_blocks),
        cmocka_unit_test(seeds_and_streams),
        cmocka_unit_test(streams_of_tasks),
        cmocka_unit_test(what_is_known),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
