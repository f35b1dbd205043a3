/* Parity: does a backend compute what a fixture file says? The fixture's model is rebuilt from its own configuration,
 * run forward (and backward where the kind has gradients, and trained where it says how), and every expected tensor is
 * compared.
 *
 * A fixture is a safetensors file with metadata `kind` (block, model, stream or train), `config` (the model as JSON) and,
 * for `train`, `optimizer` (AdamW as JSON), and tensors param.*, in.*, out.* and grad.*. Exactly the tensors of its kind
 * must be there, each of its shape: a tensor too many or too few is refused, so that nothing is skipped silently. */
#ifndef MMREC_PARITY_H
#define MMREC_PARITY_H

#include "mmrec/backend.h"
#include "mmrec/io.h"
#include "mmrec/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mmrec_parity_options {
    const mmrec_backend *backend;
    bool hem, recompute; /* recompute: only where there are gradients */
    bool graphs;      /* on a device: run each phase twice more, recorded and launched, and compare the last results;
                         `train` launches what it recorded in its second step */
    bool bf16;        /* activations and weights are stored in it: UNSUPPORTED where the backend cannot */
    bool tf32;        /* on a device that was opened so: its default tolerance */
    double tolerance; /* of both errors of every tensor; 0: 1e-6 in f64, 1e-5 for outputs and 1e-4 for gradients in
                         f32, 1e-3 and 5e-3 in TF32, 2e-2 and 8e-2 with bf16; after training 1e-6, 1e-4, 1e-3
                         (parameters 5e-2), 5e-3 (1.5e-1) */
    int threads;
} mmrec_parity_options;

/* The command line of mmrec-parity. */
typedef enum mmrec_parity_action { MMREC_PARITY_CHECK, MMREC_PARITY_VERSION, MMREC_PARITY_HELP } mmrec_parity_action;
typedef struct mmrec_parity_arguments {
    const char *backend;
    mmrec_parity_options options;
    mmrec_device_options device;
    mmrec_parity_action action;
    int files; /* they are argv[1] .. argv[files] */
} mmrec_parity_arguments;
/* Options and files may stand in any order. Where files are to be checked, the backend is found and its device open. */
mmrec_status mmrec_parity_parse(int argc, char **argv, mmrec_parity_arguments *out,
                                mmrec_error *error) MMREC_MUST_CHECK;
extern const char mmrec_parity_help[];

enum { MMREC_PARITY_NAME = 176 };

/* One compared tensor. max_error = max|a - b| / max|b|, l2_error = ||a - b|| / ||b||, b the expected values. */
typedef struct mmrec_parity_row {
    char name[MMREC_PARITY_NAME]; /* "out.y", "grad.q.weight" */
    mmrec_shape shape;
    double max_error, l2_error, tolerance;
    bool passed; /* both errors within tolerance; never with a NaN on either side */
} mmrec_parity_row;

typedef struct mmrec_parity mmrec_parity;

/* Runs one fixture. A mismatch is a result, not a failure: see mmrec_parity_failures. Errors: what the file (IO,
 * FORMAT), its configuration (CONFIG), its shapes (SHAPE) or memory refuse; UNSUPPORTED for another kind of fixture or
 * optimizer. */
mmrec_status mmrec_parity_run(mmrec_allocator *allocator, mmrec_io *io, const char *path,
                              const mmrec_parity_options *options, mmrec_parity **out,
                              mmrec_error *error) MMREC_MUST_CHECK;
void mmrec_parity_destroy(mmrec_parity **parity);

int mmrec_parity_count(const mmrec_parity *parity);
const mmrec_parity_row *mmrec_parity_at(const mmrec_parity *parity, int index);
/* Rows that did not pass. */
int mmrec_parity_failures(const mmrec_parity *parity);

/* Writes one aligned line per row and a summary line to a descriptor (1 = standard output). */
mmrec_status mmrec_parity_print(const mmrec_parity *parity, mmrec_io *io, int fd, mmrec_error *error) MMREC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
