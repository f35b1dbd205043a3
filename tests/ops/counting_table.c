/* The op table once more, for the definitions compiled with the counting number. */
#include "mmrec/op.h"
#include "real_counts.h"

const mmrec_op_def *mmrec_op_get_counting(mmrec_op_id op);

mmrec_real_counts mmrec_real_counted;

#define MMREC_OP(op) extern const mmrec_op_def mmrec_op_##op##_count;
#include "mmrec/ops.def"
#undef MMREC_OP

const mmrec_op_def *mmrec_op_get_counting(mmrec_op_id op) {
    static const mmrec_op_def *const table[MMREC_OPS] = {
#define MMREC_OP(op) [MMREC_OP_##op] = &mmrec_op_##op##_count,
#include "mmrec/ops.def"
#undef MMREC_OP
    };
    return table[op];
}
