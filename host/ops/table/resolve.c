/* Sizes of one use of an op: letters bound from the inputs' shapes, the other shapes from the letters. */
#include "resolve.h"

#include <string.h>

int mmrec_arg_count(const mmrec_arg *list) {
    int count = 0;
    while (list[count].name) count++;
    return count;
}

bool mmrec_op_has_backward(const mmrec_op_def *def, const mmrec_op_sizes *sizes) {
    return def->function[MMREC_BACKWARD] && sizes->stored == (1u << mmrec_arg_count(def->saved)) - 1u;
}

int mmrec_op_attr(const mmrec_op_def *def, const char *name) {
    for (int i = 0; i < MMREC_MAX_ATTR && def->attr[i]; i++) {
        if (strcmp(def->attr[i], name) == 0) return i;
    }
    return -1;
}

void mmrec_op_sizes_init(const mmrec_op_def *def, int threads, mmrec_op_sizes *sizes) {
    memset(sizes, 0, sizeof *sizes);
    memcpy(sizes->attr, def->attr_default, sizeof sizes->attr);
    sizes->made = (1u << mmrec_arg_count(def->out)) - 1u;
    sizes->stored = (1u << mmrec_arg_count(def->saved)) - 1u;
    sizes->threads = threads > 1 || threads == MMREC_ON_DEVICE ? threads : 1;
}

bool mmrec_dims_next(const char **text, mmrec_dims_word *word) {
    const char *at = *text;
    while (*at == ' ') at++;
    if (!*at) return false;
    *word = (mmrec_dims_word){.times = 0, .letter = 0, .star = *at == '*'};
    if (word->star) at++;
    while (*at >= '0' && *at <= '9') word->times = 10 * word->times + (*at++ - '0');
    if (*at >= 'A' && *at <= 'Z') {
        word->letter = *at++;
        if (word->times == 0) word->times = 1;
    }
    *text = at;
    return true;
}

/* Axes a dims text names one by one, that is without "*". */
static int named_axes(const char *dims, bool *star) {
    int count = 0;
    *star = false;
    for (mmrec_dims_word word; mmrec_dims_next(&dims, &word);) {
        if (word.star)
            *star = true;
        else
            count++;
    }
    return count;
}

/* Who bound a letter first, for the message when somebody else disagrees. */
typedef struct binding {
    const mmrec_op_def *def;
    mmrec_op_sizes *sizes;
    const char *from[MMREC_LETTERS], *star_from;
} binding;

static mmrec_status refuse_axis(const binding *b, int input, mmrec_dims_word word, mmrec_error *error) {
    char shape[64];
    mmrec_shape_text(&b->sizes->in[input], shape, sizeof shape);
    const char *op = b->def->name, *name = b->def->in[input].name;
    if (!word.letter)
        MMREC_FAIL(error, MMREC_SHAPE, "%s: %s is %s but that axis must be %d", op, name, shape, word.times);
    int at = word.letter - 'A';
    if (!b->from[at]) {
        MMREC_FAIL(error, MMREC_SHAPE, "%s: %s is %s but that axis must be a multiple of %d", op, name, shape,
                   word.times);
    }
    MMREC_FAIL(error, MMREC_SHAPE, "%s: %s is %s but %c is %lld (from %s)", op, name, shape, word.letter,
               (long long)b->sizes->letter[at], b->from[at]);
}

static mmrec_status bind_axis(binding *b, int input, mmrec_dims_word word, int64_t size, mmrec_error *error) {
    if (!word.letter) return size == word.times ? MMREC_OK : refuse_axis(b, input, word, error);
    int64_t *letter = &b->sizes->letter[word.letter - 'A'];
    if (!*letter) {
        if (size % word.times) return refuse_axis(b, input, word, error);
        *letter = size / word.times;
        b->from[word.letter - 'A'] = b->def->in[input].name;
    }
    /* Divided, not multiplied: the product of a bound letter and its factor may not fit. */
    if (size % word.times || size / word.times != *letter) return refuse_axis(b, input, word, error);
    return MMREC_OK;
}

static mmrec_status bind_star(binding *b, int input, const mmrec_shape *star, mmrec_error *error) {
    if (!b->star_from) {
        b->star_from = b->def->in[input].name;
        b->sizes->star = *star;
        return MMREC_OK;
    }
    if (mmrec_shape_equal(&b->sizes->star, star)) return MMREC_OK;
    char shape[64], bound[64];
    MMREC_FAIL(error, MMREC_SHAPE, "%s: %s is %s but its leading axes must be %s (from %s)", b->def->name,
               b->def->in[input].name, mmrec_shape_text(&b->sizes->in[input], shape, sizeof shape),
               mmrec_shape_text(&b->sizes->star, bound, sizeof bound), b->star_from);
}

