/* randn: y = scale times standard normal numbers; element (r, c) is number r * columns + c of the stream under the
 * call's seed.
 *
 * Source: host/ops/randn.c; Box-Muller on Philox words, include/mmrec/rng.h.
 *
 *   y   (rows, columns)   float or bf16, rows may be slices of wider ones
 *
 * A thread has four numbers, one Philox block: in double, as on the host, rounded once to the stored type. So float
 * values are the host's, except where the last bits of a double decide a rounding to float (CUDA's functions are within
 * 2 units; the host rounds the angle once more than sincospi): some in 10^8. sincospi and not sin and cos: angles of
 * any size need a table and 40 bytes of stack, half turns in [0, 2) neither. Four numbers are two logarithms, two roots
 * and two pairs of sines in double for 16 bytes: arithmetic is the limit, not memory, and stores are left as they
 * fall. Inputs and parameters are drawn once, before anything is timed. No sums. */
#include "each.cuh"

enum { ATTR_ROWS, ATTR_COLUMNS, ATTR_SCALE, ATTR_STREAM };

struct randn_source {
    const uint64_t *seed;
    uint64_t stream;
    double scale;
};

/* Numbers 4 * block to 4 * block + 3. */
SIMT_DEVICE void draw(const randn_source &from, uint64_t block, double (&number)[4]) {
    mmrec_rng_block words = mmrec_rng_philox(*from.seed, from.stream, block);
    for (int pair = 0; pair < 4; pair += 2) {
        double length = mmrec_rng_radius(words.word[pair]), sine, cosine;
        sincospi(mmrec_rng_turn(words.word[pair + 1]), &sine, &cosine);
        number[pair] = from.scale * (length * cosine);
        number[pair + 1] = from.scale * (length * sine);
    }
}

template <typename T>
SIMT_KERNEL(EACH_THREADS)
k_randn(matrix<T> y, int64_t columns, int64_t count, randn_source from) {
    int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t block = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; 4 * block < count;
         block += step) {
        double number[4];
        draw(from, static_cast<uint64_t>(block), number);
        int64_t row = 4 * block / columns, column = 4 * block % columns;
        for (int i = 0; i < 4 && 4 * block + i < count; i++) {
            y.row(row)[column] = simt_cast<T>(static_cast<float>(number[i]));
            if (++column == columns) {
                column = 0;
                row++;
            }
        }
    }
}

static mmrec_status forward(const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_view &y = call->out[0];
    int64_t columns = mmrec_shape_columns(&y.shape), count = mmrec_shape_elements(&y.shape);
    randn_source from = {call->seed_at, static_cast<uint64_t>(call->sizes->attr[ATTR_STREAM]),
                         call->sizes->attr[ATTR_SCALE]};
    simt_shape shape = {grid_for(count, 4 * EACH_THREADS, EACH_WAVES), EACH_THREADS, 0, SIMT_FREE, 0};
    SIMT_BY_DTYPE(y, T, return SIMT_LAUNCH((k_randn<T>), shape, error, matrix_of<T>(y), columns, count, from));
}

extern "C" const mmrec_cuda_op mmrec_cuda_op_randn = {{forward, nullptr}};
