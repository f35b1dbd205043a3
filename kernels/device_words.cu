/* Two small kernels of the backend itself.
 *
 *   c[r][i] = row[i] [+ c[r][i]]   c (m, n), row (n) float or bf16: a bias where cuBLASLt takes none as an epilogue
 *   *at = value                    a word in stream order; a copy from the host's memory would wait for the stream
 *
 * k_put_row: a thread has 16 bytes of a row (each.cuh); memory-bound. The product is added to it afterwards: the other
 * way round its sum would be rounded twice. No sums. Folding the bias into the product is what mmrec_cuda_gemm tries
 * first. */
#include "each.cuh"

template <typename T, int N> SIMT_KERNEL(EACH_THREADS) k_put_row(matrix<T> c, const T *row, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, row, v);
        each_deliver(loop, at, c.row(at.row), v, add);
    }
}

SIMT_KERNEL(32) k_set_word(uint64_t *at, uint64_t value) {
    if (threadIdx.x == 0) *at = value;
}

extern "C" mmrec_status mmrec_cuda_put_row(const mmrec_view *c, const void *row, bool accumulate, mmrec_error *error) {
    mmrec_view from = *c;
    from.data = const_cast<void *>(row);
    from.stride = 0; /* one row, read for all */
    each_loop loop =
        each_rows(mmrec_shape_rows(&c->shape), mmrec_shape_columns(&c->shape), c->dtype, {c, &from}, each_most());
    EACH_BY_TYPE(loop, *c, T, N,
                 return SIMT_LAUNCH((k_put_row<T, N>), each_shape(loop), error, matrix_of<T>(*c),
                                    static_cast<const T *>(row), loop, accumulate));
}

extern "C" mmrec_status mmrec_cuda_set_word(uint64_t *at, uint64_t value, mmrec_error *error) {
    simt_shape shape = {1, 32, 0, SIMT_FREE, 0};
    return SIMT_LAUNCH(k_set_word, shape, error, at, value);
}
