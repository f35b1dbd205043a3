/* The op harness: everything the definition of an op promises, checked for every op of the table and every sample.
 * Nothing here knows a particular op.
 *
 * A subject is one way to run an op (double reference, float reference, float fast function or a device). A trial is
 * one call of it: guarded tensors, poisoned before they are written. Every run checks that what must be written is
 * written and finite and that everything else is untouched; the check_* files then compare results. */
#ifndef MMREC_HARNESS_H
#define MMREC_HARNESS_H

#include "mmrec/alloc.h"
#include "mmrec/backend.h"
#include "mmrec/compare.h"
#include "mmrec/op.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HARNESS_SEED = 20240607 };

typedef struct harness {
    mmrec_allocator *allocator;
    const char *op, *sample;
    char where[64]; /* which subject, threads, layout: prefixed to a failure */
    bool stop_at_first, no_numeric;
    int checks, failures;
    double numeric, output, gradient; /* worst errors seen: numeric gradient, float against double */
    uint64_t hash;                    /* of every result that came from a device */
} harness;

/* Counts one check and prints a failed one. Returns `good`. */
bool harness_check(harness *h, bool good, const char *format, ...) MMREC_PRINTF(3, 4);
bool harness_stop(const harness *h);

typedef struct subject {
    const mmrec_op_def *def;
    const char *name;             /* "f64", "base", "avx2", "avx512", "cuda", "cuda bf16" */
    mmrec_dtype dtype;            /* what a call stores: see the types of a call's arguments in mmrec/op.h */
    bool fast;                    /* run def->fast where there is one */
    const mmrec_backend *backend; /* NULL: call def's functions; else a device backend, which runs `op` */
    mmrec_op_id op;
    bool saves_elsewhere; /* saved tensors may stay unwritten: the backend keeps what backward needs */
} subject;

/* Numbers of one sample, the same for every subject: all representable in float, and in bf16 (`round_values`) where
 * that is what the subject stores. */
typedef struct sample_values {
    double *in[MMREC_MAX_IN], *old[MMREC_MAX_IN], *d_out[MMREC_MAX_OUT]; /* old: gradients to add to */
    void *memory;
    size_t bytes;
} sample_values;

bool sample_values_create(harness *h, const mmrec_op_def *def, const mmrec_op_sizes *sizes, int index,
                          sample_values *out);
void round_values(const subject *s, const mmrec_op_sizes *sizes, sample_values *values);
void sample_values_destroy(harness *h, sample_values *values);

/* Results of a call, as doubles; NULL where there is none. */
typedef struct results {
    double *out[MMREC_MAX_OUT], *saved[MMREC_MAX_SAVED], *d_in[MMREC_MAX_IN];
    void *memory;
    size_t bytes;
} results;

bool results_create(harness *h, const mmrec_op_sizes *sizes, results *out);
void results_destroy(harness *h, results *r);

/* A tensor between guards; padding and guards hold GUARD_WORD, a NaN in every type and no valid id. */
typedef struct tensor {
    mmrec_view view; /* data NULL: not part of the call */
    unsigned char *memory, *copy;
    size_t bytes;     /* of memory, and of copy beside it */
    size_t device_at; /* where its memory lies in that of the trial on a device */
    const char *name;
} tensor;

typedef struct trial {
    const subject *subject;
    mmrec_op_sizes sizes;
    tensor in[MMREC_MAX_IN], out[MMREC_MAX_OUT], saved[MMREC_MAX_SAVED], d_in[MMREC_MAX_IN], d_out[MMREC_MAX_OUT];
    tensor scratch[MMREC_PASSES];
    unsigned
        in_place; /* bit of a pass: saved tensors lie over inputs, gradients over saved tensors, where the op allows */
    unsigned char *device; /* NULL: the call works on the tensors' own memory */
    size_t device_bytes;
} trial;

/* Which inputs and outputs carry gradients in a call of these sizes (bit i: argument i). */
unsigned differentiable_inputs(const mmrec_op_def *def, const mmrec_op_sizes *sizes);
unsigned differentiable_outputs(const mmrec_op_def *def, const mmrec_op_sizes *sizes);

