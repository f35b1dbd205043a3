/* A CUPTI whose kernels the test makes up by fake_cupti_kernel: $MMREC_CUPTI names it. It lays records into the buffers
 * it is given and hands them over when they are full or flushed, as the real one does, but on the caller's thread. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct kernel_record {
    uint32_t kind;
    uint8_t settings[12];
    uint64_t start_ns, end_ns, completed_ns;
    uint32_t device, context, stream, grid[3], block[3];
    uint32_t memory[4], correlation;
    int64_t grid_id;
    const char *name;
    uint8_t more[104]; /* the record of CUDA 13 has 216 bytes */
} kernel_record;
_Static_assert(sizeof(kernel_record) == 216, "as CUDA 13 has it");

typedef void (*request_function)(uint8_t **buffer, size_t *size, size_t *most_records);
typedef void (*complete_function)(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid);

int fake_cupti_enable_code, fake_cupti_flush_code, fake_cupti_enabled;
size_t fake_cupti_dropped;

void fake_cupti_kernel(const char *name, uint64_t start_ns, uint64_t end_ns);
int cuptiActivityRegisterCallbacks(request_function request, complete_function complete);
int cuptiActivityEnable(int kind);
int cuptiActivityDisable(int kind);
int cuptiActivityFlushAll(uint32_t flag);
int cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, kernel_record **record);
int cuptiActivityGetNumDroppedRecords(void *context, uint32_t stream, size_t *dropped);

static request_function on_request;
static complete_function on_complete;
static uint8_t *buffer;
static size_t buffer_size, used;

static void hand_over(void) {
    uint8_t *full = buffer;
    buffer = NULL;
    if (full) on_complete(NULL, 0, full, buffer_size, used);
    used = 0;
}

void fake_cupti_kernel(const char *name, uint64_t start_ns, uint64_t end_ns) {
    size_t most = 0;
    if (fake_cupti_enabled == 0) return;
    if (buffer && used + sizeof(kernel_record) > buffer_size) hand_over();
    if (!buffer) on_request(&buffer, &buffer_size, &most);
    if (!buffer) {
        fake_cupti_dropped++;
        return;
    }
    kernel_record record = {.kind = 10, .start_ns = start_ns, .end_ns = end_ns, .name = name};
    memcpy(buffer + used, &record, sizeof record);
    used += sizeof record;
}

int cuptiActivityRegisterCallbacks(request_function request, complete_function complete) {
    on_request = request;
    on_complete = complete;
    return 0;
}

int cuptiActivityEnable(int kind) {
    fake_cupti_enabled += fake_cupti_enable_code == 0 && kind == 10;
    return fake_cupti_enable_code;
}

int cuptiActivityDisable(int kind) {
    fake_cupti_enabled -= kind == 10;
    return 0;
}

int cuptiActivityFlushAll(uint32_t flag) {
    if (flag == 1) hand_over();
    return fake_cupti_flush_code;
}

int cuptiActivityGetNextRecord(uint8_t *records, size_t valid, kernel_record **record) {
    uint8_t *next = *record ? (uint8_t *)(*record + 1) : records;
    if (next + sizeof(kernel_record) > records + valid) return 12;
    *record = (kernel_record *)(void *)next;
    return 0;
}

int cuptiActivityGetNumDroppedRecords(void *context, uint32_t stream, size_t *dropped) {
    (void)context, (void)stream;
    *dropped = fake_cupti_dropped;
    fake_cupti_dropped = 0;
    return 0;
}
