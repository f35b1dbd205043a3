/* The op table: every definition of ops.def in its variants, and the choice of the instruction set. */
#include "mmrec/op.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef enum isa { ISA_BASE, ISA_AVX2, ISA_AVX512, ISAS } isa;

static const char *const isa_names[ISAS] = {"base", "avx2", "avx512"};

#define MMREC_OP(op)                                                                                                   \
    extern const mmrec_op_def mmrec_op_##op##_f64, mmrec_op_##op##_base, mmrec_op_##op##_avx2, mmrec_op_##op##_avx512;
#include "mmrec/ops.def"
#undef MMREC_OP

static const mmrec_op_def *const reference[MMREC_OPS] = {
#define MMREC_OP(op) [MMREC_OP_##op] = &mmrec_op_##op##_f64,
#include "mmrec/ops.def"
#undef MMREC_OP
};

static const mmrec_op_def *const single[ISAS][MMREC_OPS] = {
#define MMREC_OP(op) [MMREC_OP_##op] = &mmrec_op_##op##_base,
    [ISA_BASE] =
        {
#include "mmrec/ops.def"
        },
#undef MMREC_OP
#define MMREC_OP(op) [MMREC_OP_##op] = &mmrec_op_##op##_avx2,
    [ISA_AVX2] =
        {
#include "mmrec/ops.def"
        },
#undef MMREC_OP
#define MMREC_OP(op) [MMREC_OP_##op] = &mmrec_op_##op##_avx512,
    [ISA_AVX512] =
        {
#include "mmrec/ops.def"
        },
#undef MMREC_OP
};

/* The variants are compiled for x86-64-v3 and -v4, and those are the features that must all be there. */
static isa machine_isa(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return ISA_AVX512;
    if (__builtin_cpu_supports("x86-64-v3")) return ISA_AVX2;
    return ISA_BASE;
}

static int isa_index(const char *name) {
    for (int i = 0; i < ISAS; i++) {
        if (strcmp(name, isa_names[i]) == 0) return i;
    }
    return -1;
}

static isa choose_isa(void) {
    isa best = machine_isa();
    const char *wanted = getenv("MMREC_ISA");
    if (!wanted || !wanted[0]) return best;
    int lowered = isa_index(wanted);
    if (lowered < 0) return ISA_BASE;
    return (isa)lowered < best ? (isa)lowered : best;
}

/* Chosen once: the functions of one run must all come from one set. Racing threads find the same answer. */
static isa chosen_isa(void) {
    static atomic_int chosen = -1;
    int now = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (now < 0) {
        now = (int)choose_isa();
        atomic_store_explicit(&chosen, now, memory_order_relaxed);
    }
    return (isa)now;
}

static bool in_table(mmrec_op_id op) { return (int)op > (int)MMREC_OP_NONE && (int)op < (int)MMREC_OPS; }

const mmrec_op_def *mmrec_op_get(mmrec_op_id op, mmrec_variant variant) {
    if (!in_table(op)) return NULL;
    if (variant == MMREC_VARIANT_F64) return reference[op];
    return variant == MMREC_VARIANT_F32 ? single[chosen_isa()][op] : NULL;
}

const mmrec_op_def *mmrec_op_get_isa(mmrec_op_id op, const char *name) {
    int index = isa_index(name);
    if (!in_table(op) || index < 0 || index > (int)machine_isa()) return NULL;
    return single[index][op];
}

mmrec_op_id mmrec_op_find(const char *name) {
    for (int i = MMREC_OP_NONE + 1; i < MMREC_OPS; i++) {
        if (strcmp(reference[i]->name, name) == 0) return (mmrec_op_id)i;
    }
    return MMREC_OP_NONE;
}

const char *mmrec_op_isa(void) { return isa_names[chosen_isa()]; }
