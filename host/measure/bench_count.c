/* What a run launches on a device, and with CUPTI how long each kernel takes. */
#include <string.h>

#include "bench_impl.h"

/* A step has some forty kinds of kernels; beyond these they are short. */
enum { KERNELS_KEPT = 64 };

mmrec_status bench_count_launches(mmrec_allocator *allocator, device_meter *meter, const mmrec_subject *subject,
                                  mmrec_bench_row *row, mmrec_error *error) {
    mmrec_kernel_time kernels[KERNELS_KEPT];
    void *memory = NULL;
    int count = 0;
    if (!device_meter_of(meter)) return MMREC_OK;
    MMREC_TRY(device_meter_count(meter, subject, &row->launches, kernels, KERNELS_KEPT, &count, error));
    if (count == 0) return MMREC_OK;
    MMREC_TRY(mmrec_alloc_zero(allocator, (size_t)count, sizeof *kernels, MMREC_ALLOC_MEASURE, &memory, error));
    row->kernels = memory;
    row->kernel_count = count;
    memcpy(row->kernels, kernels, (size_t)count * sizeof *kernels);
    return MMREC_OK;
}

void bench_row_free(mmrec_allocator *allocator, mmrec_bench_row *row) {
    mmrec_series_free(allocator, &row->series);
    mmrec_alloc(allocator, row->kernels, (size_t)row->kernel_count * sizeof *row->kernels, 0, MMREC_ALLOC_MEASURE);
    row->kernels = NULL;
    row->kernel_count = 0;
}
