/* Captured phases, and the count of kernels. */
#include "cuda_impl.h"

/* A process holds a few execs with three phases each; 64 leave room for tests that keep many. */
enum { GRAPHS = 64 };
typedef struct captured {
    cudaGraphExec_t exec; /* NULL: a free place */
    uint64_t kernels;     /* per launch */
} captured;

static captured table[GRAPHS];
static uint64_t launches, launches_before; /* all; when the capture began */
static bool capturing;

uint64_t cuda_launches(void) { return launches; }
void cuda_count_launches(uint64_t kernels) { launches += kernels; }

bool cuda_capturing(void) { return capturing; }

static captured *free_place(void) {
    for (int i = 0; i < GRAPHS; i++) {
        if (!table[i].exec) return &table[i];
    }
    return NULL;
}

mmrec_status cuda_capture_begin(mmrec_error *error) {
    MMREC_TRY(cuda_usable(error));
    if (!free_place()) {
        MMREC_FAIL(error, MMREC_UNSUPPORTED, "%d CUDA graphs are the most that can be kept; use --graphs off", GRAPHS);
    }
    CUDA_TRY(cudaStreamBeginCapture(cuda_state.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture",
             error);
    capturing = true;
    launches_before = launches;
    return MMREC_OK;
}

/* What was recorded did not run: it counts when the graph is launched. */
static uint64_t end_counting(void) {
    uint64_t kernels = launches - launches_before;
    launches = launches_before;
    capturing = false;
    return kernels;
}

mmrec_status cuda_capture_end(void **graph, mmrec_error *error) {
    *graph = NULL;
    MMREC_TRY(cuda_usable(error));
    cudaGraph_t recorded = NULL;
    uint64_t kernels = end_counting();
    captured *place = free_place();
    CUDA_TRY(cudaStreamEndCapture(cuda_state.stream, &recorded), "cudaStreamEndCapture", error);
    cudaError_t code = cudaGraphInstantiate(&place->exec, recorded, 0);
    cudaGraphDestroy(recorded);
    if (code != cudaSuccess) place->exec = NULL;
    CUDA_TRY(code, "cudaGraphInstantiate", error);
    place->kernels = kernels;
    *graph = place;
    return MMREC_OK;
}

void cuda_capture_abandon(void) {
    if (!capturing) return;
    end_counting();
    cudaGraph_t recorded = NULL;
    if (cuda_lost()) return;
    if (cudaStreamEndCapture(cuda_state.stream, &recorded) == cudaSuccess && recorded) cudaGraphDestroy(recorded);
    cudaGetLastError(); /* ending a broken capture is itself an error */
}

mmrec_status cuda_graph_launch(void *graph, mmrec_error *error) {
    captured *place = graph;
    MMREC_TRY(cuda_usable(error));
    CUDA_TRY(cudaGraphLaunch(place->exec, cuda_state.stream), "cudaGraphLaunch", error);
    launches += place->kernels;
    return MMREC_OK;
}

void cuda_graph_destroy(void *graph) {
    captured *place = graph;
    if (!place) return;
    if (!cuda_lost()) cudaGraphExecDestroy(place->exec);
    place->exec = NULL;
}
