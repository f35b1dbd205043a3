/* embedding: x[b, t] = table[ids[b, t]]; dtable[v] = sum of dx over the rows (b, t) that name v.
 *
 * Source: host/ops/embedding.c.
 *
 *   ids             (B, T)     int32; one outside of [0, V) is reported, gives zeros forward and nothing backward
 *   table, dtable   (V, D)     float
 *   x, dx           (B T, D)   float or bf16
 *   scratch         backward: host/ops/embedding_device.h; 12 bytes an id and a row, and 1/32 of dx
 *
 * Forward: a thread has 16 bytes of a row of x (each.cuh) and looks up its id; memory-bound.
 * Backward: each id gets the list of its rows, in order, and a thread adds up 16 bytes of all of them. Five small
 * kernels make the lists: count the rows of each id, cut the lists out of one array, put rows in, bring each list in
 * order. Integer atomics decide where a list lies and what its first order is, neither of which reaches the result: a
 * row's rank is the number of smaller ones in its list, and sums follow the ranks.
 *
 * Order of sums: rows of an id from first to last; where there are more than 64, 64 at a time and then those sums from
 * first to last. Fixed by the ids.
 * Considered: float atomics, another order in every run; a sort by id, at least six passes of radix 8 over what are
 * 16 thousand ids; a block for every table row that looks through all ids, V times the ids to read. Ranks cost the
 * square of a list's length: 16 thousand rows of one id are 0.27 10^9 comparisons, a thousand for each thread of an
 * H100. */
#include "each.cuh"

#include "ops/embedding_device.h"

enum { IN_IDS, IN_TABLE };

/* The ids, and what to do with a wrong one. */
struct token_ids {
    const int32_t *data;
    int64_t stride, time, rows, vocab;
    mmrec_cuda_fault *fault;
};

