/* Lanes pass values through shared memory and trust a shuffle to have put them in step; a shuffle orders no memory. */
template <bool WRONG> SIMT_KERNEL(32) k_lock_step(float *y) {
    float *shared = simt_shared<float>();
    shared[threadIdx.x] = 1.0f + (float)threadIdx.x;
    float other = simt_shuffle_xor(1.0f, 1);
    if (!WRONG) simt_warp_sync();
    y[threadIdx.x] = other + shared[threadIdx.x ^ 1u];
}
template <bool WRONG> bool run_lock_step(float *y) {
    return RIG_RUN((k_lock_step<WRONG>), (simt_shape{1, 32, 128, SIMT_FREE, 0}), y);
}
