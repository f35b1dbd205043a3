/* What a real device does when it is asked for the impossible; each in a process of its own, started by tests/gpu/run.
 *
 *   device_faults memory    more memory than there is: a message, and the next op works
 *   device_faults address   a kernel at an address that is not there: a message, every later call says so, freeing is
 * safe
 *
 * Exit status 0 when it went as it should, 1 when not, 77 without a device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmrec/backend.h"

static mmrec_allocator allocator;
static const mmrec_backend *cuda;

static int wrong(const char *what, const mmrec_error *error) {
    char text[2 * MMREC_ERROR_MESSAGE] = "";
    fprintf(stderr, "device_faults: %s: %s\n", what, error ? mmrec_error_text(error, text, sizeof text) : "");
    return 1;
}

enum { VALUES = 1000 };

/* gelu of VALUES numbers at `x`, into `y`, waited for. */
static mmrec_status run_gelu(void *x, void *y, mmrec_error *error) {
    const mmrec_op_def *def = mmrec_op_get(MMREC_OP_gelu, MMREC_VARIANT_F32);
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    memset(&call, 0, sizeof call);
    MMREC_TRY(mmrec_op_from_text(def, "N=1 D=1000", MMREC_ON_DEVICE, &sizes, error));
    call.sizes = &sizes;
    call.in[0] = mmrec_view_dense(x, MMREC_F32, sizes.in[0]);
    call.out[0] = mmrec_view_dense(y, MMREC_F32, sizes.out[0]);
    MMREC_TRY(cuda->run(MMREC_OP_gelu, MMREC_FORWARD, &call, error));
    return cuda->synchronize(error);
}

static int too_much_memory(void *x, void *y) {
    mmrec_error error = {0};
    void *memory = NULL;
    size_t bytes = 2 * cuda->device->info.memory_bytes;
    if (cuda->alloc(&allocator, MMREC_ARENA_SCRATCH, bytes, &memory, &error) != MMREC_NO_MEMORY)
        return wrong("twice the device's memory was not refused as no memory", &error);
    printf("refused: %s\n", error.message);
    mmrec_error_clear(&error);
    return run_gelu(x, y, &error) == MMREC_OK ? 0 : wrong("an op after that fails", &error);
}

static int wrong_address(void *x, void *y) {
    mmrec_error error = {0}, again = {0};
    void *nowhere = (char *)0 + 4096; /* aligned, and nobody's */
    if (run_gelu(x, y, &error) != MMREC_OK) return wrong("an op before fails", &error);
    if (run_gelu(nowhere, y, &error) == MMREC_OK) return wrong("reading nowhere went well", NULL);
    printf("first: %s\n", error.message);
    if (run_gelu(x, y, &again) == MMREC_OK) return wrong("the device is lost, and a later op went well", NULL);
    printf("later: %s\n", again.message);
    return 0;
}

int main(int argc, char **argv) {
    mmrec_error error = {0};
    void *memory = NULL;
    if (argc != 2) return wrong("usage: device_faults memory|address", NULL) + 1;
    mmrec_status status = mmrec_backend_find("cuda", &cuda, &error);
    if (status != MMREC_OK) {
        wrong("no device", &error);
        return mmrec_status_exit(status);
    }
    if (cuda->device->info.emulated) {
        wrong("the device is emulated: it has no real faults", NULL);
        return 77;
    }
    size_t bytes = 2 * VALUES * sizeof(float);
    if (cuda->alloc(&allocator, MMREC_ARENA_SCRATCH, bytes, &memory, &error) != MMREC_OK)
        return wrong("8 kB are refused", &error);
    float *x = memory, *y = x + VALUES;
    int code = strcmp(argv[1], "memory") == 0 ? too_much_memory(x, y) : wrong_address(x, y);
    cuda->free(&allocator, MMREC_ARENA_SCRATCH, memory, bytes);
    mmrec_backend_close();
    return code;
}
