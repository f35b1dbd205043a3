/* Two blocks add to one float with neither atomics nor slots of their own. */
template <bool WRONG> SIMT_KERNEL(32) k_shared_sum(float *y) {
    if (threadIdx.x == 0) y[WRONG ? 0 : blockIdx.x] += 1.0f;
}
template <bool WRONG> bool run_shared_sum(float *y) {
    return RIG_RUN((k_shared_sum<WRONG>), (simt_shape{2, 32, 0, SIMT_FREE, 0}), y);
}
