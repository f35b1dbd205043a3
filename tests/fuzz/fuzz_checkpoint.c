/* Fuzz target: the checkpoint reader, and the writer on everything the reader accepts. */
#include <string.h>
#include <zlib.h>

#include "fuzz.h"
#include "mmrec/checkpoint.h"

enum {
    PREFIX = 8,
    DIGITS = 8,
    VALUES = 256, /* tensors up to this size are also read */
    /* Memory that parsing may take at its peak, as for safetensors (fuzz_safetensors.c). */
    PEAK_BASE = 8192,
    PEAK_PER_BYTE = 96
};

static void check_text(const char *text) {
    FUZZ_CHECK(text[0] != '\0');
    for (; *text; text++) FUZZ_CHECK((unsigned char)*text >= 0x20 && *text != 0x7f);
}

/* What a refusal has to be, without and with an answer. */
static void check_status(mmrec_status status, const mmrec_checkpoint *checkpoint) {
    FUZZ_CHECK(status == MMREC_OK || status == MMREC_FORMAT || status == MMREC_UNSUPPORTED);
    FUZZ_CHECK((status == MMREC_OK) == (checkpoint != NULL));
}

/* A tensor is had by its name and its own shape, and by no other shape. */
static void check_tensor(const mmrec_checkpoint *checkpoint, const mmrec_safetensors_tensor *tensor) {
    double values[VALUES];
    mmrec_shape shape = {.ndim = tensor->ndim};
    mmrec_error error = {0};
    FUZZ_CHECK(mmrec_checkpoint_has(checkpoint, tensor->name));
    if (tensor->ndim > MMREC_MAX_DIMS || mmrec_safetensors_elements(tensor) > VALUES) return;
    for (int i = 0; i < tensor->ndim; i++) shape.dim[i] = tensor->dim[i];
    mmrec_status status = mmrec_checkpoint_get(checkpoint, tensor->name, &shape, values, &error);
    FUZZ_CHECK(status == MMREC_OK || (status == MMREC_FORMAT && tensor->dtype == MMREC_SAFETENSORS_I64));
    if (tensor->ndim == 0) return;
    shape.dim[0]++;
    FUZZ_CHECK(mmrec_checkpoint_get(checkpoint, tensor->name, &shape, values, &error) == MMREC_FORMAT);
    check_text(error.message);
}

/* A text that is taken for a number is the one that putting this number gives. */
static void check_number(mmrec_allocator *allocator, const mmrec_checkpoint *checkpoint, const char *key) {
    mmrec_checkpoint *again = NULL;
    int64_t whole = 0;
    double real = 0;
    FUZZ_CHECK(mmrec_checkpoint_create(allocator, &again, NULL) == MMREC_OK);
    if (mmrec_checkpoint_whole(checkpoint, key, &whole, NULL) == MMREC_OK) {
        FUZZ_CHECK(mmrec_checkpoint_put_whole(again, "whole", whole, NULL) == MMREC_OK);
        FUZZ_CHECK(strcmp(mmrec_checkpoint_text(again, "whole"), mmrec_checkpoint_text(checkpoint, key)) == 0);
    }
    if (mmrec_checkpoint_real(checkpoint, key, &real, NULL) == MMREC_OK) {
        FUZZ_CHECK(mmrec_checkpoint_put_real(again, "real", real, NULL) == MMREC_OK);
        FUZZ_CHECK(strcmp(mmrec_checkpoint_text(again, "real"), mmrec_checkpoint_text(checkpoint, key)) == 0);
    }
    mmrec_checkpoint_destroy(&again);
}

static void check_content(mmrec_allocator *allocator, const mmrec_checkpoint *checkpoint,
                          const mmrec_safetensors *file) {
    for (size_t i = 0; i < mmrec_safetensors_count(file); i++) {
        check_tensor(checkpoint, mmrec_safetensors_at(file, i));
    }
    for (size_t i = 0; i < mmrec_safetensors_metadata_count(file); i++) {
        const mmrec_safetensors_entry *entry = mmrec_safetensors_metadata_at(file, i);
        const char *text = mmrec_checkpoint_text(checkpoint, entry->key);
        FUZZ_CHECK(text && strcmp(text, entry->value) == 0);
        check_number(allocator, checkpoint, entry->key);
    }
}

/* Everything of `a` is in `b`, but for the checksum, and nothing else is. */
static void check_same(const mmrec_safetensors *a, const mmrec_safetensors *b) {
    FUZZ_CHECK(mmrec_safetensors_count(a) == mmrec_safetensors_count(b));
    FUZZ_CHECK(mmrec_safetensors_metadata_count(a) == mmrec_safetensors_metadata_count(b));
    for (size_t i = 0; i < mmrec_safetensors_count(a); i++) {
        const mmrec_safetensors_tensor *x = mmrec_safetensors_at(a, i), *y = mmrec_safetensors_find(b, x->name);
        FUZZ_CHECK(y && x->dtype == y->dtype && x->ndim == y->ndim && x->bytes == y->bytes);
        FUZZ_CHECK(memcmp(x->dim, y->dim, sizeof x->dim) == 0 && memcmp(x->data, y->data, x->bytes) == 0);
    }
    for (size_t i = 0; i < mmrec_safetensors_metadata_count(a); i++) {
        const mmrec_safetensors_entry *x = mmrec_safetensors_metadata_at(a, i);
        const char *value = mmrec_safetensors_metadata(b, x->key);
        FUZZ_CHECK(value && (strcmp(x->key, "checksum") == 0 || strcmp(value, x->value) == 0));
    }
}

