/* Checkpoints: named values and texts in one safetensors file, checksummed, written so that a crash at any moment
 * leaves the old ones or the new one whole, and nothing else under a checkpoint's name.
 *
 * A file is <folder>/step-<12 digits>.safetensors, readable by any safetensors reader. Beside the caller's texts its
 * metadata holds `format` = "mmrec-checkpoint", `version`, and `checksum`: the CRC-32 (zlib) of the whole file as 8
 * lower-case hex digits, computed with the digit 0 in the place of all eight.
 *
 * Writing: temporary file in the same folder, write, fsync, close, read back and compare, rename, fsync of the folder;
 * only then old files beyond `keep` are removed. docs/checkpoints.md has the format and what is promised.
 *
 * Thread rule: a checkpoint and a writer belong to the thread of their allocator. */
#ifndef MMREC_CHECKPOINT_H
#define MMREC_CHECKPOINT_H

#include "mmrec/alloc.h"
#include "mmrec/io.h"
#include "mmrec/safetensors.h"
#include "mmrec/shape.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MMREC_CHECKPOINT_VERSION = 1, MMREC_CHECKPOINT_NAME = 40 }; /* of the format; bytes of a file's name */
#define MMREC_CHECKPOINT_MOST_BYTES ((size_t)1 << 34)    /* of a file: more is neither put together nor read */
#define MMREC_CHECKPOINT_MOST_STEP INT64_C(999999999999) /* 12 digits */

/* What one holds, while it is put together or after it was read. */
typedef struct mmrec_checkpoint mmrec_checkpoint;

