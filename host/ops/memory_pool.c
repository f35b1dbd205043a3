/* memory_pool: the mean over groups of 4^level neighbouring memory slots, (.., S, D) -> (.., S / 4^level, D).
 *
 * Source: step 5 of the MM-Rec block: groups of 4, `level` times. A mean of means of equal groups is the mean of all,
 * and 4^level is a power of two, so one division per result rounds no worse than `level` of them. */
#include "mean_rows.h"

enum { ATTR_LEVEL };

/* Binds M and refuses a level that does not fit S. */
static mmrec_status infer(mmrec_op_sizes *sizes, mmrec_error *error) {
    int64_t slots = MMREC_SIZE(sizes, S), group = 1;
    double level = sizes->attr[ATTR_LEVEL];
    if (!(level >= 0 && level <= 31) || level != (double)(int)level) {
        MMREC_FAIL(error, MMREC_SHAPE, "memory_pool: level %g is not a whole number from 0 to 31", level);
    }
    for (int i = 0; i < (int)level && group <= slots; i++) group *= 4;
    if (slots % group != 0) {
        MMREC_FAIL(error, MMREC_SHAPE,
                   "memory_pool: %lld slots cannot be pooled at level %d: the number of slots must be a multiple of "
                   "4^%d; use a lower level or more slots",
                   (long long)slots, (int)level, (int)level);
    }
    MMREC_SIZE(sizes, M) = slots / group;
    return MMREC_OK;
}

static const char *const samples[] = {"S=1 D=1 level=0",
                                      "N=1 S=4 D=3 level=1",
                                      "N=3 S=48 D=5",
                                      "S=64 D=65 level=3",
                                      "N=2 S=80 D=67 level=2",
                                      "S=12 D=7 level=0",
                                      "N=2 S=256 D=129 level=4",
                                      NULL};

MMREC_OP_EXTERN const mmrec_op_def MMREC_OP_DEFINE(memory_pool);
const mmrec_op_def MMREC_OP_DEFINE(memory_pool) = {
    .name = "memory_pool",
    .formula = "pooled[j] = mean of m[4^level j .. 4^level (j + 1))",
    .source = "step 5 of the block, the pyramid of memory slots",
    .in = {{.name = "m", .dims = "* S D", .flags = MMREC_ARG_F32}},
    .out = {{.name = "pooled", .dims = "* M D", .flags = MMREC_ARG_F32}},
    .attr = {"level"},
    .attr_default = {2},
    .infer = infer,
    .work = mean_work,
    .function = {mean_forward, mean_backward},
    .fast = {MMREC_FAST(mean_fast_forward), MMREC_FAST(mean_fast_backward)},
    .tolerance = {1e-6, 2e-7,
                  "sums of up to 256 normal values, 64 at a time: 8 eps of their magnitude, over their mean"},
    .samples = samples,
    .bench = "N=2 S=1024 D=1024",
};
