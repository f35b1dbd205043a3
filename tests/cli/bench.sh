#!/bin/sh
# Small real runs of mmrec-bench, and what their outputs must look like.
#
#   bench.sh BIN SOURCE
bin=$1 source=$2
[ -x "$bin/mmrec-bench" ] && [ -x "$bin/mmrec-parity" ] || { echo "the programs are not in $bin"; exit 1; }
. "$source/tests/cli/rig.sh"
cd "$work" || exit 1
schema=$source/docs/bench.schema.json kind=json
small="--dim 16 --heads 2 --vocab 20 --slots 16"
tiny="$small --time 6 --batch 2"
# As loose an interval as can be asked for: a series ends with its twentieth sample, however loaded the machine is.
fast="--warmup 1ms --min-time 2ms --max-time 5s --target-ci 100% --threads 2"

bench() { expect 0 "$bin/mmrec-bench" "$@"; }

what="both sides"
bench $tiny $fast --seed 18446744073709551615 --export-json deep/er/both.json --export-csv both.csv --export-markdown both.md
valid deep/er/both.json
rows both.csv 8
is deep/er/both.json status.exit_code 0
is deep/er/both.json seed '"18446744073709551615"'
is deep/er/both.json options.dim.source '"flag"'
is deep/er/both.json cases.0.sizes.dim 16
is deep/er/both.json cases.0.sides.0.check.passed true
is deep/er/both.json cases.0.sides.1.hem true
is deep/er/both.json cases.0.sides.1.check.passed true
is deep/er/both.json comparisons.3.measure '"model forward + backward"'
holds out '^| model forward + backward *| HEM on  | *[0-9.]* ± [0-9.]* | .* | *[0-9]* | interval |$'
holds out '^| HEM on against off *| time on / off | .* | HEM on is |$'
lacks out '^| Metric '
holds both.md '^| Metric  *|  *Original |  *HEM |  *Improvement |$'
holds both.md '^| block forward  *|  *[0-9.]* ± [0-9.]* [a-z]* |'
holds err '^case 1/1 .*: block forward$'
[ "$(tr -d '\r\033' <err | wc -c)" -eq "$(wc -c <err)" ] || fail "carriage returns or escapes on a piped standard error"
lacks both.md 'nan\|inf '

what="one side"
bench $tiny $fast --hem on --quiet --export-json on.json --export-markdown on.md --export-csv -
rows out 4
valid on.json
holds on.md 'n/a (needs both sides)'
is on.json comparisons '[]'
[ -s err ] && fail "--quiet, and still on standard error: $(head -1 err)"

what="a sweep"
bench $small $fast --hem off --quiet --axis time=2:8:*2 --axis 'batch=1,3' --export-json sweep.json --export-csv sweep.csv
valid sweep.json
rows sweep.csv 24
is sweep.json cases.0.sizes.time 2
is sweep.json cases.1.sizes.batch 3
is sweep.json cases.5.sizes.time 8
holds out '^| block backward | time | batch | *HEM off \[[a-z]*\] | *tokens/s |$'
holds out '^| case 6 *|    8 |     3 | '

what="a side against itself"
bench $tiny $fast --hem on --self-test on --quiet --export-json self.json --export-csv self.csv
valid self.json
rows self.csv 8
is self.json cases.0.sides.0.hem true
is self.json cases.0.sides.1.hem true
is self.json comparisons.3.ratio_of '"HEM on, second / HEM on, first"'
holds out '^| HEM on against itself *| time second / first | .* | second is |$'
lacks out 'HEM off'

what="options of the model"
bench $tiny $fast --quiet --pe 4 --dpg 3 --uboo planning --dropout 0.1 --recompute on --backend ref --export-json other.json
valid other.json
is other.json backend '"ref"'
is other.json cases.0.sizes.uboo '"planning"'
is other.json status.failures '[]'

what="data from a file, settings from a file and the environment"
printf 'dim = 16\nheads = 2\nslots = 16\nvocab = 20\ntime = 4\nmax-time = 20ms\nmin-time = 1ms\nwarmup = 1ms\n' >settings.ini
expect 0 env MMREC_HEM=off MMREC_TIME=5 "$bin/mmrec-bench" --config settings.ini --data "$schema" --quiet --export-json data.json \
    --context machine=here
