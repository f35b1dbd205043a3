/* Where texts go: a file each, or standard output. */
#ifndef MMREC_REPORT_FILES_H
#define MMREC_REPORT_FILES_H

#include "mmrec/io.h"
#include "report/buffer.h"

/* Writes the text to a path, "-" for standard output, unless `made` is a failure to make it, which is returned then.
 * Frees the text. */
mmrec_status mmrec_file_write(mmrec_io *io, const char *path, mmrec_status made, mmrec_buffer *text,
                              mmrec_error *error) MMREC_MUST_CHECK;

/* Texts that are written one after the other: one that fails does not keep the next from being written. */
typedef struct mmrec_files {
    mmrec_io *io;
    mmrec_error *error; /* gets the message of the first failure alone */
    mmrec_status first; /* failure of all */
} mmrec_files;

/* Where the message of the next failure goes; NULL after the first. */
mmrec_error *mmrec_files_error(const mmrec_files *files);
void mmrec_files_note(mmrec_files *files, mmrec_status status);
/* mmrec_file_write, its failure noted. */
void mmrec_files_write(mmrec_files *files, const char *path, mmrec_status made, mmrec_buffer *text);

#endif
