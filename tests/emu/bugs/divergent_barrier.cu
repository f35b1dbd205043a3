/* A barrier inside a branch that half of the block takes. */
template <bool WRONG> SIMT_KERNEL(128) k_divergent_barrier(float *y) {
    float *shared = simt_shared<float>();
    if (threadIdx.x < 64) {
        shared[threadIdx.x] = 1.0f;
        if (WRONG) simt_block_sync();
    }
    if (!WRONG) simt_block_sync();
    y[threadIdx.x] = shared[threadIdx.x % 64];
}
template <bool WRONG> bool run_divergent_barrier(float *y) {
    return RIG_RUN((k_divergent_barrier<WRONG>), (simt_shape{1, 128, 256, SIMT_FREE, 0}), y);
}
