/* The machine's description and its ceilings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "mmrec/backend.h"
#include "mmrec/measure.h"

static void description_is_clean(void **state) {
    (void)state;
    mmrec_machine m;
    memset(&m, 0x5a, sizeof m);
    mmrec_machine_read(&m, 3);
    const char *const texts[] = {m.cpu, m.os, m.kernel, m.governor, m.isa, m.blas, m.compiler};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_null(strpbrk(texts[i], "\n\r\t\""));
        assert_true(texts[i][0] != ' ');
    }
    assert_true(m.kernel[0] && m.compiler[0] && m.blas[0]);
    assert_non_null(strstr(m.blas, "OpenBLAS"));
    assert_string_equal(m.isa, mmrec_op_isa());
    assert_int_equal(m.threads, 3);
    assert_int_equal(m.processors, mmrec_backend_processors());
    assert_true(m.memory_bytes > (64u << 20));
    assert_true(m.load1 >= -1);
}

/* Results are published: the machine is told apart by what it is, not by whose it is. */
static void description_has_no_host_name(void **state) {
    (void)state;
    mmrec_machine m;
    char host[256] = {0};
    mmrec_machine_read(&m, 1);
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    if (strlen(host) < 5) skip();
    const char *const texts[] = {m.cpu, m.os, m.kernel, m.governor, m.isa, m.blas, m.compiler};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) assert_null(strstr(texts[i], host));
}

static void peak_grows_with_use(void **state) {
    (void)state;
    enum { BYTES = 64 << 20 };
    mmrec_allocator allocator = {0};
    uint64_t before = mmrec_machine_peak_rss();
    unsigned char *memory = mmrec_alloc(&allocator, NULL, 0, BYTES, MMREC_ALLOC_OTHER);
    assert_non_null(memory);
    for (size_t i = 0; i < BYTES; i += 512) memory[i] = (unsigned char)i;
    uint64_t after = mmrec_machine_peak_rss();
    assert_int_equal(memory[512 * 77], (unsigned char)(512 * 77));
    mmrec_alloc(&allocator, memory, BYTES, 0, MMREC_ALLOC_OTHER);
    assert_true(before > 0 && after >= before);
    assert_true(after >= BYTES);
}

/* More busy threads than processors: some of them must wait, and never longer than all the time there is. */
static void waiting_for_a_processor_is_seen(void **state) {
    (void)state;
    int processors = mmrec_backend_processors(), threads = 4 * processors;
    mmrec_error error;
    if (mmrec_backend_set_threads(threads, &error) != MMREC_OK) skip(); /* more than it can have */
    uint64_t first = mmrec_clock_ns();                                  /* threads wait while they are asked, too */
    double before = mmrec_machine_waited_s();
    uint64_t start = mmrec_clock_ns();
#pragma omp parallel
    while (mmrec_clock_seconds_since(start) < 0.3) {
    }
    double waited = mmrec_machine_waited_s() - before, most = threads * mmrec_clock_seconds_since(first);
    if (access("/proc/thread-self/schedstat", R_OK) != 0) skip();
    /* Three of four threads wait at any time; a quarter of that leaves room for what else the machine does. */
    assert_true(waited >= 0.3 * threads * 0.75 / 4);
    assert_true(waited <= most);
    assert_int_equal(mmrec_backend_set_threads(processors, &error), MMREC_OK);
}

static void ceilings_are_rates_of_a_computer(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_ceilings c;
    mmrec_error error;
    uint64_t start = mmrec_clock_ns();
    assert_int_equal(mmrec_measure_ceilings(&allocator, 1, &c, &error), MMREC_OK);
    /* A process that hardly gets a processor was seen to copy less than 1e8 bytes in a second. */
    assert_true(c.sgemm_flops_per_s > 1e6 && c.sgemm_flops_per_s < 1e14);
    assert_true(c.copy_bytes_per_s > 1e6 && c.copy_bytes_per_s < 1e13);
    assert_true(mmrec_clock_seconds_since(start) < 300); /* two boxes of 1.5 s together, and one run past each */
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void ceilings_can_be_taken_again(void **state) {
    (void)state;
    mmrec_allocator allocator = {0};
    mmrec_ceiling_source source;
    mmrec_error error;
    assert_int_equal(mmrec_ceilings_open(&allocator, 1, &source, &error), MMREC_OK);
    double sgemm = source.rate(source.context, MMREC_CEILING_SGEMM);
    double copy = source.rate(source.context, MMREC_CEILING_COPY);
    /* Of the same machine: not faster than its best but by chance, and slower only as far as others keep it busy. */
    assert_true(sgemm > source.best.sgemm_flops_per_s / 1e4 && sgemm < source.best.sgemm_flops_per_s * 10);
    assert_true(copy > source.best.copy_bytes_per_s / 1e4 && copy < source.best.copy_bytes_per_s * 10);
    mmrec_ceilings_close(&source);
    assert_null(source.context);
    mmrec_ceilings_close(&source);
    assert_int_equal(allocator.total.live_bytes, 0);
}

static void ceilings_without_memory(void **state) {
    (void)state;
    for (uint64_t k = 1; k <= 3; k++) {
        mmrec_allocator allocator = {.fail_at = k};
        mmrec_ceilings c;
        mmrec_error error;
        mmrec_error_clear(&error);
        assert_int_equal(mmrec_measure_ceilings(&allocator, 1, &c, &error), MMREC_NO_MEMORY);
        assert_int_equal(error.frames, 1);
        assert_int_equal(allocator.total.live_bytes, 0);
    }
    mmrec_allocator allocator = {0};
    mmrec_ceilings c;
    assert_int_equal(mmrec_measure_ceilings(&allocator, 0, &c, NULL), MMREC_CONFIG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(description_is_clean),
        cmocka_unit_test(description_has_no_host_name),
        cmocka_unit_test(waiting_for_a_processor_is_seen),
        cmocka_unit_test(peak_grows_with_use),
        cmocka_unit_test(ceilings_are_rates_of_a_computer),
        cmocka_unit_test(ceilings_can_be_taken_again),
        cmocka_unit_test(ceilings_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
