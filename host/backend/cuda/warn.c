/* The one way of the module to say something that is no error. */
#include <stdarg.h>
#include <stdio.h>

#include "mmrec/io.h"

#include "cuda.h"

void mmrec_cuda_warn(const char *format, ...) {
    enum { LINE_BYTES = 1024 };
    static const char start[] = "mmrec: warning: ";
    char line[LINE_BYTES];
    mmrec_io io = {0};
    va_list list;
    int used = snprintf(line, sizeof line, "%s", start);
    va_start(list, format);
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, list);
    va_end(list);
    if (more < 0) return;
    size_t length = (size_t)used + (size_t)more;
    if (length > sizeof line - 2) length = sizeof line - 2;
    line[length] = '\n';
    mmrec_status ignored = mmrec_io_write_fd(&io, 2, "standard error", line, length + 1, NULL);
    (void)ignored;
}
