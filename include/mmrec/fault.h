/* Faults on request: the environment variable MMREC_FAULT makes one allocation or file operation of a program fail, so
 * that anyone can see what it does then. docs/testing.md lists the forms:
 *
 *   alloc:17      the 17th request for memory fails
 *   alloc:17+     it and every later one
 *   io:3          the 3rd file operation fails with EIO
 *   io:3+:ENOSPC  it and every later one, with the given errno (EIO, ENOSPC, EDQUOT, EACCES, EINTR)
 *   io:3:short    the 3rd, if it is a write, stops half-way and then fails with ENOSPC
 *   save:...      the same as io:..., for the operations of the thread that writes checkpoints */
#ifndef MMREC_FAULT_H
#define MMREC_FAULT_H

#include "mmrec/alloc.h"
#include "mmrec/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Arms `allocator`, `io` or `save_io` (NULL: the program has none) as `text` says; NULL or "" arms nothing. CONFIG when the
 * text is none of the forms. */
mmrec_status mmrec_fault_arm(const char *text, mmrec_allocator *allocator, mmrec_io *io, mmrec_io *save_io,
                             mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
