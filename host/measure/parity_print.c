/* Rows and summary of a parity check as aligned text. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parity_impl.h"

typedef struct widths {
    int name, shape;
} widths;

static widths measure(const mmrec_parity *parity) {
    widths w = {(int)strlen("tensor"), (int)strlen("shape")};
    for (size_t i = 0; i < parity->row_count; i++) {
        char text[96];
        int name = (int)strlen(parity->rows[i].name);
        int shape = (int)strlen(mmrec_shape_text(&parity->rows[i].shape, text, sizeof text));
        if (name > w.name) w.name = name;
        if (shape > w.shape) w.shape = shape;
    }
    return w;
}

static mmrec_status put(mmrec_io *io, int fd, const char *text, mmrec_error *error) {
    const char *what = fd == STDOUT_FILENO ? "standard output" : "the parity table";
    return mmrec_io_write_fd(io, fd, what, text, strlen(text), error);
}

static mmrec_status put_row(const mmrec_parity_row *row, widths w, mmrec_io *io, int fd, mmrec_error *error) {
    char line[512], shape[96];
    snprintf(line, sizeof line, "%-*s  %-*s  %9.2e  %9.2e  %9.2e  %s\n", w.name, row->name, w.shape,
             mmrec_shape_text(&row->shape, shape, sizeof shape), row->max_error, row->l2_error, row->tolerance,
             row->passed ? "ok" : "FAIL");
    return put(io, fd, line, error);
}

/* The row that uses most of its tolerance; one that failed on a NaN counts as the worst. */
static const mmrec_parity_row *worst_row(const mmrec_parity *parity) {
    const mmrec_parity_row *worst = &parity->rows[0];
    for (size_t i = 1; i < parity->row_count && !isnan(worst->max_error); i++) {
        const mmrec_parity_row *row = &parity->rows[i];
        if (!(row->max_error / row->tolerance <= worst->max_error / worst->tolerance)) worst = row;
    }
    return worst;
}

static mmrec_status put_summary(const mmrec_parity *parity, mmrec_io *io, int fd, mmrec_error *error) {
    const mmrec_parity_row *worst = worst_row(parity);
    char line[640];
    int failures = mmrec_parity_failures(parity);
    if (failures == 0) {
        snprintf(line, sizeof line, "%s, %zu tensors, all within tolerance; closest to it: %s at %.2e of %.2e\n\n",
                 parity->label, parity->row_count, worst->name, worst->max_error, worst->tolerance);
    } else {
        snprintf(line, sizeof line, "%s, %d of %zu tensors FAIL; worst: %s at %.2e, allowed %.2e\n\n", parity->label,
                 failures, parity->row_count, worst->name, worst->max_error, worst->tolerance);
    }
    return put(io, fd, line, error);
}

mmrec_status mmrec_parity_print(const mmrec_parity *parity, mmrec_io *io, int fd, mmrec_error *error) {
    widths w = measure(parity);
    char head[512];
    snprintf(head, sizeof head, "%-*s  %-*s  %9s  %9s  %9s\n", w.name, "tensor", w.shape, "shape", "max rel", "L2 rel",
             "allowed");
    MMREC_TRY(put(io, fd, head, error));
    for (size_t i = 0; i < parity->row_count; i++) MMREC_TRY(put_row(&parity->rows[i], w, io, fd, error));
    return put_summary(parity, io, fd, error);
}
