/* Every primitive of simt.h, in every schedule, and every message the emulation ends a kernel with. */
#include "device.cuh"
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <algorithm>
#include <map>

extern "C" {
#include <cmocka.h>
}

static const char *const SCHEDULES[] = {"forward", "reverse", "random", "random:2", "random:3", "random:4"};

#define EVERY_SCHEDULE                                                                                                 \
    for (const char *schedule : SCHEDULES)                                                                             \
        if (setenv("MMREC_EMULATION_SCHEDULE", schedule, 1) == 0)

static simt_shape free_shape(unsigned grid, unsigned block, size_t shared = 0) {
    return {grid, block, shared, SIMT_FREE, 0};
}
static simt_shape resident(unsigned grid, unsigned block, size_t shared = 0, unsigned cluster = 0) {
    return {grid, block, shared, SIMT_RESIDENT, cluster};
}
static simt_shape clusters(unsigned grid, unsigned block, size_t shared, unsigned cluster) {
    return {grid, block, shared, SIMT_FREE, cluster};
}

/* Who am I */

SIMT_KERNEL(64) k_identity(unsigned *seen) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    bool good = gridDim.x == 5 && gridDim.y == 1 && blockDim.x == 64 && blockDim.y == 1 && threadIdx.y == 0 &&
                blockIdx.z == 0 && simt_lane() == (int)(threadIdx.x % 32) && simt_warp() == (int)(threadIdx.x / 32);
    seen[i] += good ? 1 : 100;
}

static void every_thread_runs_once(void **) {
    EVERY_SCHEDULE {
        on_device<unsigned> seen(5 * 64);
        assert_true(RIG_RUN(k_identity, free_shape(5, 64), seen.get()));
        for (unsigned count : seen.read()) assert_int_equal(count, 1);
    }
}

/* Warps */

struct shuffled {
    int at, exchanged, up, down;
    float turned;
    unsigned ballot, last;
};

SIMT_KERNEL(96) k_shuffles(shuffled *out) {
    int lane = simt_lane(), v = (int)threadIdx.x * 10;
    shuffled s;
    s.at = simt_shuffle(v, (lane + 5) % 32);
    s.exchanged = simt_shuffle_xor(v, 16);
    s.up = simt_shuffle_up(v, 3u);
    s.down = simt_shuffle_down(v, 3u);
    s.turned = simt_shuffle((float)threadIdx.x + 0.5f, 31 - lane);
    s.ballot = simt_ballot(lane % 3 == 0);
    s.last = simt_shuffle(threadIdx.x, 31);
    out[threadIdx.x] = s;
}

static void shuffles_and_ballots(void **) {
    EVERY_SCHEDULE {
        on_device<shuffled> out(96);
        assert_true(RIG_RUN(k_shuffles, free_shape(1, 96), out.get()));
        std::vector<shuffled> got = out.read();
        for (int t = 0; t < 96; t++) {
            int lane = t % 32, first = t - lane;
            const shuffled &s = got[(size_t)t];
            assert_int_equal(s.at, (first + (lane + 5) % 32) * 10);
            assert_int_equal(s.exchanged, (first + (lane ^ 16)) * 10);
            assert_int_equal(s.up, (lane < 3 ? t : t - 3) * 10);
            assert_int_equal(s.down, (lane > 28 ? t : t + 3) * 10);
            assert_true(s.turned == (float)(first + 31 - lane) + 0.5f);
            assert_int_equal(s.ballot, 0x49249249);
            assert_int_equal(s.last, (unsigned)first + 31);
        }
    }
}

/* Blocks */

