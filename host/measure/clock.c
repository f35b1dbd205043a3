/* The one clock of the measurements: monotonic and not slewed by the network, so that a second is a second; and the
 * date for the heads of reports. */
#include <time.h>

#include "mmrec/measure.h"

uint64_t mmrec_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double mmrec_clock_seconds_since(uint64_t start_ns) { return (double)(mmrec_clock_ns() - start_ns) * 1e-9; }

void mmrec_clock_date(char *text, size_t size) {
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}
