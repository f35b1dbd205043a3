/* Barriers, shuffles and votes: everybody of a block, a warp or a cluster meets at one place in the source.
 *
 * One who stands elsewhere waits for ever: the launch then ends with a count of who waits where. Barriers give order to
 * memory (as TSan sees it); shuffles and votes do not, as on the device. */
#include "scheduler.h"

#include <string.h>

namespace simt_emulation {

void meeting_begin(meeting *m, fiber *first, unsigned size) {
    m->first = first;
    m->size = size;
    m->arrived = m->turn = 0;
}

static bool same(const site &a, const site &b) {
    return a.kind == b.kind && a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

/* Returns the turn in which all came together. */
static unsigned meet(meeting *m, const site &at, bool soon, bool orders, bool vote) {
    unsigned turn = m->turn;
    fiber *me = now.current;
    me->at = at;
    if (m->arrived == 0) {
        m->at = at;
        m->all[turn] = true;
    }
    if (same(m->at, at)) {
        m->arrived++;
        m->all[turn] = m->all[turn] && vote;
        if (orders) order_release(&m->order[turn]);
        if (m->arrived == m->size) {
            m->arrived = 0;
            m->turn = !turn;
            wake(m->first, m->size, soon);
        }
    }
    run_next();
    if (orders) order_acquire(&m->order[turn]);
    return turn;
}

void block_sync(const char *file, int line) {
    meet(&now.current->home->barrier, {BLOCK_BARRIER, file, line}, false, true, true);
}

bool block_all(bool yes, const char *file, int line) {
    meeting *m = &now.current->home->barrier;
    return m->all[meet(m, {BLOCK_BARRIER, file, line}, false, true, yes)];
}

void cluster_sync(const char *file, int line) {
    meet(&now.current->home->team->sync, {CLUSTER_BARRIER, file, line}, false, true, true);
}

static warp *my_warp() { return &now.current->home->warps[now.current->thread / 32]; }

void warp_sync(const char *file, int line) { meet(&my_warp()->meet, {WARP_BARRIER, file, line}, true, true, true); }

uint32_t shuffle(uint32_t word, int source, const char *file, int line) {
    warp *mine = my_warp();
    int lane = static_cast<int>(now.current->thread % 32);
    mine->word[mine->meet.turn][lane] = word;
    unsigned turn = meet(&mine->meet, {SHUFFLE, file, line}, true, false, true);
    return mine->word[turn][source < 0 || source > 31 ? lane : source];
}

unsigned ballot(bool yes, const char *file, int line) {
    warp *mine = my_warp();
    mine->word[mine->meet.turn][now.current->thread % 32] = yes;
    unsigned turn = meet(&mine->meet, {BALLOT, file, line}, true, false, true), mask = 0;
    for (unsigned lane = 0; lane < 32; lane++) mask |= mine->word[turn][lane] << lane;
    return mask;
}

} // namespace simt_emulation
