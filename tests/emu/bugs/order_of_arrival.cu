/* A sum in the order in which blocks come, by way of a lock: no race, but other bits in every run. */
template <bool WRONG> SIMT_KERNEL(32) k_order_of_arrival(float *y, uint32_t *turn) {
    if (threadIdx.x) return;
    if (WRONG) {
        while (atomicCAS(turn, 0u, 1u) != 0) simt_spin();
    } else {
        while (simt_load_acquire(turn) != blockIdx.x) simt_spin();
    }
    __threadfence();
    y[0] += 0.1f * (float)(blockIdx.x * blockIdx.x) + 1e6f * (float)(blockIdx.x % 3);
    simt_store_release(turn, WRONG ? 0 : blockIdx.x + 1);
}
template <bool WRONG> bool run_order_of_arrival(float *y) {
    on_device<uint32_t> turn(1);
    return RIG_RUN((k_order_of_arrival<WRONG>), (simt_shape{16, 32, 0, SIMT_RESIDENT, 0}), y, turn.get());
}
