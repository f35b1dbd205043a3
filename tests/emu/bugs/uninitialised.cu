/* Shared memory that nobody wrote: the padding of a row is read into a sum. */
template <bool WRONG> SIMT_KERNEL(64) k_uninitialised(float *y) {
    float *shared = simt_shared<float>(), sum = 0;
    if (threadIdx.x < 60 || !WRONG) shared[threadIdx.x] = threadIdx.x < 60 ? 1.0f : 0.0f;
    simt_block_sync();
    for (int i = 0; i < 64; i++) sum += shared[i];
    y[threadIdx.x] = sum;
}
template <bool WRONG> bool run_uninitialised(float *y) {
    return RIG_RUN((k_uninitialised<WRONG>), (simt_shape{1, 64, 256, SIMT_FREE, 0}), y);
}