typedef struct bytes {
    void *data;
    size_t size;
} bytes;

static bytes encode(mmrec_allocator *allocator, const mmrec_checkpoint *checkpoint) {
    bytes out = {NULL, 0};
    FUZZ_CHECK(mmrec_checkpoint_encode(checkpoint, allocator, &out.data, &out.size, NULL) == MMREC_OK);
    return out;
}

/* parse -> write -> parse gives the same checkpoint, and writing that again the same bytes. */
static void check_round_trip(mmrec_allocator *allocator, const mmrec_checkpoint *checkpoint,
                             const mmrec_safetensors *file) {
    mmrec_checkpoint *copy = NULL;
    mmrec_safetensors *written = NULL;
    bytes first = encode(allocator, checkpoint);
    FUZZ_CHECK(mmrec_checkpoint_parse(allocator, first.data, first.size, &copy, NULL) == MMREC_OK);
    FUZZ_CHECK(mmrec_safetensors_parse(allocator, first.data, first.size, &written, NULL) == MMREC_OK);
    check_same(file, written);
    bytes again = encode(allocator, copy);
    FUZZ_CHECK(first.size == again.size && memcmp(first.data, again.data, first.size) == 0);
    mmrec_safetensors_destroy(&written);
    mmrec_checkpoint_destroy(&copy);
    mmrec_alloc(allocator, first.data, first.size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(allocator, again.data, again.size, 0, MMREC_ALLOC_FILE);
}

/* Any one bit of it changed: refused. Which one follows from the input, so that a failure can be repeated. */
static void check_damage(const uint8_t *data, size_t size) {
    mmrec_allocator allocator = {0};
    mmrec_checkpoint *checkpoint = NULL;
    size_t bit = crc32(0, data, (uInt)size) % (size * 8);
    uint8_t *damaged = malloc(size);
    FUZZ_CHECK(damaged);
    memcpy(damaged, data, size);
    damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
    FUZZ_CHECK(mmrec_checkpoint_parse(&allocator, damaged, size, &checkpoint, NULL) != MMREC_OK);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
    free(damaged);
}

/* The same with one request for memory failing: another status, never another result. */
static void check_without_memory(const uint8_t *data, size_t size, uint64_t requests, mmrec_status wanted) {
    mmrec_allocator allocator = {.fail_at = 1 + (size > 0 ? data[size / 2] : 0u) % (requests + 1)};
    mmrec_checkpoint *checkpoint = NULL;
    mmrec_status status = mmrec_checkpoint_parse(&allocator, data, size, &checkpoint, NULL);
    FUZZ_CHECK(status == (allocator.fail_at <= requests ? MMREC_NO_MEMORY : wanted));
    FUZZ_CHECK((status == MMREC_OK) == (checkpoint != NULL));
    mmrec_checkpoint_destroy(&checkpoint);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_checkpoint *checkpoint = NULL;
    mmrec_safetensors *file = NULL;
    mmrec_status status = mmrec_checkpoint_parse(&allocator, data, size, &checkpoint, &error);
    uint64_t requests = allocator.attempts;
    check_status(status, checkpoint);
    FUZZ_CHECK(allocator.total.peak_bytes <= PEAK_BASE + PEAK_PER_BYTE * size);
    if (checkpoint) {
        FUZZ_CHECK(mmrec_safetensors_parse(&allocator, data, size, &file, NULL) == MMREC_OK);
        check_content(&allocator, checkpoint, file);
        check_round_trip(&allocator, checkpoint, file);
        check_damage(data, size);
    } else {
        check_text(error.message);
    }
    mmrec_safetensors_destroy(&file);
    mmrec_checkpoint_destroy(&checkpoint);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
    check_without_memory(data, size, requests, status);
    return 0;
}

/* The right checksum, where a place for one is found. */
static void seal(uint8_t *data, size_t size) {
    static const char key[] = "\"checksum\":\"";
    uint8_t *at = memmem(data, size, key, sizeof key - 1);
    char digits[DIGITS + 1];
    if (!at || (size_t)(data + size - at) < sizeof key - 1 + DIGITS) return;
    at += sizeof key - 1;
    memset(at, '0', DIGITS);
    (void)snprintf(digits, sizeof digits, "%08lx", crc32(0, data, (uInt)size));
    memcpy(at, digits, DIGITS);
}

static size_t mutate_header(uint8_t *data, size_t size, size_t header, size_t capacity) {
    size_t tail = size - PREFIX - header;
    uint8_t *text = malloc(capacity);
    if (!text) return size;
    memcpy(text, data + PREFIX, header);
    size_t changed = LLVMFuzzerMutate(text, header, capacity - PREFIX - tail);
    memmove(data + PREFIX + changed, data + PREFIX + header, tail);
    memcpy(data + PREFIX, text, changed);
    free(text);
    for (int i = 0; i < PREFIX; i++) data[i] = (uint8_t)((uint64_t)changed >> 8 * i & 255);
    return PREFIX + changed + tail;
}

/* Most changes are followed by a new checksum, and many are made to the header's text alone with its length set right:
 * otherwise nearly all would end at the first check. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed) {
    size_t header = 0;
    for (size_t i = 0; i < PREFIX && size >= PREFIX; i++) header |= (size_t)data[i] << 8 * i;
    bool whole = seed % 4 == 0 || size < PREFIX || header > size - PREFIX;
    size_t changed = whole ? LLVMFuzzerMutate(data, size, capacity) : mutate_header(data, size, header, capacity);
    if (seed % 8 != 1) seal(data, changed);
    return changed;
}
