/* A step of a recurrence reads what other blocks wrote in the step before, with a barrier of its own block only. */
template <bool WRONG> SIMT_KERNEL(32) k_no_grid_barrier(float *y, float *h, unsigned *barrier) {
    for (unsigned t = 0; t < 4; t++) {
        const float *from = h + t % 2 * gridDim.x;
        float *to = h + (t + 1) % 2 * gridDim.x;
        if (threadIdx.x == 0) to[blockIdx.x] = from[(blockIdx.x + 1) % gridDim.x] + 1.0f;
        if (WRONG) simt_block_sync();
        if (!WRONG && !simt_grid_sync(barrier, 100000)) return;
    }
    if (threadIdx.x == 0) y[blockIdx.x] = h[blockIdx.x];
}
template <bool WRONG> bool run_no_grid_barrier(float *y) {
    on_device<float> h(std::vector<float>{1, 20, 300, 4000, 0, 0, 0, 0});
    on_device<unsigned> barrier(2);
    return RIG_RUN((k_no_grid_barrier<WRONG>), (simt_shape{4, 32, 0, SIMT_RESIDENT, 0}), y, h.get(), barrier.get());
}
