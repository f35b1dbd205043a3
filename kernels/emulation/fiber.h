/* Fibers: one per CUDA thread, each with a stack, switched by hand. The sanitizers are told of every switch. */
#ifndef MMREC_EMULATION_FIBER_H
#define MMREC_EMULATION_FIBER_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace simt_emulation {

struct fiber_stack {
    unsigned char *low;
    size_t bytes;
};

/* What a switch saves. The one that stands for the host's own thread has no stack of ours. */
struct fiber_context {
    fiber_stack stack;
#if defined(__x86_64__)
    void *pointer;
#else
    ucontext_t context;
#endif
    void *fake_stack; /* AddressSanitizer's */
    void *thread;     /* TSan's fiber */
};

/* The next start of `fiber` runs `entry`, which never returns. `index` spreads stacks over the cache. */
void fiber_prepare(fiber_context *fiber, void (*entry)(), size_t index);
/* From the running fiber to another. `last`: `from` never runs again. */
void fiber_switch(fiber_context *from, fiber_context *to, bool last);
/* First thing in `entry`: completes the switch that led there. `host`: learns the bounds of the host's stack. */
void fiber_entered(fiber_context *self, fiber_context *host);
/* After a launch that was broken off: stacks may hold what sanitizers took for live frames. */
void fiber_abandon(fiber_context *fiber);
/* Whether a fiber's stack ran over. */
bool fiber_overran(const fiber_context *fiber);
/* The host's side. */
void fiber_host(fiber_context *host);

/* Order between fibers as TSan sees it; nothing in other builds. */
void order_release(const void *at);
void order_acquire(const void *at);
void order_write(const void *at, unsigned bytes);
/* What follows is done by this one, without a switch of stacks. */
void order_as(fiber_context *one);

} // namespace simt_emulation
#endif
