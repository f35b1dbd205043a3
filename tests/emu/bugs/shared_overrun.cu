/* A write one past the end of shared memory. */
template <bool WRONG> SIMT_KERNEL(64) k_shared_overrun(float *y) {
    float *shared = simt_shared<float>();
    shared[threadIdx.x + (WRONG ? 1 : 0)] = 1.0f;
    simt_block_sync();
    y[threadIdx.x] = shared[63];
}
template <bool WRONG> bool run_shared_overrun(float *y) {
    return RIG_RUN((k_shared_overrun<WRONG>), (simt_shape{1, 64, 256, SIMT_FREE, 0}), y);
}
