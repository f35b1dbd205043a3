/* bugs --list                 a line per bug: its name and who must find it
 * bugs NAME right|wrong [N]   runs the kernel, N launches (1) in this process, and prints "finite" or "not-finite" and
 * a number made of the bits of the last result. Exit 0; 3 when the kernel failed; 2: usage. */
#include "device.cuh"
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "bugs/divergent_barrier.cu"
#include "bugs/endless_spin.cu"
#include "bugs/flag_first.cu"
#include "bugs/global_overrun.cu"
#include "bugs/half_a_warp.cu"
#include "bugs/leaves_early.cu"
#include "bugs/lock_step.cu"
#include "bugs/no_acquire.cu"
#include "bugs/no_fence.cu"
#include "bugs/no_grid_barrier.cu"
#include "bugs/no_wait.cu"
#include "bugs/order_of_arrival.cu"
#include "bugs/read_early.cu"
#include "bugs/shared_overread.cu"
#include "bugs/shared_overrun.cu"
#include "bugs/shared_sum.cu"
#include "bugs/uninitialised.cu"
#include "bugs/write_early.cu"

struct bug {
    const char *name, *finders;
    bool (*run[2])(float *y);
};

#define BUG(name, finders) {#name, finders, {run_##name<false>, run_##name<true>}},
static const bug BUGS[] = {
#include "bugs/bugs.def"
};
#undef BUG

static int run(const bug &b, bool wrong, int launches) {
    std::vector<float> result;
    for (int i = 0; i < launches; i++) {
        on_device<float> y(128);
        if (!b.run[wrong](y.get())) return 3;
        result = y.read();
    }
    bool finite = true;
    uint64_t number = 0xCBF29CE484222325u; /* FNV-1a */
    for (float v : result) {
        finite = finite && isfinite(v);
        number = (number ^ simt_emulation::bits(v)) * 0x100000001B3u;
    }
    printf("%s %016llx\n", finite ? "finite" : "not-finite", (unsigned long long)number);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--list")) {
        for (const bug &b : BUGS) printf("%s %s\n", b.name, b.finders);
        return 0;
    }
    for (const bug &b : BUGS) {
        if (argc >= 3 && !strcmp(argv[1], b.name))
            return run(b, !strcmp(argv[2], "wrong"), argc > 3 ? atoi(argv[3]) : 1);
    }
    fprintf(stderr, "usage: bugs --list | bugs NAME right|wrong [LAUNCHES]\n");
    return 2;
}
