/* cuDNN on demand. It is no library of the module: a run that neither compares with it nor computes by it neither needs
 * nor loads it. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cudnn_calls.h"

/* The name that carries the major version of the header. */
#define CUDNN_TEXT_OF(number) #number
#define CUDNN_TEXT(number) CUDNN_TEXT_OF(number)
static const char file_name[] = "libcudnn.so." CUDNN_TEXT(CUDNN_MAJOR);

static void *library; /* kept when the device is closed: what it has loaded itself need not survive being unloaded */
static cudnn_calls calls;
static cudnnHandle_t handle;
static bool absent; /* it was looked for where it need not be there, and was not */

/* cuDNN's words about its last error are lines; the first one is the error. */
static const char *first_line(char *text) {
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

mmrec_status cudnn_check(cudnnStatus_t code, const char *call, mmrec_error *error) {
    char words[200] = "";
    if (code == CUDNN_STATUS_SUCCESS) return MMREC_OK;
    mmrec_status remembered = mmrec_cuda_check(cudaPeekAtLastError(), call, NULL);
    if (remembered == MMREC_NO_DEVICE) return cuda_usable(error);
    calls.GetLastErrorString(words, sizeof words);
    words[sizeof words - 1] = '\0';
    bool more = first_line(words)[0] != '\0';
    MMREC_FAIL(error, MMREC_INTERNAL, "%s failed with %.60s%s%s", call, calls.GetErrorString(code), more ? ": " : "",
               words);
}

/* ---- loading ---- */

/* The file to load: $MMREC_CUDNN, else where the system finds it. To an emulated device only a library that is named
 * is loaded: the real one would look for a real device. */
static mmrec_status choose_file(const char **file, mmrec_error *error) {
    const char *named = getenv("MMREC_CUDNN");
    *file = named && *named ? named : file_name;
    if (cuda_device.info.emulated && *file == file_name) MMREC_FAIL(error, MMREC_UNSUPPORTED, "emulated");
    return MMREC_OK;
}

/* ISO C has no cast from a data pointer to a function pointer; dlsym promises that copying the bytes works. */
static bool find(void *from, const char *name, void *function, size_t size) {
    void *symbol = dlsym(from, name);
    memcpy(function, &symbol, size);
    return symbol != NULL;
}

/* NULL, or the function that is missing. */
static const char *find_calls(void *from, cudnn_calls *out) {
#define CUDNN_CALL(name)                                                                                               \
    if (!find(from, "cudnn" #name, &out->name, sizeof out->name)) return "cudnn" #name;
    CUDNN_CALLS(CUDNN_CALL)
#undef CUDNN_CALL
    return NULL;
}

static mmrec_status check_library(void *opened, const char *file, mmrec_error *error) {
    const char *missing = find_calls(opened, &calls);
    if (missing) MMREC_FAIL(error, MMREC_UNSUPPORTED, "no cuDNN: %.200s lacks %s", file, missing);
    size_t version = calls.GetVersion(), thousands = version / 10000 ? 10000 : 1000; /* 8.9.2 was 8902 */
    if (version / thousands == CUDNN_MAJOR) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "no cuDNN: %.200s is version %zu.%zu, this build is for version %d", file,
               version / thousands, version % thousands / 100, CUDNN_MAJOR);
}

static mmrec_status load(mmrec_error *error) {
    const char *file = NULL;
    MMREC_TRY(choose_file(&file, error));
    void *opened = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!opened) MMREC_FAIL(error, MMREC_UNSUPPORTED, "no cuDNN: %.200s", dlerror());
    mmrec_status status = check_library(opened, file, error);
    if (status == MMREC_OK)
        library = opened;
    else
        dlclose(opened);
    return status;
}

/* ---- the handle ---- */

static mmrec_status make_handle(mmrec_error *error) {
    CUDNN_TRY(&calls, Create, error, &handle);
    CUDNN_TRY(&calls, SetStream, error, handle, cuda_state.stream);
    return MMREC_OK;
}

void cuda_cudnn_close(void) {
    if (handle && !cuda_lost()) calls.Destroy(handle);
    handle = NULL;
}

mmrec_status cudnn_open(const cudnn_calls **out, cudnnHandle_t *out_handle, mmrec_error *error) {
    mmrec_error why;
    mmrec_error_clear(&why);
    if (!library) MMREC_TRY(load(error));
    mmrec_status status = handle ? MMREC_OK : make_handle(&why);
    if (status == MMREC_NO_DEVICE) return cuda_usable(error);
    if (status != MMREC_OK) {
        cuda_cudnn_close();
        MMREC_FAIL(error, MMREC_UNSUPPORTED, "no cuDNN: %.400s", why.message);
    }
    *out = &calls;
    *out_handle = handle;
    return MMREC_OK;
}

static mmrec_status cudnn_required(const char *flag, const cudnn_calls **out, cudnnHandle_t *out_handle,
                                   mmrec_error *error) {
    static const char prefix[] = "no cuDNN: ";
    mmrec_error why;
    mmrec_error_clear(&why);
    mmrec_status status = cudnn_open(out, out_handle, &why);
    if (status == MMREC_OK) return status;
    if (status == MMREC_NO_DEVICE) return cuda_usable(error);
    bool said = strncmp(why.message, prefix, sizeof prefix - 1) == 0;
    MMREC_FAIL(error, status, "%s%s%.400s; use --%s kernels", said ? "" : prefix, said ? "" : "the device is ",
               why.message, flag);
}

mmrec_status cudnn_find(const char *flag, bool required, const cudnn_calls **out, cudnnHandle_t *out_handle,
                        mmrec_error *error) {
    mmrec_error why;
    *out_handle = NULL;
    if (required) return cudnn_required(flag, out, out_handle, error);
    if (absent) return MMREC_OK;
    mmrec_error_clear(&why);
    mmrec_status status = cudnn_open(out, out_handle, &why);
    absent = status == MMREC_UNSUPPORTED;
    if (status != MMREC_OK && !absent && error) *error = why;
    return absent ? MMREC_OK : status;
}

void cudnn_look_again(void) { absent = false; }

/* ---- recordings ---- */

mmrec_status cudnn_not_recording(mmrec_error *error) {
    if (!cuda_capturing()) return MMREC_OK;
    MMREC_FAIL(error, MMREC_INTERNAL,
               "cuDNN needs memory for a layer that it has not run before, which cannot be had while a CUDA graph is "
               "recorded; run the phase once before, or use --graphs off");
}

mmrec_status cudnn_queued(cudnnStatus_t code, const char *call, uint64_t kernels, mmrec_error *error) {
    mmrec_error why;
    mmrec_error_clear(&why);
    mmrec_status status = cudnn_check(code, call, cuda_capturing() ? &why : error);
    if (status == MMREC_OK) cuda_count_launches(kernels);
    if (status == MMREC_OK || !cuda_capturing()) return status;
    MMREC_TRY(cuda_usable(error));
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "cuDNN cannot be recorded into a CUDA graph here: %.400s; use --graphs off",
               why.message);
}

