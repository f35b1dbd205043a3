/* The machine's own ceilings, measured in the run they are compared with: the best sgemm rate and the copy rate. */
#include <cblas.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "mmrec/backend.h"
#include "mmrec/measure.h"
#include "mmrec/rng.h"

enum { SGEMM_LARGEST = 2048, MATRIX = SGEMM_LARGEST * SGEMM_LARGEST };
/* 512: fits a 2 MiB L2; 1024: a usual layer; 2048: long enough for every thread. */
static const int sgemm_sizes[] = {512, 1024, SGEMM_LARGEST};
enum { SGEMM_SIZES = sizeof sgemm_sizes / sizeof *sgemm_sizes };
static const double sgemm_box_s = 1.0, copy_box_s = 0.5;
/* As long as a sgemm between samples may take, at the rate it has shown. The larger, the less it waits for its slower
 * thread: on two busy processors 512 came to 0.84 of the rate of 1024. */
static const double soon_s = 0.02;
/* Smallest buffer, and the largest: virtual machines may report the last cache of a whole host. */
static const uint64_t copy_least_bytes = 64ull << 20, copy_most_bytes = 512ull << 20;

/* Of one run, of the first two of the matrices into the third. */
static double sgemm_rate(int size, float *a) {
    const float *b = a + MATRIX;
    double n = size;
    uint64_t start = mmrec_clock_ns();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size, size, size, 1.0f, a, size, b, size, 0.0f,
                a + 2 * (size_t)MATRIX, size);
    return 2 * n * n * n / fmax(mmrec_clock_seconds_since(start), 1e-9);
}

/* Best rate over the sizes that fit into the time box, sizes growing by 8 times the work. `size`: the largest of those
 * that are soon done. */
static double best_sgemm(float *a, int *size) {
    double best = 0, last_s = 0;
    uint64_t start = mmrec_clock_ns();
    for (int i = 0; i < SGEMM_SIZES; i++) {
        double left = sgemm_box_s - mmrec_clock_seconds_since(start);
        if (i > 0 && 2 * 8 * last_s > left) break; /* a first, cold run and one that counts */
        double n = sgemm_sizes[i], until = left / (SGEMM_SIZES - i), rate = 0;
        uint64_t size_start = mmrec_clock_ns();
        do {
            double now = sgemm_rate(sgemm_sizes[i], a);
            last_s = 2 * n * n * n / now;
            rate = fmax(rate, now);
        } while (mmrec_clock_seconds_since(size_start) + last_s < until);
        best = fmax(best, rate);
        if (i == 0 || 2 * n * n * n < soon_s * rate) *size = sgemm_sizes[i];
    }
    return best;
}

/* Uniform in (0, 1): zeros would let some processors run at a higher clock. */
static void fill(float *values, int64_t count, uint64_t stream) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) values[i] = mmrec_rng_uniform(1, stream, (uint64_t)i);
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

static size_t copy_bytes_of(int threads) {
    mmrec_machine machine;
    mmrec_machine_read(&machine, threads);
    uint64_t wanted = 2 * machine.l3_bytes;
    if (wanted < copy_least_bytes) wanted = copy_least_bytes;
    return (size_t)(wanted < copy_most_bytes ? wanted : copy_most_bytes);
}

/* ---- ready to be run again ---- */

typedef struct ceiling_runs {
    mmrec_allocator *allocator;
    int threads, size; /* of a sgemm to be taken again */
    size_t copy_bytes;
    float *matrices;        /* 3 MATRIX */
    unsigned char *buffers; /* 2 copy_bytes */
} ceiling_runs;

static double copy_rate(const ceiling_runs *r) {
    uint64_t start = mmrec_clock_ns();
    copy_all(r->buffers, r->buffers + r->copy_bytes, r->copy_bytes, r->threads);
    return 2 * (double)r->copy_bytes / fmax(mmrec_clock_seconds_since(start), 1e-9);
}

