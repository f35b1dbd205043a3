/* Every regime of the recurrence against the double reference, in every schedule of the emulation; all regimes give the
 * same bits; waits that last too long end with the right fault; what AUTO chooses, and what it does when the check on
 * first use fails. */
#include "recurrence_case.h"
#include "recurrence_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int checks, failures;

static bool check(bool good, const char *what, const recurrence_case &c, const char *more) {
    checks++;
    if (good) return true;
    failures++;
    printf("FAILED %s: B=%d T=%d D=%d%s accumulate=%x absent=%x %s\n", what, c.batch, c.steps, c.width,
           c.bf16 ? " bf16" : "", c.accumulate, c.absent, more);
    return false;
}

static const char *const schedules[] = {"forward", "reverse", "random"};
static const char *const names[] = {"auto", "cluster", "grid", "barrier", "graph"};
static const char *const results[] = {"h", "n", "m", "dz", "dgamma", "dh0", "dWg", "dbg", "d[U Wh]", "dbm"};

static void check_close(const char *what, const recurrence_case &c, const recurrence_results &got,
                        const recurrence_results &want) {
    char more[256];
    if (!check(got.status == MMREC_OK, what, c, got.message.c_str())) return;
    for (int i = 0; i < CASE_RESULTS; i++) {
        double allowed = c.bf16 ? (i < 3 ? 0x1p-7 : 0x1p-6) : (i < 3 ? 4e-6 : 1e-5);
        double off = recurrence_distance(got.value[i], want.value[i]);
        snprintf(more, sizeof more, "%s is off by %.3g, allowed are %.3g", results[i], off, allowed);
        check(off <= allowed, what, c, more);
    }
}

static void check_bits(const char *what, const recurrence_case &c, const recurrence_results &got,
                       const recurrence_results &want) {
    char more[256];
    if (!check(got.status == MMREC_OK, what, c, got.message.c_str())) return;
    for (int i = 0; i < CASE_RESULTS; i++) {
        snprintf(more, sizeof more, "%s has other bits", results[i]);
        check(got.value[i] == want.value[i], what, c, more);
    }
}

/* The first regime is held to the reference, all others to the first. */
static void check_case(const recurrence_case &c, int padding) {
    recurrence_results want = recurrence_reference(c), first;
    for (int way = MMREC_RECURRENCE_GRAPH; way >= MMREC_RECURRENCE_CLUSTER; way--) {
        for (const char *schedule : schedules) {
            char what[64];
            snprintf(what, sizeof what, "%s, schedule %s", names[way], schedule);
            setenv("MMREC_EMULATION_SCHEDULE", schedule, 1);
            test_device.recurrence = static_cast<mmrec_recurrence_regime>(way);
            recurrence_results got = recurrence_kernels(c, padding);
            check(test_fault().code == MMREC_CUDA_FAULT_NONE, what, c, "a fault was reported");
            if (first.value[0].empty()) {
                check_close(what, c, got, want);
                first = got;
            }
            check_bits(what, c, got, first);
        }
    }
}

/* With `half` of the sizes every pair that follows a pair left out, float and bf16. */
static void check_sizes(bool half) {
    static const int widths[] = {1, 5, 64, 65, 130}, batches[] = {1, 2, 3, 9}, steps[] = {1, 2, 3, 17};
    int turn = 0;
    for (int width : widths) {
        for (int batch : batches) {
            for (int count : steps) {
                bool bf16 = turn % 2 == 1;
                if (half && turn % 4 > 1) {
                    turn++;
                    continue;
                }
                unsigned accumulate = turn % 3 == 0 ? 0x7Fu : turn % 3 == 1 ? 0 : 0x2Au;
                unsigned absent = turn % 5 == 4 ? 1u << (turn % 7) : 0;
                check_case({batch, count, width, bf16, accumulate & ~absent, absent}, turn % 2 ? 3 : 0);
                turn++;
            }
        }
    }
}

/* A value that never comes: the launch ends, the fault names the recurrence, the next call is sound. */
static void check_starved() {
    const recurrence_case c = {2, 3, 40, false, 0, 0};
    test_device.spin_limit = 3000;
    for (int way = MMREC_RECURRENCE_CLUSTER; way <= MMREC_RECURRENCE_BARRIER; way++) {
        for (const char *schedule : schedules) {
            setenv("MMREC_EMULATION_SCHEDULE", schedule, 1);
            test_device.recurrence = static_cast<mmrec_recurrence_regime>(way);
            /* A barrier loses no values: there the blocks just have no time. */
            bool barrier = way == MMREC_RECURRENCE_BARRIER;
            test_device.spin_limit = barrier ? 1 : 3000;
            test_broken = barrier ? TEST_WHOLE : TEST_LOSES;
            recurrence_kernels(c, 0);
            mmrec_cuda_fault fault = test_fault();
            check(fault.code == MMREC_CUDA_FAULT_SPIN && fault.op == MMREC_OP_recurrence, names[way], c,
                  "does not end with a fault when a block waits too long");
            check(fault.limit == (barrier ? 1 : 3000), names[way], c, "the fault has another limit");
            test_broken = TEST_WHOLE;
            test_device.spin_limit = 200000;
            recurrence_results after = recurrence_kernels(c, 0);
            check(test_fault().code == MMREC_CUDA_FAULT_NONE, names[way], c, "the call after a fault has one too");
            check_close(names[way], c, after, recurrence_reference(c));
        }
    }
}

