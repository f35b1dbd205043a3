#!/bin/sh
# mmrec-train --bench: what it prints, on the cpu and, where the build emulates it, on the device.
#
#   train_bench.sh BIN SOURCE CUDA      CUDA: "emulated", or anything else
bin=$1 source=$2 cuda=$3
[ -x "$bin/mmrec-train" ] || { echo "the programs are not in $bin"; exit 1; }
. "$source/tests/cli/rig.sh"
cd "$work" || exit 1
text=$source/tests/golden/text/harbour.txt
any="--bench --heads 2 --slots 16 --level 1 --threads 1"
tiny="$any --dim 16 --layers 2 --batch 2 --time 16 --max-time 60ms"

bench() { # ARGUMENTS
    expect 0 "$bin/mmrec-train" "$@"
    [ ! -s err ] || fail "on standard error: $(head -1 err) (after: $what)"
}
holds() { grep -q -e "$1" out || fail "no line like '$1' (after: $what): $(cat out)"; }
lacks() { ! grep -q -e "$1" out || fail "a line like '$1' (after: $what): $(cat out)"; }
row() { holds "^| $1  *| *$2 |$"; }
# What every run says, whatever the machine is doing.
costs() {
    holds '^Waits for data: [0-9]* in [1-9][0-9]* steps in a row'
    holds '^Allocations: 0 in [1-9][0-9]* steps$'
    [ "$(grep -c '^| ' out)" -eq 4 ] || fail "not three rows below a head (after: $what): $(cat out)"
}
time='[0-9.]* [num]*s' samples='[1-9][0-9]*'
interval="\\($time to $time\\|n/a\\)" rates='[1-9][0-9]* | *[0-9.]* [kMGT]FLOP/s'
timed() {
    costs
    holds '^Waits for data: .* row, [0-9.]* [num]*s together$'
    row 'training step' "$time | *$interval | *$rates | *$samples"
    row 'block forward + backward' "$time | *$interval | *$rates | *$samples"
    row 'optimizer' "$time | *$interval | *n/a | *n/a | *$samples"
    holds "^Rate of the step over the block's: \\([0-9]*\\.[0-9]* (95 % interval [0-9.]* to [0-9.]*, [0-9]* pairs)\\|n/a (fewer than 8 pairs of samples)\\)$"
    holds '^Share of the optimizer in a step: [0-9]*\.[0-9] %$'
    holds '^Threads that were ready but had no processor: [0-9.]* % of their time$'
    lacks '^Launches'
    lacks 'inf\|nan\|emulated'
}

what="a plain bench"
bench $tiny --backend cpu --data "$text"
timed
holds '^mmrec-train --bench: D 16, T 16, B 2, L 2, H 2, V 256$'
holds 'uboo off, dropout 0, recompute off, HEM on, accumulate 1, stream off$'
holds '^backend cpu, f32, 1 thread, seed 1; '

what="a step of everything"
bench $tiny --backend cpu --data "$text" --accumulate 2 --stream on --hem off --uboo deep --dropout 0.1 --recompute on --seed 7
timed
holds 'uboo deep, dropout 0.1, recompute on, HEM off, accumulate 2, stream on$'
holds ', seed 7; '

what="a task, in double"
bench $tiny --backend ref --task copy
timed
holds '^backend ref, f64, 1 thread'

what="outputs that cannot be written"
"$bin/mmrec-train" $tiny --backend cpu --data "$text" >/dev/full 2>err
[ $? -eq 2 ] || fail "a full standard output, and no exit 2"
grep -q '^mmrec-train: cannot write .* bytes to standard output: No space left on device$' err || fail "$(cat err)"

# Once it is that program and has a handler for the signal: the shell it is forked from has one too, and it begins with none.
what="an interrupt"
"$bin/mmrec-train" $any --data "$text" --backend cpu --max-time 100s >out 2>err &
pid=$!
ready() { grep -q '^Name:.*mmrec-train$' /proc/$pid/status && grep -q '^SigCgt:.*[2367abef]$' /proc/$pid/status; }
until ready || ! kill -0 $pid; do sleep 0.01; done
sleep 0.5
kill -INT $pid
wait $pid
got=$?
[ $got -eq 130 ] || fail "exit $got after an interrupt: $(cat err)"
holds '^| training step  *| '
[ ! -s err ] || fail "on standard error: $(head -1 err) (after: $what)"

if [ "$cuda" = emulated ]; then
    what="an emulated device"
    small="--dim 8 --layers 1 --batch 1 --time 2 --recurrence graph"
    for way in "" "--accumulate 2 --stream on --dtype bf16 --graphs off"; do
        bench $any $small --data "$text" --backend cuda $way
        costs
        nothing='n/a (emulated)'
        for name in 'training step' 'block forward + backward' 'optimizer'; do
            row "$name" "$nothing | *$nothing | *$nothing | *$nothing | *0"
        done
        holds "^Rate of the step over the block's: n/a (emulated)$"
        holds '^Launches: [1-9][0-9]* a step$'
        lacks ' together$\|^Share\|^Threads'
        holds '; emulated on the processor$'
    done
    holds '^backend cuda, bf16, 1 thread'
fi

[ $failed -eq 0 ] && echo "mmrec-train --bench prints what it says"
[ $failed -eq 0 ]
