/* Two small kernels of the backend itself.
 *
 *   c = from [+ c]   (m, n) float or bf16: what cuDNN reads and writes packed; a bias, one row for all rows, where
 *                    cuBLASLt takes none as an epilogue
 *   *at = value      a word in stream order; a copy from the host's memory would wait for the stream
 *
 * k_put: a thread has 16 bytes of a row (each.cuh); memory-bound. The product is added to a bias afterwards: the other
 * way round its sum would be rounded twice. No sums. Folding the bias into the product is what mmrec_cuda_gemm tries
 * first. */
#include "each.cuh"

template <typename T, int N>
SIMT_KERNEL(EACH_THREADS)
k_put(matrix<T> c, matrix<const T> from, each_loop loop, bool add) {
    for (EACH(at, loop)) {
        float v[N];
        each_load(loop, at, from.row(at.row), v);
        each_deliver(loop, at, c.row(at.row), v, add);
    }
}

SIMT_KERNEL(32) k_set_word(uint64_t *at, uint64_t value) {
    if (threadIdx.x == 0) *at = value;
}

extern "C" mmrec_status mmrec_cuda_put(const mmrec_view *c, const mmrec_view *from, bool accumulate,
                                       mmrec_error *error) {
    each_loop loop = each_over({c, from}, each_most());
    EACH_BY_TYPE(loop, *c, T, N,
                 return SIMT_LAUNCH((k_put<T, N>), each_shape(loop), error, matrix_of<T>(*c), matrix_of<const T>(*from),
                                    loop, accumulate));
}

extern "C" mmrec_status mmrec_cuda_put_row(const mmrec_view *c, const void *row, bool accumulate, mmrec_error *error) {
    mmrec_view from = *c;
    from.data = const_cast<void *>(row);
    from.stride = 0; /* one row, read for all */
    return mmrec_cuda_put(c, &from, accumulate, error);
}

extern "C" mmrec_status mmrec_cuda_set_word(uint64_t *at, uint64_t value, mmrec_error *error) {
    simt_shape shape = {1, 32, 0, SIMT_FREE, 0};
    return SIMT_LAUNCH(k_set_word, shape, error, at, value);
}
