/* A wait without a bound for a block that has nothing to say. */
template <bool WRONG> SIMT_KERNEL(32) k_endless_spin(float *y, uint32_t *flag) {
    if (blockIdx.x == 0) {
        if (!WRONG && threadIdx.x == 0) simt_store_release(flag, 1);
        return;
    }
    while (simt_load_acquire(flag) != 1) simt_spin();
    y[threadIdx.x] = 1.0f;
}
template <bool WRONG> bool run_endless_spin(float *y) {
    on_device<uint32_t> flag(1);
    return RIG_RUN((k_endless_spin<WRONG>), (simt_shape{2, 32, 0, SIMT_RESIDENT, 0}), y, flag.get());
}
