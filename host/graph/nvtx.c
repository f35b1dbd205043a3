#include "nvtx.h"

#ifdef MMREC_NVTX
#include <stdio.h>

#include <nvtx3/nvToolsExt.h>

/* One domain for the process, made at the first range: NVTX itself loads a tool then, and only then. */
typedef struct nvtx_names {
    nvtxDomainHandle_t domain;
    nvtxStringHandle_t phase[MMREC_PHASES], block, capture, op[MMREC_OPS][MMREC_PASSES];
} nvtx_names;

static const char *const phase_names[MMREC_PHASES] = {"refresh", "forward", "backward"};

/* Where a range lies in its phase. */
typedef enum nvtx_place { PLACE_PHASE, PLACE_BLOCK, PLACE_BLOCK_OP, PLACE_OP, PLACES } nvtx_place;
static const char *const place_names[PLACES] = {"", "/block", "/block/op", "/op"};

/* Category 0 is no category. */
static uint32_t category_of(mmrec_phase phase, nvtx_place place) {
    return (uint32_t)phase * PLACES + (uint32_t)place + 1;
}

static void name_categories(nvtxDomainHandle_t domain, mmrec_phase phase) {
    for (int place = 0; place < PLACES; place++) {
        char text[64];
        snprintf(text, sizeof text, "%s%s", phase_names[phase], place_names[place]);
        nvtxDomainNameCategoryA(domain, category_of(phase, (nvtx_place)place), text);
    }
}

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
        name_categories(made.domain, (mmrec_phase)phase);
        made.phase[phase] = nvtxDomainRegisterStringA(made.domain, phase_names[phase]);
    }
    made.block = nvtxDomainRegisterStringA(made.domain, "block");
    made.capture = nvtxDomainRegisterStringA(made.domain, "capture");
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

void mmrec_nvtx_push_phase(mmrec_phase phase) { push(names()->phase[phase], category_of(phase, PLACE_PHASE), 0); }
void mmrec_nvtx_push_block(mmrec_phase phase, int layer) {
    push(names()->block, category_of(phase, PLACE_BLOCK), layer);
}
void mmrec_nvtx_push_node(mmrec_op_id op, mmrec_pass pass, mmrec_phase phase, int layer, int node) {
    push(names()->op[op][pass], category_of(phase, layer < 0 ? PLACE_OP : PLACE_BLOCK_OP), node);
}
void mmrec_nvtx_push_capture(void) { push(names()->capture, 0, 0); }
void mmrec_nvtx_pop(void) { nvtxDomainRangePop(names()->domain); }
int mmrec_nvtx_available(void) { return 1; }

#else

void mmrec_nvtx_push_phase(mmrec_phase phase) { (void)phase; }
void mmrec_nvtx_push_block(mmrec_phase phase, int layer) { (void)phase, (void)layer; }
void mmrec_nvtx_push_node(mmrec_op_id op, mmrec_pass pass, mmrec_phase phase, int layer, int node) {
    (void)op, (void)pass, (void)phase, (void)layer, (void)node;
}
void mmrec_nvtx_push_capture(void) {}
void mmrec_nvtx_pop(void) {}
int mmrec_nvtx_available(void) { return 0; }

#endif