valid data.json
is data.json options.time.source '"environment"'
is data.json options.dim.source '"file"'
is data.json options.dim.line 1
is data.json cases.0.sizes.time 5
is data.json context.0.value '"here"'

what="a cap below the default least time"
bench --op gelu --at 'N=3 D=5' --quiet --ceilings off --warmup 1ms --max-time 125ms --backend cpu --export-json cap.json
is cap.json sampling.min_time_s 0.125
is cap.json options.min-time.source '"default"'

what="plans"
bench $tiny --plan --memory 10MiB --optimizer adamw --export-json plan.json --export-csv plan.csv
valid plan.json
rows plan.csv 10
is plan.json mode '"plan"'
holds out '^The largest batch that fits into 10.0 MiB is [1-9][0-9]*, with '
bench --dim 16 --heads 2 --slots 16 --time 6 --vocab 500 --plan --hem on
holds out '^| gradient of embedding.weight *| (500, 16) *| f32 *| gradients *|'
bench $tiny --plan --memory 1KiB --hem on
holds out '^Not even batch 1 fits into 1.00 KiB.$'

what="lists"
bench --list --axis time=512:8192:*2
holds out '^|    5 | 512 |      2 |     8 | 8192 |'
bench --op list
holds out '^| matmul  *| N=1000 K=500 F=200 '

what="ops"
bench $fast --op fill,matmul --op softmax --quiet --export-json op.json --export-csv op.csv
valid op.json
rows op.csv 5
is op.json ops.1.op '"matmul"'
is op.json ops.2.check.passed true
holds out '^| matmul  *| N=1000 K=500 F=200  *| backward |'
bench $fast --op linear --at 'N=3 D=5 F=7 -bias' --quiet

what="an optimizer, and what only a device has"
bench $tiny $fast --hem on --quiet --optimizer adamw --timer cupti --export-json adamw.json --export-csv adamw.csv
valid adamw.json
rows adamw.csv 5
is adamw.json device null
is adamw.json timing.used '"host"'
is adamw.json cases.0.sides.0.measures.4.name '"optimizer step"'
is adamw.json cases.0.sides.0.measures.4.device null
is adamw.json cases.0.sides.0.memory_phases.5.phase '"optimizer"'
is adamw.json cases.0.sides.0.memory_phases.6.allocated_bytes 0
holds out '^| device *| n/a (no device)'
holds out '^| optimizer step *| HEM on '
holds out '^- Timed by host and not by cupti: '
holds out '^| HEM on, allocated, peak *|'
lacks out 'device in use'