/* `padding`: extra elements per row; the tensors then also start one element off their alignment. Negative: at least so
 * many, in outputs and their gradients twice, and every row starts where 8 elements may be moved at once. */
bool trial_open(harness *h, trial *t, const subject *s, int threads, int padding);
void trial_close(harness *h, trial *t);

/* A call of everything there is; absent arguments keep their shape, as in exec. */
mmrec_op_call trial_call(const trial *t, mmrec_pass pass);

/* Visits every tensor of a trial. */
typedef void (*tensor_visit)(harness *h, trial *t, tensor *tensor);
void trial_each(harness *h, trial *t, tensor_visit visit);

/* device.c: a copy of all tensors on the device, guards included. */
bool device_open(harness *h, trial *t);
void device_close(harness *h, trial *t);
/* Copies in, runs the call there, waits, copies out. The call's addresses are those of the tensors on the host. */
mmrec_status device_run(harness *h, trial *t, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error);

typedef struct backward_options {
    unsigned accumulate; /* d_in starts from values->old where the bit is set */
    unsigned skip_in;    /* bit i: d_in[i] is NULL */
    unsigned skip_out;   /* bit i: d_out[i] is NULL */
    unsigned zero_out;   /* bit i: d_out[i] is all zeros */
    bool forget;         /* arguments without KEEP have data NULL; else they are full of NaN */
} backward_options;

/* Each loads the values, poisons what will be written, runs, checks, and reads what was written. Backward needs the
 * forward run before it. */
bool trial_forward(harness *h, trial *t, const sample_values *values, results *r);
bool trial_backward(harness *h, trial *t, const sample_values *values, backward_options options, results *r);

/* Between the two: outputs and saved tensors become those that `s` has stored, where it has rounded them to bf16. What
 * backward is given is then the same for every subject. */
void trial_adopt(trial *t, const subject *s, const results *stored);

/* tensor.c: a tensor of `dtype`, or absent (dtype counts nothing) when it is not opened. */
bool tensor_open(harness *h, tensor *t, const char *name, mmrec_dtype dtype, mmrec_shape shape, int padding);
void tensor_close(harness *h, tensor *t);
void tensor_poison(tensor *t);                      /* every element becomes GUARD_WORD */
void tensor_write(tensor *t, const double *values); /* dense values in */
void tensor_read(const tensor *t, double *values);  /* dense values out */
bool tensor_guarded(const tensor *t);               /* guards and padding are as they were */
bool tensor_finite(const tensor *t);                /* no element is poison, NaN or infinite */
void tensor_remember(tensor *t);                    /* for tensor_unchanged and tensor_restore */
void tensor_restore(tensor *t);
void tensor_copy(tensor *to, const tensor *from); /* two of one layout, guards included */
bool tensor_unchanged(const tensor *t);

/* check_subject.c: repeats, views, accumulation, absent gradients, threads (not on a device, which has its own);
 * against `truth` where it is not NULL. The results with one thread are left in `r`. */
void check_subject(harness *h, const subject *s, const sample_values *values, const results *truth, results *r);
/* check_numeric.c: backward of the double reference against central differences. */
void check_numeric(harness *h, const subject *s, const sample_values *values, const results *analytic);
/* check_count.c: the work formula against counted operations; `counting` is the op compiled with class real. */
void check_count(harness *h, const mmrec_op_def *def, const mmrec_op_def *counting, const sample_values *values);
/* check_answers.c: the double reference against known answers, folder/<op>.txt. */
void check_answers(harness *h, const subject *s, const char *folder);
/* check_types.c: a device refuses arguments of other types than the definition says. */
void check_types(harness *h, const subject *device);
/* check_definition.c: what can be said without running. */
void check_definition(harness *h, const mmrec_op_def *def);

/* The op compiled with the counting number. */
const mmrec_op_def *mmrec_op_get_counting(mmrec_op_id op);

#ifdef __cplusplus
}
#endif
#endif
