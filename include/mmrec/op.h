/* An op, defined once: what the graph, the plan, the tests, the trace and the benchmarks know of it.
 *
 * Shapes are declared as text, an axis per word: "B T D", "D 2D" (twice the letter), "1" (the number), "* D" (any
 * leading axes, then D). From the inputs' shapes the letters are bound; a letter bound twice to different sizes is
 * refused in words; the outputs' shapes follow. What text cannot say (heads divide D) is in the op's `infer`.
 *
 * An op's functions exist in variants, compiled from the one file: `real` is double (the reference), float (the CPU
 * backend, once per instruction set) or a counting number (the proof of the FLOP formula). */
#ifndef MMREC_OP_H
#define MMREC_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmrec/shape.h"
#include "mmrec/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmrec_op_id {
    MMREC_OP_NONE,
#define MMREC_OP(name) MMREC_OP_##name,
#include "mmrec/ops.def"
#undef MMREC_OP
    MMREC_OPS
} mmrec_op_id;

enum { MMREC_MAX_IN = 8, MMREC_MAX_OUT = 4, MMREC_MAX_SAVED = 4, MMREC_MAX_ATTR = 10, MMREC_LETTERS = 26 };

typedef enum mmrec_pass { MMREC_FORWARD, MMREC_BACKWARD, MMREC_PASSES } mmrec_pass;

typedef enum mmrec_arg_flag {
    MMREC_ARG_OPTIONAL = 1, /* input: may be absent; output: not made when nobody asks (mmrec_node_spec.skip); saved:
                               absent where no backward call follows */
    MMREC_ARG_IDS = 2,      /* int32 values in [0, `below`), never differentiable */
    MMREC_ARG_NO_GRAD = 4,  /* no gradient passes through this argument */
    MMREC_ARG_KEEP = 8,     /* the backward function reads this input or output: it must live until then */
    MMREC_ARG_F32 = 16,     /* stays at full precision whatever the activations are stored in */
    MMREC_ARG_WEIGHT = 32   /* input: stored like the activations, but its gradient is MMREC_ARG_F32 */
} mmrec_arg_flag;

/* Types of a call's arguments. A call has one storage type S: f64, f32 or bf16. Ids are i32; arguments with MMREC_ARG_F32
 * are f32 where S is bf16; all others, inputs, outputs and saved alike, are S. A gradient has the type of its argument,
 * but that of a MMREC_ARG_WEIGHT is f32 where S is bf16: weights are copies of f32 parameters, and their gradients go
 * into the f32 gradients of those without being rounded. Scratch is the kernels' own affair. With S = bf16 every sum,
 * statistic and intermediate of a kernel is f32, and results are rounded once, when they are stored; accumulating adds
 * in f32 and rounds the sum.
 *
 * F32 are: what is summed over rows or carried through time (weights and biases of norms, the embedding table, the
 * memory, the states of scans, all of the recurrence, losses) and statistics. WEIGHTs are the weight and the bias of
 * `linear`: cuBLASLt adds a bias of its result's type only. */

typedef struct mmrec_arg {
    const char *name; /* NULL ends a list of arguments */
    const char *dims; /* "B T D" */
    unsigned flags;
    double low, high; /* inputs: test values are uniform in [low, high]; both 0: standard normal */
    char below;       /* IDS: the letter whose size bounds the values */
    /* saved: 1 + the input, of the same shape and type, over which forward may write it, and whose gradient backward may
     * write over it: then the one memory holds the input, what is saved, and the gradient, one after the other. 0: none */
    int over;
} mmrec_arg;

/* In place of a number of threads: scratch is what the kernels need (mmrec_op_def.device_scratch). */
enum { MMREC_ON_DEVICE = -1 };

