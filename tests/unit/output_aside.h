/* What a program prints goes elsewhere for a while. */
#ifndef OUTPUT_ASIDE_H
#define OUTPUT_ASIDE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

/* Into an open file; returns what output_back wants. */
static inline int output_into(int file) {
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_true(kept >= 0 && file >= 0 && dup2(file, STDOUT_FILENO) >= 0);
    return kept;
}

static inline int output_nowhere(void) {
    int nowhere = open("/dev/null", O_WRONLY), kept = output_into(nowhere);
    close(nowhere);
    return kept;
}

static inline void output_back(int kept) {
    fflush(stdout);
    assert_true(dup2(kept, STDOUT_FILENO) >= 0);
    close(kept);
}

#endif
