/* The machine's own ceilings, measured in the run they are compared with: the best sgemm rate and the copy rate. */
#include <cblas.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "mmrec/backend.h"
#include "mmrec/measure.h"
#include "mmrec/rng.h"

enum { SGEMM_LARGEST = 2048 };
/* 512: fits a 2 MiB L2; 1024: a usual layer; 2048: long enough for every thread. */
static const int sgemm_sizes[] = {512, 1024, SGEMM_LARGEST};
enum { SGEMM_SIZES = sizeof sgemm_sizes / sizeof *sgemm_sizes };
static const double sgemm_box_s = 1.0, copy_box_s = 0.5;
/* Smallest buffer, and the largest: virtual machines may report the last cache of a whole host. */
static const uint64_t copy_least_bytes = 64ull << 20, copy_most_bytes = 512ull << 20;

static double time_sgemm(int n, const float *a, const float *b, float *c) {
    uint64_t start = mmrec_clock_ns();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0f, a, n, b, n, 0.0f, c, n);
    return mmrec_clock_seconds_since(start);
}

/* Best rate over the sizes that fit into the time box, sizes growing by 8 times the work. */
static double best_sgemm(const float *a, const float *b, float *c) {
    double best = 0, last_s = 0;
    uint64_t start = mmrec_clock_ns();
    for (int i = 0; i < SGEMM_SIZES; i++) {
        double left = sgemm_box_s - mmrec_clock_seconds_since(start);
        if (i > 0 && 2 * 8 * last_s > left) break; /* a first, cold run and one that counts */
        double n = sgemm_sizes[i], until = left / (SGEMM_SIZES - i);
        uint64_t size_start = mmrec_clock_ns();
        do {
            last_s = time_sgemm(sgemm_sizes[i], a, b, c);
            best = fmax(best, 2 * n * n * n / fmax(last_s, 1e-9));
        } while (mmrec_clock_seconds_since(size_start) + last_s < until);
    }
    return best;
}

/* Uniform in (0, 1): zeros would let some processors run at a higher clock. */
static void fill(float *values, int64_t count, uint64_t stream) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) values[i] = mmrec_rng_uniform(1, stream, (uint64_t)i);
}

static mmrec_status measure_sgemm(mmrec_allocator *allocator, double *rate, mmrec_error *error) {
    enum { MATRIX = SGEMM_LARGEST * SGEMM_LARGEST };
    void *memory = NULL;
    MMREC_TRY_WHILE(mmrec_alloc_zero(allocator, 3 * (size_t)MATRIX, sizeof(float), MMREC_ALLOC_MEASURE, &memory, error),
                    error, "measuring the sgemm rate");
    float *a = memory;
    fill(a, 2 * (int64_t)MATRIX, 0);
    *rate = best_sgemm(a, a + MATRIX, a + 2 * (size_t)MATRIX);
    mmrec_alloc(allocator, memory, 3 * (size_t)MATRIX * sizeof(float), 0, MMREC_ALLOC_MEASURE);
    return MMREC_OK;
}

/* One copy, every thread its own share. */
static void copy_all(unsigned char *to, const unsigned char *from, size_t bytes, int threads) {
    size_t share = (bytes / (size_t)threads + MMREC_ALIGN) / MMREC_ALIGN * MMREC_ALIGN;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int t = 0; t < threads; t++) {
        size_t first = share * (size_t)t;
        if (first < bytes) memcpy(to + first, from + first, bytes - first < share ? bytes - first : share);
    }
}

static double best_copy(unsigned char *to, const unsigned char *from, size_t bytes, int threads) {
    double best = 0;
    uint64_t start = mmrec_clock_ns();
    do {
        uint64_t copy_start = mmrec_clock_ns();
        copy_all(to, from, bytes, threads);
        best = fmax(best, 2 * (double)bytes / fmax(mmrec_clock_seconds_since(copy_start), 1e-9));
    } while (mmrec_clock_seconds_since(start) < copy_box_s);
    return best;
}

static mmrec_status measure_copy(mmrec_allocator *allocator, int threads, double *rate, mmrec_error *error) {
    mmrec_machine machine;
    mmrec_machine_read(&machine, threads);
    uint64_t wanted = 2 * machine.l3_bytes;
    if (wanted < copy_least_bytes) wanted = copy_least_bytes;
    if (wanted > copy_most_bytes) wanted = copy_most_bytes;
    size_t bytes = (size_t)wanted;
    void *memory = NULL;
    MMREC_TRY_WHILE(mmrec_alloc_zero(allocator, 2, bytes, MMREC_ALLOC_MEASURE, &memory, error), error,
                    "measuring the copy rate");
    *rate = best_copy(memory, (unsigned char *)memory + bytes, bytes, threads);
    mmrec_alloc(allocator, memory, 2 * bytes, 0, MMREC_ALLOC_MEASURE);
    return MMREC_OK;
}

mmrec_status mmrec_measure_ceilings(mmrec_allocator *allocator, int threads, mmrec_ceilings *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    MMREC_TRY(mmrec_backend_set_threads(threads, error));
    MMREC_TRY(measure_sgemm(allocator, &out->sgemm_flops_per_s, error));
    return measure_copy(allocator, threads, &out->copy_bytes_per_s, error);
}
