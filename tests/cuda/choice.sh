#!/bin/sh
# Which backend is taken, what is said where it cannot be, and that a run on the processor loads nothing of CUDA.
#
#   choice.sh BIN SOURCE MODE BUILD CUDNN       MODE: none, real or emulated; BUILD: plain or sanitized
#
# CUDNN is a library in cuDNN's place, for the emulated device.
bin=$1 source=$2 mode=$3 build=$4 cudnn=$5
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset MMREC_BACKEND MMREC_CUDA_MODULE MMREC_CUDNN
fixture=$source/tests/golden/fixtures/block_one_step.safetensors
small="--dim 16 --heads 2 --layers 1 --vocab 11 --slots 16 --level 1 --time 2 --batch 1 --threads 1 --quiet --ceilings off
  --warmup 1us --min-time 1us --max-time 1us --total-time 1us"
failed=0
fault() { echo "FAILED: $*"; failed=$((failed + 1)); }

# expect STATUS WORDS COMMAND...: the exit status, and words in what the command writes.
expect() {
  wanted=$1 words=$2
  shift 2
  "$@" >"$work/out" 2>&1
  status=$?
  [ "$status" -eq "$wanted" ] || fault "$*: exit status $status, not $wanted: $(tail -1 "$work/out")"
  grep -qF -- "$words" "$work/out" || fault "$*: does not say \"$words\": $(tail -1 "$work/out")"
}

# expect_cudnn LOADED COMMAND...: the command ends well, and cuDNN was loaded (yes) or was not (no).
expect_cudnn() {
  wanted=$1
  shift
  MMREC_CUDNN=$cudnn LD_DEBUG=files LD_DEBUG_OUTPUT="$work/ld" "$@" >"$work/out" 2>&1 || fault "$*: $(tail -1 "$work/out")"
  loaded=no
  cat "$work"/ld.* | grep -q 'calling init:.*cudnn' && loaded=yes
  [ $loaded = "$wanted" ] || fault "$*: cuDNN loaded: $loaded"
  rm -f "$work"/ld.*
}

device=no
[ "$mode" = real ] && "$bin/mmrec-parity" --backend cuda "$fixture" >/dev/null 2>&1 && device=yes

# --backend cuda where it is not, and a plan for it, which needs none.
case $mode in
none) expect 2 "this build has no CUDA backend" "$bin/mmrec-parity" --backend cuda "$fixture" ;;
real) [ $device = yes ] || expect 77 "no CUDA device" "$bin/mmrec-parity" --backend cuda "$fixture" ;;
emulated) expect 0 "all within tolerance" "$bin/mmrec-parity" --backend cuda "$fixture" ;;
esac
expect 0 "scratch" "$bin/mmrec-bench" --backend cuda --plan --quiet
# shellcheck disable=SC2086
[ $device = yes ] || expect 0 "backend cpu" "$bin/mmrec-bench" --backend auto $small

# A module that is missing, is no module, or is another build's.
if [ "$mode" = emulated ]; then
  expect 2 "cannot be loaded" env MMREC_CUDA_MODULE="$work/none.so" "$bin/mmrec-parity" --backend cuda "$fixture"
  printf 'no library' >"$work/text.so"
  expect 2 "cannot be loaded" env MMREC_CUDA_MODULE="$work/text.so" "$bin/mmrec-parity" --backend cuda "$fixture"
  other=$(ldd "$bin/mmrec-bench" | awk '/libm\.so/ { print $3 }')
  expect 2 "another build" env MMREC_CUDA_MODULE="$other" "$bin/mmrec-parity" --backend cuda "$fixture"
fi

# Libraries of a run on the processor, as the dynamic linker reports them.
for backend in cpu auto; do
  [ $device = yes ] && [ $backend = auto ] && continue
  # shellcheck disable=SC2086
  LD_DEBUG=files LD_DEBUG_OUTPUT="$work/ld" "$bin/mmrec-bench" --backend $backend $small >/dev/null 2>&1
  cat "$work"/ld.* 2>/dev/null | grep -E 'calling init: .*lib(cublas|cublasLt|cudart|cudnn|mmrec_cuda)' >"$work/loaded"
  [ -s "$work/loaded" ] && fault "--backend $backend loads $(head -1 "$work/loaded")"
  cat "$work"/ld.* 2>/dev/null | grep -q 'calling init:.*openblas' || fault "the list of libraries is not there"
  rm -f "$work"/ld.*
done

