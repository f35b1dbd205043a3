/* The CUDA module on demand, and what `auto` means.
 *
 * Loading the module loads cuBLASLt, over a second on a slow disk. So whether there is a device is asked of the driver
 * alone (libcuda.so.1, a system library), and the module is loaded when a run on the device is certain. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend_impl.h"
#include "cuda_module.h"

static mmrec_device_options device_options;
static const mmrec_cuda_module *loaded;
static char choice[160];

void mmrec_backend_device_options(const mmrec_device_options *options) { device_options = *options; }
const char *mmrec_backend_choice(void) { return choice; }
int mmrec_backend_threads(const mmrec_backend *backend, int threads) {
    return backend->device ? MMREC_ON_DEVICE : threads;
}

void mmrec_backend_close(void) {
    if (loaded) loaded->close();
}

mmrec_status mmrec_backend_describe(const char *name, const mmrec_backend **out, mmrec_error *error) {
    static const mmrec_device nothing;
    static const mmrec_backend cuda = {
        .name = "cuda", .real = MMREC_F32, .variant = MMREC_VARIANT_F32, .stores_bf16 = true, .device = &nothing};
    if (strcmp(name, "auto") == 0) name = backend_auto();
    *out = &cuda;
    return strcmp(name, "cuda") == 0 ? MMREC_OK : mmrec_backend_find(name, out, error);
}

/* ---- is there a device? ---- */

#if MMREC_CUDA_REAL
enum { ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76 }; /* of the driver's cuDeviceGetAttribute */

typedef struct driver {
    int (*init)(unsigned flags);
    int (*version)(int *version); /* of CUDA, 13000 for 13.0 */
    int (*count)(int *count);
    int (*name)(char *name, int size, int device);
    int (*attribute)(int *value, int attribute, int device);
} driver;

/* ISO C has no cast from a data pointer to a function pointer; dlsym promises that copying the bytes works. */
static bool find_symbol(void *library, const char *name, void *function, size_t size) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, size);
    return symbol != NULL;
}

static bool find_driver(driver *d) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    return library && find_symbol(library, "cuInit", &d->init, sizeof d->init) &&
           find_symbol(library, "cuDriverGetVersion", &d->version, sizeof d->version) &&
           find_symbol(library, "cuDeviceGetCount", &d->count, sizeof d->count) &&
           find_symbol(library, "cuDeviceGetName", &d->name, sizeof d->name) &&
           find_symbol(library, "cuDeviceGetAttribute", &d->attribute, sizeof d->attribute);
}

/* True and the device's name, or false and what is missing. */
static bool probe(char *text, size_t size) {
    driver d;
    int code = 0, count = 0, major = 0, minor = 0, version = 0;
    char name[96] = "";
    if (!find_driver(&d)) {
        snprintf(text, size, "no CUDA device (no driver: libcuda.so.1 is not there)");
        return false;
    }
    if ((code = d.init(0)) != 0 || (code = d.count(&count)) != 0) {
        snprintf(text, size, "no CUDA device (the driver answers with error %d)", code);
        return false;
    }
    if (count < 1) {
        snprintf(text, size, "no CUDA device (the driver sees none)");
        return false;
    }
    if (d.version(&version) != 0 || version / 1000 < MMREC_CUDA_MAJOR) {
        snprintf(text, size, "no usable CUDA device (the driver is of CUDA %d.%d, this build needs %d.0)",
                 version / 1000, version % 1000 / 10, MMREC_CUDA_MAJOR);
        return false;
    }
    d.name(name, sizeof name, 0);
    name[sizeof name - 1] = '\0';
    bool known = d.attribute(&major, ATTRIBUTE_MAJOR, 0) == 0 && d.attribute(&minor, ATTRIBUTE_MINOR, 0) == 0;
    int capability = 10 * major + minor;
    if (!known || capability < MMREC_CUDA_OLDEST || capability > MMREC_CUDA_NEWEST) {
        snprintf(text, size, "no usable CUDA device (%.48s: compute capability %d.%d, kernels are for 8.0 to 9.0)",
                 name, major, minor);
        return false;
    }
    snprintf(text, size, "%s", name);
    return true;
}
#elif MMREC_CUDA_EMULATED
static bool probe(char *text, size_t size) {
    snprintf(text, size, "the CUDA backend of this build is emulated, it runs only when it is asked for");
    return false;
}
#else
static bool probe(char *text, size_t size) {
    snprintf(text, size, "this build has no CUDA backend");
    return false;
}
#endif

