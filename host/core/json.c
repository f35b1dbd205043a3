/* JSON through jansson, with its memory taken from mmrec_alloc. */
#include "core/json.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>

/* In front of every block, as free is given neither size nor allocator. Blocks of one parse form a ring. */
typedef struct block {
    _Alignas(16) struct block *next;
    struct block *before;
    mmrec_allocator *owner;
    size_t bytes;
} block;

/* A parse under way. jansson 2.14 does not survive a lack of memory: its lexer ignores that a character could not be
 * stored, takes it back later, and writes in front of its buffer. So the first request that fails leaves jansson by
 * longjmp, and the ring gives back all that it held. */
typedef struct parse {
    block ring;
    jmp_buf no_memory;
} parse;

static _Thread_local mmrec_allocator *in_use;
static _Thread_local parse *under_way;

static void ring_insert(block *at, block *b) {
    b->next = at->next;
    b->before = at;
    at->next->before = b;
    at->next = b;
}

static void ring_remove(block *b) {
    b->before->next = b->next;
    b->next->before = b->before;
}

static void *json_take(size_t size) {
    bool possible = in_use && size <= SIZE_MAX - sizeof(block);
    block *b = possible ? mmrec_alloc(in_use, NULL, 0, sizeof(block) + size, MMREC_ALLOC_JSON) : NULL;
    if (!b && under_way) longjmp(under_way->no_memory, 1);
    if (!b) return NULL;
    b->owner = in_use;
    b->bytes = sizeof(block) + size;
    b->next = b->before = b;
    if (under_way) ring_insert(&under_way->ring, b);
    return b + 1;
}

static void json_give_back(void *memory) {
    if (!memory) return;
    block *b = (block *)memory - 1;
    ring_remove(b);
    (void)mmrec_alloc(b->owner, b, b->bytes, 0, MMREC_ALLOC_JSON);
}

static void set_functions(void) { json_set_alloc_funcs(json_take, json_give_back); }

mmrec_allocator *mmrec_json_use(mmrec_allocator *allocator) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_functions);
    mmrec_allocator *before = in_use;
    in_use = allocator;
    return before;
}

/* Our own words for what jansson found: its texts quote the input, and change with its version. */
static const char *reason(enum json_error_code code) {
    switch (code) {
    case json_error_stack_overflow:
        return "it is nested too deeply";
    case json_error_invalid_utf8:
        return "a string is not UTF-8";
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "something follows its end";
    case json_error_null_byte_in_key:
    case json_error_null_character:
        return "a string has a NUL character";
    case json_error_duplicate_key:
        return "the same key appears twice in an object";
    case json_error_numeric_overflow:
        return "a number is too large";
    default:
        return "the syntax is wrong";
    }
}

/* False: memory ran out, and nothing is left of the attempt. */
static bool load(parse *p, const char *text, size_t size, json_t **out, json_error_t *found) {
    if (setjmp(p->no_memory) != 0) {
        while (p->ring.next != &p->ring) json_give_back(p->ring.next + 1);
        return false;
    }
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, found);
    ring_remove(&p->ring); /* the tree outlives the parse, its blocks stay a ring of their own */
    return true;
}

mmrec_status mmrec_json_parse(mmrec_allocator *allocator, const char *text, size_t size, json_t **out,
                              mmrec_error *error) {
    json_error_t found = {0};
    parse p;
    p.ring.next = p.ring.before = &p.ring;
    *out = NULL;
    mmrec_allocator *before = mmrec_json_use(allocator);
    under_way = &p;
    bool had_memory = load(&p, text, size, out, &found);
    under_way = NULL;
    (void)mmrec_json_use(before);
    if (!had_memory) MMREC_FAIL(error, MMREC_NO_MEMORY, "not enough memory to parse %zu bytes of JSON", size);
    if (*out) return MMREC_OK;
    MMREC_FAIL(error, MMREC_FORMAT, "invalid JSON near byte %d: %s", found.position, reason(json_error_code(&found)));
}