# cuDNN: loaded where something is compared with it or computed by it, and by nothing else; without it the rest runs.
if [ "$mode" = emulated ]; then
  size="B=1 T=2 D=3"
  recurrence="--backend cuda --op recurrence --quiet --threads 1"
  # shellcheck disable=SC2086
  expect_cudnn no "$bin/mmrec-bench" $recurrence --at "$size" --against none
  # shellcheck disable=SC2086
  expect_cudnn yes "$bin/mmrec-bench" $recurrence --at "$size" --against cudnn-lstm-fp16
  grep -q '^cudnn-lstm-fp16: cuDNN 9.19.0, forward [sp]' "$work/out" || fault "the report does not name cuDNN: $(tail -1 "$work/out")"
  # shellcheck disable=SC2086
  expect 0 "recurrence against cudnn-lstm-bf16: n/a (emulated)" "$bin/mmrec-bench" $recurrence --at "$size" \
    --against cudnn-lstm-bf16
  # shellcheck disable=SC2086
  expect 0 "recurrence against cudnn-lstm-fp16: n/a (no cuDNN: $work/none.so: cannot open" env MMREC_CUDNN="$work/none.so" \
    "$bin/mmrec-bench" $recurrence --at "$size" --against cudnn-lstm-fp16
  # Or where it runs layers.
  layers=$source/tests/golden/fixtures/lstm.safetensors
  for rnn in auto kernels; do expect_cudnn no "$bin/mmrec-parity" --backend cuda --rnn $rnn "$layers"; done
  layer="--backend cuda --op lstm --quiet --threads 1 --warmup 1us --min-time 1us --max-time 1us --total-time 1us"
  for way in "128 auto no" "129 auto yes" "129 kernels no" "129 cudnn yes"; do
    # shellcheck disable=SC2086
    set -- $way
    # shellcheck disable=SC2086
    expect_cudnn $3 "$bin/mmrec-bench" $layer --at "B=1 X=2 D=3 H=$1" --rnn $2
  done
  # shellcheck disable=SC2086
  expect 0 "lstm" "$bin/mmrec-bench" $layer --at "B=1 X=2 D=3 H=129"
  expect_cudnn yes "$bin/mmrec-parity" --backend cuda --rnn cudnn "$layers"
  expect 2 "mmrec-parity: no cuDNN: $work/none.so: cannot open" env MMREC_CUDNN="$work/none.so" \
    "$bin/mmrec-parity" --backend cuda --rnn cudnn "$layers"
  expect 2 "no cuDNN: the device is emulated; use --rnn kernels" "$bin/mmrec-parity" --backend cuda --rnn cudnn "$layers"
  expect 0 "all within tolerance" "$bin/mmrec-parity" --backend cuda --rnn cudnn "$fixture"
  # shellcheck disable=SC2086
  expect 1 "no cuDNN: the device is emulated; use --rnn kernels" "$bin/mmrec-bench" --backend cuda --op lstm \
    --at "B=1 X=2 D=3 H=2" --quiet --threads 1 --rnn cudnn
  # Or where it runs attention, which needs bf16.
  attention="--backend cuda --op attention --quiet --threads 1 --warmup 1us --min-time 1us --max-time 1us --total-time 1us"
  heads="B=1 T=3 M=3 D=16 heads=2 causal=1 -visible"
  for way in "fp32 auto no" "fp32 cudnn no" "bf16 kernels no" "bf16 auto yes" "bf16 cudnn yes"; do
    # shellcheck disable=SC2086
    set -- $way
    # shellcheck disable=SC2086
    expect_cudnn $3 "$bin/mmrec-bench" $attention --at "$heads" --dtype $1 --attention $2
  done
  # shellcheck disable=SC2086
  expect 0 "attention" "$bin/mmrec-bench" $attention --at "$heads" --dtype bf16
  # shellcheck disable=SC2086
  expect 1 "no cuDNN: the device is emulated; use --attention kernels" "$bin/mmrec-bench" $attention --at "$heads" --dtype bf16 \
    --attention cudnn
  # shellcheck disable=SC2086
  expect 0 "recurrence against grid-barrier: n/a (emulated)" "$bin/mmrec-bench" $recurrence --at "$size" --against grid-barrier
fi

# Start-up: the best of 20 stays under 50 ms (with cuBLAS it would be a second).
if [ "$build" = plain ]; then
  best=$(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    start=$(date +%s%N)
    "$bin/mmrec-bench" --version >/dev/null
    echo $(($(date +%s%N) - start))
  done | sort -n | head -1)
  [ "$best" -lt 50000000 ] || fault "mmrec-bench --version takes $((best / 1000000)) ms, at most 50 are allowed"
  echo "start-up: $((best / 1000)) us"
fi
[ "$failed" -eq 0 ] && echo "all as expected"
[ "$failed" -eq 0 ]
