/* --sample: what the model writes at the end, behind a prompt. */
#include <string.h>

#include "run/run_impl.h"

/* ---- text ---- */

static const char symbols[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

int32_t run_symbol(char symbol, int64_t vocab) {
    const char *at = symbol ? strchr(symbols, symbol) : NULL;
    return at && at - symbols < vocab ? (int32_t)(at - symbols) : -1;
}

/* Bytes of the UTF-8 character that begins here, 0 where none does; its number in `*code`. Longer forms than needed and
 * surrogates are no characters. */
static int character_at(const int32_t *bytes, int64_t count, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t first = (uint32_t)bytes[0];
    int size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 0;
    if (size == 0 || size > count || first > 0xf7) return 0;
    *code = size == 1 ? first : first & (0x7fu >> size);
    for (int i = 1; i < size; i++) {
        if (((uint32_t)bytes[i] & 0xc0) != 0x80) return 0;
        *code = *code << 6 | ((uint32_t)bytes[i] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code < 0xe000;
    return *code < least[size] || *code > 0x10ffff || surrogate ? 0 : size;
}

/* Control characters, and those that turn the direction of what follows. */
static bool steers(uint32_t code) {
    if (code == '\n' || code == '\t') return false;
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static void text_of_bytes(const int32_t *ids, int64_t count, char *text) {
    uint32_t code = 0;
    for (int64_t i = 0; i < count;) {
        int size = character_at(ids + i, count - i, &code);
        bool shown = size > 0 && !steers(code);
        if (size == 0) size = 1;
        for (int k = 0; k < size; k++, i++) *text++ = shown ? (char)ids[i] : '?';
    }
    *text = '\0';
}

void run_text(bool bytes, const int32_t *ids, int64_t count, char *text) {
    if (bytes) {
        text_of_bytes(ids, count, text);
        return;
    }
    for (int64_t i = 0; i < count; i++) text[i] = (size_t)ids[i] < sizeof symbols - 1 ? symbols[ids[i]] : '?';
    text[count] = '\0';
}

/* ---- the prompt ---- */

static mmrec_status make_ids(train_run *run, int64_t count, mmrec_error *error) {
    void *ids = NULL;
    MMREC_TRY(mmrec_alloc_zero(run->context->allocator, (size_t)count, sizeof *run->prompt.ids, MMREC_ALLOC_OTHER, &ids,
                               error));
    run->prompt = (train_prompt){ids, count};
    return MMREC_OK;
}

static mmrec_status prompt_given(train_run *run, mmrec_error *error) {
    const char *text = run->setup.prompt;
    int64_t vocab = mmrec_data_info_of(run->data)->vocab;
    MMREC_TRY(make_ids(run, (int64_t)strlen(text), error));
    for (int64_t i = 0; i < run->prompt.count; i++) {
        run->prompt.ids[i] = run->setup.data.path ? (unsigned char)text[i] : run_symbol(text[i], vocab);
        if (run->prompt.ids[i] >= 0) continue;
        MMREC_FAIL(error, MMREC_CONFIG, "--prompt: symbol %lld is none of task %s, which has %.*s", (long long)i + 1,
                   mmrec_task_name(run->setup.data.task), (int)vocab, symbols);
    }
    return MMREC_OK;
}

/* A held-out sequence of the task up to the first place that is asked for. */
static mmrec_status prompt_of_task(train_run *run, mmrec_error *error) {
    const mmrec_data_request *r = mmrec_data_request_of(run->data);
    size_t tokens = (size_t)(r->batch * r->time), bytes = tokens * (2 * sizeof(int32_t) + 1);
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(run->context->allocator, bytes, 1, MMREC_ALLOC_OTHER, &memory, error));
    int32_t *ids = memory, *targets = ids + tokens;
    const uint8_t *asked = (const uint8_t *)(targets + tokens);
    mmrec_data_batch(run->data, MMREC_SPLIT_HELD_OUT, 0, ids, targets, (uint8_t *)(targets + tokens));
    int64_t count = 1;
    while (count < r->time && !asked[count - 1]) count++;
    mmrec_status status = make_ids(run, count, error);
    if (status == MMREC_OK) memcpy(run->prompt.ids, ids, (size_t)count * sizeof *ids);
    mmrec_alloc(run->context->allocator, memory, bytes, 0, MMREC_ALLOC_OTHER);
    return status;
}

mmrec_status run_sample_open(train_run *run, mmrec_error *error) {
    if (run->setup.sample == 0) return MMREC_OK;
    bool given = run->setup.data.path || mmrec_option_given(run->setup.options, MMREC_OPTION_prompt);
    return given ? prompt_given(run, error) : prompt_of_task(run, error);
}

void run_sample_close(train_run *run) {
    size_t bytes = (size_t)run->prompt.count * sizeof *run->prompt.ids;
    if (run->prompt.ids) mmrec_alloc(run->context->allocator, run->prompt.ids, bytes, 0, MMREC_ALLOC_OTHER);
    run->prompt = (train_prompt){0};
}

/* ---- the sample ---- */

static mmrec_status write_sample(train_run *run, int32_t *ids, char *prompt, char *text, mmrec_error *error) {
    const mmrec_train_setup *s = &run->setup;
    bool bytes = s->data.path != NULL;
    MMREC_TRY(mmrec_trainer_sample(run->trainer, run->prompt.ids, run->prompt.count, s->temperature, s->train.seed, ids,
                                   s->sample, error));
    run_text(bytes, run->prompt.ids, run->prompt.count, prompt);
    run_text(bytes, ids, s->sample, text);
    train_log_sample(&run->log, mmrec_trainer_totals(run->trainer).steps, prompt, text);
    return MMREC_OK;
}

mmrec_status run_sample(train_run *run, mmrec_error *error) {
    if (run->setup.sample == 0) return MMREC_OK;
    size_t ids = (size_t)run->setup.sample * sizeof(int32_t), text = (size_t)run->setup.sample + 1;
    size_t bytes = ids + text + (size_t)run->prompt.count + 1;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(run->context->allocator, bytes, 1, MMREC_ALLOC_OTHER, &memory, error));
    char *texts = (char *)memory + ids;
    mmrec_status status = write_sample(run, memory, texts + text, texts, error);
    mmrec_alloc(run->context->allocator, memory, bytes, 0, MMREC_ALLOC_OTHER);
    return status;
}
