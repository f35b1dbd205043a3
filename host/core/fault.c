#include "mmrec/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct fault {
    uint64_t at;
    bool after;
    const char *rest; /* behind the number: "" or ":WORD" */
} fault;

/* "17", "17+", "17:WORD", "17+:WORD" */
static bool parse_fault(const char *text, fault *out) {
    char *end = NULL;
    if (text[0] < '1' || text[0] > '9') return false;
    errno = 0;
    out->at = strtoull(text, &end, 10);
    out->after = *end == '+';
    out->rest = end + (out->after ? 1 : 0);
    return errno == 0 && (*out->rest == '\0' || *out->rest == ':');
}

static bool arm_io(const fault *f, mmrec_io *io) {
    static const struct {
        const char *word;
        int code;
        bool short_write;
    } kinds[] = {{"", EIO, false},           {":EIO", EIO, false},       {":ENOSPC", ENOSPC, false},
                 {":EDQUOT", EDQUOT, false}, {":EACCES", EACCES, false}, {":EINTR", EINTR, false},
                 {":short", ENOSPC, true}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(f->rest, kinds[i].word) != 0) continue;
        io->fail_at = f->at;
        io->fail_after = f->after;
        io->fail_errno = kinds[i].code;
        io->short_write = kinds[i].short_write;
        return true;
    }
    return false;
}

mmrec_status mmrec_fault_arm(const char *text, mmrec_allocator *allocator, mmrec_io *io, mmrec_io *save_io,
                             mmrec_error *error) {
    fault f;
    if (!text || !*text) return MMREC_OK;
    if (strncmp(text, "alloc:", 6) == 0 && parse_fault(text + 6, &f) && *f.rest == '\0') {
        allocator->fail_at = f.at;
        allocator->fail_after = f.after;
        return MMREC_OK;
    }
    if (strncmp(text, "io:", 3) == 0 && parse_fault(text + 3, &f) && arm_io(&f, io)) return MMREC_OK;
    if (save_io && strncmp(text, "save:", 5) == 0 && parse_fault(text + 5, &f) && arm_io(&f, save_io)) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG,
               "MMREC_FAULT is \"%.60s\", which is not alloc:N, alloc:N+, io:N%s (with :EIO, "
               ":ENOSPC, :EDQUOT, :EACCES, :EINTR or :short)",
               text, save_io ? ", io:N+, save:N or save:N+" : " or io:N+");
}
