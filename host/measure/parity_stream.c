/* Kind `stream`: a sequence in pieces, state carried from one to the next. */
#include <stdio.h>
#include <string.h>

#include "core/units.h"
#include "parity_impl.h"

enum { STATES = 3 };
static const char *const state_names[STATES] = {"h", "mem_k", "mem_v"};

static mmrec_status add_states(parity_work *work, int64_t batch, mmrec_error *error) {
    mmrec_shape memory = mmrec_shape3(batch, work->config.mmrec.slots, work->config.mmrec.dim);
    mmrec_shape h = mmrec_shape2(batch, work->config.mmrec.dim);
    for (int64_t layer = 0; layer < work->config.mmrec.layers; layer++) {
        for (int i = 0; i < STATES; i++) {
            char name[64];
            snprintf(name, sizeof name, "state.%lld.%s", (long long)layer, state_names[i]);
            MMREC_TRY(parity_item_add(work, PARITY_OUTPUT, name, i == 0 ? h : memory, 0, error));
        }
    }
    return MMREC_OK;
}

/* Steps per piece: the sequence cut into `chunks` pieces of equal length, the last one shorter where that must be. */
static mmrec_status piece_length(const parity_work *work, int64_t time, int64_t *out, mmrec_error *error) {
    const char *text = mmrec_safetensors_metadata(work->file, "chunks");
    int64_t chunks = 0;
    if (!text || !mmrec_units_whole(text, &chunks) || chunks < 1 || chunks > time) {
        MMREC_FAIL(error, MMREC_FORMAT, "metadata 'chunks' must be a whole number from 1 to the %lld steps of in.ids",
                   (long long)time);
    }
    *out = (time + chunks - 1) / chunks;
    return MMREC_OK;
}

/* Feeds steps [first, first + count); their logits (B, count, V) go to their place in work->got. */
static mmrec_status feed_piece(parity_work *work, const mmrec_shape *ids, int64_t first, int64_t count, double *logits,
                               mmrec_error *error) {
    int64_t vocab = work->config.mmrec.vocab, time = ids->dim[1];
    parity_take_columns(work, ids, 0, first, count);
    MMREC_TRY(mmrec_stream_feed(work->stream, work->piece, count, logits, error));
    for (int64_t b = 0; b < ids->dim[0]; b++) {
        memcpy(work->got + (b * time + first) * vocab, logits + b * count * vocab,
               (size_t)(count * vocab) * sizeof *logits);
    }
    return MMREC_OK;
}

static mmrec_status feed_all(parity_work *work, const mmrec_shape *ids, int64_t piece, mmrec_error *error) {
    mmrec_allocator *allocator = work->result->allocator;
    size_t room = (size_t)(ids->dim[0] * piece * work->config.mmrec.vocab);
    void *logits = NULL;
    mmrec_status status = mmrec_alloc_zero(allocator, room, sizeof(double), MMREC_ALLOC_MEASURE, &logits, error);
    for (int64_t first = 0; first < ids->dim[1] && status == MMREC_OK; first += piece) {
        int64_t left = ids->dim[1] - first;
        status = feed_piece(work, ids, first, left < piece ? left : piece, logits, error);
    }
    if (logits) mmrec_alloc(allocator, logits, room * sizeof(double), 0, MMREC_ALLOC_MEASURE);
    return status;
}

/* Items of the states follow each other layer by layer, h, mem_k, mem_v. */
static mmrec_status compare_states(parity_work *work, const parity_item *items, mmrec_error *error) {
    for (int64_t layer = 0; layer < work->config.mmrec.layers; layer++) {
        for (int i = 0; i < STATES; i++) {
            double *to[STATES] = {NULL};
            to[i] = work->got;
            MMREC_TRY(mmrec_stream_state(work->stream, layer, to[0], to[1], to[2], error));
            MMREC_TRY(parity_compare(work, &items[layer * STATES + i], error));
        }
    }
    return MMREC_OK;
}

mmrec_status parity_run_stream(parity_work *work, mmrec_error *error) {
    const mmrec_parity_options *options = work->result->options;
    mmrec_shape ids;
    int64_t piece = 0;
    MMREC_TRY(parity_shape(work, "in.ids", 2, &ids, error));
    MMREC_TRY(piece_length(work, ids.dim[1], &piece, error));
    mmrec_model_run run = {.batch = ids.dim[0], .time = piece};
    MMREC_TRY(parity_build(work, run, error));
    MMREC_TRY(parity_item_add(work, PARITY_INPUT, "ids", ids, 0, error));
    size_t logits = work->item_count;
    mmrec_shape shape = mmrec_shape3(ids.dim[0], ids.dim[1], work->config.mmrec.vocab);
    MMREC_TRY(parity_item_add(work, PARITY_OUTPUT, "logits", shape, 0, error));
    MMREC_TRY(add_states(work, ids.dim[0], error));
    MMREC_TRY(parity_items_check(work, error));
    MMREC_TRY(parity_load(work, error));
    MMREC_TRY(parity_read_ids(work, work->config.mmrec.vocab, error));
    MMREC_TRY(mmrec_stream_create(work->result->allocator, options->backend, work->exec, &work->config.mmrec, run.batch,
                                  options->hem, options->threads, &work->stream, error));
    MMREC_TRY(feed_all(work, &ids, piece, error));
    MMREC_TRY(parity_compare(work, &work->items[logits], error));
    return compare_states(work, &work->items[logits + 1], error);
}