/* In a process of its own: what is proven is asked once. `want`: the regimes; `warned`: part of the warning, or NULL.
 */
static void check_proven(const char *what, test_break broken, unsigned want, const char *warned) {
    const recurrence_case c = {2, 3, 40, false, 0, 0};
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        test_broken = broken;
        failures = 0;
        test_report(MMREC_CUDA_FAULT_ID);
        unsigned regimes = mmrec_recurrence_proven();
        check(regimes == want, what, c, "other regimes are proven");
        bool said = warned ? test_warnings.find(warned) != std::string::npos : test_warnings.empty();
        check(said, what, c, test_warnings.c_str());
        check(test_fault().code == MMREC_CUDA_FAULT_ID, what, c, "the fault of a kernel before the check is gone");
        test_broken = TEST_WHOLE;
        test_device.recurrence = MMREC_RECURRENCE_AUTO;
        check_close(what, c, recurrence_kernels(c, 0), recurrence_reference(c));
        fflush(stdout);
        _exit(failures ? 1 : 0);
    }
    int status = 1;
    bool ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    check(ended, what, c, "");
}

static void clear_cache(const char *folder) {
    std::string path = std::string(folder) + "/mmrec/recurrence-check";
    unlink(path.c_str());
}

static void spoil_cache(const char *folder) {
    std::string path = std::string(folder) + "/mmrec/recurrence-check";
    FILE *file = fopen(path.c_str(), "w");
    if (!file) return;
    fputs("mmrec recurrence check 1: some other device\nproven 31\n", file);
    fclose(file);
}

static void check_self_check() {
    const unsigned all = (1u << MMREC_RECURRENCE_REGIMES) - 1;
    const unsigned no_grid = all & ~(1u << MMREC_RECURRENCE_GRID), no_cluster = all & ~(1u << MMREC_RECURRENCE_CLUSTER);
    char folder[] = "/tmp/mmrec-regimes-XXXXXX";
    const recurrence_case c = {2, 3, 40, false, 0, 0};
    if (!check(mkdtemp(folder) != NULL, "self-check", c, "no folder for the cache")) return;
    setenv("XDG_CACHE_HOME", folder, 1);
    setenv("MMREC_EMULATION_SCHEDULE", "forward", 1);
    test_device.sms = 4;
    test_device.spin_limit = 3000;
    test_device.self_check = true;
    check_proven("a wrong grid", TEST_FLIPS_WORD, no_grid, "grid against graph: the results are wrong");
    check_proven("a wrong grid, from the file", TEST_WHOLE, no_grid, "earlier");
    clear_cache(folder);
    check_proven("a wrong cluster", TEST_FLIPS_ASYNC, no_cluster, "cluster against graph: the results are wrong");
    clear_cache(folder);
    check_proven("values that never come", TEST_LOSES, no_grid & no_cluster, "waited too long");
    spoil_cache(folder);
    check_proven("a file of another device", TEST_WHOLE, all, NULL);
    check_proven("all is well, from the file", TEST_FLIPS_WORD, all, NULL);
    test_device.self_check = false;
    clear_cache(folder);
    check_proven("--self-check off", TEST_FLIPS_WORD, all, NULL);
    rmdir((std::string(folder) + "/mmrec").c_str());
    rmdir(folder);
}

