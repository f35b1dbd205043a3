/* Checkpoints as files: encoding with a checksum over everything, and reading with all of it checked. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "checkpoint/checkpoint_impl.h"
#include "checkpoint/safetensors_impl.h"

const mmrec_safetensors_entry checkpoint_reserved[CHECKPOINT_RESERVED] = {
    {CHECKPOINT_CHECKSUM, "00000000"}, {"format", CHECKPOINT_FORMAT}, {"version", "1"}};
_Static_assert(MMREC_CHECKPOINT_VERSION == 1, "the text above is the version");

bool checkpoint_is_reserved(const char *key) {
    for (size_t i = 0; i < CHECKPOINT_RESERVED; i++) {
        if (strcmp(checkpoint_reserved[i].key, key) == 0) return true;
    }
    return false;
}

/* ---- the checksum ------------------------------------------------------------------------------------------- */

/* Where its digits stand in a file that was parsed, 0: nowhere. Inside of a JSON string a quote has a backslash in
 * front of it, and a key appears once in an object, so these bytes are at most once in a header, as a key with a text.
 */
static size_t digits_at(const unsigned char *bytes, size_t size) {
    static const char key[] = "\"" CHECKPOINT_CHECKSUM "\":\"";
    uint64_t header = 0;
    memcpy(&header, bytes, SAFETENSORS_PREFIX);
    const unsigned char *found = memmem(bytes + SAFETENSORS_PREFIX, (size_t)header, key, strlen(key));
    size_t at = found ? (size_t)(found - bytes) + strlen(key) : 0;
    return at + CHECKPOINT_DIGITS <= size ? at : 0;
}

static void checksum_text(const unsigned char *bytes, size_t size, size_t at, char text[CHECKPOINT_DIGITS + 1]) {
    unsigned long sum = crc32_z(crc32_z(0, NULL, 0), bytes, at);
    sum = crc32_z(sum, (const unsigned char *)checkpoint_reserved[0].value, CHECKPOINT_DIGITS);
    sum = crc32_z(sum, bytes + at + CHECKPOINT_DIGITS, size - at - CHECKPOINT_DIGITS);
    (void)snprintf(text, CHECKPOINT_DIGITS + 1, "%08lx", sum);
}

void checkpoint_seal(void *bytes, size_t size) {
    char text[CHECKPOINT_DIGITS + 1];
    size_t at = digits_at(bytes, size);
    checksum_text(bytes, size, at, text);
    memcpy((char *)bytes + at, text, CHECKPOINT_DIGITS);
}

static mmrec_status check_sum(const mmrec_checkpoint *checkpoint, const unsigned char *bytes, size_t size,
                              mmrec_error *error) {
    const char *got = mmrec_checkpoint_text(checkpoint, CHECKPOINT_CHECKSUM);
    char wanted[CHECKPOINT_DIGITS + 1];
    size_t at = digits_at(bytes, size);
    if (!got) MMREC_FAIL(error, MMREC_FORMAT, "it has no checksum");
    if (at == 0 || strlen(got) != CHECKPOINT_DIGITS || memcmp(bytes + at, got, CHECKPOINT_DIGITS) != 0) {
        MMREC_FAIL(error, MMREC_FORMAT, "its checksum is not written as 8 plain hexadecimal digits");
    }
    checksum_text(bytes, size, at, wanted);
    if (strcmp(got, wanted) == 0) return MMREC_OK;
    char digits[CHECKPOINT_SHOWN];
    MMREC_FAIL(error, MMREC_FORMAT, "it is damaged: its checksum is %s, its bytes have %s",
               safetensors_shown(got, digits), wanted);
}

/* ---- encoding ----------------------------------------------------------------------------------------------- */

static size_t tensors_of(const mmrec_checkpoint *c, const mmrec_safetensors_tensor **tensors) {
    size_t count = c->file ? mmrec_safetensors_count(c->file) : c->count;
    *tensors = !c->file ? c->tensors : count ? mmrec_safetensors_at(c->file, 0) : NULL;
    return count;
}

static size_t texts_of(const mmrec_checkpoint *c, const mmrec_safetensors_entry **entries) {
    *entries = c->file ? mmrec_safetensors_metadata_at(c->file, 0) : c->entries;
    return c->file ? mmrec_safetensors_metadata_count(c->file) : c->entry_count;
}

mmrec_status checkpoint_encode_unsealed(const mmrec_checkpoint *checkpoint, mmrec_allocator *allocator, void **block,
                                        size_t *capacity, size_t *size, mmrec_error *error) {
    const mmrec_safetensors_tensor *tensors = NULL;
    const mmrec_safetensors_entry *texts = NULL;
    size_t count = tensors_of(checkpoint, &tensors), text_count = texts_of(checkpoint, &texts);
    size_t used = CHECKPOINT_RESERVED, room = CHECKPOINT_RESERVED + text_count;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, room, sizeof *texts, MMREC_ALLOC_FILE, &memory, error));
    mmrec_safetensors_entry *entries = memory;
    memcpy(entries, checkpoint_reserved, sizeof checkpoint_reserved);
    for (size_t i = 0; i < text_count; i++) {
        if (!checkpoint_is_reserved(texts[i].key)) entries[used++] = texts[i];
    }
    mmrec_status status =
        safetensors_encode_into(allocator, tensors, count, entries, used, block, capacity, size, error);
    mmrec_alloc(allocator, memory, room * sizeof *texts, 0, MMREC_ALLOC_FILE);
    return status;
}

