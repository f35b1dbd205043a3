/* NVTX ranges of the executor: domain "mmrec", a range per phase, block and node. Without the NVTX header, or without a
 * tool attached, every function costs nothing. Only exec.c calls these. */
#ifndef MMREC_NVTX_H
#define MMREC_NVTX_H

#include "mmrec/graph.h"

/* Ranges "forward", "backward", "refresh"; "block" with the layer as payload; "<op>.forward" / "<op>.backward" with the
 * node number as payload. Each push is ended by one pop. Names are registered strings, so that a profiler's capture
 * range can match them. Categories are paths, the same for every layer and node: "forward", "forward/block",
 * "forward/block/op" and, outside of blocks (layer -1), "forward/op". */
void mmrec_nvtx_push_phase(mmrec_phase phase);
void mmrec_nvtx_push_block(mmrec_phase phase, int layer);
void mmrec_nvtx_push_node(mmrec_op_id op, mmrec_pass pass, mmrec_phase phase, int layer, int node);
/* "capture": what a profiler was asked to record. */
void mmrec_nvtx_push_capture(void);
void mmrec_nvtx_pop(void);
/* 1 when ranges are compiled in. */
int mmrec_nvtx_available(void);

#endif
