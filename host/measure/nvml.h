/* The clocks of the device and what holds them down, by NVML, which comes with the driver. Loaded at run time: without
 * it everything else works, and samples carry no clocks. */
#ifndef MMREC_MEASURE_NVML_H
#define MMREC_MEASURE_NVML_H

#include "mmrec/measure.h"

typedef struct nvml_probe {
    void *library, *device; /* NULL: not open */
    int (*clock)(void *device, int type, unsigned *mhz);
    int (*reasons)(void *device, unsigned long long *bits);
    int (*shut_down)(void);
} nvml_probe;

enum { NVML_WHY = 160 };

/* Looks for the library under $MMREC_NVML, else where the driver puts it, and for the device with that PCI address
 * ("" where it is not known: then there must be only one). False, with the reason in `why`, when there are no clocks.
 */
bool nvml_open(nvml_probe *probe, const char *pci, char why[NVML_WHY]);
/* Takes some 10 us; fields that cannot be read stay 0. Does nothing when it is not open. */
void nvml_read(const nvml_probe *probe, mmrec_sample_note *note);
void nvml_close(nvml_probe *probe);

#endif
