/* Why nobody can run, in one line: "block 2: 112 of 224 threads wait at the barrier k.cu:40, 112 have left". */
#include "scheduler.h"

#include <stdio.h>
#include <string.h>

namespace simt_emulation {

const char *base_name(const char *file) {
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

static const char *what(hold kind) {
    switch (kind) {
    case BLOCK_BARRIER:
        return "wait at the barrier";
    case WARP_BARRIER:
        return "wait at the warp's barrier";
    case SHUFFLE:
        return "wait at the shuffle";
    case BALLOT:
        return "wait at the ballot";
    case CLUSTER_BARRIER:
        return "wait at the cluster's barrier";
    case MBARRIER:
        return "wait for the mbarrier";
    case SPINS:
        return "spin";
    case LEFT:
        return "have left";
    case RUNS:
        break;
    }
    return "run";
}

static bool same(const site &a, const site &b) {
    if (a.kind != b.kind) return false;
    return a.kind == LEFT || a.kind == RUNS || (a.line == b.line && !strcmp(a.file, b.file));
}

/* Appends how many of the fibers stand where, at most four places. */
static void describe(const fiber *first, unsigned count, const char *where, char *words, size_t bytes) {
    int length = snprintf(words, bytes, "%s:", where);
    site told[4];
    unsigned places = 0;
    for (unsigned i = 0; i < count && places < 4; i++) {
        unsigned known = 0, here = 0;
        while (known < places && !same(told[known], first[i].at)) known++;
        if (known < places) continue;
        const site &at = told[places++] = first[i].at;
        for (unsigned j = i; j < count; j++) here += same(at, first[j].at);
        char total[32] = "", place[96] = "";
        if (places == 1) snprintf(total, sizeof total, " of %u threads", count);
        if (at.kind != LEFT && at.kind != RUNS) snprintf(place, sizeof place, " %s:%d", base_name(at.file), at.line);
        length += snprintf(words + length, bytes - static_cast<size_t>(length), "%s %u%s %s%s", places > 1 ? "," : "",
                           here, total, what(at.kind), place);
        if (static_cast<size_t>(length) >= bytes) return;
    }
}

/* The first warp with threads held up inside the warp, else the first block, or cluster, with threads held up. */
void describe_deadlock(char *words, size_t bytes) {
    unsigned threads = now.what->shape.block, held = 0;
    const block *first = NULL;
    char where[96];
    for (unsigned i = 0; i < now.group_blocks * threads; i++) {
        const fiber *f = &now.group->fibers[i];
        const block *b = f->home;
        if (f->at.kind == LEFT || f->at.kind == RUNS) continue;
        if (f->at.kind == WARP_BARRIER || f->at.kind == SHUFFLE || f->at.kind == BALLOT) {
            snprintf(where, sizeof where, "nobody can run: block %u, warp %u", b->index, f->thread / 32);
            describe(b->fibers + f->thread / 32 * 32, 32, where, words, bytes);
            return;
        }
        if (!first) first = b;
    }
    for (unsigned b = 0; b < now.group_blocks; b++) held += now.group[b].left < threads;
    snprintf(where, sizeof where, "nobody can run, %u block%s held up: block %u", held, held == 1 ? "" : "s",
             first->index);
    describe(first->fibers, threads, where, words, bytes);
}

} // namespace simt_emulation