/* The id of row r of x; -1 where it is none. */
SIMT_DEVICE int64_t id_of(const token_ids &ids, int64_t r) {
    int64_t at = ids.stride == ids.time ? r : r / ids.time * ids.stride + r % ids.time;
    int64_t id = ids.data[at];
    if (id >= 0 && id < ids.vocab) return id;
    report_fault(ids.fault, MMREC_CUDA_FAULT_ID, MMREC_OP_embedding, r, id, ids.vocab);
    return -1;
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_embedding_fwd(token_ids ids, matrix<const float> table, matrix<T> x, each_loop loop) {
    for (EACH(at, loop)) {
        float v[N] = {};
        int64_t id = id_of(ids, at.row);
        if (id >= 0) each_load(loop, at, table.row(id), v);
        each_store(loop, at, x.row(at.row), v);
    }
}

/* The lists, in scratch. */
struct embedding_lists {
    unsigned *next_slot, *next_chunk; /* what has been given out */
    unsigned *count, *start;          /* of an id: its rows, and where they are in `list` and `order` */
    unsigned *first_chunk;            /* of an id with more than EMBEDDING_CHUNK rows */
    unsigned *seat;                   /* of a row: its place in its id's list */
    unsigned *list, *order;           /* rows, as they came and from first to last */
    unsigned *chunk_id;
    matrix<float> sums; /* of the chunks */
};

SIMT_DEVICE int64_t thread_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
SIMT_DEVICE int64_t thread_count() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

SIMT_KERNEL(EACH_THREADS) k_embedding_clear(embedding_lists lists, int64_t vocab) {
    for (int64_t v = thread_index(); v < vocab; v += thread_count()) lists.count[v] = 0;
    if (thread_index() == 0) *lists.next_slot = *lists.next_chunk = 0;
}

SIMT_KERNEL(EACH_THREADS) k_embedding_count(token_ids ids, embedding_lists lists) {
    for (int64_t r = thread_index(); r < ids.rows; r += thread_count()) {
        int64_t id = id_of(ids, r);
        if (id >= 0) lists.seat[r] = atomicAdd(&lists.count[id], 1u);
    }
}

SIMT_KERNEL(EACH_THREADS) k_embedding_cut(embedding_lists lists, int64_t vocab) {
    for (int64_t v = thread_index(); v < vocab; v += thread_count()) {
        unsigned count = lists.count[v], chunks = (count + EMBEDDING_CHUNK - 1) / EMBEDDING_CHUNK;
        if (count) lists.start[v] = atomicAdd(lists.next_slot, count);
        if (chunks <= 1) continue;
        unsigned first = lists.first_chunk[v] = atomicAdd(lists.next_chunk, chunks);
        for (unsigned k = 0; k < chunks; k++) lists.chunk_id[first + k] = static_cast<unsigned>(v);
    }
}

SIMT_KERNEL(EACH_THREADS) k_embedding_list(token_ids ids, embedding_lists lists) {
    for (int64_t r = thread_index(); r < ids.rows; r += thread_count()) {
        int64_t id = id_of(ids, r);
        if (id >= 0) lists.list[lists.start[id] + lists.seat[r]] = static_cast<unsigned>(r);
    }
}

/* Neighbouring slots are of the same list: their threads read the same words. */
SIMT_KERNEL(EACH_THREADS) k_embedding_order(token_ids ids, embedding_lists lists) {
    for (int64_t slot = thread_index(); slot < *lists.next_slot; slot += thread_count()) {
        unsigned row = lists.list[slot], rank = 0;
        int64_t id = id_of(ids, row);
        const unsigned *list = lists.list + lists.start[id];
        for (unsigned k = 0; k < lists.count[id]; k++) rank += list[k] < row ? 1u : 0u;
        lists.order[lists.start[id] + rank] = row;
    }
}

/* v = the piece of rows order[first] .. order[end - 1], added in that order. */
template <int N, typename T>
SIMT_DEVICE void sum_rows(const each_loop &loop, const each_at &at, const matrix<const T> &dx, const unsigned *order,
                          unsigned first, unsigned end, float (&v)[N]) {
#pragma unroll 4
    for (unsigned k = first; k < end; k++) {
        float x[N];
        each_load(loop, at, dx.row(order[k]), x);
        for (int i = 0; i < N; i++) v[i] += x[i];
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_embedding_chunks(matrix<const T> dx, embedding_lists lists, each_loop loop) {
    for (EACH(at, loop)) {
        if (at.row >= *lists.next_chunk) return;
        float v[N] = {};
        unsigned id = lists.chunk_id[at.row], count = lists.count[id];
        unsigned first = (static_cast<unsigned>(at.row) - lists.first_chunk[id]) * EMBEDDING_CHUNK;
        unsigned end = first + EMBEDDING_CHUNK < count ? first + EMBEDDING_CHUNK : count;
        sum_rows(loop, at, dx, lists.order + lists.start[id], first, end, v);
        each_store(loop, at, lists.sums.row(at.row), v);
    }
}

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_embedding_bwd(matrix<const T> dx, matrix<float> dtable, embedding_lists lists, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float v[N] = {}, x[N];
        unsigned count = lists.count[at.row];
        if (count == 0 && add) continue;
        if (count > EMBEDDING_CHUNK) {
            unsigned first = lists.first_chunk[at.row], chunks = (count + EMBEDDING_CHUNK - 1) / EMBEDDING_CHUNK;
            for (unsigned k = 0; k < chunks; k++) {
                each_load(loop, at, lists.sums.row(first + k), x);
                for (int i = 0; i < N; i++) v[i] += x[i];
            }
        } else if (count > 0) {
            sum_rows(loop, at, dx, lists.order + lists.start[at.row], 0, count, v);
        }
        each_deliver(loop, at, dtable.row(at.row), v, add);
    }
}

static token_ids ids_of(const mmrec_op_call *call) {
    const mmrec_view &ids = call->in[IN_IDS];
    int64_t time = MMREC_SIZE(call->sizes, T);
    return {static_cast<const int32_t *>(ids.data),
            ids.stride,
            time,
            MMREC_SIZE(call->sizes, B) * time,
            MMREC_SIZE(call->sizes, V),
            mmrec_cuda_now()->fault};
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &table = call->in[IN_TABLE], &x = call->out[0];
    token_ids ids = ids_of(call);
    each_loop loop = each_rows(ids.rows, MMREC_SIZE(call->sizes, D), x.dtype, {&x, &table}, each_most());
    EACH_BY_TYPE(loop, x, T, N,
                 return SIMT_LAUNCH((k_embedding_fwd<T, N>), each_shape(loop), error, ids,
                                    matrix_of<const float>(table), matrix_of<T>(x), loop));
}

static embedding_lists lists_of(const mmrec_op_call *call, const embedding_scratch &s) {
    unsigned *words = static_cast<unsigned *>(call->scratch);
    float *sums = reinterpret_cast<float *>(words + s.sums);
    return {words,          words + 1,      words + s.count, words + s.start,    words + s.first_chunk,
            words + s.seat, words + s.list, words + s.order, words + s.chunk_id, {sums, s.stride}};
}

static simt_shape shape_for(int64_t count) {
    return {grid_for(count, EACH_THREADS, EACH_WAVES), EACH_THREADS, 0, SIMT_FREE, 0};
}

static mmrec_status make_lists(const token_ids &ids, const embedding_lists &lists, mmrec_error *error) {
    MMREC_TRY(SIMT_LAUNCH(k_embedding_clear, shape_for(ids.vocab), error, lists, ids.vocab));
    MMREC_TRY(SIMT_LAUNCH(k_embedding_count, shape_for(ids.rows), error, ids, lists));
    MMREC_TRY(SIMT_LAUNCH(k_embedding_cut, shape_for(ids.vocab), error, lists, ids.vocab));
    MMREC_TRY(SIMT_LAUNCH(k_embedding_list, shape_for(ids.rows), error, ids, lists));
    return SIMT_LAUNCH(k_embedding_order, shape_for(ids.rows), error, ids, lists);
}

static mmrec_status sum_chunks(const mmrec_op_call *call, const embedding_lists &lists, int64_t chunks,
                               mmrec_error *error) {
    const mmrec_view &dx = call->d_out[0];
    if (chunks == 0) return MMREC_OK;
    each_loop loop = each_rows(chunks, MMREC_SIZE(call->sizes, D), dx.dtype, {&dx}, each_most());
    EACH_BY_TYPE(
        loop, dx, T, N,
        return SIMT_LAUNCH((k_embedding_chunks<T, N>), each_shape(loop), error, matrix_of<const T>(dx), lists, loop));
}

static mmrec_status backward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &dx = call->d_out[0], &dtable = call->d_in[IN_TABLE];
    if (!dtable.data) return MMREC_OK;
    embedding_scratch s = embedding_scratch_of(call->sizes);
    embedding_lists lists = lists_of(call, s);
    if (s.rows > INT32_MAX || s.vocab > INT32_MAX) {
        MMREC_FAIL(error, MMREC_SHAPE, "embedding: %lld ids of a table of %lld rows, at most %d on a device",
                   (long long)s.rows, (long long)s.vocab, INT32_MAX);
    }
    MMREC_TRY(make_lists(ids_of(call), lists, error));
    MMREC_TRY(sum_chunks(call, lists, s.chunks, error));
    each_loop loop = each_rows(s.vocab, MMREC_SIZE(call->sizes, D), dx.dtype, {&dx, &dtable}, each_most());
    EACH_BY_TYPE(loop, dx, T, N,
                 return SIMT_LAUNCH((k_embedding_bwd<T, N>), each_shape(loop), error, matrix_of<const T>(dx),
                                    matrix_of<float>(dtable), lists, loop, call_adds(call, IN_TABLE)));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_embedding = {{forward, backward}};