mmrec_status mmrec_checkpoint_create(mmrec_allocator *allocator, mmrec_checkpoint **out,
                                     mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_checkpoint_destroy(mmrec_checkpoint **checkpoint); /* NULL-safe, clears */
/* Forgets everything that was put, and keeps the memory: the same values put again in the same order need none. */
void mmrec_checkpoint_clear(mmrec_checkpoint *checkpoint);

/* Adds values, finite or not: kept bit by bit when dtype is F64, rounded to float when it is F32. CONFIG: another
 * dtype, a name that is there already, more than MMREC_CHECKPOINT_MOST_BYTES, or a checkpoint that was read. */
mmrec_status mmrec_checkpoint_put(mmrec_checkpoint *checkpoint, const char *name, mmrec_safetensors_dtype dtype,
                                  const mmrec_shape *shape, const double *values, mmrec_error *error) MMREC_MUST_CHECK;
/* Adds to the metadata: a text (UTF-8, else encoding it is refused); a whole number, in decimal; a real, as C99
 * hexadecimal ("%a"), so that no bit is lost (NaN keeps its sign alone). CONFIG as above, and for the keys `format`,
 * `version` and `checksum`. */
mmrec_status mmrec_checkpoint_put_text(mmrec_checkpoint *checkpoint, const char *key, const char *text,
                                       mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_checkpoint_put_whole(mmrec_checkpoint *checkpoint, const char *key, int64_t value,
                                        mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_checkpoint_put_real(mmrec_checkpoint *checkpoint, const char *key, double value,
                                       mmrec_error *error) MMREC_MUST_CHECK;

/* Reading back. FORMAT naming what is missing, has another shape than `shape`, or is no such number in the form in
 * which it is put. */
bool mmrec_checkpoint_has(const mmrec_checkpoint *checkpoint, const char *name);
mmrec_status mmrec_checkpoint_get(const mmrec_checkpoint *checkpoint, const char *name, const mmrec_shape *shape,
                                  double *values, mmrec_error *error) MMREC_MUST_CHECK;
const char *mmrec_checkpoint_text(const mmrec_checkpoint *checkpoint, const char *key); /* NULL: none */
mmrec_status mmrec_checkpoint_whole(const mmrec_checkpoint *checkpoint, const char *key, int64_t *out,
                                    mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_checkpoint_real(const mmrec_checkpoint *checkpoint, const char *key, double *out,
                                   mmrec_error *error) MMREC_MUST_CHECK;

/* The bytes of a file, and back. Reading checks header, version and checksum before anything is handed out: FORMAT;
 * UNSUPPORTED for a newer version. Encoded bytes are the caller's (tag FILE); parsed ones must outlive `*out`. */
mmrec_status mmrec_checkpoint_encode(const mmrec_checkpoint *checkpoint, mmrec_allocator *allocator, void **bytes,
                                     size_t *size, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_checkpoint_parse(mmrec_allocator *allocator, const void *bytes, size_t size, mmrec_checkpoint **out,
                                    mmrec_error *error) MMREC_MUST_CHECK;

/* One file: IO beside what encoding and parsing refuse, and FORMAT for one that is too large. Memory for the file is
 * all that reading takes before it is checked. */
mmrec_status mmrec_checkpoint_write_file(const mmrec_checkpoint *checkpoint, mmrec_io *io, const char *path,
                                         mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_checkpoint_read_file(mmrec_allocator *allocator, mmrec_io *io, const char *path,
                                        mmrec_checkpoint **out, mmrec_error *error) MMREC_MUST_CHECK;

/* The newest valid checkpoint of a folder. Each newer one that is not valid, or cannot be read, is told to `skipped`
 * (may be NULL) with its name and why. `*out` NULL with OK: there is none at all (no folder, or no file of that name).
 * FORMAT when there are some but none is valid. `*step` is the number in its name. */
typedef void (*mmrec_checkpoint_skipped)(void *context, const char *file, const char *why);
mmrec_status mmrec_checkpoint_newest(mmrec_allocator *allocator, mmrec_io *io, const char *folder,
                                     mmrec_checkpoint_skipped skipped, void *context, mmrec_checkpoint **out,
                                     int64_t *step, mmrec_error *error) MMREC_MUST_CHECK;

/* Writes checkpoints on a thread of its own: what a save costs the caller is one copy of the state, into memory that is
 * kept from save to save. At most one save is in flight; `io` belongs to that thread from create to destroy.
 *
 * One writer to a folder. After a save as of step s, files of steps up to s beyond the newest `keep` are removed; those
 * of later steps, which another training left, are not touched. */
typedef struct mmrec_checkpoint_writer mmrec_checkpoint_writer;

/* Makes the folder and proves that it can be written to. CONFIG for keep < 1; IO. Leftover temporary files of this
 * program are removed (mmrec_io_remove_leftovers). Destroy waits for the save in flight; NULL-safe. */
mmrec_status mmrec_checkpoint_writer_create(mmrec_allocator *allocator, mmrec_io *io, const char *folder, int keep,
                                            mmrec_checkpoint_writer **out, mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_checkpoint_writer_destroy(mmrec_checkpoint_writer **writer);
/* Waits for the save in flight and returns its failure, if it failed; else begins the save of `checkpoint` as of
 * `step`. The checkpoint is encoded before this returns and stays the caller's. CONFIG: a step outside 0 to
 * MMREC_CHECKPOINT_MOST_STEP. */
mmrec_status mmrec_checkpoint_writer_save(mmrec_checkpoint_writer *writer, const mmrec_checkpoint *checkpoint,
                                          int64_t step, mmrec_error *error) MMREC_MUST_CHECK;
/* Whether the save in flight, if any, has ended: never blocks. Its failure is returned once, here or by wait or save.
 * IO also where the checkpoint is safe but an old one could not be removed: mmrec_checkpoint_writer_saved tells. */
mmrec_status mmrec_checkpoint_writer_poll(mmrec_checkpoint_writer *writer, bool *idle,
                                          mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status mmrec_checkpoint_writer_wait(mmrec_checkpoint_writer *writer, mmrec_error *error) MMREC_MUST_CHECK;
/* Step of the newest save that is safely on disk, -1: none by this writer. */
int64_t mmrec_checkpoint_writer_saved(const mmrec_checkpoint_writer *writer);

#ifdef __cplusplus
}
#endif
#endif