static mmrec_status check_axes(const binding *b, int input, mmrec_error *error) {
    const mmrec_shape *shape = &b->sizes->in[input];
    const mmrec_arg *arg = &b->def->in[input];
    char text[64];
    if (!mmrec_shape_valid(shape)) {
        MMREC_FAIL(error, MMREC_SHAPE, "%s: %s is %s; sizes must be at least 1 and their product must fit 62 bits",
                   b->def->name, arg->name, mmrec_shape_text(shape, text, sizeof text));
    }
    bool star;
    int axes = named_axes(arg->dims, &star);
    if (shape->ndim == axes || (star && shape->ndim > axes)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_SHAPE, "%s: %s is %s, wanted (%s)", b->def->name, arg->name,
               mmrec_shape_text(shape, text, sizeof text), arg->dims);
}

static mmrec_status bind_input(binding *b, int input, mmrec_error *error) {
    MMREC_TRY(check_axes(b, input, error));
    const mmrec_shape *shape = &b->sizes->in[input];
    const char *dims = b->def->in[input].dims;
    bool has_star;
    int leading = shape->ndim - named_axes(dims, &has_star), axis = 0;
    for (mmrec_dims_word word; mmrec_dims_next(&dims, &word);) {
        if (!word.star) {
            MMREC_TRY(bind_axis(b, input, word, shape->dim[axis++], error));
            continue;
        }
        mmrec_shape star = {.ndim = leading};
        for (int i = 0; i < leading; i++) star.dim[i] = shape->dim[axis++];
        MMREC_TRY(bind_star(b, input, &star, error));
    }
    return MMREC_OK;
}

static mmrec_status bind_inputs(const mmrec_op_def *def, mmrec_op_sizes *sizes, mmrec_error *error) {
    binding b = {.def = def, .sizes = sizes};
    int count = mmrec_arg_count(def->in);
    memset(sizes->letter, 0, sizeof sizes->letter);
    memset(&sizes->star, 0, sizeof sizes->star);
    if (sizes->given >> count) MMREC_FAIL(error, MMREC_SHAPE, "%s: takes %d inputs at most", def->name, count);
    for (int i = 0; i < count; i++) {
        if ((sizes->given >> i) & 1u) {
            MMREC_TRY(bind_input(&b, i, error));
        } else if (!(def->in[i].flags & MMREC_ARG_OPTIONAL)) {
            MMREC_FAIL(error, MMREC_SHAPE, "%s: input %s is missing", def->name, def->in[i].name);
        } else {
            sizes->in[i] = (mmrec_shape){0};
        }
    }
    return MMREC_OK;
}

mmrec_status mmrec_dims_shape(const mmrec_op_def *def, const mmrec_op_sizes *sizes, const mmrec_arg *arg,
                              mmrec_shape *out, mmrec_error *error) {
    const char *dims = arg->dims;
    mmrec_shape shape = {0};
    for (mmrec_dims_word word; mmrec_dims_next(&dims, &word);) {
        int axes = word.star ? sizes->star.ndim : 1;
        if (shape.ndim + axes > MMREC_MAX_DIMS) {
            MMREC_FAIL(error, MMREC_SHAPE, "%s: %s has more than %d axes", def->name, arg->name, MMREC_MAX_DIMS);
        }
        for (int i = 0; word.star && i < axes; i++) shape.dim[shape.ndim++] = sizes->star.dim[i];
        if (word.star) continue;
        int64_t size = word.times;
        if (word.letter) {
            int64_t letter = sizes->letter[word.letter - 'A'];
            if (!letter) {
                MMREC_FAIL(error, MMREC_INTERNAL, "%s: no input says how large %c of %s is", def->name, word.letter,
                           arg->name);
            }
            if (__builtin_mul_overflow(letter, (int64_t)word.times, &size)) size = 0; /* refused as invalid below */
        }
        shape.dim[shape.ndim++] = size;
    }
    if (!mmrec_shape_valid(&shape)) {
        MMREC_FAIL(error, MMREC_SHAPE, "%s: %s would have more elements than 62 bits can count, or none", def->name,
                   arg->name);
    }
    *out = shape;
    return MMREC_OK;
}

/* Shapes of a list of outputs or saved tensors; one whose bit in `made` is 0 stays without axes. */
static mmrec_status fill_shapes(const mmrec_op_def *def, const mmrec_op_sizes *sizes, const mmrec_arg *list,
                                unsigned made, mmrec_shape *shapes, mmrec_error *error) {
    for (int i = 0; list[i].name; i++) {
        shapes[i] = (mmrec_shape){0};
        if ((made >> i) & 1u) {
            MMREC_TRY(mmrec_dims_shape(def, sizes, &list[i], &shapes[i], error));
        } else if (!(list[i].flags & MMREC_ARG_OPTIONAL)) {
            MMREC_FAIL(error, MMREC_SHAPE, "%s: %s %s cannot be left out", def->name,
                       list == def->saved ? "saved tensor" : "output", list[i].name);
        }
    }
    return MMREC_OK;
}

