#!/usr/bin/env bash
# race.sh HARNESS MODULE BROKEN OP: the op harness over a module whose kernels are watched by ThreadSanitizer, in two
# schedules. No race may be reported, and one must be in BROKEN, where a barrier that OP needs was taken out.
set -u -o pipefail
harness=$1 module=$2 broken=$3 op=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TSAN_OPTIONS=external_symbolizer_path=$(command -v llvm-symbolizer || command -v addr2line):exitcode=66:atexit_sleep_ms=0
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

# check MODULE SCHEDULE OPTIONS...: the harness's own verdict and the reports go to files of that schedule.
check() {
  local module=$1 schedule=$2
  shift 2
  MMREC_CUDA_MODULE=$module MMREC_EMULATION_SCHEDULE=$schedule "$harness" --backend cuda "$@" >"$work/$schedule" 2>&1
}

failed=0
check "$module" forward --most 0.02 & forward=$!
check "$module" random --most 0.005 & random=$!
wait $forward || failed=1
wait $random || failed=1
for schedule in forward random; do
  races=$(grep -c 'WARNING: ThreadSanitizer' "$work/$schedule")
  echo "$schedule: $races races, $(tail -1 "$work/$schedule")"
  [ "$races" -eq 0 ] && continue
  failed=1
  grep -A 20 'WARNING: ThreadSanitizer' "$work/$schedule" | head -60
done
[ "$failed" -eq 0 ] || grep -h FAILED "$work/forward" "$work/random"

check "$broken" forward --op "$op"
if grep -q "SUMMARY: ThreadSanitizer: data race .*device.cuh" "$work/forward"; then
  echo "a barrier taken out of $op: $(grep -c 'WARNING: ThreadSanitizer' "$work/forward") races seen"
else
  echo "a barrier was taken out of $op and no race was seen"
  failed=1
fi
exit $failed
