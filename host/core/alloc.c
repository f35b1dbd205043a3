/* The one host allocator. Blocks come from the C library, aligned; sizes are counted as asked for, not as rounded. */
#include "mmrec/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char *const tag_texts[MMREC_ALLOC_TAGS] = {
#define MMREC_ALLOC_TAG(name, text) text,
#include "mmrec/alloc_tags.def"
#undef MMREC_ALLOC_TAG
};

static void count_more(mmrec_alloc_count *count, size_t bytes) {
    count->live_bytes += bytes;
    if (count->live_bytes > count->peak_bytes) count->peak_bytes = count->live_bytes;
}

static void count_both(mmrec_allocator *allocator, mmrec_alloc_tag tag, size_t bytes, bool request) {
    count_more(&allocator->by_tag[tag], bytes);
    count_more(&allocator->total, bytes);
    allocator->by_tag[tag].requests += request;
    allocator->total.requests += request;
}

/* Whether this attempt is one that the tests, or the limit, want to fail. */
static bool refused(mmrec_allocator *allocator, size_t bytes) {
    allocator->attempts++;
    if (allocator->fail_at > 0) {
        if (allocator->attempts == allocator->fail_at) return true;
        if (allocator->fail_after && allocator->attempts > allocator->fail_at) return true;
    }
    if (allocator->limit_bytes == 0) return false;
    size_t live = allocator->total.live_bytes;
    return live > allocator->limit_bytes || bytes > allocator->limit_bytes - live;
}

/* Arenas and work buffers ask for huge pages, where the system gives them on request: the recurrence at B 16, D 512
 * took 16.2 ms with them and 16.6 ms without (medians of runs in alternation). */
enum { HUGE_PAGE = 2 << 20, HUGE_FROM = 2 * HUGE_PAGE };

static void *system_alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX - (HUGE_PAGE - 1)) return NULL; /* pointers into it could not be subtracted */
    size_t align = bytes >= HUGE_FROM ? HUGE_PAGE : MMREC_ALIGN, rounded = (bytes + align - 1) / align * align;
    void *memory = aligned_alloc(align, rounded);
    if (memory && align == HUGE_PAGE) (void)madvise(memory, rounded, MADV_HUGEPAGE); /* advice: refused is fine */
    return memory;
}

static void release(mmrec_allocator *allocator, void *old, size_t old_size, mmrec_alloc_tag tag) {
    if (!old) return;
    allocator->by_tag[tag].live_bytes -= old_size;
    allocator->total.live_bytes -= old_size;
    free(old);
}

void *mmrec_alloc(mmrec_allocator *allocator, void *old, size_t old_size, size_t new_size, mmrec_alloc_tag tag) {
    if (new_size == 0) {
        release(allocator, old, old_size, tag);
        return NULL;
    }
    if (old && new_size == old_size) return old;
    /* A block changes its size by moving (realloc does not keep the alignment), so for a moment both live. */
    void *fresh = refused(allocator, new_size) ? NULL : system_alloc(new_size);
    if (!fresh) return NULL;
    count_both(allocator, tag, new_size, !old || new_size > old_size);
    if (old) memcpy(fresh, old, old_size < new_size ? old_size : new_size);
    release(allocator, old, old_size, tag);
    return fresh;
}

static mmrec_status no_memory(mmrec_allocator *allocator, size_t count, size_t size, mmrec_alloc_tag tag,
                              mmrec_error *error) {
    MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory: %zu x %zu bytes wanted for %s, %zu bytes are in use", count,
               size, mmrec_alloc_tag_text(tag), allocator->total.live_bytes);
}

mmrec_status mmrec_alloc_zero(mmrec_allocator *allocator, size_t count, size_t size, mmrec_alloc_tag tag, void **out,
                              mmrec_error *error) {
    size_t bytes = 0;
    *out = NULL;
    if (__builtin_mul_overflow(count, size, &bytes)) return no_memory(allocator, count, size, tag, error);
    if (bytes == 0) return MMREC_OK;
    *out = mmrec_alloc(allocator, NULL, 0, bytes, tag);
    if (!*out) return no_memory(allocator, count, size, tag, error);
    memset(*out, 0, bytes);
    return MMREC_OK;
}

/* At least twice the old capacity, so that n appended elements cost O(n) moves. */
static size_t grown(size_t capacity, size_t wanted) {
    enum { SMALLEST = 8 };
    size_t doubled = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
    if (doubled < SMALLEST) doubled = SMALLEST;
    return doubled > wanted ? doubled : wanted;
}

mmrec_status mmrec_alloc_grow(mmrec_allocator *allocator, void **array, size_t *capacity, size_t wanted, size_t size,
                              mmrec_alloc_tag tag, mmrec_error *error) {
    if (wanted <= *capacity) return MMREC_OK;
    size_t count = grown(*capacity, wanted), bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes)) return no_memory(allocator, wanted, size, tag, error);
    void *fresh = mmrec_alloc(allocator, *array, *capacity * size, bytes, tag);
    if (!fresh) return no_memory(allocator, count, size, tag, error);
    *array = fresh;
    *capacity = count;
    return MMREC_OK;
}

void mmrec_allocator_reset_peak(mmrec_allocator *allocator) {
    for (int i = 0; i < MMREC_ALLOC_TAGS; i++) allocator->by_tag[i].peak_bytes = allocator->by_tag[i].live_bytes;
    allocator->total.peak_bytes = allocator->total.live_bytes;
}

const char *mmrec_alloc_tag_text(mmrec_alloc_tag tag) {
    return (unsigned)tag < MMREC_ALLOC_TAGS ? tag_texts[tag] : "?";
}
