#include "measure/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of nvml.h, which is only there with the toolkit: nvmlClockType_t. 0 is success in every answer. */
enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };

static const char *const files[] = {"libnvidia-ml.so.1", "libnvidia-ml.so"};

/* A function by any of its names. dlsym gives a pointer to data; memcpy makes a function of it, as POSIX allows. */
static bool find(void *library, const char *const *names, size_t size, void *function) {
    void *symbol = NULL;
    for (; *names && !symbol; names++) symbol = dlsym(library, *names);
    memcpy(function, &symbol, size);
    return symbol != NULL;
}
#define FIND(library, function, ...)                                                                                   \
    find(library, (const char *const[]){__VA_ARGS__, NULL}, sizeof *(function), function)

static void *load(char why[NVML_WHY]) {
    const char *chosen = getenv("MMREC_NVML");
    void *library = chosen && *chosen ? dlopen(chosen, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (size_t i = 0; !(chosen && *chosen) && !library && i < sizeof files / sizeof *files; i++) {
        library = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (!library) snprintf(why, NVML_WHY, "NVML is not there (%.100s)", chosen && *chosen ? chosen : files[0]);
    return library;
}

/* The one device, where its address is not known. */
static bool only_device(const nvml_probe *probe, void **device) {
    int (*count)(unsigned *count);
    int (*by_index)(unsigned index, void **device);
    unsigned devices = 0;
    return FIND(probe->library, &count, "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount") &&
           FIND(probe->library, &by_index, "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex") &&
           count(&devices) == 0 && devices == 1 && by_index(0, device) == 0;
}

static bool find_device(nvml_probe *probe, const char *pci, char why[NVML_WHY]) {
    int (*by_address)(const char *pci, void **device);
    void *device = NULL;
    bool found;
    if (*pci) {
        found =
            FIND(probe->library, &by_address, "nvmlDeviceGetHandleByPciBusId_v2", "nvmlDeviceGetHandleByPciBusId") &&
            by_address(pci, &device) == 0;
    } else {
        found = only_device(probe, &device);
    }
    if (!found) snprintf(why, NVML_WHY, "NVML does not know the device%s%.40s", *pci ? " at " : "", pci);
    probe->device = found ? device : NULL;
    return found;
}

bool nvml_open(nvml_probe *probe, const char *pci, char why[NVML_WHY]) {
    int (*start)(void);
    memset(probe, 0, sizeof *probe);
    why[0] = '\0';
    probe->library = load(why);
    if (!probe->library) return false;
    bool known = FIND(probe->library, &start, "nvmlInit_v2", "nvmlInit") &&
                 FIND(probe->library, &probe->shut_down, "nvmlShutdown") &&
                 FIND(probe->library, &probe->clock, "nvmlDeviceGetClockInfo") &&
                 FIND(probe->library, &probe->reasons, "nvmlDeviceGetCurrentClocksEventReasons",
                      "nvmlDeviceGetCurrentClocksThrottleReasons");
    int code = known ? start() : 0;
    if (!known || code != 0) {
        probe->shut_down = NULL;
        snprintf(why, NVML_WHY, known ? "NVML cannot start (its error %d)" : "NVML lacks a function", code);
    }
    if (probe->shut_down && find_device(probe, pci, why)) return true;
    nvml_close(probe);
    return false;
}

void nvml_read(const nvml_probe *probe, mmrec_sample_note *note) {
    unsigned mhz = 0;
    unsigned long long bits = 0;
    if (!probe->device) return;
    if (probe->clock(probe->device, CLOCK_SM, &mhz) == 0) note->sm_mhz = (int)mhz;
    if (probe->clock(probe->device, CLOCK_MEMORY, &mhz) == 0) note->memory_mhz = (int)mhz;
    if (probe->reasons(probe->device, &bits) == 0) note->throttle = bits;
}

void nvml_close(nvml_probe *probe) {
    if (probe->shut_down) probe->shut_down();
    if (probe->library) dlclose(probe->library);
    memset(probe, 0, sizeof *probe);
}

const char *mmrec_throttle_text(uint64_t throttle, char *text, size_t size) {
    static const struct {
        uint64_t bit;
        const char *name;
    } names[] = {{0x04, "power cap"},
                 {0x08, "hardware slowdown"},
                 {0x20, "heat"},
                 {0x40, "heat, by the hardware"},
                 {0x80, "power brake"}};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(throttle & names[i].bit) || used >= size) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", names[i].name);
    }
    return text;
}
