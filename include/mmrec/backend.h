/* A backend: a table of functions that own memory and run op calls. `ref` is double and plain C, the truth; `cpu` is
 * float with threads, CBLAS and SIMD. */
#ifndef MMREC_BACKEND_H
#define MMREC_BACKEND_H

#include "mmrec/alloc.h"
#include "mmrec/op.h"
#include "mmrec/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_backend {
    const char *name;
    mmrec_dtype real;
    mmrec_variant variant;
    bool host_memory; /* arenas can be read and written directly */
    /* Zeroed memory for an arena, aligned to 64; freed with the same size. */
    mmrec_status (*alloc)(mmrec_allocator *allocator, mmrec_arena arena, size_t bytes, void **out, mmrec_error *error);
    void (*free)(mmrec_allocator *allocator, mmrec_arena arena, void *memory, size_t bytes);
    mmrec_status (*run)(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error);
    mmrec_status (*synchronize)(mmrec_error *error); /* NULL: calls are complete when they return */
} mmrec_backend;

/* "ref", "cpu", or "auto" (the fastest that works here). USAGE naming the choices otherwise. Borrowed, never freed. */
mmrec_status mmrec_backend_find(const char *name, const mmrec_backend **out, mmrec_error *error) MMREC_MUST_CHECK;
/* Threads used by CBLAS and by ops that follow; 1 .. 1024. The graph's `threads` must not be larger. */
mmrec_status mmrec_backend_set_threads(int threads, mmrec_error *error) MMREC_MUST_CHECK;
/* Processors this process may run on. */
int mmrec_backend_processors(void);

#ifdef __cplusplus
}
#endif
#endif
