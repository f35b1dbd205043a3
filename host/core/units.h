/* Numbers with units as people write them, and as they are printed. Parsing is strict: the whole text must be the
 * number; no blanks, signs only where they mean something, no hexadecimal, no "inf" or "nan". */
#ifndef MMREC_CORE_UNITS_H
#define MMREC_CORE_UNITS_H

#include <stdbool.h>
#include <stdint.h>

enum { MMREC_UNITS_TEXT = 48, MMREC_AXIS_NAME = 16, MMREC_AXIS_VALUES = 64 };

/* Each returns false, leaving `out`, when the text is something else. */
bool mmrec_units_whole(const char *text, int64_t *out);    /* -12, 512 */
bool mmrec_units_seed(const char *text, uint64_t *out);    /* 0 .. 18446744073709551615 */
bool mmrec_units_real(const char *text, double *out);      /* 0.25, 1e-5; finite */
bool mmrec_units_percent(const char *text, double *share); /* "1%", "1 %" and "1" give 0.01 */
bool mmrec_units_seconds(const char *text, double *out);   /* ns us ms s min; only 0 may do without a unit */
/* B, kB MB GB TB (powers of 1000), KiB MiB GiB TiB (of 1024); no unit: bytes. The value is a whole number of bytes of
 * at most 2^62 once the unit is applied, rounded to the nearest. */
bool mmrec_units_bytes(const char *text, uint64_t *out);

/* One axis of a sweep: "time=512:8192:*2", "time=512:2048:+512" (both ends included when the step meets them),
 * "time=1,2,5". */
typedef struct mmrec_axis {
    char name[MMREC_AXIS_NAME];
    int count;
    int64_t value[MMREC_AXIS_VALUES];
} mmrec_axis;
/* NULL, or what is wrong with the text, in words. */
const char *mmrec_units_axis(const char *text, mmrec_axis *out);

/* "1.50 GiB", "512 B": the largest unit that leaves at least 1, three significant figures past it. */
const char *mmrec_units_bytes_text(double bytes, char text[MMREC_UNITS_TEXT]);
/* "12.3 ms", "850 ns", "1.20 s". */
const char *mmrec_units_time_text(double nanoseconds, char text[MMREC_UNITS_TEXT]);
/* Powers of 1000 with a unit: (2.53e10, "FLOP") gives "25.3 GFLOP". */
const char *mmrec_units_scaled_text(double value, const char *unit, char text[MMREC_UNITS_TEXT]);

#endif
