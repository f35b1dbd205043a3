/* What is trained on: the request checked, and its batches asked from the file or the task. */
#include "mmrec/data.h"

#include <string.h>

#include "train/data_impl.h"

enum { MOST = 1 << 28 }; /* rows, and steps: the model's own limit for a size */

static mmrec_status check_range(const char *name, int64_t value, mmrec_error *error) {
    if (value >= 1 && value <= MOST) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "the data's %s is %lld, it must be 1 to %d", name, (long long)value, MOST);
}

static mmrec_status check_source(const mmrec_data_request *r, mmrec_error *error) {
    if ((int)r->task < 0 || r->task >= MMREC_TASKS) {
        MMREC_FAIL(error, MMREC_CONFIG, "there is no task number %d: tasks are 1 to %d", (int)r->task, MMREC_TASKS - 1);
    }
    if (r->path && r->task != MMREC_TASK_NONE) {
        MMREC_FAIL(error, MMREC_CONFIG, "both the file \"%.200s\" and the task %s are to be trained on: choose one",
                   r->path, mmrec_task_name(r->task));
    }
    if (!r->path && r->task == MMREC_TASK_NONE) {
        MMREC_FAIL(error, MMREC_CONFIG,
                   "there is nothing to train on: choose a file, or one of the tasks copy, recall and text-markov");
    }
    return MMREC_OK;
}

static mmrec_status check_request(const mmrec_data_request *r, mmrec_error *error) {
    MMREC_TRY(check_source(r, error));
    MMREC_TRY(check_range("batch", r->batch, error));
    MMREC_TRY(check_range("time", r->time, error));
    if (!(r->held_out >= 0 && r->held_out < 1)) {
        MMREC_FAIL(error, MMREC_CONFIG, "the share to hold out is %g, it must be at least 0 and below 1", r->held_out);
    }
    return MMREC_OK;
}

mmrec_status mmrec_data_create(mmrec_allocator *allocator, mmrec_io *io, const mmrec_data_request *request,
                               mmrec_data **out, mmrec_error *error) {
    *out = NULL;
    MMREC_TRY(check_request(request, error));
    size_t path_size = request->path ? strlen(request->path) + 1 : 0, size = sizeof(mmrec_data) + path_size;
    void *memory = NULL;
    MMREC_TRY(mmrec_alloc_zero(allocator, 1, size, MMREC_ALLOC_OTHER, &memory, error));
    mmrec_data *data = memory;
    data->allocator = allocator;
    data->own_size = size;
    data->request = *request;
    if (request->path) data->request.path = memcpy((char *)memory + sizeof *data, request->path, path_size);
    mmrec_status status = request->path ? data_file_read(data, io, error) : task_define(data, error);
    if (status != MMREC_OK) {
        mmrec_data_destroy(&data);
        return status;
    }
    *out = data;
    return MMREC_OK;
}

void mmrec_data_destroy(mmrec_data **data) {
    mmrec_data *d = *data;
    if (!d) return;
    if (d->file_size > 0) mmrec_alloc(d->allocator, d->file, d->file_size, 0, MMREC_ALLOC_FILE);
    mmrec_alloc(d->allocator, d, d->own_size, 0, MMREC_ALLOC_OTHER);
    *data = NULL;
}

const mmrec_data_info *mmrec_data_info_of(const mmrec_data *data) { return &data->info; }

const mmrec_data_request *mmrec_data_request_of(const mmrec_data *data) { return &data->request; }

void mmrec_data_batch(const mmrec_data *data, mmrec_split split, int64_t number, int32_t *ids, int32_t *targets,
                      uint8_t *asked) {
    if (data->request.task != MMREC_TASK_NONE) {
        task_batch(data, split, number, ids, targets, asked);
        return;
    }
    data_file_batch(data, split, number, ids, targets);
    if (asked) memset(asked, 1, (size_t)(data->request.batch * data->request.time));
}

bool mmrec_data_starts(const mmrec_data *data, mmrec_split split, int64_t number) {
    bool carried = data->request.stream && data->request.task == MMREC_TASK_NONE;
    return !carried || number % data->part[split].batches == 0;
}
