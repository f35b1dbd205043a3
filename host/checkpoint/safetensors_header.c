/* The JSON header of a safetensors file: scanned, parsed, and every rule of the format checked.
 *
 * The scan comes before the JSON parser and takes no memory: a tree costs up to 91 times its text ("[{},{},..."), so
 * 16 MiB of nonsense is refused before it becomes 1.5 GB. What passes stays below 250 MB. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint/safetensors_impl.h"
#include "core/json.h"

enum { MAX_DEPTH = 3 /* header, tensor, shape */, OFFSETS = 2 };

/* Commas that the largest header has at each depth: between its members; between the 3 values of each tensor and
 * between the metadata; between the 8 axes and the 2 offsets of each tensor. */
static const int most_commas[MAX_DEPTH + 1] = {
    0, MMREC_SAFETENSORS_MAX_TENSORS, 2 * MMREC_SAFETENSORS_MAX_TENSORS + MMREC_SAFETENSORS_MAX_METADATA,
    MMREC_SAFETENSORS_MAX_TENSORS *(MMREC_SAFETENSORS_MAX_DIMS - 1 + OFFSETS - 1)};

/* ---- scan --------------------------------------------------------------------------------------------------- */

/* Index of the quote that ends the string whose first quote is at `at`; `size` if there is none. */
static size_t string_end(const char *header, size_t size, size_t at) {
    for (at++; at < size && header[at] != '"'; at++) {
        if (header[at] == '\\') at++;
    }
    return at < size ? at : size;
}

static mmrec_status scan(const char *header, size_t size, mmrec_error *error) {
    if (header[0] != '{') {
        MMREC_FAIL(error, MMREC_FORMAT, "the header begins with byte 0x%02x, wanted '{'", (unsigned char)header[0]);
    }
    int depth = 0, commas[MAX_DEPTH + 1] = {0};
    for (size_t i = 0; i < size; i++) {
        char c = header[i];
        if (c == '"') i = string_end(header, size, i);
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        if (depth < 1) return MMREC_OK; /* its end; whatever follows, the parser refuses */
        if (depth > MAX_DEPTH) {
            MMREC_FAIL(error, MMREC_FORMAT, "the header is nested %d deep at its byte %zu, at most %d are allowed",
                       depth, i, MAX_DEPTH);
        }
        if (c == ',' && ++commas[depth] > most_commas[depth]) {
            MMREC_FAIL(error, MMREC_FORMAT, "the header has more than %d commas %d deep", most_commas[depth], depth);
        }
    }
    return MMREC_OK;
}

/* ---- one tensor --------------------------------------------------------------------------------------------- */

static const char *type_text(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static const char *const tensor_keys[] = {"dtype", "shape", "data_offsets"};
static const json_type tensor_types[] = {JSON_STRING, JSON_ARRAY, JSON_ARRAY};
enum { KEY_DTYPE, KEY_SHAPE, KEY_OFFSETS, KEYS };

/* Exactly the three keys, each of its type. */
static mmrec_status tensor_values(json_t *info, const char *shown, const json_t *values[KEYS], mmrec_error *error) {
    if (!json_is_object(info)) {
        MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" is %s, wanted an object", shown, type_text(info));
    }
    for (int i = 0; i < KEYS; i++) {
        values[i] = json_object_get(info, tensor_keys[i]);
        if (!values[i]) MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" has no %s", shown, tensor_keys[i]);
        if (json_typeof(values[i]) != tensor_types[i]) {
            MMREC_FAIL(error, MMREC_FORMAT, "%s of tensor \"%s\" is %s, wanted %s", tensor_keys[i], shown,
                       type_text(values[i]), tensor_types[i] == JSON_STRING ? "a string" : "an array");
        }
    }
    if (json_object_size(info) == KEYS) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" has %zu keys, wanted only dtype, shape and data_offsets", shown,
               json_object_size(info));
}

