#!/bin/sh
# Too little device memory: refused before anything runs, with what is needed and free, and the batch that fits does fit.
# usage: memory.sh MMREC_BENCH WORK_FOLDER
set -u
export XDG_CACHE_HOME=/dev/null # nothing of the user's is read or written
bench=$1
work=$2
mkdir -p "$work"
failed=0

complain() {
    echo "$1"
    sed 's/^/    /' "$work/err.txt"
    failed=1
}

# run MEMORY BATCH: the exit code is left in $code, the number of kernels in $kernels.
run() {
    MMREC_FAKE_CUDA_MEMORY=$1 MMREC_FAKE_CUDA=leaks,count:$work/calls.txt "$bench" --backend cuda --quiet --threads 1 \
        --dim 16 --heads 2 --layers 1 --vocab 11 --slots 16 --level 1 --time 16 --pe 3 --hem on --ceilings off \
        --warmup 1us --min-time 1us --max-time 2us --total-time 1us --batch "$2" >"$work/out.txt" 2>"$work/err.txt"
    code=$?
    kernels=$(sed -n 's/^launch //p' "$work/calls.txt")
}

# The backend's own 32 MiB and a bit for the case.
run 34M 512
[ "$code" -eq 1 ] || complain "too little memory: exit $code instead of 1"
[ "$(wc -l <"$work/err.txt")" -eq 1 ] || complain "the refusal is not one line"
[ "${kernels:-0}" -eq 0 ] || complain "$kernels kernels ran before the refusal"
for word in needs free parameters gradients saved scratch batch; do
    grep -q "$word" "$work/err.txt" || complain "the refusal does not name '$word'"
done
fits=$(sed -n 's/.*the largest batch that fits is \([0-9]*\).*/\1/p' "$work/err.txt")
if [ -z "$fits" ]; then
    complain "the refusal does not name a batch that fits"
else
    run 34M "$fits"
    [ "$code" -eq 0 ] || complain "batch $fits was said to fit: exit $code"
    run 34M $((fits + 1))
    [ "$code" -eq 1 ] || complain "batch $((fits + 1)) was said not to fit: exit $code"
fi
exit $failed
