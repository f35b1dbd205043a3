/* A block ends while its neighbour still reads its shared memory. */
template <bool WRONG> SIMT_KERNEL(32) k_leaves_early(float *y) {
    float *mine = simt_shared<float>();
    mine[threadIdx.x] = (float)threadIdx.x;
    simt_cluster_sync();
    const float *peer = simt_cluster_map(mine, 1 - simt_cluster_rank());
    for (int i = 0; i < 8; i++) y[blockIdx.x * 32 + threadIdx.x] += warp_sum(peer[threadIdx.x]);
    if (!WRONG) simt_cluster_sync();
}
template <bool WRONG> bool run_leaves_early(float *y) {
    return RIG_RUN((k_leaves_early<WRONG>), (simt_shape{2, 32, 128, SIMT_FREE, 2}), y);
}