static mmrec_status read_dtype(const json_t *value, const char *shown, mmrec_safetensors_dtype *dtype,
                               mmrec_error *error) {
    for (int i = 0; i < MMREC_SAFETENSORS_DTYPES; i++) {
        *dtype = (mmrec_safetensors_dtype)i;
        if (strcmp(json_string_value(value), mmrec_safetensors_dtype_name(*dtype)) == 0) return MMREC_OK;
    }
#define ENTRY(name, bytes) " " #name
    char got[SAFETENSORS_SHOWN];
    MMREC_FAIL(error, MMREC_FORMAT,
               "dtype of tensor \"%s\" is \"%s\", wanted one of" MMREC_SAFETENSORS_DTYPE_LIST(ENTRY), shown,
               safetensors_shown(json_string_value(value), got));
#undef ENTRY
}

static mmrec_status read_integer(const json_t *value, const char *what, size_t index, const char *shown, int64_t *out,
                                 mmrec_error *error) {
    if (!json_is_integer(value)) {
        MMREC_FAIL(error, MMREC_FORMAT, "%s %zu of tensor \"%s\" is %s, wanted an integer", what, index, shown,
                   type_text(value));
    }
    *out = json_integer_value(value);
    return MMREC_OK;
}

static mmrec_status read_shape(const json_t *value, const char *shown, mmrec_safetensors_tensor *tensor,
                               mmrec_error *error) {
    size_t ndim = json_array_size(value);
    if (ndim > MMREC_SAFETENSORS_MAX_DIMS) {
        MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" has %zu axes, at most %d are allowed", shown, ndim,
                   MMREC_SAFETENSORS_MAX_DIMS);
    }
    for (size_t i = 0; i < ndim; i++) {
        MMREC_TRY(read_integer(json_array_get(value, i), "axis", i, shown, &tensor->dim[i], error));
    }
    tensor->ndim = (int)ndim;
    return MMREC_OK;
}

/* Turns offsets into a place within the data. */
static mmrec_status read_offsets(const json_t *value, const char *shown, const unsigned char *data, size_t data_size,
                                 mmrec_safetensors_tensor *tensor, mmrec_error *error) {
    int64_t offset[OFFSETS] = {0};
    if (json_array_size(value) != OFFSETS) {
        MMREC_FAIL(error, MMREC_FORMAT, "data_offsets of tensor \"%s\" has %zu values, wanted 2", shown,
                   json_array_size(value));
    }
    for (size_t i = 0; i < OFFSETS; i++) {
        MMREC_TRY(read_integer(json_array_get(value, i), "data offset", i, shown, &offset[i], error));
    }
    if (offset[0] < 0 || offset[1] < offset[0]) {
        MMREC_FAIL(error, MMREC_FORMAT, "data_offsets of tensor \"%s\" are %lld and %lld, wanted 0 <= begin <= end",
                   shown, (long long)offset[0], (long long)offset[1]);
    }
    if ((uint64_t)offset[1] > data_size) {
        MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" ends at byte %lld of the data, which has %zu", shown,
                   (long long)offset[1], data_size);
    }
    tensor->data = data + offset[0];
    tensor->bytes = (size_t)(offset[1] - offset[0]);
    return MMREC_OK;
}

static mmrec_status read_tensor(json_t *info, const unsigned char *data, size_t data_size,
                                mmrec_safetensors_tensor *tensor, mmrec_error *error) {
    char buffer[SAFETENSORS_SHOWN];
    const char *shown = safetensors_shown(tensor->name, buffer);
    const json_t *values[KEYS] = {NULL};
    size_t bytes = 0;
    MMREC_TRY(tensor_values(info, shown, values, error));
    MMREC_TRY(read_dtype(values[KEY_DTYPE], shown, &tensor->dtype, error));
    MMREC_TRY(read_shape(values[KEY_SHAPE], shown, tensor, error));
    MMREC_TRY(safetensors_size(tensor, shown, &bytes, error));
    MMREC_TRY(read_offsets(values[KEY_OFFSETS], shown, data, data_size, tensor, error));
    if (tensor->bytes != bytes) {
        MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" has %zu bytes of data, its dtype and shape need %zu", shown,
                   tensor->bytes, bytes);
    }
    return MMREC_OK;
}

