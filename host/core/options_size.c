/* The sizes that --size stands for: the only place of these numbers. The rest of a model follows from its width. */
#include "core/options_impl.h"

#include <string.h>

static const mmrec_option_id column[] = {MMREC_OPTION_dim,   MMREC_OPTION_layers, MMREC_OPTION_heads,
                                         MMREC_OPTION_time,  MMREC_OPTION_batch,  MMREC_OPTION_vocab,
                                         MMREC_OPTION_slots, MMREC_OPTION_level};
enum { COLUMNS = sizeof column / sizeof *column };

static const struct {
    const char *name;
    int64_t value[COLUMNS];
} sizes[] = {
    {"nano", {128, 2, 4, 64, 12, 256, 64, 1}},
    {"small", {512, 2, 8, 512, 2, 1000, 1024, 2}},
    {"medium", {1024, 2, 8, 1024, 2, 1000, 1024, 2}},
};

bool mmrec_option_size(const mmrec_options *options, mmrec_option_id id, int64_t *out) {
    mmrec_option_id size = mmrec_option_find(options->program, "size");
    int c = 0;
    while (c < COLUMNS && column[c] != id) c++;
    if (size == MMREC_OPTIONS || c == COLUMNS || !mmrec_option_taken(options->program, id)) return false;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (!mmrec_option_is(options, size, sizes[i].name)) continue;
        *out = sizes[i].value[c];
        return true;
    }
    return false;
}
