#!/usr/bin/env bash
# A timeline of one training step: profiles/nsys.sh OUT [OPTION OF mmrec-bench]...
#
# Records the range `capture` of `mmrec-bench --profile` alone, after warm-up and timing, and prints what to look at first.
# In nsys-ui: one row "mmrec" of ranges (refresh, forward, backward; block; op), the kernels below. docs/profiles.md.
set -eu
out=${1:?usage: profiles/nsys.sh OUT [OPTION]...}
shift
bench=${MMREC_BENCH:-"$(dirname "$0")/../build/default/bin/mmrec-bench"}
# Graphs are launched whole: traced by node, each kernel is seen apart and slower; --graphs off shows ranges around kernels.
nsys profile --output "$out" --force-overwrite true --trace cuda,nvtx,cublas --cuda-graph-trace node \
  --capture-range cudaProfilerApi --capture-range-end stop --sample none --cpuctxsw none \
  "$bench" --backend cuda --hem on --profile --max-time 1s --quiet "$@"
# Ranges with the kernels launched in them, the kernels by time, and the gaps between launches.
nsys stats --report nvtx_gpu_proj_sum,cuda_gpu_kern_sum,cuda_api_sum "$out.nsys-rep"
