/* One fixture from file to rows. */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "parity_impl.h"

enum { FILE_LIMIT = 1 << 30 }; /* bytes of a fixture; they are small, and the file is read whole */

static void release(mmrec_allocator *allocator, void *memory, size_t bytes) {
    if (memory) mmrec_alloc(allocator, memory, bytes, 0, MMREC_ALLOC_MEASURE);
}

static void work_free(parity_work *work) {
    mmrec_allocator *allocator = work->result->allocator;
    release(allocator, work->items, work->item_capacity * sizeof *work->items);
    release(allocator, work->expected, work->room * sizeof *work->expected);
    release(allocator, work->got, work->room * sizeof *work->got);
    release(allocator, work->kept, work->kept_count * sizeof *work->kept);
    release(allocator, work->ids, 2 * work->id_count * sizeof *work->ids); /* and piece */
    release(allocator, work->log, work->log_count * sizeof *work->log);
    json_decref(work->zero_grad);
    mmrec_stream_destroy(&work->stream);
    mmrec_optimizer_destroy(&work->optimizer);
    mmrec_exec_destroy(&work->exec);
    mmrec_plan_destroy(&work->plan);
    mmrec_graph_destroy(&work->graph);
    mmrec_safetensors_destroy(&work->file);
}

/* Checks what an open file holds. */
static mmrec_status check_content(parity_work *work, const char *path, mmrec_error *error) {
    MMREC_TRY(parity_kind_find(work->file, &work->kind, error));
    const char *config = mmrec_safetensors_metadata(work->file, "config");
    if (!config) MMREC_FAIL(error, MMREC_FORMAT, "metadata 'config' is missing");
    MMREC_TRY(parity_config_parse(work, config, error));
    MMREC_TRY(mmrec_model_check(work->model, &work->config, error));
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char text[160];
    snprintf(work->result->label, sizeof work->result->label, "%s: %s",
             mmrec_text_printable(name, strlen(name), text, sizeof text), work->kind->name);
    return work->kind->run ? work->kind->run(work, error) : parity_run_graph(work, error);
}

/* Errors of opening name the file themselves; later ones are told which file it was. */
static mmrec_status check_file(parity_work *work, mmrec_io *io, const char *path, mmrec_error *error) {
    MMREC_TRY(mmrec_safetensors_open(io, work->result->allocator, path, FILE_LIMIT, &work->file, error));
    MMREC_TRY_WHILE(check_content(work, path, error), error, "checking %.120s", path);
    return MMREC_OK;
}

mmrec_status mmrec_parity_run(mmrec_allocator *allocator, mmrec_io *io, const char *path,
                              const mmrec_parity_options *options, mmrec_parity **out, mmrec_error *error) {
    void *memory = NULL;
    *out = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, sizeof(mmrec_parity), MMREC_ALLOC_MEASURE, &memory, error));
    mmrec_parity *result = memory;
    result->allocator = allocator;
    result->options = options;
    parity_work work = {.result = result};
    mmrec_status status = check_file(&work, io, path, error);
    work_free(&work);
    result->options = NULL;
    if (status != MMREC_OK) {
        mmrec_parity_destroy(&result);
        return status;
    }
    *out = result;
    return MMREC_OK;
}

void mmrec_parity_destroy(mmrec_parity **parity) {
    mmrec_parity *p = *parity;
    if (!p) return;
    release(p->allocator, p->rows, p->row_capacity * sizeof *p->rows);
    release(p->allocator, p, sizeof *p);
    *parity = NULL;
}

int mmrec_parity_count(const mmrec_parity *parity) { return (int)parity->row_count; }
const mmrec_parity_row *mmrec_parity_at(const mmrec_parity *parity, int index) { return &parity->rows[index]; }

int mmrec_parity_failures(const mmrec_parity *parity) {
    int failures = 0;
    for (size_t i = 0; i < parity->row_count; i++) failures += !parity->rows[i].passed;
    return failures;
}
