/* How the blocks of the recurrence hand each other the state, four ways; a step's product needs all of it.
 *
 * State i (forward h_{i-1}, h0 for i = 0; backward A g and M g of step T - 1 - i) is made in iteration i and read in
 * iteration i + 1. It goes to buffer i % 2. A unit's values travel in pairs: 8 bytes of float, 4 of bf16.
 *
 *   GRAPH    one launch an iteration; buffers in global memory, ordered by the launches.
 *   BARRIER  one launch; the same buffers, ordered by one grid barrier an iteration. (Kernels that split the inner axis
 *            over blocks need two.) It is the yardstick: a barrier is a trip to the second-level cache and back before
 *            the first word of the state can be asked for.
 *   GRID     one launch; words of 8 bytes in global memory that carry the number of their state, i + 1, beside 4 bytes
 * of data. Readers poll the words themselves: no fence, no counter. CLUSTER  one launch; each block writes its pairs
 * into the shared memory of all blocks of its cluster, and the bytes are counted by a barrier there that knows how many
 * are due.
 *
 * Why two buffers are enough for GRID and CLUSTER, where a fast block runs ahead: it writes state i + 2 over state i
 * only after it has read all of state i + 1. Every block of the same batch rows writes a part of state i + 1, and
 * writes it after its last read of state i: the product over state i, the barrier of the block, then the new values. So
 * whoever has all of state i + 1 knows that nobody reads state i any more. In CLUSTER the same order keeps two phases
 * of a barrier apart: bytes of state i + 2 come after the wait for state i, on every block. Words left by an earlier
 * call cannot be mistaken: the buffers are cleared before (recurrence_pack.cuh), and numbers start at 1.
 *
 * A wait is bounded. A block that gives up reports MMREC_CUDA_FAULT_SPIN and leaves; those that need its values give up
 * after it, so the launch ends. Blocks of a cluster leave together, since others may still write into their memory. */
#ifndef MMREC_RECURRENCE_EXCHANGE_CUH
#define MMREC_RECURRENCE_EXCHANGE_CUH

#include "recurrence_tile.cuh"

/* Code for sm_80 has no clusters; the host never asks for them there. */
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define RECURRENCE_CLUSTERS 1
#else
#define RECURRENCE_CLUSTERS 0
typedef uint64_t simt_mbarrier;
#endif

/* What both passes need; iterations [first, last) of `total` in this launch. */
struct recurrence_frame {
    int way, first, last, total;
    int batch, steps, width, part, depth, units;
    int blocks, cluster, rows, chunks, groups, stage, shared_first, resident;
    int64_t per_tile;
    const uint4 *panel;
    unsigned char *exchange;
    unsigned *barrier;
    mmrec_cuda_fault *fault;
    uint64_t spin_limit;
};

/* This block: its place among those that share the batch rows, and its shared memory. */
struct recurrence_block {
    int rank, group;
    simt_mbarrier *arrived; /* one for each buffer */
    unsigned char *state;   /* staged: one buffer, in a cluster two */
    int stride, state_bytes;
    float *sums;
    uint4 *weights;
};

template <typename Tile> SIMT_DEVICE recurrence_block recurrence_block_of(const recurrence_frame &f) {
    recurrence_block k;
    int of = f.way == MMREC_RECURRENCE_CLUSTER ? f.cluster : f.blocks;
    k.rank = static_cast<int>(blockIdx.x) % of;
    k.group = static_cast<int>(blockIdx.x) / of;
    unsigned char *memory = simt_shared<unsigned char>();
    int element = static_cast<int>(sizeof(typename Tile::element));
    k.arrived = reinterpret_cast<simt_mbarrier *>(memory);
    k.state = memory + RECURRENCE_HEAD;
    k.stride = f.stage + 16 / element;
    k.state_bytes = RECURRENCE_ROWS * k.stride * element;
    int buffers = f.way == MMREC_RECURRENCE_CLUSTER ? RECURRENCE_BUFFERS : 1;
    k.sums = reinterpret_cast<float *>(k.state + buffers * k.state_bytes);
    k.weights = reinterpret_cast<uint4 *>(k.sums + Tile::SETS * Tile::COUNT * RECURRENCE_TILE_SUMS * 10);
    return k;
}

SIMT_DEVICE void recurrence_gave_up(const recurrence_frame &f, int iteration) {
    report_fault(f.fault, MMREC_CUDA_FAULT_SPIN, MMREC_OP_recurrence, iteration, static_cast<int64_t>(f.spin_limit),
                 static_cast<int64_t>(f.spin_limit));
}

