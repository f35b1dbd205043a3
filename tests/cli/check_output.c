/* Checks a file that a program of ours wrote, as a stranger would read it.
 *
 *   cli_check json SCHEMA FILE            against the JSON Schema
 *   cli_check jsonl SCHEMA FILE           every line of it, each a JSON text that ends with a line feed
 *   cli_check csv FILE ROWS               RFC 4180: CRLF, quotes, as many fields in every row, so many rows of figures
 *   cli_check get FILE PATH               prints the JSON value at a path like cases.0.sides.1.hem */
#include <stdlib.h>

#include "json_schema.h"

static int complain(const char *file, const char *what) {
    fprintf(stderr, "%s: %s\n", file, what);
    return 1;
}

static json_t *load(const char *path) {
    json_error_t fault;
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
    if (!value) fprintf(stderr, "%s:%d: %s\n", path, fault.line, fault.text);
    return value;
}

static int check_json(const char *schema_path, const char *path) {
    schema_check check;
    json_t *schema = load(schema_path), *value = load(path);
    int bad = !schema || !value;
    if (!bad && *schema_fault(&check, schema, value)) bad = complain(path, check.fault);
    json_decref(schema);
    json_decref(value);
    return bad;
}

static int check_line(const char *path, long number, const char *line, size_t size, const json_t *schema) {
    schema_check check;
    json_error_t fault;
    json_t *value = json_loadb(line, size, JSON_REJECT_DUPLICATES, &fault);
    if (!value) snprintf(check.fault, sizeof check.fault, "is no JSON: %s", fault.text);
    bool bad = !value || *schema_fault(&check, schema, value);
    if (bad) fprintf(stderr, "%s:%ld: %s\n", path, number, check.fault);
    json_decref(value);
    return bad;
}

static int check_lines(const char *schema_path, const char *path) {
    json_t *schema = load(schema_path);
    FILE *file = fopen(path, "rb");
    char *line = NULL;
    size_t room = 0;
    long number = 0;
    int bad = !schema || !file;
    for (ssize_t size; !bad && (size = getline(&line, &room, file)) > 0;) {
        bad = check_line(path, ++number, line, (size_t)size, schema);
        if (!bad && line[size - 1] != '\n') bad = complain(path, "the last line does not end");
    }
    if (!bad && number == 0) bad = complain(path, "there is no line");
    if (file) fclose(file);
    free(line);
    json_decref(schema);
    return bad;
}

/* One record: fields counted, the end of line taken. NULL, or what is wrong. */
static const char *read_record(FILE *file, int *fields) {
    bool quoted = false;
    *fields = 1;
    for (int c = fgetc(file);; c = fgetc(file)) {
        if (c == EOF) return "the last record does not end with CRLF";
        if (c == '"')
            quoted = !quoted; /* a doubled quote opens and closes */
        else if (quoted)
            continue;
        else if (c == ',')
            ++*fields;
        else if (c == '\n')
            return "a line feed without a carriage return";
        else if (c == '\r')
            return fgetc(file) == '\n' ? NULL : "a carriage return without a line feed";
    }
}

static int check_csv(const char *path, int rows) {
    FILE *file = fopen(path, "rb");
    int columns = 0, count = 0;
    const char *fault = file ? NULL : "cannot be opened";
    while (!fault) {
        int c = fgetc(file), fields = 0;
        if (c == EOF) break;
        ungetc(c, file);
        fault = read_record(file, &fields);
        if (count++ == 0) columns = fields;
        if (!fault && fields != columns) fault = "a record has another number of fields than the header";
    }
    if (!fault && count != rows + 1) fault = "the number of rows is not the expected one";
    if (file) fclose(file);
    return fault ? complain(path, fault) : 0;
}

static int get(const char *path, const char *where) {
    json_t *root = load(path);
    const json_t *value = root;
    char part[64];
    while (value && *where) {
        size_t length = strcspn(where, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, where);
        value = json_is_array(value) ? json_array_get(value, strtoul(part, NULL, 10)) : json_object_get(value, part);
        where += length + (where[length] == '.');
    }
    if (value) json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(root);
    return value ? 0 : complain(path, "there is no such value");
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "json") == 0) return check_json(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "jsonl") == 0) return check_lines(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "csv") == 0) return check_csv(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "get") == 0) return get(argv[2], argv[3]);
    return complain("cli_check", "json SCHEMA FILE | jsonl SCHEMA FILE | csv FILE ROWS | get FILE PATH");
}
