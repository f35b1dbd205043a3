/* How far two arrays are apart: the one comparison of the op tests and of mmrec-parity.
 *
 * A NaN or an infinity on either side is a difference no tolerance forgives, equal infinities included. */
#ifndef MMREC_COMPARE_H
#define MMREC_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_difference {
    double max_abs;  /* max |got - want| */
    double max_want; /* max |want| */
    double max_rel;  /* max_abs / max_want */
    double l2_rel;   /* ||got - want|| / ||want||, scaled so that squares neither overflow nor vanish */
    int64_t worst;   /* where |got - want| is largest, the first of equals; the first non-finite element if there is
                        one; -1 when count is 0 */
    bool finite;     /* all elements of both sides are */
} mmrec_difference;

/* Compares `count` elements.
 * None (count <= 0): equal, all figures 0, finite.
 * Something non-finite on either side: finite is false and max_abs, max_rel and l2_rel are infinity.
 * `want` all zero: there is nothing to be relative to; max_rel and l2_rel are 0 if `got` is all zero too, else
 * infinity. */
mmrec_difference mmrec_compare(const double *got, const double *want, int64_t count);

/* Whether max_abs <= tolerance * max(max_want, scale) and everything is finite. `scale` (0: none) keeps rounding noise
 * around a true zero from counting as an error. A NaN tolerance or scale never passes. */
bool mmrec_difference_within(const mmrec_difference *difference, double tolerance, double scale);

#ifdef __cplusplus
}
#endif
#endif
