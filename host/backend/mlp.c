/* The fused steps of a small MLP: in double for `ref`, in float by the instruction set that the ops run with for `cpu`.
 *
 * One thread. A step of 5-64-32-16-1 on 32 samples takes about 10 us, and consists of a dozen products that need each
 * other's results: a team of threads takes 2 to 5 us for each of them alone, to be started and waited for. */
#include "mlp.h"

#include <string.h>

static const struct {
    const char *name;
    mlp_function steps;
} floats[] = {{"base", mlp_steps_base}, {"avx2", mlp_steps_avx2}, {"avx512", mlp_steps_avx512}};

mmrec_status mlp_ref(const mmrec_mlp_call *call, mmrec_error *error) {
    (void)error;
    mlp_steps_f64(call);
    return MMREC_OK;
}

mmrec_status mlp_cpu(const mmrec_mlp_call *call, mmrec_error *error) {
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        if (strcmp(mmrec_op_isa(), floats[i].name) != 0) continue;
        floats[i].steps(call);
        return MMREC_OK;
    }
    MMREC_FAIL(error, MMREC_INTERNAL, "no MLP for instruction set %s", mmrec_op_isa());
}
