/* Sample texts: "B=2 T=3 D=5 p=0.25 -bias". A capital letter is an axis, another word an attribute, "-name" leaves an
 * optional argument out. Letters that no argument names are the axes of "*", in the order written. */
#include "resolve.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_SIZE = 64 };

typedef struct sample {
    const mmrec_op_def *def;
    mmrec_op_sizes *sizes;
    const char *text;
    mmrec_error *error;
} sample;

static bool list_names(const mmrec_arg *list, char letter) {
    for (int i = 0; list[i].name; i++) {
        const char *dims = list[i].dims;
        for (mmrec_dims_word word; mmrec_dims_next(&dims, &word);) {
            if (letter == '*' ? word.star : word.letter == letter) return true;
        }
    }
    return false;
}

/* Whether any argument's dims hold this letter ('*' for the star). */
static bool op_names(const mmrec_op_def *def, char letter) {
    return list_names(def->in, letter) || list_names(def->out, letter) || list_names(def->saved, letter);
}

static mmrec_status bad_word(const sample *s, const char *word, const char *why) {
    MMREC_FAIL(s->error, MMREC_CONFIG, "%s: \"%s\" in \"%s\" %s", s->def->name, word, s->text, why);
}

static mmrec_status set_letter(const sample *s, const char *word, const char *value) {
    char *end;
    errno = 0;
    long long size = strtoll(value, &end, 10);
    if (end == value || *end || errno || size < 1) return bad_word(s, word, "is not a size of at least 1");
    int64_t *letter = &s->sizes->letter[word[0] - 'A'];
    if (*letter) return bad_word(s, word, "gives an axis a second time");
    *letter = size;
    if (op_names(s->def, word[0])) return MMREC_OK;
    if (!op_names(s->def, '*')) return bad_word(s, word, "names no axis of this op");
    if (s->sizes->star.ndim == MMREC_MAX_DIMS) return bad_word(s, word, "is one axis too many");
    s->sizes->star.dim[s->sizes->star.ndim++] = size;
    return MMREC_OK;
}

static mmrec_status set_attr(const sample *s, const char *word, const char *name, const char *value) {
    int attr = mmrec_op_attr(s->def, name);
    if (attr < 0) return bad_word(s, word, "names neither an axis (a capital letter) nor an attribute of this op");
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !isfinite(number)) return bad_word(s, word, "has no number after the =");
    s->sizes->attr[attr] = number;
    return MMREC_OK;
}

static int find_arg(const mmrec_arg *list, const char *name) {
    for (int i = 0; list[i].name; i++) {
        if (strcmp(list[i].name, name) == 0) return i;
    }
    return -1;
}

static mmrec_status leave_out(const sample *s, const char *word) {
    int in = find_arg(s->def->in, word + 1), out = find_arg(s->def->out, word + 1);
    int saved = find_arg(s->def->saved, word + 1);
    if (in >= 0 && (s->def->in[in].flags & MMREC_ARG_OPTIONAL))
        s->sizes->given &= ~(1u << in);
    else if (out >= 0 && (s->def->out[out].flags & MMREC_ARG_OPTIONAL))
        s->sizes->made &= ~(1u << out);
    else if (saved >= 0 && (s->def->saved[saved].flags & MMREC_ARG_OPTIONAL))
        s->sizes->stored &= ~(1u << saved);
    else
        return bad_word(s, word, "names no optional argument of this op");
    return MMREC_OK;
}

static mmrec_status read_word(const sample *s, char *word) {
    if (word[0] == '-') return leave_out(s, word);
    char *equals = strchr(word, '=');
    if (!equals) return bad_word(s, word, "is neither name=value nor -name");
    char name[WORD_SIZE];
    size_t length = (size_t)(equals - word);
    memcpy(name, word, length);
    name[length] = 0;
    if (length == 1 && name[0] >= 'A' && name[0] <= 'Z') return set_letter(s, word, equals + 1);
    return set_attr(s, word, name, equals + 1);
}

static mmrec_status read_words(const sample *s) {
    for (const char *at = s->text; *at;) {
        size_t length = strcspn(at, " ");
        char word[WORD_SIZE];
        if (length >= sizeof word) {
            MMREC_FAIL(s->error, MMREC_CONFIG, "%s: a word of \"%.40s...\" is longer than %d characters", s->def->name,
                       at, WORD_SIZE - 1);
        }
        memcpy(word, at, length);
        word[length] = 0;
        if (length) MMREC_TRY(read_word(s, word));
        at += length;
        at += strspn(at, " ");
    }
    return MMREC_OK;
}

/* A letter no shape needed a size for is missing from the text, not from the definition. */
static mmrec_status input_shapes(const sample *s) {
    for (int i = 0; s->def->in[i].name; i++) {
        if (!((s->sizes->given >> i) & 1u)) continue;
        const char *dims = s->def->in[i].dims;
        for (mmrec_dims_word word; mmrec_dims_next(&dims, &word);) {
            if (!word.letter || s->sizes->letter[word.letter - 'A']) continue;
            MMREC_FAIL(s->error, MMREC_CONFIG, "%s: \"%s\" gives no size for %c of %s (%s)", s->def->name, s->text,
                       word.letter, s->def->in[i].name, s->def->in[i].dims);
        }
        MMREC_TRY(mmrec_dims_shape(s->def, s->sizes, &s->def->in[i], &s->sizes->in[i], s->error));
    }
    return MMREC_OK;
}

/* What the text said and what the op made of it: a size that plays no part is a mistake in the text. */
static mmrec_status check_letters(const sample *s, const int64_t *wanted, const mmrec_shape *star) {
    if (!mmrec_shape_equal(star, &s->sizes->star)) {
        char text[64];
        MMREC_FAIL(s->error, MMREC_CONFIG, "%s: the axes %s in \"%s\" play no part", s->def->name,
                   mmrec_shape_text(star, text, sizeof text), s->text);
    }
    for (int i = 0; i < MMREC_LETTERS; i++) {
        if (!wanted[i] || !op_names(s->def, (char)('A' + i)) || wanted[i] == s->sizes->letter[i]) continue;
        if (!s->sizes->letter[i]) {
            MMREC_FAIL(s->error, MMREC_CONFIG, "%s: %c=%lld in \"%s\" plays no part", s->def->name, 'A' + i,
                       (long long)wanted[i], s->text);
        }
        MMREC_FAIL(s->error, MMREC_CONFIG, "%s: %c=%lld in \"%s\" but the other sizes make it %lld", s->def->name,
                   'A' + i, (long long)wanted[i], s->text, (long long)s->sizes->letter[i]);
    }
    return MMREC_OK;
}

mmrec_status mmrec_op_from_text(const mmrec_op_def *def, const char *text, int threads, mmrec_op_sizes *sizes,
                                mmrec_error *error) {
    sample s = {def, sizes, text, error};
    mmrec_op_sizes_init(def, threads, sizes);
    sizes->given = (1u << mmrec_arg_count(def->in)) - 1u;
    MMREC_TRY(read_words(&s));
    MMREC_TRY(input_shapes(&s));
    int64_t wanted[MMREC_LETTERS];
    memcpy(wanted, sizes->letter, sizeof wanted);
    mmrec_shape star = sizes->star;
    MMREC_TRY(mmrec_op_resolve(def, sizes, error));
    return check_letters(&s, wanted, &star);
}
