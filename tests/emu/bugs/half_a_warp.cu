/* The tail's threads leave before a shuffle of the whole warp. */
template <bool WRONG> SIMT_KERNEL(64) k_half_a_warp(float *y, unsigned n) {
    if (WRONG && threadIdx.x >= n) return;
    float sum = warp_sum(threadIdx.x < n ? 1.0f : 0.0f);
    y[threadIdx.x] = sum;
}
template <bool WRONG> bool run_half_a_warp(float *y) {
    return RIG_RUN((k_half_a_warp<WRONG>), (simt_shape{1, 64, 0, SIMT_FREE, 0}), y, 48);
}