/* ---- the whole header --------------------------------------------------------------------------------------- */

static bool is_metadata(const char *key) { return strcmp(key, SAFETENSORS_METADATA_KEY) == 0; }

static mmrec_status check_name(const char *kind, const char *name, mmrec_error *error) {
    size_t length = strlen(name);
    char shown[SAFETENSORS_SHOWN];
    if (length >= 1 && length <= MMREC_SAFETENSORS_MAX_NAME) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "%s \"%s\" has a name of %zu bytes, wanted 1 to %d", kind,
               safetensors_shown(name, shown), length, MMREC_SAFETENSORS_MAX_NAME);
}

static mmrec_status check_metadata(json_t *metadata, size_t *text_size, mmrec_error *error) {
    if (!metadata) return MMREC_OK;
    if (!json_is_object(metadata)) {
        MMREC_FAIL(error, MMREC_FORMAT, SAFETENSORS_METADATA_KEY " is %s, wanted an object", type_text(metadata));
    }
    if (json_object_size(metadata) > MMREC_SAFETENSORS_MAX_METADATA) {
        MMREC_FAIL(error, MMREC_FORMAT, SAFETENSORS_METADATA_KEY " has %zu entries, at most %d are allowed",
                   json_object_size(metadata), MMREC_SAFETENSORS_MAX_METADATA);
    }
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) {
        char shown[SAFETENSORS_SHOWN];
        MMREC_TRY(check_name("metadata", key, error));
        if (!json_is_string(value)) {
            MMREC_FAIL(error, MMREC_FORMAT, "metadata \"%s\" is %s, wanted a string", safetensors_shown(key, shown),
                       type_text(value));
        }
        *text_size += strlen(key) + 1 + json_string_length(value) + 1;
    }
    return MMREC_OK;
}

/* Counts what has to be stored, so that each block is asked for once. */
static mmrec_status measure(json_t *root, size_t *tensors, size_t *entries, size_t *text_size, mmrec_error *error) {
    json_t *metadata = json_object_get(root, SAFETENSORS_METADATA_KEY);
    MMREC_TRY(check_metadata(metadata, text_size, error));
    *entries = json_object_size(metadata);
    *tensors = json_object_size(root) - (metadata ? 1 : 0);
    if (*tensors > MMREC_SAFETENSORS_MAX_TENSORS) {
        MMREC_FAIL(error, MMREC_FORMAT, "the header lists %zu tensors, at most %d are allowed", *tensors,
                   MMREC_SAFETENSORS_MAX_TENSORS);
    }
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (is_metadata(key)) continue;
        MMREC_TRY(check_name("tensor", key, error));
        *text_size += strlen(key) + 1;
    }
    return MMREC_OK;
}

/* Takes the blocks of the file. A count is set with its block, as freeing needs the block's size. */
static mmrec_status reserve(mmrec_safetensors *file, size_t tensors, size_t entries, size_t text_size,
                            mmrec_error *error) {
    void *block = NULL;
    MMREC_TRY(mmrec_alloc_zero(file->allocator, text_size, 1, MMREC_ALLOC_FILE, &block, error));
    file->text = block;
    file->text_size = text_size;
    MMREC_TRY(mmrec_alloc_zero(file->allocator, entries, sizeof *file->entries, MMREC_ALLOC_FILE, &block, error));
    file->entries = block;
    file->entry_count = entries;
    MMREC_TRY(mmrec_alloc_zero(file->allocator, tensors, sizeof *file->tensors, MMREC_ALLOC_FILE, &block, error));
    file->tensors = block;
    file->count = tensors;
    MMREC_TRY(mmrec_alloc_zero(file->allocator, tensors, sizeof *file->by_name, MMREC_ALLOC_FILE, &block, error));
    file->by_name = block;
    return MMREC_OK;
}

