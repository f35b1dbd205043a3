#include "nvtx.h"

#ifdef MMREC_NVTX
#include <stdio.h>

#include <nvtx3/nvToolsExt.h>

/* One domain for the process, made at the first range: NVTX itself loads a tool then, and only then. */
typedef struct nvtx_names {
    nvtxDomainHandle_t domain;
    nvtxStringHandle_t phase[MMREC_PHASES], block, op[MMREC_OPS][MMREC_PASSES];
} nvtx_names;

static const char *const phase_names[MMREC_PHASES] = {"refresh", "forward", "backward"};

static void register_ops(nvtx_names *names) {
    for (int op = 1; op < MMREC_OPS; op++) {
        for (int pass = 0; pass < MMREC_PASSES; pass++) {
            char text[64];
            snprintf(text, sizeof text, "%s.%s", mmrec_op_get((mmrec_op_id)op, MMREC_VARIANT_F64)->name,
                     pass == MMREC_FORWARD ? "forward" : "backward");
            names->op[op][pass] = nvtxDomainRegisterStringA(names->domain, text);
        }
    }
}

static const nvtx_names *names(void) {
    static nvtx_names made;
    static bool ready;
    if (ready) return &made;
    made.domain = nvtxDomainCreateA("mmrec");
    for (int phase = 0; phase < MMREC_PHASES; phase++) {
        nvtxDomainNameCategoryA(made.domain, (uint32_t)phase + 1, phase_names[phase]);
        made.phase[phase] = nvtxDomainRegisterStringA(made.domain, phase_names[phase]);
    }
    made.block = nvtxDomainRegisterStringA(made.domain, "block");
    register_ops(&made);
    ready = true;
    return &made;
}

static void push(nvtxStringHandle_t name, uint32_t category, int64_t payload) {
    nvtxEventAttributes_t event = {0};
    event.version = NVTX_VERSION;
    event.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    event.category = category;
    event.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
    event.message.registered = name;
    event.payloadType = NVTX_PAYLOAD_TYPE_INT64;
    event.payload.llValue = payload;
    nvtxDomainRangePushEx(names()->domain, &event);
}

void mmrec_nvtx_push_phase(mmrec_phase phase) { push(names()->phase[phase], (uint32_t)phase + 1, 0); }
void mmrec_nvtx_push_block(int layer) { push(names()->block, 0, layer); }
void mmrec_nvtx_push_node(mmrec_op_id op, mmrec_pass pass, mmrec_phase phase, int node) {
    push(names()->op[op][pass], (uint32_t)phase + 1, node);
}
void mmrec_nvtx_pop(void) { nvtxDomainRangePop(names()->domain); }
int mmrec_nvtx_available(void) { return 1; }

#else

void mmrec_nvtx_push_phase(mmrec_phase phase) { (void)phase; }
void mmrec_nvtx_push_block(int layer) { (void)layer; }
void mmrec_nvtx_push_node(mmrec_op_id op, mmrec_pass pass, mmrec_phase phase, int node) {
    (void)op, (void)pass, (void)phase, (void)node;
}
void mmrec_nvtx_pop(void) {}
int mmrec_nvtx_available(void) { return 0; }

#endif
