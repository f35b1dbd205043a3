/* The flag is set before the data it stands for. */
template <bool WRONG> SIMT_KERNEL(32) k_flag_first(float *y, float *data, uint32_t *flag) {
    if (threadIdx.x) return;
    if (blockIdx.x == 0) {
        if (WRONG) simt_store_release(flag, 1);
        atomicAdd(flag + 1, 1u); /* a place where others may run */
        data[0] = 3.0f;
        if (!WRONG) simt_store_release(flag, 1);
    } else {
        while (simt_load_acquire(flag) != 1) simt_spin();
        y[0] = data[0];
    }
}
template <bool WRONG> bool run_flag_first(float *y) {
    on_device<float> data(1);
    on_device<uint32_t> flag(2);
    return RIG_RUN((k_flag_first<WRONG>), (simt_shape{2, 32, 0, SIMT_RESIDENT, 0}), y, data.get(), flag.get());
}