/* Copies a string to `*at` and moves on behind it. */
static const char *keep(char **at, const char *text) {
    size_t size = strlen(text) + 1;
    char *kept = memcpy(*at, text, size);
    *at += size;
    return kept;
}

static mmrec_status store(mmrec_safetensors *file, json_t *root, const unsigned char *data, size_t data_size,
                          mmrec_error *error) {
    char *text = file->text;
    const char *key;
    json_t *value;
    mmrec_safetensors_entry *entry = file->entries;
    mmrec_safetensors_tensor *tensor = file->tensors;
    json_object_foreach(json_object_get(root, SAFETENSORS_METADATA_KEY), key, value) {
        entry->key = keep(&text, key);
        entry->value = keep(&text, json_string_value(value));
        entry++;
    }
    json_object_foreach(root, key, value) {
        if (is_metadata(key)) continue;
        tensor->name = keep(&text, key);
        MMREC_TRY(read_tensor(value, data, data_size, tensor, error));
        tensor++;
    }
    return MMREC_OK;
}

/* Order of the data; an empty tensor stands before the one that begins at the same place, and two empty ones stand as
 * in the header, which is the order of their names in memory. */
static int by_position(const void *left, const void *right) {
    const mmrec_safetensors_tensor *a = left, *b = right;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return (a->name > b->name) - (a->name < b->name);
}

/* Every byte of the data belongs to exactly one tensor. */
static mmrec_status check_cover(const mmrec_safetensors *file, const unsigned char *data, size_t data_size,
                                mmrec_error *error) {
    size_t end = 0;
    for (size_t i = 0; i < file->count; i++) {
        const mmrec_safetensors_tensor *tensor = &file->tensors[i];
        size_t begin = (size_t)((const unsigned char *)tensor->data - data);
        if (begin != end) {
            char shown[SAFETENSORS_SHOWN];
            MMREC_FAIL(error, MMREC_FORMAT, "tensor \"%s\" begins at byte %zu of the data, wanted %zu: there is %s",
                       safetensors_shown(tensor->name, shown), begin, end,
                       begin > end ? "a gap" : "an overlap with the tensor before");
        }
        end = begin + tensor->bytes;
    }
    if (end == data_size) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "the tensors end at byte %zu of the data, which has %zu", end, data_size);
}

static int by_name(const void *left, const void *right, void *tensors) {
    const mmrec_safetensors_tensor *all = tensors;
    return strcmp(all[*(const uint32_t *)left].name, all[*(const uint32_t *)right].name);
}

static mmrec_status read_root(mmrec_safetensors *file, json_t *root, const unsigned char *data, size_t data_size,
                              mmrec_error *error) {
    size_t tensors = 0, entries = 0, text_size = 0;
    MMREC_TRY(measure(root, &tensors, &entries, &text_size, error));
    MMREC_TRY(reserve(file, tensors, entries, text_size, error));
    MMREC_TRY(store(file, root, data, data_size, error));
    if (tensors > 0) qsort(file->tensors, tensors, sizeof *file->tensors, by_position);
    MMREC_TRY(check_cover(file, data, data_size, error));
    for (size_t i = 0; i < tensors; i++) file->by_name[i] = (uint32_t)i;
    if (tensors > 0) qsort_r(file->by_name, tensors, sizeof *file->by_name, by_name, file->tensors);
    return MMREC_OK;
}

mmrec_status safetensors_read_header(mmrec_safetensors *file, const char *header, size_t size,
                                     const unsigned char *data, size_t data_size, mmrec_error *error) {
    json_t *root = NULL;
    MMREC_TRY(scan(header, size, error));
    MMREC_TRY_WHILE(mmrec_json_parse(file->allocator, header, size, &root, error), error, "parsing the header");
    mmrec_status status = read_root(file, root, data, data_size, error);
    json_decref(root);
    return status;
}
