/* Where a part of a tensor begins (part.h): shared with the kernels, which know no type real. */
#ifndef MMREC_OPS_PART_DEVICE_H
#define MMREC_OPS_PART_DEVICE_H

#include "mmrec/op.h"

enum { PART_FIRST, PART_COUNT };

static inline int64_t part_first(const mmrec_op_sizes *sizes) { return (int64_t)sizes->attr[PART_FIRST]; }

#endif