static double best_copy(const ceiling_runs *r) {
    double best = 0;
    uint64_t start = mmrec_clock_ns();
    do {
        best = fmax(best, copy_rate(r));
    } while (mmrec_clock_seconds_since(start) < copy_box_s);
    return best;
}

static double rate_once(const ceiling_runs *r, mmrec_ceiling which) {
    return which == MMREC_CEILING_SGEMM ? sgemm_rate(r->size, r->matrices) : copy_rate(r);
}

/* The better of two: the first finds the caches full of something else, which costs a sgemm 2 %. */
static double rate_now(void *context, mmrec_ceiling which) {
    double first = rate_once(context, which);
    return fmax(first, rate_once(context, which));
}

static mmrec_status measure_sgemm(ceiling_runs *r, double *rate, mmrec_error *error) {
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(r->allocator, 3 * (size_t)MATRIX, sizeof(float), MMREC_ALLOC_MEASURE, &memory, error));
    r->matrices = memory;
    fill(r->matrices, 2 * (int64_t)MATRIX, 0);
    *rate = best_sgemm(r->matrices, &r->size);
    return MMREC_OK;
}

static mmrec_status measure_copy(ceiling_runs *r, double *rate, mmrec_error *error) {
    void *memory = NULL;
    r->copy_bytes = copy_bytes_of(r->threads);
    MMREC_TRY(mmrec_alloc_zero(r->allocator, 2, r->copy_bytes, MMREC_ALLOC_MEASURE, &memory, error));
    r->buffers = memory;
    *rate = best_copy(r);
    return MMREC_OK;
}

mmrec_status mmrec_ceilings_open(mmrec_allocator *allocator, int threads, mmrec_ceiling_source *out,
                                 mmrec_error *error) {
    void *memory = NULL;
    memset(out, 0, sizeof *out);
    MMREC_TRY(mmrec_backend_set_threads(threads, error));
    mmrec_status status = mmrec_alloc_zero(allocator, 1, sizeof(ceiling_runs), MMREC_ALLOC_MEASURE, &memory, error);
    if (status == MMREC_OK) {
        ceiling_runs *r = memory;
        *r = (ceiling_runs){.allocator = allocator, .threads = threads};
        out->rate = rate_now;
        out->context = r;
        status = measure_sgemm(r, &out->best.sgemm_flops_per_s, error);
        if (status == MMREC_OK) status = measure_copy(r, &out->best.copy_bytes_per_s, error);
    }
    if (status == MMREC_OK) return MMREC_OK;
    mmrec_error_frame(error, "measuring the rates of sgemm and of a copy");
    mmrec_ceilings_close(out);
    return status;
}

void mmrec_ceilings_close(mmrec_ceiling_source *source) {
    ceiling_runs *r = source->context;
    if (r) {
        mmrec_allocator *allocator = r->allocator;
        size_t matrices = 3 * (size_t)MATRIX * sizeof *r->matrices;
        if (r->matrices) mmrec_alloc(allocator, r->matrices, matrices, 0, MMREC_ALLOC_MEASURE);
        if (r->buffers) mmrec_alloc(allocator, r->buffers, 2 * r->copy_bytes, 0, MMREC_ALLOC_MEASURE);
        mmrec_alloc(allocator, r, sizeof *r, 0, MMREC_ALLOC_MEASURE);
    }
    memset(source, 0, sizeof *source);
}

mmrec_status mmrec_measure_ceilings(mmrec_allocator *allocator, int threads, mmrec_ceilings *out, mmrec_error *error) {
    mmrec_ceiling_source source;
    memset(out, 0, sizeof *out);
    MMREC_TRY(mmrec_ceilings_open(allocator, threads, &source, error));
    *out = source.best;
    mmrec_ceilings_close(&source);
    return MMREC_OK;
}

const char *mmrec_ceiling_name(mmrec_ceiling ceiling) { return ceiling == MMREC_CEILING_SGEMM ? "sgemm" : "copy"; }
