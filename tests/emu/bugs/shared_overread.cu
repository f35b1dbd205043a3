/* A read of one slot too many, whose value then plays no part. */
template <bool WRONG> SIMT_KERNEL(64) k_shared_overread(float *y) {
    float *shared = simt_shared<float>();
    shared[threadIdx.x] = 1.0f;
    simt_block_sync();
    float next = shared[WRONG ? threadIdx.x + 1 : (threadIdx.x + 1) % 64];
    y[threadIdx.x] = threadIdx.x < 63 ? next : fminf(next, 0.0f) * 0.0f + (next == next ? 0.0f : 0.0f);
}
template <bool WRONG> bool run_shared_overread(float *y) {
    return RIG_RUN((k_shared_overread<WRONG>), (simt_shape{1, 64, 256, SIMT_FREE, 0}), y);
}
