/* widen: y = x as float, from what activations are stored in; dx = dy.
 *
 * Source: host/ops/widen.c. The kernel is in copy.cuh. */
#include "copy.cuh"

extern "C" const mmrec_cuda_op mmrec_cuda_op_widen = {{copy_forward, copy_backward}};