/* The op's own part: what text cannot say, and scratch for the processor. */
static mmrec_status infer(const mmrec_op_def *def, mmrec_op_sizes *sizes, mmrec_error *error) {
    int threads = sizes->threads;
    memset(sizes->scratch_bytes, 0, sizeof sizes->scratch_bytes);
    if (threads == MMREC_ON_DEVICE) sizes->threads = 1;
    mmrec_status status = def->infer ? def->infer(sizes, error) : MMREC_OK;
    sizes->threads = threads;
    return status;
}

mmrec_status mmrec_op_resolve(const mmrec_op_def *def, mmrec_op_sizes *sizes, mmrec_error *error) {
    MMREC_TRY(bind_inputs(def, sizes, error));
    MMREC_TRY(infer(def, sizes, error));
    MMREC_TRY(fill_shapes(def, sizes, def->out, sizes->made, sizes->out, error));
    MMREC_TRY(fill_shapes(def, sizes, def->saved, sizes->stored, sizes->saved, error));
    for (int pass = 0; pass < MMREC_PASSES && sizes->threads == MMREC_ON_DEVICE; pass++) {
        sizes->scratch_bytes[pass] = def->device_scratch ? def->device_scratch(sizes, (mmrec_pass)pass) : 0;
    }
    return MMREC_OK;
}

mmrec_dtype mmrec_arg_dtype(const mmrec_arg *arg, mmrec_dtype storage) {
    if (arg->flags & MMREC_ARG_IDS) return MMREC_I32;
    return storage == MMREC_BF16 && (arg->flags & MMREC_ARG_F32) ? MMREC_F32 : storage;
}

mmrec_dtype mmrec_arg_gradient_dtype(const mmrec_arg *arg, mmrec_dtype storage) {
    return storage == MMREC_BF16 && (arg->flags & MMREC_ARG_WEIGHT) ? MMREC_F32 : mmrec_arg_dtype(arg, storage);
}

typedef mmrec_dtype (*dtype_rule)(const mmrec_arg *arg, mmrec_dtype storage);

/* Bytes of the arguments of a list, or of their gradients, that `mask` names and that carry all of `flags`. */
static double list_bytes(const mmrec_arg *list, const mmrec_shape *shapes, unsigned mask, unsigned flags,
                         dtype_rule rule, mmrec_dtype storage) {
    double bytes = 0;
    for (int i = 0; list[i].name; i++) {
        if (!((mask >> i) & 1u) || (list[i].flags & flags) != flags) continue;
        bytes += (double)mmrec_shape_elements(&shapes[i]) * (double)mmrec_dtype_bytes(rule(&list[i], storage));
    }
    return bytes;
}

/* The arguments of `mask` through which a gradient passes. */
static unsigned differentiable(const mmrec_arg *list, unsigned mask) {
    for (int i = 0; list[i].name; i++) {
        if (list[i].flags & (MMREC_ARG_IDS | MMREC_ARG_NO_GRAD)) mask &= ~(1u << i);
    }
    return mask;
}

mmrec_work mmrec_op_work(const mmrec_op_def *def, const mmrec_op_sizes *sizes, mmrec_pass pass, mmrec_dtype storage) {
    mmrec_work work = {0, 0, 0};
    if (!def->function[pass]) return work;
    work = def->work(sizes, pass);
    unsigned read = pass == MMREC_FORWARD ? 0u : (unsigned)MMREC_ARG_KEEP;
    work.bytes = list_bytes(def->in, sizes->in, sizes->given, read, mmrec_arg_dtype, storage) +
                 list_bytes(def->out, sizes->out, sizes->made, read, mmrec_arg_dtype, storage) +
                 list_bytes(def->saved, sizes->saved, sizes->stored, 0, mmrec_arg_dtype, storage);
    if (pass == MMREC_BACKWARD) {
        unsigned d_out = differentiable(def->out, sizes->made), d_in = differentiable(def->in, sizes->given);
        work.bytes += list_bytes(def->out, sizes->out, d_out, 0, mmrec_arg_gradient_dtype, storage) +
                      list_bytes(def->in, sizes->in, d_in, 0, mmrec_arg_gradient_dtype, storage);
    }
    return work;
}

mmrec_tolerance mmrec_op_tolerance(const mmrec_op_def *def, const mmrec_op_sizes *sizes) {
    return def->tolerance_at ? def->tolerance_at(sizes) : def->tolerance;
}
