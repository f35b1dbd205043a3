/* A bound one too far: the last thread reads past the end of an allocation. */
template <bool WRONG> SIMT_KERNEL(128) k_global_overrun(const float *x, float *y, unsigned n) {
    float sum = 0;
    for (unsigned i = threadIdx.x; WRONG ? i <= n : i < n; i += blockDim.x) sum += x[i];
    y[threadIdx.x] = sum;
}
template <bool WRONG> bool run_global_overrun(float *y) {
    on_device<float> x(std::vector<float>(100, 1.0f));
    return RIG_RUN((k_global_overrun<WRONG>), (simt_shape{1, 128, 0, SIMT_FREE, 0}), x.get(), y, 100);
}
