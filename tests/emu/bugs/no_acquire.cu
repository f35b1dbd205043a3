/* Blocks exchange data behind a flag that is read without acquire: right here in every schedule, not on a device. */
template <bool WRONG> SIMT_KERNEL(32) k_no_acquire(float *y, float *data, uint64_t *flag) {
    if (threadIdx.x) return;
    if (blockIdx.x == 0) {
        data[0] = 3.0f;
        __threadfence();
        simt_store_word(flag, 1);
    } else {
        while (simt_load_word(flag) != 1) simt_spin();
        if (!WRONG) __threadfence();
        y[0] = data[0];
    }
}
template <bool WRONG> bool run_no_acquire(float *y) {
    on_device<float> data(1);
    on_device<uint64_t> flag(1);
    return RIG_RUN((k_no_acquire<WRONG>), (simt_shape{2, 32, 0, SIMT_RESIDENT, 0}), y, data.get(), flag.get());
}
