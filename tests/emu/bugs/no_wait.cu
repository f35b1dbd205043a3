/* A value sent into a peer's shared memory is read without waiting for its mbarrier. */
template <bool WRONG> SIMT_KERNEL(32) k_no_wait(float *y) {
    struct cells {
        simt_mbarrier bar;
        uint32_t value;
    } *mine = simt_shared<cells>();
    if (threadIdx.x == 0) simt_mbarrier_init(&mine->bar, 1);
    simt_cluster_sync();
    if (threadIdx.x == 0) {
        simt_mbarrier_expect(&mine->bar, 4);
        cells *peer = simt_cluster_map(mine, 1 - simt_cluster_rank());
        simt_store_async(&peer->value, __float_as_uint(2.0f), &peer->bar);
    }
    if (!WRONG && !simt_mbarrier_wait(&mine->bar, 0, 1000)) return;
    y[blockIdx.x * 32 + threadIdx.x] = __uint_as_float(mine->value);
    simt_mbarrier_wait(&mine->bar, 0, 1000);
}
template <bool WRONG> bool run_no_wait(float *y) {
    return RIG_RUN((k_no_wait<WRONG>), (simt_shape{2, 32, 16, SIMT_FREE, 2}), y);
}