/* The sizes of one use of an op: letters bound, shapes known. */
typedef struct mmrec_op_sizes {
    int64_t letter[MMREC_LETTERS]; /* size of axis 'A' + i; 0 = not bound */
    mmrec_shape star;              /* what "*" stands for */
    double attr[MMREC_MAX_ATTR];
    unsigned given;   /* bit i: input i is present */
    unsigned made;    /* bit i: output i is wanted */
    unsigned stored;  /* bit i: saved tensor i is wanted */
    int threads;      /* the call may use this many; MMREC_ON_DEVICE: it runs as kernels */
    mmrec_shape in[MMREC_MAX_IN], out[MMREC_MAX_OUT], saved[MMREC_MAX_SAVED];
    size_t scratch_bytes[MMREC_PASSES]; /* set by infer; 0 where none is needed */
} mmrec_op_sizes;

/* Size bound to an axis letter: MMREC_SIZE(sizes, D). */
#define MMREC_SIZE(sizes, axis) ((sizes)->letter[#axis[0] - 'A'])

/* Work of one call. A multiplication, addition, subtraction or division of reals is 1 FLOP (a multiply-add is 2);
 * exp, log, sqrt, erf, tanh, sin and cos count apart as transcendentals; comparisons and copies count nothing. */
typedef struct mmrec_work {
    double flops, transcendentals;
    double bytes; /* least traffic: each argument read or written once, as if none lay in another's place */
} mmrec_work;

/* One call of an op function. Forward reads `in`, writes `out` and `saved`. Backward reads the KEEP inputs and outputs,
 * `saved` and `d_out`, and writes `d_in`: overwriting, or adding where bit i of `accumulate` is set.
 * d_in[i].data NULL: that gradient is not wanted. d_out[i].data NULL: no gradient reached that output, it counts as zero
 * (only possible in ops with more than one differentiable output). Arguments never overlap, except that saved[s] may be
 * the very view of the input it is declared to be `over`, and that input's gradient, where it overwrites, that of
 * saved[s]: a call is in place when their `data` are equal. No element may then be read by one thread once another may
 * have written it. `seed` with the op's stream attribute addresses the random numbers of this step. */
typedef struct mmrec_op_call {
    const mmrec_op_sizes *sizes;
    mmrec_view in[MMREC_MAX_IN], out[MMREC_MAX_OUT], saved[MMREC_MAX_SAVED];
    mmrec_view d_in[MMREC_MAX_IN], d_out[MMREC_MAX_OUT];
    unsigned accumulate;
    void *scratch; /* sizes->scratch_bytes[pass], aligned to 64, contents undefined */
    uint64_t seed;
    const uint64_t *seed_at; /* on a device: where the seed lies instead, so that a captured graph draws anew */
} mmrec_op_call;

typedef mmrec_status (*mmrec_op_function)(const mmrec_op_call *call, mmrec_error *error);

typedef struct mmrec_tolerance {
    double output, gradient; /* max |a - b| / max |b| allowed for float32 against the double reference */
    const char *reason;      /* where the figures come from */
} mmrec_tolerance;

typedef struct mmrec_op_def {
    const char *name;
    const char *formula; /* one line */
    const char *source;  /* where the formula comes from */
    mmrec_arg in[MMREC_MAX_IN + 1], out[MMREC_MAX_OUT + 1], saved[MMREC_MAX_SAVED + 1];
    const char *attr[MMREC_MAX_ATTR + 1]; /* names, NULL ends */
    double attr_default[MMREC_MAX_ATTR];
    /* After the letters are bound from the inputs: binds further letters, refuses what does not fit, sets
     * scratch_bytes. NULL: nothing to add. Output shapes are filled in afterwards from the letters. */
    mmrec_status (*infer)(mmrec_op_sizes *sizes, mmrec_error *error);
    /* FLOPs and transcendentals of the reference, exactly (bytes are derived, see mmrec_op_work). */
    mmrec_work (*work)(const mmrec_op_sizes *sizes, mmrec_pass pass);
    mmrec_op_function function[MMREC_PASSES]; /* the reference; backward NULL: the op has no gradient */
    mmrec_op_function fast[MMREC_PASSES];     /* what the CPU backend runs instead; NULL: the reference */
    /* Scratch of the kernels (kernels/<op>.cu) in bytes; NULL: none. It may not depend on the device: a plan needs none. */
    size_t (*device_scratch)(const mmrec_op_sizes *sizes, mmrec_pass pass);
    mmrec_tolerance tolerance;
    /* Where an attribute changes what float32 can promise (reduced precision): the tolerance of that use. NULL:
     * `tolerance` always holds. Ask mmrec_op_tolerance. */
    mmrec_tolerance (*tolerance_at)(const mmrec_op_sizes *sizes);
    /* Shapes the tests use, as text: "B=2 T=3 D=5 p=0.25 -bias" binds letters and attributes and leaves an optional
     * input out; "N=7" gives "*" one axis. At least: ones, odd, prime, one past a block. NULL ends. */
    const char *const *samples;
    const char *bench; /* the realistic sample `mmrec-bench --op` uses by default */
} mmrec_op_def;