const char *backend_auto(void) {
    char text[128];
    bool cuda = probe(text, sizeof text);
    snprintf(choice, sizeof choice, "%s: %s", cuda ? "cuda" : "cpu", text);
    return cuda ? "cuda" : "cpu";
}

/* ---- loading ---- */

#if MMREC_CUDA_REAL || MMREC_CUDA_EMULATED
/* $MMREC_CUDA_MODULE, or the file beside the program. */
static mmrec_status module_path(char *path, size_t size, mmrec_error *error) {
    const char *named = getenv("MMREC_CUDA_MODULE");
    if (named && *named) {
        snprintf(path, size, "%s", named);
        return MMREC_OK;
    }
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) MMREC_FAIL(error, MMREC_IO, "cannot find the program's own folder in /proc/self/exe");
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (slash) *slash = '\0';
    snprintf(path, size, "%.*s/" MMREC_CUDA_MODULE_FILE, (int)(size - sizeof MMREC_CUDA_MODULE_FILE - 1), program);
    return MMREC_OK;
}

static mmrec_status load(mmrec_error *error) {
    static const uint64_t abi[MMREC_CUDA_ABI_NUMBERS] = MMREC_CUDA_ABI;
    char path[PATH_MAX + 32];
    MMREC_TRY(module_path(path, sizeof path, error));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        MMREC_FAIL(error, MMREC_IO, "the CUDA module cannot be loaded: %.300s", dlerror());
    }
    mmrec_cuda_module_getter get = NULL;
    void *symbol = dlsym(library, MMREC_CUDA_MODULE_SYMBOL);
    memcpy(&get, &symbol, sizeof get);
    if (!get || memcmp(get()->abi, abi, sizeof abi) != 0) {
        MMREC_FAIL(error, MMREC_FORMAT, "%.300s belongs to another build of mmrec: build them together", path);
    }
    loaded = get();
    return MMREC_OK;
}

/* The module's backend, and what is made of it: kernels take what the views say, so calls are held against the
 * definitions first, which the module does not have. */
static const mmrec_backend *opened;
static mmrec_backend checking;

static mmrec_status checked_run(mmrec_op_id op, mmrec_pass pass, const mmrec_op_call *call, mmrec_error *error) {
    MMREC_TRY(mmrec_op_check_types(mmrec_op_get(op, MMREC_VARIANT_F32), call, error));
    return opened->run(op, pass, call, error);
}

mmrec_status backend_cuda(const mmrec_backend **out, mmrec_error *error) {
#if MMREC_CUDA_REAL
    char text[128];
    if (!loaded && !probe(text, sizeof text)) MMREC_FAIL(error, MMREC_NO_DEVICE, "--backend cuda: %s", text);
#endif
    if (!loaded) MMREC_TRY(load(error));
    MMREC_TRY(loaded->open(&device_options, &opened, error));
    checking = *opened;
    checking.run = checked_run;
    *out = &checking;
    return MMREC_OK;
}
#else
mmrec_status backend_cuda(const mmrec_backend **out, mmrec_error *error) {
    *out = NULL;
    MMREC_FAIL(error, MMREC_UNSUPPORTED,
               "this build has no CUDA backend: configure it with -DMMREC_CUDA=ON where nvcc is, "
               "or the preset emu");
}
#endif
