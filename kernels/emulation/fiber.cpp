/* Stacks, the switch, and what the sanitizers must be told.
 *
 * This file and its neighbours are never compiled with -fsanitize=thread: TSan would take the switch for a function
 * that returns on another stack. Where kernels are watched by TSan the build defines MMREC_EMULATION_TSAN, and order
 * between fibers comes from order_release and order_acquire alone: every fiber is a thread to TSan, switched to with
 * "no synchronisation". TSan's fibers are never destroyed: races were missed when an id came back in a later launch. */
#include "fiber.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define MMREC_EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MMREC_EMULATION_ASAN 1
#endif
#endif

#if defined(MMREC_EMULATION_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(MMREC_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_write4(void *at);
extern "C" void __tsan_write8(void *at);
#endif

namespace simt_emulation {

namespace {

/* Kernels keep little on the stack; a sanitizer's report is written on the stack of the thread that caused it. */
#if defined(MMREC_EMULATION_ASAN) || defined(MMREC_EMULATION_TSAN)
const size_t STACK_BYTES = 256 * 1024;
#else
const size_t STACK_BYTES = 64 * 1024;
#endif
const size_t STACKS_A_MAP = 64; /* one mapping each would meet the kernel's limit of 65530 at 132 x 512 threads */
const uint64_t CANARY = 0x5AFE57AC5AFE57ACu;

/* Stacks at equal distances would have their hot ends in the same cache set. */
const size_t COLOURS = 32, COLOUR_BYTES = 128;

fiber_stack stack_take() {
    static unsigned char *map;
    static size_t left;
    if (left == 0) {
        void *got = mmap(NULL, STACK_BYTES * STACKS_A_MAP, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED) abort(); /* a test's machine without address space: nothing to report it with */
        map = static_cast<unsigned char *>(got);
        left = STACKS_A_MAP;
    }
    fiber_stack stack = {map, STACK_BYTES};
    map += STACK_BYTES;
    left--;
    return stack;
}

} // namespace

#if defined(__x86_64__)

/* Saves what the System V ABI lets a function keep, changes stacks, restores. Floating-point modes are the same in all
 * fibers, so MXCSR stays. */
extern "C" void simt_fiber_swap(void **save, void *load);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl simt_fiber_swap\n"
        ".hidden simt_fiber_swap\n"
        ".type simt_fiber_swap,@function\n"
        "simt_fiber_swap:\n"
        "  pushq %rbp\n"
        "  pushq %rbx\n"
        "  pushq %r12\n"
        "  pushq %r13\n"
        "  pushq %r14\n"
        "  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n"
        "  popq %r14\n"
        "  popq %r13\n"
        "  popq %r12\n"
        "  popq %rbx\n"
        "  popq %rbp\n"
        "  ret\n"
        ".size simt_fiber_swap,.-simt_fiber_swap\n");

static void context_prepare(fiber_context *fiber, void (*entry)(), size_t spare) {
    unsigned char *top = fiber->stack.low + fiber->stack.bytes - spare;
    void **slot = reinterpret_cast<void **>(top) - 2; /* `ret` leaves the pointer 8 off 16, as a call does */
    slot[0] = reinterpret_cast<void *>(entry);
    slot[1] = NULL;
    fiber->pointer = memset(slot - 6, 0, 6 * sizeof(void *));
}

static void context_swap(fiber_context *from, fiber_context *to) { simt_fiber_swap(&from->pointer, to->pointer); }

#else

static void context_prepare(fiber_context *fiber, void (*entry)(), size_t spare) {
    if (getcontext(&fiber->context)) abort();
    fiber->context.uc_stack.ss_sp = fiber->stack.low;
    fiber->context.uc_stack.ss_size = fiber->stack.bytes - spare;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, entry, 0);
}

static void context_swap(fiber_context *from, fiber_context *to) {
    if (swapcontext(&from->context, &to->context)) abort();
}

#endif

void fiber_prepare(fiber_context *fiber, void (*entry)(), size_t index) {
    if (!fiber->stack.low) {
        fiber->stack = stack_take();
        memcpy(fiber->stack.low, &CANARY, sizeof CANARY);
#if defined(MMREC_EMULATION_TSAN)
        fiber->thread = __tsan_create_fiber(0);
#endif
    }
#if defined(MMREC_EMULATION_ASAN)
    ASAN_UNPOISON_MEMORY_REGION(fiber->stack.low, fiber->stack.bytes); /* what the last to run here left poisoned */
#endif
    context_prepare(fiber, entry, index % COLOURS * COLOUR_BYTES);
}

void fiber_switch(fiber_context *from, fiber_context *to, bool last) {
#if defined(MMREC_EMULATION_ASAN)
    __sanitizer_start_switch_fiber(last ? NULL : &from->fake_stack, to->stack.low, to->stack.bytes);
#elif defined(MMREC_EMULATION_TSAN)
    __tsan_switch_to_fiber(to->thread, __tsan_switch_to_fiber_no_sync);
#endif
    (void)last;
    context_swap(from, to);
#if defined(MMREC_EMULATION_ASAN)
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

void fiber_entered(fiber_context *self, fiber_context *host) {
#if defined(MMREC_EMULATION_ASAN)
    const void *low = NULL;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(NULL, &low, &bytes);
    if (!host->stack.low) host->stack = {static_cast<unsigned char *>(const_cast<void *>(low)), bytes};
#endif
    (void)self;
    (void)host;
}

void fiber_abandon(fiber_context *fiber) {
#if defined(MMREC_EMULATION_ASAN)
    ASAN_UNPOISON_MEMORY_REGION(fiber->stack.low, fiber->stack.bytes);
#endif
    fiber->fake_stack = NULL;
}

bool fiber_overran(const fiber_context *fiber) { return memcmp(fiber->stack.low, &CANARY, sizeof CANARY) != 0; }

void fiber_host(fiber_context *host) {
    memset(host, 0, sizeof *host);
#if defined(MMREC_EMULATION_TSAN)
    host->thread = __tsan_get_current_fiber();
#endif
}

void order_release(const void *at) {
#if defined(MMREC_EMULATION_TSAN)
    __tsan_release(const_cast<void *>(at));
#endif
    (void)at;
}

void order_acquire(const void *at) {
#if defined(MMREC_EMULATION_TSAN)
    __tsan_acquire(const_cast<void *>(at));
#endif
    (void)at;
}

void order_as(fiber_context *one) {
#if defined(MMREC_EMULATION_TSAN)
    if (!one->thread) one->thread = __tsan_create_fiber(0);
    __tsan_switch_to_fiber(one->thread, __tsan_switch_to_fiber_no_sync);
#endif
    (void)one;
}

void order_write(const void *at, unsigned bytes) {
#if defined(MMREC_EMULATION_TSAN)
    bytes == 4 ? __tsan_write4(const_cast<void *>(at)) : __tsan_write8(const_cast<void *>(at));
#endif
    (void)at;
    (void)bytes;
}

} // namespace simt_emulation
