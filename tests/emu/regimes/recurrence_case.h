/* One use of the recurrence, run by the double reference and by the kernels on the emulation. */
#ifndef MMREC_TESTS_RECURRENCE_CASE_H
#define MMREC_TESTS_RECURRENCE_CASE_H

#include <string>
#include <vector>

#include "recurrence.h"

/* The device of this program, to be changed between calls. */
extern mmrec_cuda test_device;
/* Lines that mmrec_cuda_warn was given. */
extern std::string test_warnings;
/* What is wrong with the exchange between blocks: nothing; the first value of block 1 never leaves; a bit of each word
 * of GRID, or of each write within a cluster, arrives flipped. */
enum test_break { TEST_WHOLE, TEST_LOSES, TEST_FLIPS_WORD, TEST_FLIPS_ASYNC };
extern test_break test_broken;
/* What the kernels reported since the last call; cleared. */
mmrec_cuda_fault test_fault();
/* As if a kernel had reported it. */
void test_report(mmrec_cuda_fault_code code);
/* A device with few multiprocessors and clusters of up to 16 blocks. */
bool test_device_open();
void test_device_close();

struct recurrence_case {
    int batch, steps, width;
    bool bf16;
    unsigned accumulate, absent; /* bit i: input i */
};

enum { CASE_RESULTS = 10 }; /* h, n, m, then the gradients of the seven inputs */

struct recurrence_results {
    mmrec_status status = MMREC_OK;
    std::string message;
    std::vector<double> value[CASE_RESULTS];
};

recurrence_results recurrence_reference(const recurrence_case &c);
/* As the backend would: by test_device.recurrence. `padding`: extra elements between rows, first element unaligned. */
recurrence_results recurrence_kernels(const recurrence_case &c, int padding);

/* max |a - b| / max |b|, infinite where one is not finite. */
double recurrence_distance(const std::vector<double> &a, const std::vector<double> &b);

#endif
