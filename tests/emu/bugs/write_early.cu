/* The barrier before shared memory is used again is missing: a fast warp overwrites what a slow one still reads. */
template <bool WRONG> SIMT_KERNEL(128) k_write_early(float *y) {
    float *shared = simt_shared<float>(), sum = 0;
    for (int round = 0; round < 3; round++) {
        shared[threadIdx.x] = (float)(round * 1000) + (float)threadIdx.x;
        simt_block_sync();
        sum += shared[(threadIdx.x + 32) % 128];
        if (!WRONG) simt_block_sync();
    }
    y[threadIdx.x] = sum;
}
template <bool WRONG> bool run_write_early(float *y) {
    return RIG_RUN((k_write_early<WRONG>), (simt_shape{1, 128, 512, SIMT_FREE, 0}), y);
}
