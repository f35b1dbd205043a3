/* How many partial maxima the kernels of growth make (kernels/growth.cu): shared with the op file, which must know
 * their scratch without a device. */
#ifndef MMREC_GROWTH_DEVICE_H
#define MMREC_GROWTH_DEVICE_H

/* Blocks of 256 threads: 4 for each of the 132 processors of an H100, whose loads are 4.3 MB in flight. */
enum { GROWTH_PARTS = 528 };

#endif
