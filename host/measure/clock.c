/* The clock of the measurements, and the date for the heads of reports. */
#include <time.h>

#include "core/clock.h"
#include "mmrec/measure.h"

uint64_t mmrec_clock_ns(void) { return core_clock_ns(); }

double mmrec_clock_seconds_since(uint64_t start_ns) { return (double)(mmrec_clock_ns() - start_ns) * 1e-9; }

void mmrec_clock_date(char *text, size_t size) {
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}
