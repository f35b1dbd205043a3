/* The two backends on the host: `ref` (double, plain C) and `cpu` (float, threads, CBLAS, SIMD). */
#include <cblas.h>
#include <omp.h>
#include <sched.h>
#include <string.h>

#include "adamw.h"
#include "backend_impl.h"
#include "mlp.h"

static const mmrec_alloc_tag arena_tag[MMREC_ARENAS] = {MMREC_ALLOC_PARAMS, MMREC_ALLOC_GRADS, MMREC_ALLOC_OPTIMIZER,
                                                        MMREC_ALLOC_SAVED, MMREC_ALLOC_SCRATCH};

static mmrec_status host_alloc(mmrec_allocator *allocator, mmrec_arena arena, size_t bytes, void **out,
                               mmrec_error *error) {
    return mmrec_alloc_zero(allocator, 1, bytes, arena_tag[arena], out, error);
}

static void host_free(mmrec_allocator *allocator, mmrec_arena arena, void *memory, size_t bytes) {
    mmrec_alloc(allocator, memory, bytes, 0, arena_tag[arena]);
}

static mmrec_status ref_run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    return mmrec_op_get(op, MMREC_VARIANT_F64)->function[pass](call, error);
}

static mmrec_status cpu_run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    const mmrec_op_def *def = mmrec_op_get(op, MMREC_VARIANT_F32);
    mmrec_op_function function = def->fast[pass] ? def->fast[pass] : def->function[pass];
    return function(call, error);
}

static const mmrec_backend backends[] = {
    {.name = "ref",
     .real = MMREC_F64,
     .variant = MMREC_VARIANT_F64,
     .host_memory = true,
     .alloc = host_alloc,
     .free = host_free,
     .run = ref_run,
     .adamw = adamw_ref,
     .mlp = mlp_ref},
    {.name = "cpu",
     .real = MMREC_F32,
     .variant = MMREC_VARIANT_F32,
     .host_memory = true,
     .alloc = host_alloc,
     .free = host_free,
     .run = cpu_run,
     .adamw = adamw_cpu,
     .mlp = mlp_cpu},
};

mmrec_status mmrec_backend_find(const char *name, const mmrec_backend **out, mmrec_error *error) {
    const char *wanted = strcmp(name, "auto") == 0 ? backend_auto() : name;
    *out = NULL;
    if (strcmp(wanted, "cuda") == 0) return backend_cuda(out, error);
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        if (strcmp(backends[i].name, wanted) != 0) continue;
        *out = &backends[i];
        return MMREC_OK;
    }
    MMREC_FAIL(error, MMREC_USAGE, "no backend \"%s\": the choices are auto, cpu, ref and cuda", name);
}

mmrec_dtype mmrec_backend_dtype(const mmrec_backend *backend, bool bf16) { return bf16 ? MMREC_BF16 : backend->real; }

mmrec_status mmrec_backend_stores(const mmrec_backend *backend, mmrec_dtype storage, mmrec_error *error) {
    if (storage != MMREC_BF16 || backend->stores_bf16) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "backend %s stores %s only: bf16 needs --backend cuda", backend->name,
               mmrec_dtype_name(backend->real));
}

mmrec_status mmrec_backend_set_threads(int threads, mmrec_error *error) {
    if (threads < 1 || threads > 1024) MMREC_FAIL(error, MMREC_CONFIG, "threads must be 1 to 1024, got %d", threads);
    omp_set_num_threads(threads);
    openblas_set_num_threads(threads);
    return MMREC_OK;
}

int mmrec_backend_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return omp_get_num_procs();
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}
