#!/usr/bin/env bash
# Roofline and stalls of one op's kernels: profiles/ncu.sh OUT OP [SIZES] [OPTION OF mmrec-bench]...
#
#   profiles/ncu.sh rec recurrence "B=16 T=128 D=1024"
#
# Records the kernels in the range `capture` of `mmrec-bench --profile`: each pass once. docs/profiles.md.
set -eu
out=${1:?usage: profiles/ncu.sh OUT OP [SIZES] [OPTION]...} op=${2:?which op? mmrec-bench --op list names them}
shift 2
sizes=()
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then sizes=(--at "$1"); shift; fi
bench=${MMREC_BENCH:-"$(dirname "$0")/../build/default/bin/mmrec-bench"}
# Kernels whose blocks wait for each other cannot be replayed with a part of them: the whole application is run again for
# each group of counters, which --replay-mode application does. Clocks stay at base, so that runs can be compared.
ncu --export "$out" --force-overwrite --set roofline --section SpeedOfLight --section WarpStateStats --section Occupancy \
  --section MemoryWorkloadAnalysis --profile-from-start off --replay-mode application --clock-control base \
  "$bench" --backend cuda --op "$op" ${sizes[@]+"${sizes[@]}"} --profile --max-time 100ms --quiet "$@"
ncu --import "$out.ncu-rep" --page details --print-summary per-kernel
