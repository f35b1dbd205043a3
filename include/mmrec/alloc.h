/* The one host allocator: every byte mmrec owns passes through mmrec_alloc, counted exactly by tag.
 *
 * Faults are injected by failing the k-th request (once, or from then on), which is how the tests show
 * that no memory, at any point, is a message and not a crash.
 *
 * Thread rule: one allocator belongs to one thread at a time; parallel regions never allocate. */
#ifndef MMREC_ALLOC_H
#define MMREC_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmrec/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_alloc_tag {
#define MMREC_ALLOC_TAG(name, text) MMREC_ALLOC_##name,
#include "mmrec/alloc_tags.def"
#undef MMREC_ALLOC_TAG
    MMREC_ALLOC_TAGS
} mmrec_alloc_tag;

enum { MMREC_ALIGN = 64 }; /* bytes; a cache line and a 512-bit vector */

typedef struct mmrec_alloc_count {
    size_t live_bytes, peak_bytes; /* now; highest since creation or the last mmrec_allocator_reset_peak */
    uint64_t requests;             /* successful requests for new or larger memory */
} mmrec_alloc_count;

typedef struct mmrec_allocator {
    mmrec_alloc_count by_tag[MMREC_ALLOC_TAGS];
    mmrec_alloc_count total;
    uint64_t attempts;    /* requests seen, failed ones included */
    uint64_t fail_at;     /* 1-based attempt that fails; 0 = none */
    bool fail_after;      /* every attempt from fail_at on fails too */
    size_t limit_bytes;   /* requests that would pass this many live bytes fail; 0 = no limit */
} mmrec_allocator;

/* Grows, shrinks, creates (old NULL, old_size 0) or frees (new_size 0) a block. `old_size` must be the size the
 * block has now, and `tag` the one it was created with. New bytes are not initialised. Aligned to MMREC_ALIGN. Returns
 * NULL when freeing, and on failure (the old block is then untouched). A block changes its size by moving, so peak and
 * limit count both sizes for that moment. */
void *mmrec_alloc(mmrec_allocator *allocator, void *old, size_t old_size, size_t new_size, mmrec_alloc_tag tag);

/* mmrec_alloc of a fresh block with a status: `*out` gets `count * size` zeroed bytes, overflow checked. */
mmrec_status mmrec_alloc_zero(mmrec_allocator *allocator, size_t count, size_t size, mmrec_alloc_tag tag, void **out,
                              mmrec_error *error) MMREC_MUST_CHECK;

/* Makes room for at least `wanted` elements in a growing array (doubling). `*array` and `*capacity` are updated. */
mmrec_status mmrec_alloc_grow(mmrec_allocator *allocator, void **array, size_t *capacity, size_t wanted, size_t size,
                              mmrec_alloc_tag tag, mmrec_error *error) MMREC_MUST_CHECK;

/* Peaks become the live figures of this moment. */
void mmrec_allocator_reset_peak(mmrec_allocator *allocator);

/* "parameters" and the like. */
const char *mmrec_alloc_tag_text(mmrec_alloc_tag tag);

#ifdef __cplusplus
}
#endif
#endif
