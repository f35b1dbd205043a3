/* A file of noise in a folder of its own, and batches read from it between guards. */
#ifndef DATA_RIG_H
#define DATA_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mmrec/data.h"

static char folder[] = "/tmp/mmrec-data-XXXXXX", path[64];

static inline int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(path, sizeof path, "%s/text", folder);
    return 0;
}

static inline int remove_folder(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static inline void write_file(const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Bytes 0 to 254 by a generator of our own; eight in a row stand at one place only, which tests rely on and check. */
enum { LONGEST = 6000 };
static unsigned char noise[LONGEST];

static inline int fill_noise(void **state) {
    uint64_t word = 88172645463325252u;
    for (size_t i = 0; i < LONGEST; i++) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        noise[i] = (unsigned char)((word >> 20) % 255);
    }
    return make_folder(state);
}

static inline mmrec_data_request request_of(int64_t batch, int64_t time) {
    return (mmrec_data_request){.path = path, .seed = 1, .batch = batch, .time = time};
}

static inline mmrec_status try_create(const mmrec_data_request *request, mmrec_data **data, mmrec_error *error) {
    static mmrec_allocator allocator;
    static mmrec_io io;
    memset(&allocator, 0, sizeof allocator);
    memset(&io, 0, sizeof io);
    mmrec_status status = mmrec_data_create(&allocator, &io, request, data, error);
    if (status != MMREC_OK) {
        assert_null(*data);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    return status;
}

static inline mmrec_data *create(const mmrec_data_request *request) {
    mmrec_error error = {0};
    mmrec_data *data = NULL;
    if (try_create(request, &data, &error) != MMREC_OK) fail_msg("%s", error.message);
    return data;
}

enum { ROOM = 4096 };
static int32_t ids[ROOM], targets[ROOM];
static uint8_t asked[ROOM];

/* Reads a batch between guards and checks what is true of all: targets are one step ahead, everything is asked for. */
static inline void read_batch(const mmrec_data *data, mmrec_split split, int64_t number) {
    const mmrec_data_request *r = mmrec_data_request_of(data);
    int64_t count = r->batch * r->time;
    assert_true(count < ROOM);
    ids[count] = targets[count] = -7;
    asked[count] = 77;
    mmrec_data_batch(data, split, number, ids, targets, asked);
    assert_true(ids[count] == -7 && targets[count] == -7 && asked[count] == 77);
    for (int64_t i = 0; i < count; i++) {
        assert_true(ids[i] >= 0 && ids[i] < 256 && targets[i] >= 0 && targets[i] < 256 && asked[i] == 1);
        if ((i + 1) % r->time != 0) assert_int_equal(targets[i], ids[i + 1]);
    }
}

#endif