typedef enum mmrec_variant { MMREC_VARIANT_F64, MMREC_VARIANT_F32, MMREC_VARIANTS } mmrec_variant;

/* The definition of an op: the double reference, or float for the best instruction set of this machine (environment
 * MMREC_ISA=base|avx2|avx512 lowers it; any other value means base, so that a misspelt one is seen in the reports).
 * NULL for MMREC_OP_NONE and out of range. */
const mmrec_op_def *mmrec_op_get(mmrec_op_id op, mmrec_variant variant);
/* The float definition for a named instruction set. NULL where mmrec_op_get is NULL, for an unknown name, and for a
 * set this machine cannot run (MMREC_ISA plays no part). */
const mmrec_op_def *mmrec_op_get_isa(mmrec_op_id op, const char *isa);
/* The op of that name, MMREC_OP_NONE if there is none. */
mmrec_op_id mmrec_op_find(const char *name);
/* The instruction set mmrec_op_get chose: "base", "avx2" or "avx512". */
const char *mmrec_op_isa(void);

/* The type of an argument, and of its gradient, in a call that stores `storage`: the rule above, written once. */
mmrec_dtype mmrec_arg_dtype(const mmrec_arg *arg, mmrec_dtype storage);
mmrec_dtype mmrec_arg_gradient_dtype(const mmrec_arg *arg, mmrec_dtype storage);
/* UNSUPPORTED, naming the argument, where a call does not follow the rule. S is what its first argument of that type
 * is; absent ones (data NULL) are not asked. */
mmrec_status mmrec_op_check_types(const mmrec_op_def *def, const mmrec_op_call *call, mmrec_error *error) MMREC_MUST_CHECK;

/* How many arguments a list holds. */
int mmrec_arg_count(const mmrec_arg *list);
/* Whether a call of these sizes can be differentiated: the op has a gradient, and everything saved is stored. */
bool mmrec_op_has_backward(const mmrec_op_def *def, const mmrec_op_sizes *sizes);
/* Index of an attribute by name, -1 if there is none. */
int mmrec_op_attr(const mmrec_op_def *def, const char *name);

/* Binds letters from the shapes of the given inputs (sizes->in, given, made, attr, threads set by the caller; attr
 * starts from mmrec_op_sizes_init), runs infer, fills out, saved and scratch_bytes. SHAPE with words on any misfit. */
mmrec_status mmrec_op_resolve(const mmrec_op_def *def, mmrec_op_sizes *sizes, mmrec_error *error) MMREC_MUST_CHECK;
/* Default attributes, nothing given, every output made, everything saved stored. */
void mmrec_op_sizes_init(const mmrec_op_def *def, int threads, mmrec_op_sizes *sizes);
/* The same from a sample text ("B=2 T=3 D=5 p=0.25 -bias"): input shapes follow from the letters. CONFIG on bad text. */
mmrec_status mmrec_op_from_text(const mmrec_op_def *def, const char *text, int threads, mmrec_op_sizes *sizes,
                                mmrec_error *error) MMREC_MUST_CHECK;

/* What float32 may differ from the double reference in this use of the op. */
mmrec_tolerance mmrec_op_tolerance(const mmrec_op_def *def, const mmrec_op_sizes *sizes);

/* FLOPs, transcendentals and least bytes of one call that stores `storage`. */
mmrec_work mmrec_op_work(const mmrec_op_def *def, const mmrec_op_sizes *sizes, mmrec_pass pass, mmrec_dtype storage);

#ifdef __cplusplus
}
#endif
#endif
