/* A validator for the part of JSON Schema that docs/bench.schema.json and docs/train.schema.json use: type, properties,
 * required, additionalProperties, items, enum, minimum, oneOf, and $ref into $defs. A schema that uses anything else is
 * refused, so that no rule is written that nobody checks. */
#ifndef MMREC_TESTS_JSON_SCHEMA_H
#define MMREC_TESTS_JSON_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SCHEMA_PATH = 256, SCHEMA_FAULT = 512 };

typedef struct schema_check {
    const json_t *root;       /* of the schema */
    char fault[SCHEMA_FAULT]; /* the first fault, "" while there is none */
} schema_check;

static bool schema_fail(schema_check *check, const char *path, const char *what, const char *detail) {
    if (check->fault[0] == '\0') snprintf(check->fault, sizeof check->fault, "%s: %s %s", path, what, detail);
    return false;
}

static bool schema_known_keyword(const char *keyword) {
    static const char *const known[] = {
        "type",  "properties", "required", "additionalProperties", "items", "enum", "$ref", "minimum",
        "oneOf", "$defs",      "$schema",  "description",          "title"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i], keyword) == 0) return true;
    }
    return false;
}

static bool schema_is_type(const json_t *value, const char *type) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return strcmp(type, "object") == 0;
    case JSON_ARRAY:
        return strcmp(type, "array") == 0;
    case JSON_STRING:
        return strcmp(type, "string") == 0;
    case JSON_INTEGER:
        return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL:
        return strcmp(type, "number") == 0;
    case JSON_TRUE:
    case JSON_FALSE:
        return strcmp(type, "boolean") == 0;
    case JSON_NULL:
        return strcmp(type, "null") == 0;
    }
    return false;
}

static bool schema_type(schema_check *check, const json_t *type, const json_t *value, const char *path) {
    size_t i;
    json_t *one;
    bool good = json_is_string(type) && schema_is_type(value, json_string_value(type));
    json_array_foreach(type, i, one) good = good || schema_is_type(value, json_string_value(one));
    return good || schema_fail(check, path, "has the wrong type", "");
}

static bool schema_enum(schema_check *check, const json_t *allowed, const json_t *value, const char *path) {
    size_t i;
    json_t *one;
    bool good = false;
    json_array_foreach(allowed, i, one) good = good || json_equal(one, value);
    return good || schema_fail(check, path, "is not in the enum", "");
}

static bool schema_required(schema_check *check, const json_t *keys, const json_t *value, const char *path) {
    size_t i;
    json_t *key;
    json_array_foreach(keys, i, key) {
        if (json_is_object(value) && !json_object_get(value, json_string_value(key))) {
            return schema_fail(check, path, "lacks", json_string_value(key));
        }
    }
    return true;
}

static bool schema_validate(schema_check *check, const json_t *schema, const json_t *value, const char *path);

static bool schema_members(schema_check *check, const json_t *schema, json_t *value, const char *path) {
    const char *key;
    json_t *member, *rest = json_object_get(schema, "additionalProperties");
    json_object_foreach(value, key, member) {
        const json_t *rule = json_object_get(json_object_get(schema, "properties"), key);
        char below[SCHEMA_PATH];
        snprintf(below, sizeof below, "%s.%s", path, key);
        if (!rule && json_is_false(rest)) return schema_fail(check, path, "has the unknown key", key);
        if (!rule) rule = rest;
        if (rule && !schema_validate(check, rule, member, below)) return false;
    }
    return true;
}

static bool schema_items(schema_check *check, const json_t *rule, const json_t *value, const char *path) {
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item) {
        char below[SCHEMA_PATH];
        snprintf(below, sizeof below, "%s[%zu]", path, i);
        if (!schema_validate(check, rule, item, below)) return false;
    }
    return true;
}

/* The rule that a reference stands for, or NULL. */
static const json_t *schema_resolve(const schema_check *check, const char *reference) {
    static const char prefix[] = "#/$defs/";
    if (!reference || strncmp(reference, prefix, strlen(prefix)) != 0) return NULL;
    return json_object_get(json_object_get(check->root, "$defs"), reference + strlen(prefix));
}

static bool schema_reference(schema_check *check, const char *reference, const json_t *value, const char *path) {
    const json_t *rule = schema_resolve(check, reference);
    if (!rule) return schema_fail(check, path, "refers to the unknown", reference);
    return schema_validate(check, rule, value, path);
}

/* Whether a rule is for records of the kind that `value` says it is. */
static bool schema_is_meant(const schema_check *check, const json_t *rule, const json_t *value) {
    const json_t *whole = schema_resolve(check, json_string_value(json_object_get(rule, "$ref")));
    const json_t *kind = json_object_get(json_object_get(whole, "properties"), "record");
    schema_check one = {.root = check->root};
    return kind && json_object_get(value, "record") &&
           schema_validate(&one, kind, json_object_get(value, "record"), "");
}

/* Exactly one of the rules fits. Where none does, the fault that is told is by the one that was meant. */
static bool schema_one_of(schema_check *check, const json_t *rules, const json_t *value, const char *path) {
    size_t i;
    json_t *rule;
    int fitting = 0;
    const json_t *meant = NULL;
    json_array_foreach(rules, i, rule) {
        schema_check one = {.root = check->root};
        fitting += schema_validate(&one, rule, value, path);
        if (schema_is_meant(check, rule, value)) meant = rule;
    }
    if (fitting == 1) return true;
    if (fitting == 0 && meant) return schema_validate(check, meant, value, path);
    return schema_fail(check, path, fitting ? "fits more than one rule of" : "fits no rule of", "oneOf");
}

static bool schema_validate(schema_check *check, const json_t *schema, const json_t *value, const char *path) {
    const char *keyword;
    json_t *rule;
    json_object_foreach((json_t *)(void *)(size_t)schema, keyword, rule) {
        bool good = true;
        if (!schema_known_keyword(keyword))
            good = schema_fail(check, path, "the schema uses", keyword);
        else if (strcmp(keyword, "type") == 0)
            good = schema_type(check, rule, value, path);
        else if (strcmp(keyword, "enum") == 0)
            good = schema_enum(check, rule, value, path);
        else if (strcmp(keyword, "required") == 0)
            good = schema_required(check, rule, value, path);
        else if (strcmp(keyword, "$ref") == 0)
            good = schema_reference(check, json_string_value(rule), value, path);
        else if (strcmp(keyword, "items") == 0)
            good = schema_items(check, rule, value, path);
        else if (strcmp(keyword, "oneOf") == 0)
            good = schema_one_of(check, rule, value, path);
        else if (strcmp(keyword, "minimum") == 0 && json_is_number(value) &&
                 !(json_number_value(value) >= json_number_value(rule))) {
            good = schema_fail(check, path, "is below the minimum", "");
        }
        if (!good) return false;
    }
    return !json_is_object(value) || schema_members(check, schema, (json_t *)(void *)(size_t)value, path);
}

/* Validates `value`; "" or the first fault. */
static const char *schema_fault(schema_check *check, const json_t *schema, const json_t *value) {
    check->root = schema;
    check->fault[0] = '\0';
    schema_validate(check, schema, value, "$");
    return check->fault;
}

#endif