SIMT_KERNEL(256) k_turn(const float *x, float *y, unsigned *fresh, unsigned *aligned) {
    float *shared = simt_shared<float>();
    fresh[blockIdx.x * blockDim.x + threadIdx.x] = __float_as_uint(shared[threadIdx.x]);
    if (threadIdx.x == 0) aligned[blockIdx.x] = (unsigned)(reinterpret_cast<uintptr_t>(shared) % 128);
    shared[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    simt_block_sync();
    y[blockIdx.x * blockDim.x + threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
    bool all = simt_block_all(true), some = simt_block_all(threadIdx.x != 7);
    if (!all || some) y[0] = -1.0f;
}

static void shared_memory_and_barriers(void **) {
    EVERY_SCHEDULE {
        std::vector<float> x(3 * 256);
        for (size_t i = 0; i < x.size(); i++) x[i] = (float)i;
        on_device<float> from(x), to(x.size());
        on_device<unsigned> fresh(x.size()), aligned(3);
        assert_true(RIG_RUN(k_turn, free_shape(3, 256, 1024), from.get(), to.get(), fresh.get(), aligned.get()));
        std::vector<float> y = to.read();
        for (size_t b = 0; b < 3; b++) {
            for (size_t t = 0; t < 256; t++) assert_true(y[b * 256 + t] == x[b * 256 + 255 - t]);
        }
        for (unsigned word : fresh.read()) assert_int_equal(word, ~0u);
        for (unsigned rest : aligned.read()) assert_int_equal(rest, 0);
    }
}

SIMT_KERNEL(64) k_warp_pass(float *y) {
    float *shared = simt_shared<float>();
    for (int round = 0; round < 50; round++) {
        shared[threadIdx.x] = (float)(round * 100) + (float)simt_lane();
        simt_warp_sync();
        y[threadIdx.x] += shared[threadIdx.x ^ 1u];
        simt_warp_sync();
    }
}

SIMT_KERNEL(128) k_sums(const float *x, float *y) {
    float *shared = simt_shared<float>();
    for (int round = 0; round < 20; round++) {
        float v = x[threadIdx.x] + (float)round, sum = block_sum(v, shared), most = block_max(v, shared);
        if ((int)threadIdx.x == round) y[round] = sum + most;
    }
}

static void sums_and_warp_barriers(void **) {
    std::vector<float> x(128);
    for (size_t i = 0; i < x.size(); i++) x[i] = (float)(i % 13);
    EVERY_SCHEDULE {
        on_device<float> from(x), to(64), sums(20);
        assert_true(RIG_RUN(k_warp_pass, free_shape(1, 64, 256), to.get()));
        for (int t = 0; t < 64; t++) assert_true(to.read()[(size_t)t] == 122500.0f + 50.0f * (float)((t % 32) ^ 1));
        assert_true(RIG_RUN(k_sums, free_shape(1, 128, 128), from.get(), sums.get()));
        float sum = 0;
        for (float v : x) sum += v;
        for (int r = 0; r < 20; r++) assert_true(sums.read()[(size_t)r] == sum + 128.0f * (float)r + 12.0f + (float)r);
    }
}

/* Atomics */

template <typename T> SIMT_KERNEL(64) k_atomics(T *a) {
    T mine = (T)(blockIdx.x * blockDim.x + threadIdx.x);
    atomicAdd(&a[0], mine);
    atomicMax(&a[1], mine);
    atomicMin(&a[2], mine);
    T seen = a[3], was;
    seen = atomicAdd(&a[3], (T)0);
    while ((was = atomicCAS(&a[3], seen, (T)(seen + 2))) != seen) seen = was;
    if (atomicExch(&a[4], (T)1) == 0) a[5] = mine;
}

template <typename T> static void atomics_of() {
    EVERY_SCHEDULE {
        on_device<T> a(std::vector<T>{0, 0, 1000, 0, 0, 1000});
        assert_true(RIG_RUN((k_atomics<T>), free_shape(3, 64), a.get()));
        std::vector<T> got = a.read();
        assert_true(got[0] == 191 * 192 / 2 && got[1] == 191 && got[2] == 0 && got[3] == 2 * 192);
        assert_true(got[4] == 1 && got[5] < 192);
    }
}

static void atomics(void **) {
    atomics_of<int>();
    atomics_of<unsigned>();
    atomics_of<unsigned long long>();
}

static void bfloat16_rounds_to_even(void **) {
    for (uint32_t bits = 0; bits < 65536; bits++) {
        simt_bf16 value = {(uint16_t)bits};
        float wide = simt_float(value);
        if (wide != wide) {
            assert_int_equal(simt_cast<simt_bf16>(wide).bits, 0x7FFF);
            continue;
        }
        assert_int_equal(simt_cast<simt_bf16>(wide).bits, bits);
        for (uint32_t low : {0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
            float between = __uint_as_float(bits << 16 | low);
            if (between == between)
                assert_int_equal(simt_cast<simt_bf16>(between).bits, mmrec_bf16_from_float(between));
        }
    }
    assert_true(simt_cast<float>(0.1f) == 0.1f);
}

/* Between blocks */

enum { STEPS = 40 };

SIMT_KERNEL(64) k_grid(float *cells, unsigned *barrier, unsigned *gave_up, unsigned absent, uint64_t limit) {
    if (blockIdx.x == absent) return;
    for (int t = 0; t < STEPS; t++) {
        float next = cells[t % 2 * gridDim.x + (blockIdx.x + 1) % gridDim.x] + 1.0f;
        if (threadIdx.x == 0) cells[(t + 1) % 2 * gridDim.x + blockIdx.x] = next;
        if (!simt_grid_sync(barrier, limit)) {
            if (threadIdx.x == 0) atomicAdd(gave_up, 1u);
            return;
        }
    }
}

static void grid_barrier(void **) {
    EVERY_SCHEDULE {
        on_device<float> cells(std::vector<float>{0, 10, 20, 30, 40, 0, 0, 0, 0, 0});
        on_device<unsigned> barrier(2), gave_up(1);
        assert_true(RIG_RUN(k_grid, resident(5, 64), cells.get(), barrier.get(), gave_up.get(), ~0u, 1u << 20));
        for (int b = 0; b < 5; b++) assert_true(cells.read()[(size_t)b] == (float)((b + STEPS) % 5 * 10 + STEPS));
        assert_int_equal(barrier.read()[0], 0);
        assert_int_equal(gave_up.read()[0], 0);
        assert_true(RIG_RUN(k_grid, resident(5, 64), cells.get(), barrier.get(), gave_up.get(), 2u, 1000u));
        assert_int_equal(gave_up.read()[0], 4);
    }
}

/* A ring: every block adds one to what its neighbour sent for this step. The flag is in the word. */
SIMT_KERNEL(32) k_words(uint64_t *words, float *out) {
    if (threadIdx.x) return;
    unsigned me = blockIdx.x, from = (me + gridDim.x - 1) % gridDim.x;
    float v = (float)me;
    for (uint32_t t = 1; t <= STEPS; t++) {
        simt_store_word(&words[t * gridDim.x + me], (uint64_t)t << 32 | __float_as_uint(v));
        uint64_t word;
        while ((word = simt_load_word(&words[t * gridDim.x + from])) >> 32 != t) simt_spin();
        v = __uint_as_float((uint32_t)word) + 1.0f;
    }
    out[me] = v;
}

SIMT_KERNEL(32) k_flag(float *data, uint32_t *flag, float *out) {
    if (threadIdx.x) return;
    if (blockIdx.x == 1) {
        for (int i = 0; i < 100; i++) data[i] = (float)i;
        simt_store_release(flag, 1);
    } else {
        while (!simt_load_acquire(flag)) simt_spin();
        for (int i = 0; i < 100; i++) *out += data[i];
    }
}

static void words_and_flags(void **) {
    EVERY_SCHEDULE {
        on_device<uint64_t> words((STEPS + 1) * 6);
        on_device<float> out(6), data(100), sum(1);
        on_device<uint32_t> flag(1);
        assert_true(RIG_RUN(k_words, resident(6, 32), words.get(), out.get()));
        for (int b = 0; b < 6; b++) assert_true(out.read()[(size_t)b] == (float)((b + 600 - STEPS) % 6 + STEPS));
        assert_true(RIG_RUN(k_flag, resident(2, 32), data.get(), flag.get(), sum.get()));
        assert_true(sum.read()[0] == 4950.0f);
    }
}

SIMT_KERNEL(32) k_ticket(unsigned *next, unsigned *order) {
    order[atomicAdd(next, 1u)] = blockIdx.x * 32 + threadIdx.x;
}

static std::vector<unsigned> tickets(const char *schedule) {
    on_device<unsigned> next(1), order(128);
    setenv("MMREC_EMULATION_SCHEDULE", schedule, 1);
    if (!RIG_RUN(k_ticket, free_shape(4, 32), next.get(), order.get())) return std::vector<unsigned>();
    return order.read();
}

static void schedules_differ(void **) {
    std::vector<unsigned> up = tickets("forward"), down = tickets("reverse"), any = tickets("random"), sorted = any;
    for (unsigned i = 0; i < 128; i++) {
        assert_int_equal(up[i], i);
        assert_int_equal(down[i], 127 - i);
    }
    std::sort(sorted.begin(), sorted.end());
    assert_true(sorted == up && any != up && any != down && any != tickets("random:77"));
}

/* Clusters */

SIMT_KERNEL(64) k_cluster(unsigned *out) {
    unsigned *shared = simt_shared<unsigned>(), rank = simt_cluster_rank(), size = simt_cluster_size();
    shared[threadIdx.x] = blockIdx.x * 1000 + threadIdx.x;
    simt_cluster_sync();
    unsigned *peer = simt_cluster_map(shared, (rank + 1) % size);
    out[blockIdx.x * blockDim.x + threadIdx.x] = peer[threadIdx.x];
    simt_cluster_sync();
}

static void clusters_see_each_other(void **) {
    EVERY_SCHEDULE {
        on_device<unsigned> out(8 * 64);
        for (simt_shape shape : {clusters(8, 64, 256, 4), resident(8, 64, 256, 4), clusters(8, 64, 256, 2)}) {
            assert_true(RIG_RUN(k_cluster, shape, out.get()));
            unsigned size = shape.cluster;
            for (unsigned b = 0; b < 8; b++) {
                unsigned peer = b / size * size + (b + 1) % size;
                for (unsigned t = 0; t < 64; t++) assert_int_equal(out.read()[b * 64 + t], peer * 1000 + t);
            }
        }
    }
}

/* Everybody sends its number to all each step and adds up what came; two buffers, a barrier each. */
struct exchange {
    simt_mbarrier ready[2];
    uint64_t cell[2][8];
};

SIMT_KERNEL(32) k_exchange(uint64_t *out, unsigned *gave_up, unsigned silent) {
    exchange *mine = simt_shared<exchange>();
    unsigned rank = simt_cluster_rank(), size = simt_cluster_size(), bytes = size * 8;
    if (threadIdx.x < 2) simt_mbarrier_init(&mine->ready[threadIdx.x], 1);
    simt_cluster_sync();
    uint64_t v = rank;
    bool good = true;
    for (unsigned t = 0; good && t < STEPS; t++) {
        unsigned b = t % 2;
        if (threadIdx.x == 0) simt_mbarrier_expect(&mine->ready[b], bytes);
        if (threadIdx.x < size && rank != silent) {
            exchange *peer = simt_cluster_map(mine, threadIdx.x);
            simt_store_async(&peer->cell[b][rank], v, &peer->ready[b]);
        }
        good = simt_mbarrier_wait(&mine->ready[b], t / 2 % 2, 1000);
        v = 0;
        for (unsigned i = 0; good && i < size; i++) v += mine->cell[b][i] % 1000 + i;
        simt_warp_sync();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = v;
    if (threadIdx.x == 0 && !good) atomicAdd(gave_up, 1u);
    simt_cluster_sync();
}

static void mbarriers_count_bytes(void **) {
    std::vector<uint64_t> cell = {0, 1, 2, 3};
    for (int t = 0; t < STEPS; t++) {
        uint64_t sum = 0;
        for (uint64_t i = 0; i < 4; i++) sum += cell[i] % 1000 + i;
        for (uint64_t &v : cell) v = sum;
    }
    EVERY_SCHEDULE {
        on_device<uint64_t> out(8);
        on_device<unsigned> gave_up(1);
        assert_true(RIG_RUN(k_exchange, clusters(8, 32, sizeof(exchange), 4), out.get(), gave_up.get(), ~0u));
        for (uint64_t v : out.read()) assert_int_equal(v, cell[0]);
        assert_int_equal(gave_up.read()[0], 0);
        assert_true(RIG_RUN(k_exchange, clusters(8, 32, sizeof(exchange), 4), out.get(), gave_up.get(), 2u));
        assert_int_equal(gave_up.read()[0], 8);
    }
}

/* A store that nobody waited for has not come yet. */
SIMT_KERNEL(32) k_late(float *out) {
    struct cells {
        simt_mbarrier bar;
        uint32_t value;
    } *mine = simt_shared<cells>();
    unsigned other = 1 - simt_cluster_rank();
    if (threadIdx.x == 0) simt_mbarrier_init(&mine->bar, 1);
    simt_cluster_sync();
    if (threadIdx.x == 0) {
        simt_mbarrier_expect(&mine->bar, 4);
        cells *peer = simt_cluster_map(mine, other);
        simt_store_async(&peer->value, __float_as_uint(7.0f), &peer->bar);
    }
    simt_warp_sync();
    float early = __uint_as_float(mine->value);
    bool good = simt_mbarrier_wait(&mine->bar, 0, 100);
    if (threadIdx.x == 0) out[blockIdx.x] = early != early && good ? __uint_as_float(mine->value) : -1.0f;
}

static void stores_come_late(void **) {
    for (const char *schedule : {"forward", "reverse"}) {
        setenv("MMREC_EMULATION_SCHEDULE", schedule, 1);
        on_device<float> out(2);
        assert_true(RIG_RUN(k_late, clusters(2, 32, 16, 2), out.get()));
        for (float v : out.read()) assert_true(v == 7.0f);
    }
}

/* What ends a kernel. Every case runs in a child, since the device is lost afterwards. */

SIMT_KERNEL(224) k_divergent_barrier() {
    if (threadIdx.x < 112) simt_block_sync();
}
SIMT_KERNEL(64) k_two_barriers() {
    if (threadIdx.x < 32) {
        simt_block_sync();
    } else {
        simt_block_sync();
    }
}
SIMT_KERNEL(32) k_half_a_warp(int *out) {
    if (threadIdx.x >= 16) return;
    out[threadIdx.x] = simt_shuffle_xor((int)threadIdx.x, 1);
}
SIMT_KERNEL(32) k_mixed_shuffles(int *out) {
    if (threadIdx.x < 8) out[threadIdx.x] = simt_shuffle(1, 0);
    if (threadIdx.x >= 8) out[threadIdx.x] = simt_shuffle(2, 0);
}
SIMT_KERNEL(32) k_forever(uint32_t *flag) {
    while (!simt_load_acquire(flag)) simt_spin();
}
SIMT_KERNEL(32) k_no_init() { simt_mbarrier_expect(simt_shared<simt_mbarrier>(), 4); }
SIMT_KERNEL(32) k_bad_rank() { simt_cluster_map(simt_shared<int>(), 3)[0] = 1; }
SIMT_KERNEL(32) k_bad_address(int *global) { simt_cluster_map(global, 0)[0] = 1; }
SIMT_KERNEL(32) k_leaves_early() {
    simt_mbarrier *bar = simt_shared<simt_mbarrier>();
    if (threadIdx.x) return;
    simt_mbarrier_init(bar, 1);
    simt_store_async(reinterpret_cast<uint32_t *>(bar + 1), 1u, bar);
}
SIMT_KERNEL(32) k_too_many() {
    simt_mbarrier *bar = simt_shared<simt_mbarrier>();
    if (threadIdx.x) return;
    simt_mbarrier_init(bar, 2);
    simt_mbarrier_expect(bar, 8);
    simt_mbarrier_expect(bar, 0);
    simt_store_async(reinterpret_cast<uint64_t *>(bar + 1), uint64_t(1), bar);
    simt_mbarrier_expect(bar, 8);
}
SIMT_KERNEL(32) k_plain() {}

static int ends_badly(bool good) { return good ? 1 : cudaGetLastError() == cudaErrorLaunchFailure ? 0 : 2; }

struct failure {
    const char *words;
    int (*run)();
};

static const failure FAILURES[] = {
    {"kernel k_divergent_barrier: nobody can run, 1 block held up: block 0: 112 of 224 threads wait at the barrier "
     "test_simt.cu:",
     [] { return ends_badly(RIG_RUN(k_divergent_barrier, free_shape(1, 224))); }},
    {", 112 have left", [] { return ends_badly(RIG_RUN(k_divergent_barrier, free_shape(1, 224))); }},
    {"32 of 64 threads wait at the barrier test_simt.cu:",
     [] { return ends_badly(RIG_RUN(k_two_barriers, free_shape(3, 64))); }},
    {"block 0, warp 0: 16 of 32 threads wait at the shuffle test_simt.cu:",
     [] { return ends_badly(RIG_RUN(k_half_a_warp, free_shape(1, 32), on_device<int>(32).get())); }},
    {"warp 0: 8 of 32 threads wait at the shuffle test_simt.cu:",
     [] { return ends_badly(RIG_RUN(k_mixed_shuffles, free_shape(1, 32), on_device<int>(32).get())); }},
    {"block 0: 32 of 32 threads spin test_simt.cu:",
     [] { return ends_badly(RIG_RUN(k_forever, resident(1, 32), on_device<uint32_t>(1).get())); }},
    {"block 0 uses an mbarrier before simt_mbarrier_init",
     [] { return ends_badly(RIG_RUN(k_no_init, clusters(2, 32, 8, 2))); }},
    {"simt_cluster_map: rank 3 in a cluster of 2",
     [] { return ends_badly(RIG_RUN(k_bad_rank, clusters(2, 32, 8, 2))); }},
    {"simt_cluster_map: not an address in the block's shared memory",
     [] { return ends_badly(RIG_RUN(k_bad_address, clusters(2, 32, 8, 2), on_device<int>(1).get())); }},
    {"block 0 has left, asynchronous stores to it still under way: 1",
     [] { return ends_badly(RIG_RUN(k_leaves_early, clusters(2, 32, 16, 2))); }},
    {"block 0: more arrivals at an mbarrier than it was made for (2)",
     [] { return ends_badly(RIG_RUN(k_too_many, clusters(2, 32, 16, 2))); }},
    {"kernel k_plain: blocks of whole warps are needed",
     [] { return ends_badly(RIG_RUN(k_plain, free_shape(1, 48))); }},
    {"kernel k_plain: MMREC_EMULATION_SCHEDULE is not forward, reverse, random or random:SEED",
     [] {
         setenv("MMREC_EMULATION_SCHEDULE", "random:x", 1);
         return ends_badly(RIG_RUN(k_plain, free_shape(1, 32)));
     }},
};

static void failures_say_why(void **) {
    setenv("MMREC_EMULATION_SCHEDULE", "forward", 1);
    for (const failure &f : FAILURES) {
        int code;
        std::string text = rig_child(f.run, &code);
        if (code != 0 || text.find(f.words) == std::string::npos) {
            fail_msg("expected exit 0 and \"%s\", got exit %d and \"%s\"", f.words, code, text.c_str());
        }
    }
}

static void shapes_are_refused(void **) {
    assert_false(RIG_RUN(k_plain, resident(100000, 32)));
    assert_false(RIG_RUN(k_plain, clusters(3, 32, 0, 2)));
    assert_false(RIG_RUN(k_plain, free_shape(1, 2048)));
    assert_false(RIG_RUN(k_plain, free_shape(0, 32)));
    assert_true(RIG_RUN(k_plain, free_shape(1, 32)));
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_once),
        cmocka_unit_test(shuffles_and_ballots),
        cmocka_unit_test(shared_memory_and_barriers),
        cmocka_unit_test(sums_and_warp_barriers),
        cmocka_unit_test(atomics),
        cmocka_unit_test(bfloat16_rounds_to_even),
        cmocka_unit_test(grid_barrier),
        cmocka_unit_test(words_and_flags),
        cmocka_unit_test(schedules_differ),
        cmocka_unit_test(clusters_see_each_other),
        cmocka_unit_test(mbarriers_count_bytes),
        cmocka_unit_test(stores_come_late),
        cmocka_unit_test(failures_say_why),
        cmocka_unit_test(shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