/* What AUTO takes on a device with the limits of an H100, and on one of the generation before. */
static void check_choice() {
    static const struct {
        int64_t batch, width;
        bool bf16, old;
        unsigned proven;
        int forward, backward;
    } rows[] = {{16, 512, true, false, ~0u, MMREC_RECURRENCE_CLUSTER, MMREC_RECURRENCE_CLUSTER},
                {16, 512, false, false, ~0u, MMREC_RECURRENCE_CLUSTER, MMREC_RECURRENCE_CLUSTER},
                {64, 1024, true, false, ~0u, MMREC_RECURRENCE_CLUSTER, MMREC_RECURRENCE_CLUSTER},
                {4, 1024, true, false, ~0u, MMREC_RECURRENCE_GRID, MMREC_RECURRENCE_GRID},
                {4, 1024, false, false, ~0u, MMREC_RECURRENCE_GRID, MMREC_RECURRENCE_GRID},
                {16, 2048, true, false, ~0u, MMREC_RECURRENCE_GRID, MMREC_RECURRENCE_GRID},
                {16, 2048, false, false, ~0u, MMREC_RECURRENCE_GRAPH, MMREC_RECURRENCE_GRAPH},
                {16, 4096, true, false, ~0u, MMREC_RECURRENCE_GRAPH, MMREC_RECURRENCE_GRAPH},
                {16, 512, true, true, ~0u, MMREC_RECURRENCE_GRID, MMREC_RECURRENCE_GRID},
                {16, 512, true, false, 1u << MMREC_RECURRENCE_GRID, MMREC_RECURRENCE_GRID, MMREC_RECURRENCE_GRID},
                {16, 512, true, false, 0, MMREC_RECURRENCE_GRAPH, MMREC_RECURRENCE_GRAPH}};
    for (const auto &row : rows) {
        recurrence_case c = {static_cast<int>(row.batch), 8, static_cast<int>(row.width), row.bf16, 0, 0};
        recurrence_limits h100 = {132, 90, 16, 232448, 0}, a100 = {108, 80, 1, 166912, 0};
        for (int pass = 0; pass < MMREC_PASSES; pass++) {
            mmrec_op_sizes sizes = {};
            char more[128];
            MMREC_SIZE(&sizes, B) = row.batch, MMREC_SIZE(&sizes, T) = 8, MMREC_SIZE(&sizes, D) = row.width;
            sizes.attr[0] = row.bf16;
            recurrence_sizes r = recurrence_sizes_of(&sizes, static_cast<mmrec_pass>(pass));
            recurrence_layout l = recurrence_layout_auto(&r, row.old ? &a100 : &h100, row.proven);
            snprintf(more, sizeof more, "%s is %s: %d tiles, %d blocks, %lld bytes", pass ? "backward" : "forward",
                     names[l.way], l.tiles, l.blocks, static_cast<long long>(l.shared_bytes));
            check(l.way == (pass ? row.backward : row.forward), "auto", c, more);
        }
    }
}

/* 132 multiprocessors with places for 7 clusters of 16: no row waits for an eighth. */
static void check_clusters_at_once() {
    const recurrence_case c = {16, 8, 512, true, 0, 0};
    recurrence_limits eight = {132, 90, 16, 232448, 0}, seven = {132, 90, 16, 232448, 7};
    mmrec_op_sizes sizes = {};
    MMREC_SIZE(&sizes, B) = c.batch, MMREC_SIZE(&sizes, T) = c.steps, MMREC_SIZE(&sizes, D) = c.width;
    sizes.attr[0] = 1;
    recurrence_sizes r = recurrence_sizes_of(&sizes, MMREC_FORWARD);
    recurrence_layout l = recurrence_layout_of(&r, &eight, MMREC_RECURRENCE_CLUSTER);
    check(l.groups == 8 && l.rows == 2, "clusters", c, "of 8 at once each has 2 rows");
    l = recurrence_layout_of(&r, &seven, MMREC_RECURRENCE_CLUSTER);
    check(l.groups == 6 && l.rows == 3 && l.possible && l.whole, "clusters", c, "of 7 at once 6 have 3 rows");
}

/* GRAPH runs everywhere, on 99 KiB of shared memory too. */
static void check_little_shared_memory() {
    recurrence_limits small = {128, 89, 1, 101376, 0};
    for (int width = 64; width <= 16384; width *= 2) {
        for (int turn = 0; turn < 8; turn++) {
            recurrence_case c = {turn & 4 ? 64 : 1, 8, width, (turn & 1) != 0, 0, 0};
            mmrec_op_sizes sizes = {};
            MMREC_SIZE(&sizes, B) = c.batch, MMREC_SIZE(&sizes, T) = c.steps, MMREC_SIZE(&sizes, D) = c.width;
            sizes.attr[0] = c.bf16;
            recurrence_sizes r = recurrence_sizes_of(&sizes, turn & 2 ? MMREC_BACKWARD : MMREC_FORWARD);
            recurrence_layout l = recurrence_layout_of(&r, &small, MMREC_RECURRENCE_GRAPH);
            check(l.possible && l.shared_bytes <= small.shared_bytes, "graph in 99 KiB", c, "is refused");
        }
    }
}

/* A regime that was asked for and cannot be had is refused in words. */
static void check_refused() {
    const recurrence_case c = {2, 2, 400, false, 0, 0};
    test_device.recurrence = MMREC_RECURRENCE_CLUSTER;
    test_device.max_cluster = 1;
    recurrence_results got = recurrence_kernels(c, 0);
    check(got.status == MMREC_UNSUPPORTED && got.message.find("regime cluster cannot run D = 400") != std::string::npos,
          "refused", c, got.message.c_str());
}

int main(int argc, char **argv) {
    bool half = argc > 1 && !strcmp(argv[1], "half");
    bool check_alone = argc > 1 && !strcmp(argv[1], "self-check"); /* all that kernels.mutants needs */
    if (!test_device_open()) return 1;
    if (!check_alone) {
        check_choice();
        check_clusters_at_once();
        check_little_shared_memory();
        check_sizes(half);
        check_starved();
    }
    check_self_check();
    if (!check_alone) check_refused();
    test_device_close();
    printf("%d checks, %d failures\n", checks, failures);
    return failures ? 1 : 0;
}
