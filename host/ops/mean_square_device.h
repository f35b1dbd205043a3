/* How many partial sums the kernels of mean_square make (kernels/mean_square.cu): shared with the op file, which must
 * know their scratch without a device. The same on every device, so that the order of sums is, too. */
#ifndef MMREC_MEAN_SQUARE_DEVICE_H
#define MMREC_MEAN_SQUARE_DEVICE_H

/* Blocks of 256 threads: 7 for each of the 132 processors of an H100. */
enum { MEAN_SQUARE_PARTS = 1024 };

#endif
