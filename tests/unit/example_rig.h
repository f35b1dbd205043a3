/* What results made by hand have in common: one allocator, a machine, and calls that must succeed. */
#ifndef MMREC_TESTS_EXAMPLE_RIG_H
#define MMREC_TESTS_EXAMPLE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mmrec/measure.h"

static mmrec_allocator allocator;

static inline void must(mmrec_status status, const mmrec_error *error) {
    char text[1024];
    if (status != MMREC_OK) fail_msg("%s", mmrec_error_text(error, text, sizeof text));
}

static inline void example_machine(mmrec_machine *m) {
    *m = (mmrec_machine){
        .cpu = "Example CPU", .os = "Debian", .kernel = "Linux 6.1", .isa = "avx2", .blas = "OpenBLAS 1"};
    m->processors = m->threads = 2;
    m->memory_bytes = 8ull << 30;
    m->load1 = 0.5;
    snprintf(m->compiler, sizeof m->compiler, "gcc 12");
}

#endif