mmrec_status mmrec_checkpoint_encode(const mmrec_checkpoint *checkpoint, mmrec_allocator *allocator, void **bytes,
                                     size_t *size, mmrec_error *error) {
    size_t capacity = 0;
    *bytes = NULL;
    *size = 0;
    mmrec_status status = checkpoint_encode_unsealed(checkpoint, allocator, bytes, &capacity, size, error);
    if (status == MMREC_OK) {
        checkpoint_seal(*bytes, *size);
    } else {
        mmrec_alloc(allocator, *bytes, capacity, 0, MMREC_ALLOC_FILE);
        *bytes = NULL;
        *size = 0;
    }
    return status;
}

mmrec_status mmrec_checkpoint_write_file(const mmrec_checkpoint *checkpoint, mmrec_io *io, const char *path,
                                         mmrec_error *error) {
    void *bytes = NULL;
    size_t size = 0;
    mmrec_allocator *allocator = checkpoint->allocator;
    MMREC_TRY_WHILE(mmrec_checkpoint_encode(checkpoint, allocator, &bytes, &size, error), error, "writing \"%.140s\"",
                    path);
    mmrec_status status = mmrec_io_write_verified(io, path, bytes, size, error);
    mmrec_alloc(allocator, bytes, size, 0, MMREC_ALLOC_FILE);
    return status;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

/* Any file may come along: that it is none of ours must not be called damage. */
static mmrec_status check_kind(const mmrec_checkpoint *checkpoint, mmrec_error *error) {
    char shown[CHECKPOINT_SHOWN];
    const char *format = mmrec_checkpoint_text(checkpoint, "format");
    if (!format) MMREC_FAIL(error, MMREC_FORMAT, "it is a safetensors file but no checkpoint: it names no format");
    if (strcmp(format, CHECKPOINT_FORMAT) != 0) {
        MMREC_FAIL(error, MMREC_FORMAT, "it is no checkpoint: its format is \"%s\", wanted \"" CHECKPOINT_FORMAT "\"",
                   safetensors_shown(format, shown));
    }
    int64_t version = 0;
    MMREC_TRY(mmrec_checkpoint_whole(checkpoint, "version", &version, error));
    if (version < 1) MMREC_FAIL(error, MMREC_FORMAT, "it has version %lld, wanted 1 or more", (long long)version);
    if (version <= MMREC_CHECKPOINT_VERSION) return MMREC_OK;
    MMREC_FAIL(error, MMREC_UNSUPPORTED,
               "it has version %lld of the format, this build reads up to version %d: use a newer one",
               (long long)version, MMREC_CHECKPOINT_VERSION);
}

static mmrec_status fill(mmrec_checkpoint *checkpoint, const void *bytes, size_t size, mmrec_error *error) {
    MMREC_TRY(mmrec_safetensors_parse(checkpoint->allocator, bytes, size, &checkpoint->file, error));
    MMREC_TRY(check_kind(checkpoint, error));
    return check_sum(checkpoint, bytes, size, error);
}

mmrec_status mmrec_checkpoint_parse(mmrec_allocator *allocator, const void *bytes, size_t size, mmrec_checkpoint **out,
                                    mmrec_error *error) {
    MMREC_TRY(mmrec_checkpoint_create(allocator, out, error));
    mmrec_status status = fill(*out, bytes, size, error);
    if (status != MMREC_OK) mmrec_checkpoint_destroy(out);
    return status;
}

mmrec_status checkpoint_read(mmrec_allocator *allocator, mmrec_io *io, const char *path, mmrec_checkpoint **out,
                             mmrec_error *error) {
    void *bytes = NULL;
    size_t size = 0;
    *out = NULL;
    MMREC_TRY(mmrec_io_read_file(io, allocator, path, MMREC_CHECKPOINT_MOST_BYTES, &bytes, &size, error));
    mmrec_status status = mmrec_checkpoint_parse(allocator, bytes, size, out, error);
    if (status == MMREC_OK) {
        (*out)->owned = bytes;
        (*out)->owned_size = size;
    } else {
        mmrec_alloc(allocator, bytes, size, 0, MMREC_ALLOC_FILE);
    }
    return status;
}

mmrec_status mmrec_checkpoint_read_file(mmrec_allocator *allocator, mmrec_io *io, const char *path,
                                        mmrec_checkpoint **out, mmrec_error *error) {
    MMREC_TRY_WHILE(checkpoint_read(allocator, io, path, out, error), error, "reading \"%.140s\"", path);
    return MMREC_OK;
}