/* ---- describing ---- */

mmrec_status cudnn_make_dropout(const cudnn_calls *c, cudnnHandle_t of, cudnnDropoutDescriptor_t *out,
                                mmrec_error *error) {
    CUDNN_TRY(c, CreateDropoutDescriptor, error, out);
    CUDNN_TRY(c, SetDropoutDescriptor, error, *out, of, 0, NULL, 0, 0);
    return MMREC_OK;
}

mmrec_status cudnn_make_state(const cudnn_calls *c, cudnnDataType_t type, int64_t batch, int64_t width,
                              cudnnTensorDescriptor_t *out, mmrec_error *error) {
    int dims[3] = {1, (int)batch, (int)width}, strides[3] = {(int)(batch * width), (int)width, 1};
    CUDNN_TRY(c, CreateTensorDescriptor, error, out);
    CUDNN_TRY(c, SetTensorNdDescriptor, error, *out, type, 3, dims, strides);
    return MMREC_OK;
}

mmrec_status cudnn_make_sequences(const cudnn_calls *c, const cudnn_sequences *s, cudnnRNNDataDescriptor_t *out,
                                  mmrec_error *error) {
    void *memory = NULL;
    size_t count = (size_t)s->batch;
    CUDNN_TRY(c, CreateRNNDataDescriptor, error, out);
    MMREC_TRY(mmrec_alloc_zero(s->allocator, count, sizeof(int), MMREC_ALLOC_MEASURE, &memory, error));
    int *lengths = memory;
    for (int64_t i = 0; i < s->batch; i++) lengths[i] = (int)s->steps;
    cudnnStatus_t code =
        c->SetRNNDataDescriptor(*out, s->type, s->layout, (int)s->steps, (int)s->batch, (int)s->width, lengths, NULL);
    mmrec_alloc(s->allocator, memory, count * sizeof(int), 0, MMREC_ALLOC_MEASURE);
    return cudnn_check(code, "cudnnSetRNNDataDescriptor", error);
}

mmrec_status cudnn_fill_lengths(void *at, int64_t batch, int64_t steps, mmrec_error *error) {
    const int32_t length = (int32_t)steps;
    for (int64_t i = 0; i < batch; i++) MMREC_TRY(cuda_copy_in((int32_t *)at + i, &length, sizeof length, error));
    return MMREC_OK;
}
