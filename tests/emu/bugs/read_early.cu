/* The barrier between writing shared memory and reading what another warp wrote is missing. */
template <bool WRONG> SIMT_KERNEL(128) k_read_early(float *y) {
    float *shared = simt_shared<float>();
    shared[threadIdx.x] = (float)threadIdx.x;
    if (!WRONG) simt_block_sync();
    y[threadIdx.x] = shared[127 - threadIdx.x];
}
template <bool WRONG> bool run_read_early(float *y) {
    return RIG_RUN((k_read_early<WRONG>), (simt_shape{1, 128, 512, SIMT_FREE, 0}), y);
}