/* Values of a pair as they travel. */
template <typename Tile> SIMT_DEVICE uint64_t pair_bits(float low, float high) {
    if constexpr (Tile::BF16) return bf16_pair(low, high);
    return static_cast<uint64_t>(__float_as_uint(high)) << 32 | __float_as_uint(low);
}

/* Elements in a word of the buffers of GRID: beside the number there is room for 4 bytes. */
template <typename Tile> SIMT_DEVICE int flagged_elements() { return Tile::BF16 ? 2 : 1; }

/* Waits for a word of state `number`; gives its data. */
SIMT_DEVICE uint32_t flagged_wait(const recurrence_frame &f, const uint64_t *at, uint64_t word, uint32_t number,
                                  bool &good) {
    for (uint64_t round = 0; static_cast<uint32_t>(word >> 32) != number && good; round++) {
        simt_spin();
        if (round >= f.spin_limit) {
            good = false;
            recurrence_gave_up(f, static_cast<int>(number));
        }
        word = simt_load_word(at);
    }
    return static_cast<uint32_t>(word);
}

/* Values [from, end) of state i, rows first .. first + rows - 1, into the stage. Four rows are asked for at a time. */
template <typename Tile>
SIMT_DEVICE bool gather_flagged(const recurrence_frame &f, const recurrence_block &k, int i, int first, int rows,
                                int from, int end) {
    int each = flagged_elements<Tile>(), row_words = f.depth / each, real = (f.width + 1) / 2 * 2;
    const uint64_t *words =
        reinterpret_cast<const uint64_t *>(f.exchange) + ((int64_t)(i & 1) * f.batch + first) * row_words + from / each;
    int stage_words = k.stride / each;
    uint32_t *to = reinterpret_cast<uint32_t *>(k.state);
    bool good = true;
    for (int w = static_cast<int>(threadIdx.x); w < (end - from) / each; w += RECURRENCE_THREADS) {
        int unit = (from + w * each) % f.part;
        for (int r = 0; r < rows; r += 4) {
            uint64_t got[4] = {};
            RECURRENCE_UNROLL
            for (int q = 0; q < 4; q++) {
                if (unit < real && r + q < rows) got[q] = simt_load_word(words + (r + q) * (int64_t)row_words + w);
            }
            RECURRENCE_UNROLL
            for (int q = 0; q < 4; q++) {
                if (r + q >= rows) continue;
                const uint64_t *at = words + (r + q) * (int64_t)row_words + w;
                to[(r + q) * stage_words + w] =
                    unit < real ? flagged_wait(f, at, got[q], static_cast<uint32_t>(i) + 1, good) : 0;
            }
        }
    }
    return good;
}

/* The same from buffers without flags. */
template <typename Tile>
SIMT_DEVICE void gather_ordered(const recurrence_frame &f, const recurrence_block &k, int i, int first, int rows,
                                int from, int end) {
    const int each = 8 / static_cast<int>(sizeof(typename Tile::element));
    int row_words = f.depth / each, stage_words = k.stride / each;
    const uint64_t *words =
        reinterpret_cast<const uint64_t *>(f.exchange) + ((int64_t)(i & 1) * f.batch + first) * row_words + from / each;
    uint64_t *to = reinterpret_cast<uint64_t *>(k.state);
    for (int w = static_cast<int>(threadIdx.x); w < (end - from) / each; w += RECURRENCE_THREADS) {
        uint64_t got[RECURRENCE_ROWS] = {};
        RECURRENCE_UNROLL
        for (int r = 0; r < RECURRENCE_ROWS; r++) {
            if (r < rows) got[r] = simt_load_word(words + r * (int64_t)row_words + w);
        }
        RECURRENCE_UNROLL
        for (int r = 0; r < RECURRENCE_ROWS; r++) {
            if (r < rows) to[r * stage_words + w] = got[r];
        }
    }
}

/* The whole block gets the same answer: whether [from, end) of state i is in the stage. */
template <typename Tile>
SIMT_DEVICE bool gather(const recurrence_frame &f, const recurrence_block &k, int i, int first, int rows, int from,
                        int end) {
    bool good = true;
    if (f.way == MMREC_RECURRENCE_GRID) {
        good = gather_flagged<Tile>(f, k, i, first, rows, from, end);
#if RECURRENCE_CLUSTERS
    } else if (f.way == MMREC_RECURRENCE_CLUSTER) {
        good = simt_mbarrier_wait(k.arrived + (i & 1), static_cast<unsigned>(i >> 1) & 1u, f.spin_limit);
        if (!good) recurrence_gave_up(f, i + 1);
#endif
    } else {
        gather_ordered<Tile>(f, k, i, first, rows, from, end);
    }
    return simt_block_all(good);
}

