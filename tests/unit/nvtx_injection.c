/* A profiler in miniature: NVTX loads this library when NVTX_INJECTION64_PATH names it. It writes one line per event to
 * the file named by MMREC_NVTX_LOG: "push <domain> <name> <payload> depth <depth> in <category>" and "pop". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nvtx3/nvToolsExt.h>

enum { MAX_STRINGS = 256, MAX_CATEGORIES = 32, MAX_NAME = 64 };
static char domain_name[MAX_NAME], categories[MAX_CATEGORIES][MAX_NAME] = {"none"};
static char strings[MAX_STRINGS][MAX_NAME];
static int string_count, depth;
static FILE *out;

/* Handles are what the tool makes of them: here the address of the domain name and of the string. */
static nvtxDomainHandle_t NVTX_API create_domain(const char *name) {
    snprintf(domain_name, sizeof domain_name, "%s", name);
    return (nvtxDomainHandle_t)(void *)domain_name;
}

static nvtxStringHandle_t NVTX_API register_string(nvtxDomainHandle_t domain, const char *text) {
    (void)domain;
    char *slot = strings[string_count < MAX_STRINGS - 1 ? string_count++ : MAX_STRINGS - 1];
    snprintf(slot, MAX_NAME, "%s", text);
    return (nvtxStringHandle_t)(void *)slot;
}

static void NVTX_API name_category(nvtxDomainHandle_t domain, uint32_t category, const char *name) {
    (void)domain;
    if (category < MAX_CATEGORIES) snprintf(categories[category], MAX_NAME, "%s", name);
}

static int NVTX_API push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *event) {
    const char *name = event->messageType == NVTX_MESSAGE_TYPE_REGISTERED
                           ? (const char *)(const void *)event->message.registered
                           : "(not registered)";
    fprintf(out, "push %s %s %lld depth %d in %s\n", (const char *)(const void *)domain, name,
            (long long)event->payload.llValue, depth,
            event->category < MAX_CATEGORIES ? categories[event->category] : "(too high)");
    return depth++;
}

static int NVTX_API pop(nvtxDomainHandle_t domain) {
    (void)domain;
    depth--;
    fprintf(out, "pop\n");
    fflush(out);
    return depth;
}

static int attach(NvtxFunctionTable table, unsigned int size) {
    if (size <= NVTX_CBID_CORE2_DomainRegisterStringA) return 0;
    *table[NVTX_CBID_CORE2_DomainCreateA] = (NvtxFunctionPointer)create_domain;
    *table[NVTX_CBID_CORE2_DomainRegisterStringA] = (NvtxFunctionPointer)register_string;
    *table[NVTX_CBID_CORE2_DomainNameCategoryA] = (NvtxFunctionPointer)name_category;
    *table[NVTX_CBID_CORE2_DomainRangePushEx] = (NvtxFunctionPointer)push;
    *table[NVTX_CBID_CORE2_DomainRangePop] = (NvtxFunctionPointer)pop;
    return 1;
}

int NVTX_API InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table);
int NVTX_API InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
    const char *path = getenv("MMREC_NVTX_LOG");
    out = path ? fopen(path, "w") : NULL;
    const NvtxExportTableCallbacks *callbacks = get_table(NVTX_ETID_CALLBACKS);
    NvtxFunctionTable table = NULL;
    unsigned int size = 0;
    if (!out || !callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size)) return 0;
    return attach(table, size);
}
