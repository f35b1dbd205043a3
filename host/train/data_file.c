/* The bytes of a file: read whole, cut into a part to train on and the tail that is held out, and these into rows.
 *
 * A row of T steps takes T + 1 bytes, as the last target is the byte behind it; rows that follow each other share that
 * one. Windows are counted so that all of them fit at every offset an epoch may draw, 0 to T - 1: then every epoch has
 * as many. Sizes are below 2^29 each and a file below 2^35 bytes, so no product here passes 2^58. */
#include <math.h>
#include <string.h>
#include <zlib.h>

#include "core/text.h"
#include "train/data_impl.h"

#define FILE_LIMIT ((size_t)1 << 34) /* bytes: a file is held in memory as it is */

/* ---- sizes ---- */

/* The least bytes of a part for one batch; 0 where nothing is to be held out. */
static int64_t part_needs(const mmrec_data_request *r, mmrec_split split) {
    int64_t batch = r->batch * r->time + 1;
    if (split == MMREC_SPLIT_HELD_OUT) return r->held_out > 0 ? batch : 0;
    return r->stream ? batch : (r->batch + 1) * r->time;
}

static int64_t part_size(const mmrec_data_request *r, mmrec_split split, int64_t size) {
    int64_t held_out = (int64_t)((double)size * r->held_out);
    return split == MMREC_SPLIT_HELD_OUT ? held_out : size - held_out;
}

static bool enough(const mmrec_data_request *r, int64_t size) {
    return part_size(r, MMREC_SPLIT_TRAIN, size) >= part_needs(r, MMREC_SPLIT_TRAIN) &&
           part_size(r, MMREC_SPLIT_HELD_OUT, size) >= part_needs(r, MMREC_SPLIT_HELD_OUT);
}

/* The least file that has both parts; FILE_LIMIT + 1 where none has. Neither part shrinks when a file grows. */
static int64_t least_file(const mmrec_data_request *r) {
    int64_t low = 0, high = (int64_t)FILE_LIMIT + 1;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *(enough(r, middle) ? &high : &low) = middle;
    }
    return high;
}

static mmrec_status check_size(const mmrec_data *data, mmrec_error *error) {
    const mmrec_data_request *r = &data->request;
    static const char *const use[] = {"to train on", "held out to validate on"};
    int64_t size = (int64_t)data->file_size, least = least_file(r);
    if (size == 0) MMREC_FAIL(error, MMREC_CONFIG, "\"%.200s\" is empty: there is nothing to train on", r->path);
    if (enough(r, size)) return MMREC_OK;
    mmrec_split split = part_size(r, MMREC_SPLIT_TRAIN, size) < part_needs(r, MMREC_SPLIT_TRAIN) ? MMREC_SPLIT_TRAIN
                                                                                                 : MMREC_SPLIT_HELD_OUT;
    if (least > (int64_t)FILE_LIMIT) {
        MMREC_FAIL(
            error, MMREC_CONFIG,
            "\"%.200s\" has %lld bytes %s, a batch of %lld rows of %lld steps needs %lld: choose a smaller batch "
            "or time, or another share to hold out than %g",
            r->path, (long long)part_size(r, split, size), use[split], (long long)r->batch, (long long)r->time,
            (long long)part_needs(r, split), r->held_out);
    }
    MMREC_FAIL(
        error, MMREC_CONFIG,
        "\"%.200s\" has %lld bytes %s, a batch of %lld rows of %lld steps needs %lld: the file has %lld bytes and "
        "must have %lld, or choose a smaller batch or time",
        r->path, (long long)part_size(r, split, size), use[split], (long long)r->batch, (long long)r->time,
        (long long)part_needs(r, split), (long long)size, (long long)least);
}

/* ---- parts ---- */

static void cut_part(mmrec_data *data, mmrec_split split, const unsigned char *bytes, int64_t size) {
    const mmrec_data_request *r = &data->request;
    data_part *part = &data->part[split];
    part->bytes = bytes;
    part->size = size;
    if (size == 0) return;
    if (r->stream) {
        part->region = (size - 1) / r->batch;
        part->batches = part->region / r->time;
        return;
    }
    int64_t windows = split == MMREC_SPLIT_TRAIN ? size / r->time - 1 : (size - 1) / r->time;
    part->batches = windows / r->batch;
    part->order = data_order_of(windows);
}

static void describe(mmrec_data *data) {
    const char *slash = strrchr(data->request.path, '/');
    const char *name = slash ? slash + 1 : data->request.path;
    mmrec_data_info *info = &data->info;
    mmrec_text_printable(name, strlen(name), info->name, sizeof info->name);
    info->vocab = 256;
    info->checksum = (uint32_t)crc32_z(crc32_z(0, NULL, 0), data->file, data->file_size);
    info->tokens[MMREC_SPLIT_TRAIN] = data->part[MMREC_SPLIT_TRAIN].size;
    info->tokens[MMREC_SPLIT_HELD_OUT] = data->part[MMREC_SPLIT_HELD_OUT].size;
    info->batches_per_epoch = data->part[MMREC_SPLIT_TRAIN].batches;
    info->held_out_batches = data->part[MMREC_SPLIT_HELD_OUT].batches;
    info->best_loss = info->best_accuracy = NAN;
}

mmrec_status data_file_read(mmrec_data *data, mmrec_io *io, mmrec_error *error) {
    const mmrec_data_request *r = &data->request;
    MMREC_TRY_WHILE(mmrec_io_read_file(io, data->allocator, r->path, FILE_LIMIT, &data->file, &data->file_size, error),
                    error, "reading the data to train on");
    MMREC_TRY(check_size(data, error));
    int64_t train = part_size(r, MMREC_SPLIT_TRAIN, (int64_t)data->file_size);
    const unsigned char *bytes = data->file;
    cut_part(data, MMREC_SPLIT_TRAIN, bytes, train);
    cut_part(data, MMREC_SPLIT_HELD_OUT, bytes + train, (int64_t)data->file_size - train);
    describe(data);
    return MMREC_OK;
}

/* ---- batches ---- */

static void read_row(const unsigned char *from, int64_t time, int32_t *ids, int32_t *targets) {
    for (int64_t t = 0; t < time; t++) ids[t] = from[t];
    memcpy(targets, ids + 1, (size_t)(time - 1) * sizeof *targets);
    targets[time - 1] = from[time];
}

/* Where row `row` of batch `batch` of epoch `epoch` begins. */
static int64_t row_begin(const mmrec_data *data, mmrec_split split, int64_t epoch, int64_t batch, int64_t row) {
    const mmrec_data_request *r = &data->request;
    const data_part *part = &data->part[split];
    if (r->stream) return row * part->region + batch * r->time;
    int64_t place = batch * r->batch + row;
    if (split == MMREC_SPLIT_HELD_OUT) return place * r->time;
    uint32_t offset = mmrec_rng_below(r->seed, DATA_DRAW_OFFSET, (uint64_t)epoch, (uint32_t)r->time);
    return (int64_t)offset + data_order_at(&part->order, r->seed, epoch, place) * r->time;
}

void data_file_batch(const mmrec_data *data, mmrec_split split, int64_t number, int32_t *ids, int32_t *targets) {
    const data_part *part = &data->part[split];
    int64_t epoch = number / part->batches, batch = number % part->batches, time = data->request.time;
    for (int64_t row = 0; row < data->request.batch; row++) {
        read_row(part->bytes + row_begin(data, split, epoch, batch, row), time, ids + row * time, targets + row * time);
    }
}
