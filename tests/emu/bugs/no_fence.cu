/* The last block to finish adds up what all wrote, without a fence before its count. */
template <bool WRONG> SIMT_KERNEL(32) k_no_fence(float *y, float *parts, unsigned *count) {
    if (threadIdx.x) return;
    parts[blockIdx.x] = (float)blockIdx.x;
    if (!WRONG) __threadfence();
    if (atomicAdd(count, 1u) != gridDim.x - 1) return;
    __threadfence();
    for (unsigned b = 0; b < gridDim.x; b++) y[0] += parts[b];
}
template <bool WRONG> bool run_no_fence(float *y) {
    on_device<float> parts(8);
    on_device<unsigned> count(1);
    return RIG_RUN((k_no_fence<WRONG>), (simt_shape{8, 32, 0, SIMT_FREE, 0}), y, parts.get(), count.get());
}
