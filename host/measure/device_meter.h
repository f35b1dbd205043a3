/* Timing on a device: the meter that sampling uses there, by events, by CUPTI or by the host's clock. */
#ifndef MMREC_MEASURE_DEVICE_METER_H
#define MMREC_MEASURE_DEVICE_METER_H

#include "measure/nvml.h"
#include "mmrec/backend.h"

typedef struct device_meter {
    mmrec_meter meter; /* for mmrec_sampling; its context is this, which must not move */
    mmrec_allocator *allocator;
    const mmrec_backend *backend;
    void *from, *to; /* events */
    nvml_probe nvml;
    mmrec_timing timing;
    uint64_t launches; /* kernels of the latest run */
} device_meter;

/* Prepares timing on the backend's device, or falls back and says so in `timing`. On a host backend there is nothing to
 * prepare: `device_meter_of` is then NULL, and no cache is ever cold. Close in any case. */
mmrec_status device_meter_open(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_timer timer, bool cold,
                               device_meter *out, mmrec_error *error) MMREC_MUST_CHECK;
void device_meter_close(device_meter *meter);
/* What to put into mmrec_sampling.meter. */
const mmrec_meter *device_meter_of(const device_meter *meter);

/* Waits for the device; nothing to do on the host. */
mmrec_status device_meter_wait(const mmrec_backend *backend, mmrec_error *error) MMREC_MUST_CHECK;
/* Runs a prepared subject once: kernels it launches, and with CUPTI their times, the longest first, at most `room`. */
mmrec_status device_meter_count(device_meter *meter, const mmrec_subject *subject, int64_t *launches,
                                mmrec_kernel_time *kernels, int room, int *count, mmrec_error *error) MMREC_MUST_CHECK;

#endif
