/* Fuzz target: the safetensors reader, and the writer on everything the reader accepts. */
#include <string.h>

#include "fuzz.h"
#include "mmrec/safetensors.h"

enum {
    PREFIX = 8,
    VALUES = 256, /* tensors up to this size are also read */
    /* Memory that parsing may take at its peak: the handle, and the JSON tree. The worst header known, "[{},{},...",
     * needs 91 bytes for each of its own. */
    PEAK_BASE = 4096,
    PEAK_PER_BYTE = 96
};

static void check_text(const char *text) {
    FUZZ_CHECK(text[0] != '\0');
    for (; *text; text++) FUZZ_CHECK((unsigned char)*text >= 0x20 && *text != 0x7f);
}

/* Inside the input, one after the other, found by name, readable. */
static void check_tensors(const mmrec_safetensors *file, const uint8_t *data, size_t size) {
    const uint8_t *at = NULL;
    for (size_t i = 0; i < mmrec_safetensors_count(file); i++) {
        const mmrec_safetensors_tensor *tensor = mmrec_safetensors_at(file, i);
        const uint8_t *begin = tensor->data;
        FUZZ_CHECK(begin >= data + PREFIX + 2 && begin <= data + size);
        FUZZ_CHECK(tensor->bytes <= (size_t)(data + size - begin));
        FUZZ_CHECK(!at || begin == at);
        at = begin + tensor->bytes;
        FUZZ_CHECK(mmrec_safetensors_find(file, tensor->name) == tensor);
        double values[VALUES];
        size_t count = mmrec_safetensors_elements(tensor);
        if (count > VALUES) continue;
        mmrec_status status = mmrec_safetensors_read_f64(tensor, values, count, NULL);
        FUZZ_CHECK(status == MMREC_OK || (status == MMREC_FORMAT && tensor->dtype == MMREC_SAFETENSORS_I64));
    }
    FUZZ_CHECK(!at || at == data + size);
}

static void check_same(const mmrec_safetensors *a, const mmrec_safetensors *b) {
    FUZZ_CHECK(mmrec_safetensors_count(a) == mmrec_safetensors_count(b));
    for (size_t i = 0; i < mmrec_safetensors_count(a); i++) {
        const mmrec_safetensors_tensor *x = mmrec_safetensors_at(a, i), *y = mmrec_safetensors_find(b, x->name);
        FUZZ_CHECK(y && x->dtype == y->dtype && x->ndim == y->ndim && x->bytes == y->bytes);
        FUZZ_CHECK(memcmp(x->dim, y->dim, sizeof x->dim) == 0);
        FUZZ_CHECK(memcmp(x->data, y->data, x->bytes) == 0);
    }
    FUZZ_CHECK(mmrec_safetensors_metadata_count(a) == mmrec_safetensors_metadata_count(b));
    for (size_t i = 0; i < mmrec_safetensors_metadata_count(a); i++) {
        const mmrec_safetensors_entry *x = mmrec_safetensors_metadata_at(a, i);
        const char *value = mmrec_safetensors_metadata(b, x->key);
        FUZZ_CHECK(value && strcmp(value, x->value) == 0);
    }
}

static void encode(mmrec_allocator *allocator, const mmrec_safetensors *file, void **bytes, size_t *size) {
    size_t count = mmrec_safetensors_count(file), entries = mmrec_safetensors_metadata_count(file);
    FUZZ_CHECK(mmrec_safetensors_encode(allocator, count ? mmrec_safetensors_at(file, 0) : NULL, count,
                                        entries ? mmrec_safetensors_metadata_at(file, 0) : NULL, entries, bytes, size,
                                        NULL) == MMREC_OK);
}

/* parse -> write -> parse gives the same file, and writing that again the same bytes. */
static void check_round_trip(mmrec_allocator *allocator, const mmrec_safetensors *file) {
    void *bytes = NULL, *again = NULL;
    size_t size = 0, again_size = 0;
    mmrec_safetensors *copy = NULL;
    encode(allocator, file, &bytes, &size);
    FUZZ_CHECK(mmrec_safetensors_parse(allocator, bytes, size, &copy, NULL) == MMREC_OK);
    check_same(file, copy);
    encode(allocator, copy, &again, &again_size);
    FUZZ_CHECK(size == again_size && memcmp(bytes, again, size) == 0);
    mmrec_safetensors_destroy(&copy);
    mmrec_alloc(allocator, bytes, size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(allocator, again, again_size, 0, MMREC_ALLOC_FILE);
}

/* The same with one request for memory failing: another status, never another result. */
static void check_without_memory(const uint8_t *data, size_t size, uint64_t requests, mmrec_status wanted) {
    mmrec_allocator allocator = {.fail_at = 1 + (size > 0 ? data[size / 2] : 0u) % (requests + 1)};
    mmrec_safetensors *file = NULL;
    mmrec_status status = mmrec_safetensors_parse(&allocator, data, size, &file, NULL);
    FUZZ_CHECK(status == (allocator.fail_at <= requests ? MMREC_NO_MEMORY : wanted));
    FUZZ_CHECK((status == MMREC_OK) == (file != NULL));
    mmrec_safetensors_destroy(&file);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mmrec_allocator allocator = {0};
    mmrec_error error = {0};
    mmrec_safetensors *file = NULL;
    mmrec_status status = mmrec_safetensors_parse(&allocator, data, size, &file, &error);
    uint64_t requests = allocator.attempts;
    FUZZ_CHECK(status == MMREC_OK || status == MMREC_FORMAT);
    FUZZ_CHECK((status == MMREC_OK) == (file != NULL));
    FUZZ_CHECK(allocator.total.peak_bytes <= PEAK_BASE + PEAK_PER_BYTE * size);
    if (file) {
        check_tensors(file, data, size);
        check_round_trip(&allocator, file);
    } else {
        check_text(error.message);
    }
    mmrec_safetensors_destroy(&file);
    FUZZ_CHECK(allocator.total.live_bytes == 0);
    check_without_memory(data, size, requests, status);
    return 0;
}

/* Three of four changes are made to the header's text alone and its length is set right afterwards: otherwise all but
 * the first byte of an insertion would end at the check of the length. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed) {
    size_t header = 0;
    for (size_t i = 0; i < PREFIX && size >= PREFIX; i++) header |= (size_t)data[i] << 8 * i;
    if (seed % 4 == 0 || size < PREFIX || header > size - PREFIX) return LLVMFuzzerMutate(data, size, capacity);
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