what="an emulated device"
"$bin/mmrec-bench" --backend cuda --op fill --at 'rows=2 columns=3' --quiet --export-json probe.json >out 2>err
probe=$?
[ $probe -eq 0 ] || [ $probe -eq 77 ] || grep -q 'this build has no CUDA backend' err || fail "no answer about a device: $(cat err)"
if [ $probe -eq 0 ] && [ "$("$bin/cli_check" get probe.json device.emulated)" = true ]; then
    bench $tiny $fast --backend cuda --quiet --optimizer adamw --profile --timer cupti --cache cold --export-json emulated.json \
        --export-markdown emulated.md --export-csv emulated.csv
    valid emulated.json
    rows emulated.csv 10
    is emulated.json backend '"cuda"'
    is emulated.json timing.cache '"cold"'
    is emulated.json timing.fallback '"the device is emulated"'
    is emulated.json cases.0.sides.1.check.passed true
    is emulated.json cases.0.sides.1.measures.0.stats null
    is emulated.json cases.0.sides.1.measures.0.reason '"emulated"'
    is emulated.json cases.0.sides.1.measures.4.device.launches 1
    is emulated.json comparisons.0.verdict null
    is emulated.json cases.0.sides.0.memory_phases.6.unaccounted_bytes 0
    holds emulated.md '^| block forward *| HEM on *| *n/a (emulated) | *n/a (emulated) |'
    holds emulated.md '^| kernel launches of block forward *| *[1-9][0-9]* | *[1-9][0-9]* |'
    holds emulated.md '^| HEM on, unaccounted *| *0 B |'
    lacks emulated.md 'nan\|inf '
    bench $tiny $fast --backend cuda --dtype bf16 --quiet --uboo deep --recompute on --optimizer adamw --export-json bf16.json \
        --export-csv bf16.csv
    valid bf16.json
    rows bf16.csv 10
    is bf16.json dtype '"bf16"'
    is bf16.json cases.0.sides.0.check.passed true
    is bf16.json cases.0.sides.1.check.output_tolerance 0.02
    holds out '^| run *| backend cuda, bf16, '
    bench $small --time 512 --backend cuda --dtype bf16 --plan --export-json bf16-plan.json
    valid bf16-plan.json
    holds out '^| made by linear forward.* | bf16 | saved '
    bench --backend cuda --dtype bf16 --op linear --quiet --at 'N=3 D=5 F=7' --export-json bf16-op.json
    is bf16-op.json ops.0.check.passed true
    bench --backend cuda --op gelu --quiet --at 'N=3 D=5' --export-json emulated-op.json --export-csv emulated-op.csv
    valid emulated-op.json
    rows emulated-op.csv 2
    bench --backend cuda --op recurrence --quiet --at 'B=2 T=3 D=5' --against grid-barrier --export-json against.json \
        --export-csv against.csv
    valid against.json
    rows against.csv 4
    is against.json ops.0.against.name '"grid-barrier"'
    is against.json ops.0.against.missing null
    is against.json ops.0.against.passes.1.comparison.reason '"emulated"'
    is against.json options.against.source '"flag"'
    holds out '^recurrence against grid-barrier: n/a (emulated)$'
    bench --backend cuda --op recurrence --quiet --at 'B=2 T=3 D=5' --against cudnn-lstm-bf16 --export-json lstm.json \
        --export-csv lstm.csv
    valid lstm.json
    rows lstm.csv 4
    is lstm.json ops.0.against.missing '"emulated"'
    is lstm.json ops.0.passes.1.name '"backward"'
    holds lstm.csv '^cudnn-lstm-bf16,.*,emulated,'
    is emulated-op.json ops.0.check.passed true
    expect 1 "$bin/mmrec-bench" --backend cuda --quiet --hem on --batch 100000 --time 512 --export-json room.json
    valid room.json
    holds err 'the case needs [0-9.]* [KMGT]iB on the device (parameters [0-9.]* [KMGT]iB, .*) and [0-9.]* [KMGT]iB are free; the largest batch that fits is [1-9][0-9]*$'
fi

what="a case that cannot run"
# AddressSanitizer would stop the program at a request that large instead of refusing it.
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS-}"
expect 1 "$bin/mmrec-bench" --dim 1048576 --heads 1 --time 2047 --batch 1048576 --hem off --quiet --export-json huge.json
valid huge.json
is huge.json status.exit_code 1
holds err '^mmrec-bench: 1 of 1 failed; the first: not enough memory'

interrupt() { # SIGNAL STATUS
    what="SIG$1"
    "$bin/mmrec-bench" $tiny --min-time 60s --max-time 60s --total-time 0 --export-json int.json --export-csv int.csv >out 2>err &
    pid=$!
    tries=0
    until grep -q 'block forward$' err || [ $tries -eq 600 ]; do sleep 0.1; tries=$((tries + 1)); done
    sleep 0.3
    kill -"$1" $pid
    wait $pid
    got=$?
    [ $got -eq "$2" ] || fail "exit $got after SIG$1, not $2"
    valid int.json
    rows int.csv 8
    is int.json status.interrupted true
    is int.json status.exit_code "$2"
    is int.json cases.0.parameters null
    is int.json cases.0.sides.1.measures.3.nodes null
    is int.json warnings.0.code '"interrupted"'
    holds err '^mmrec-bench: interrupted; what was measured till then is in the report$'
}
interrupt INT 130
interrupt TERM 143

what="help and version"
bench --help
holds out '^  --hem off|on|both '
bench --version
holds out '^mmrec-bench [0-9]*\.[0-9]*\.[0-9]*$'

echo "$failed failed"
[ "$failed" -eq 0 ]
