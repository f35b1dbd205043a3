/* What the machine is, read from the kernel and the libraries. Nothing here names its user: no host name, no address.
 */
#include <cblas.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "mmrec/backend.h"
#include "mmrec/measure.h"

/* Begins of the kernel's text files, whose size is only known after reading: this is why they do not pass through
 * mmrec_io, which reads whole files of a known size. A file that is not there reads as "". */
static const char *read_text(const char *path, char *text, size_t size) {
    size_t done = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && done + 1 < size) {
        ssize_t got = read(fd, text + done, size - 1 - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += (size_t)got;
    }
    if (fd >= 0) close(fd);
    text[done] = 0;
    return text;
}

/* The same for a file of one line, without its end. */
static const char *read_line(const char *path, char *text, size_t size) {
    read_text(path, text, size);
    text[strcspn(text, "\n")] = 0;
    return text;
}

/* Copies what follows `key` on its line, without separators, quotes and spaces around it; "" without the key. */
static void value_after(const char *text, const char *key, char *out, size_t size) {
    out[0] = 0;
    const char *line = text;
    while (line && strncmp(line, key, strlen(key)) != 0) {
        line = strchr(line, '\n');
        if (line) line++;
    }
    if (!line) return;
    const char *from = line + strlen(key);
    from += strspn(from, " \t:=\"");
    size_t length = strcspn(from, "\n\"");
    while (length > 0 && isspace((unsigned char)from[length - 1])) length--;
    snprintf(out, size, "%.*s", (int)length, from);
}

static void read_cpu(mmrec_machine *machine) {
    char text[4096];
    value_after(read_text("/proc/cpuinfo", text, sizeof text), "model name", machine->cpu, sizeof machine->cpu);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", machine->governor, sizeof machine->governor);
    snprintf(machine->isa, sizeof machine->isa, "%s", mmrec_op_isa());
    machine->processors = mmrec_backend_processors();
}

static void read_system(mmrec_machine *machine) {
    char text[4096];
    value_after(read_text("/etc/os-release", text, sizeof text), "PRETTY_NAME", machine->os, sizeof machine->os);
    struct utsname name;
    if (uname(&name) == 0) {
        snprintf(machine->kernel, sizeof machine->kernel, "%.40s %.60s %.20s", name.sysname, name.release,
                 name.machine);
    }
    char load[64];
    read_line("/proc/loadavg", load, sizeof load);
    machine->load1 = load[0] ? strtod(load, NULL) : -1;
}

/* "32768K" or "32M" in bytes. */
static uint64_t size_of_text(const char *text) {
    char *end;
    uint64_t size = strtoull(text, &end, 10);
    return *end == 'K' ? size << 10 : *end == 'M' ? size << 20 : size;
}

static void read_cache(mmrec_machine *machine, int index) {
    char path[96], level[16], type[32], size[32];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", index);
    read_line(path, level, sizeof level);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", index);
    read_line(path, type, sizeof type);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
    uint64_t bytes = size_of_text(read_line(path, size, sizeof size));
    if (strcmp(type, "Instruction") == 0) return;
    if (level[0] == '1') machine->l1d_bytes = bytes;
    if (level[0] == '2') machine->l2_bytes = bytes;
    if (level[0] == '3') machine->l3_bytes = bytes;
}

static void read_memory(mmrec_machine *machine) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) machine->memory_bytes = (uint64_t)pages * (uint64_t)page;
    for (int index = 0; index < 8; index++) read_cache(machine, index);
}

void mmrec_machine_read(mmrec_machine *machine, int threads) {
    memset(machine, 0, sizeof *machine);
    machine->threads = threads;
    read_cpu(machine);
    read_system(machine);
    read_memory(machine);
    snprintf(machine->blas, sizeof machine->blas, "%s", openblas_get_config());
    snprintf(machine->compiler, sizeof machine->compiler, "gcc %s", __VERSION__);
}

/* Its second number is the time spent waiting on a run queue, in ns. */
double mmrec_machine_waited_s(void) {
    double ns = 0;
#pragma omp parallel reduction(+ : ns)
    {
        char text[96], *next;
        read_line("/proc/thread-self/schedstat", text, sizeof text);
        strtoull(text, &next, 10);
        ns += (double)strtoull(next, NULL, 10);
    }
    return ns * 1e-9;
}

uint64_t mmrec_machine_peak_rss(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (uint64_t)usage.ru_maxrss << 10; /* Linux counts in KiB */
}
