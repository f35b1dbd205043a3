/* An NVML of one device, for the tests of what reads its clocks: $MMREC_NVML names it. The test finds and sets the
 * answers by dlsym. */
#include <string.h>

int fake_nvml_init_code, fake_nvml_open, fake_nvml_devices = 1, fake_nvml_clock_code;
unsigned fake_nvml_sm_mhz = 1980, fake_nvml_memory_mhz = 2619;
unsigned long long fake_nvml_reasons;

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **device);
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz);
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits);

static int one_device;

int nvmlInit_v2(void) {
    fake_nvml_open += fake_nvml_init_code == 0;
    return fake_nvml_init_code;
}

int nvmlShutdown(void) {
    fake_nvml_open--;
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)fake_nvml_devices;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = &one_device;
    return index == 0 ? 0 : 2;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **device) {
    *device = &one_device;
    return strcmp(pci, "0000:17:00.0") == 0 ? 0 : 6;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz) {
    *mhz = type == 1 ? fake_nvml_sm_mhz : fake_nvml_memory_mhz;
    return device == &one_device ? fake_nvml_clock_code : 2;
}

/* The older of its two names, as in drivers before 535. */
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits) {
    *bits = fake_nvml_reasons;
    return device == &one_device ? 0 : 2;
}
