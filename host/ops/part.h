/* Copying rows, or a part of a tensor, a run of its steps or of its columns: what `take_steps`, `columns`, `concat` and
 * `shift` share. A part is the attributes `first` and `count`; a count of 0 stands for all that follows `first`. */
#ifndef MMREC_OPS_PART_H
#define MMREC_OPS_PART_H

#include "fast_loop.h"
#include "part_device.h"

/* Overwrites or adds. Two loops, so that each is one copy for gcc. */
static inline void part_copy(real *to, const real *from, int64_t count, bool add) {
    if (add) {
        for (int64_t i = 0; i < count; i++) to[i] += from[i];
    } else {
        for (int64_t i = 0; i < count; i++) to[i] = from[i];
    }
}

/* What lies outside of the part has the gradient 0. */
static inline void part_clear(real *to, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = (real)0;
}

/* What a row takes from where, or gives back. */
typedef void (*part_row)(const mmrec_op_call *call, int64_t row);

/* Calls `each` for every row of `view`, for none where it is absent. In float, threads take rows: there are no other
 * fast functions, as each row is one copy. */
static inline mmrec_status part_each(const mmrec_op_call *call, const mmrec_view *view, part_row each) {
    int64_t rows = view->data ? mmrec_shape_rows(&view->shape) : 0;
#if MMREC_REAL_F32
    bool worth = rows * mmrec_shape_columns(&view->shape) >= FAST_SERIAL;
#pragma omp parallel for num_threads(call->sizes->threads) schedule(static) if (worth)
#endif
    for (int64_t r = 0; r < rows; r++) each(call, r);
    return MMREC_OK;
}

static inline bool part_whole(double number, int64_t most) {
    return number >= 0 && number <= (double)most && number == (double)(int64_t)number;
}

/* How many of `all` (steps, columns) the part has, into `taken`. */
static inline mmrec_status part_bind(const char *op, const char *what, const mmrec_op_sizes *sizes, int64_t all,
                                     int64_t *taken, mmrec_error *error) {
    double first = sizes->attr[PART_FIRST], count = sizes->attr[PART_COUNT];
    if (!part_whole(first, all - 1)) {
        MMREC_FAIL(error, MMREC_SHAPE, "%s: first is %g, but there are %lld %s: wanted a whole number from 0 to %lld",
                   op, first, (long long)all, what, (long long)(all - 1));
    }
    int64_t left = all - (int64_t)first;
    if (!part_whole(count, left)) {
        MMREC_FAIL(
            error, MMREC_SHAPE,
            "%s: count is %g, but from %lld on there are %lld of %lld %s: wanted a whole number up to that, or 0 "
            "for all of them",
            op, count, (long long)first, (long long)left, (long long)all, what);
    }
    *taken = count > 0 ? (int64_t)count : left;
    return MMREC_OK;
}

static mmrec_work part_work(const mmrec_op_sizes *sizes, mmrec_pass pass) {
    (void)sizes;
    (void)pass;
    mmrec_work w = {0, 0, 0};
    return w;
}

#endif