/* Hands on one pair of state i: values `at` and at + 1 of the inner axis of batch row `row`, which is row n of its
 * chunk. */
template <typename Tile>
SIMT_DEVICE void publish(const recurrence_frame &f, const recurrence_block &k, int i, int row, int n, int at, float low,
                         float high) {
    const int element = static_cast<int>(sizeof(typename Tile::element));
    uint64_t bits = pair_bits<Tile>(low, high);
    int64_t place = ((int64_t)(i & 1) * f.batch + row) * f.depth + at;
    if (f.way == MMREC_RECURRENCE_GRID) {
        uint64_t *word = reinterpret_cast<uint64_t *>(f.exchange) + place / flagged_elements<Tile>();
        uint64_t number = static_cast<uint64_t>(i + 1) << 32;
        simt_store_word(word, number | static_cast<uint32_t>(bits));
        if (!Tile::BF16) simt_store_word(word + 1, number | bits >> 32);
#if RECURRENCE_CLUSTERS
    } else if (f.way == MMREC_RECURRENCE_CLUSTER) {
        unsigned char *mine = k.state + (i & 1) * k.state_bytes + (n * k.stride + at) * element;
        for (int peer = 0; peer < f.blocks; peer++) {
            /* Starting with the next block: all at once would queue up at the first one. */
            unsigned to = static_cast<unsigned>((k.rank + 1 + peer) % f.blocks);
            simt_mbarrier *theirs = simt_cluster_map(k.arrived + (i & 1), to);
            if constexpr (Tile::BF16) {
                simt_store_async(simt_cluster_map(reinterpret_cast<uint32_t *>(mine), to), static_cast<uint32_t>(bits),
                                 theirs);
            } else {
                simt_store_async(simt_cluster_map(reinterpret_cast<uint64_t *>(mine), to), bits, theirs);
            }
        }
#endif
    } else if constexpr (Tile::BF16) {
        *reinterpret_cast<uint32_t *>(f.exchange + place * element) = static_cast<uint32_t>(bits);
    } else {
        *reinterpret_cast<uint64_t *>(f.exchange + place * element) = bits;
    }
}

/* Before state i of a chunk is handed on: how many bytes of it this block is to receive. */
template <typename Tile>
SIMT_DEVICE void expect(const recurrence_frame &f, const recurrence_block &k, int i, int rows) {
#if RECURRENCE_CLUSTERS
    if (f.way != MMREC_RECURRENCE_CLUSTER || threadIdx.x != 0) return;
    int values = rows * (f.depth / f.part) * ((f.width + 1) / 2 * 2);
    simt_mbarrier_expect(k.arrived + (i & 1),
                         static_cast<unsigned>(values * static_cast<int>(sizeof(typename Tile::element))));
#else
    (void)f, (void)k, (void)i, (void)rows;
#endif
}

/* Clears the stage, so that what no one writes counts as zero; fetches the resident weights; then all blocks that will
 * write here may. */
template <typename Tile> SIMT_DEVICE void enter(const recurrence_frame &f, const recurrence_block &k) {
    uint4 *stage = reinterpret_cast<uint4 *>(k.state);
    int words = static_cast<int>(reinterpret_cast<unsigned char *>(k.sums) - k.state) / 16;
    for (int w = static_cast<int>(threadIdx.x); w < words; w += RECURRENCE_THREADS) stage[w] = make_uint4(0, 0, 0, 0);
    int fragments = Tile::COUNT * (Tile::BF16 ? 1 : RECURRENCE_TILE_SUMS), piece = fragments * 32;
    for (int tile = f.shared_first; tile < f.resident && k.rank < f.blocks; tile++) {
        const uint4 *from = f.panel + (tile * f.per_tile + (int64_t)k.rank * fragments) * 32;
        for (int w = static_cast<int>(threadIdx.x); w < piece; w += RECURRENCE_THREADS) {
            k.weights[(tile - f.shared_first) * piece + w] = from[w];
        }
    }
#if RECURRENCE_CLUSTERS
    if (f.way == MMREC_RECURRENCE_CLUSTER) {
        if (threadIdx.x == 0) {
            simt_mbarrier_init(k.arrived, 1);
            simt_mbarrier_init(k.arrived + 1, 1);
        }
        simt_cluster_sync();
        return;
    }
#endif
    simt_block_sync();
}

SIMT_DEVICE void leave(const recurrence_frame &f) {
#if RECURRENCE_CLUSTERS
    if (f.way == MMREC_RECURRENCE_CLUSTER) simt_cluster_sync();
#else
    (void)f;
#endif
}

#endif
