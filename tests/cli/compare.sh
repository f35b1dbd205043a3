#!/bin/sh
# Small real comparisons with mmrec-compare: rows that are measured and rows that are not, every output, and how it ends.
#
#   compare.sh BIN SOURCE
bin=$1 source=$2
[ -x "$bin/mmrec-compare" ] && [ -x "$bin/cli_check" ] || { echo "the programs are not in $bin"; exit 1; }
. "$source/tests/cli/rig.sh"
cd "$work" || exit 1
schema=$source/docs/compare.schema.json kind=json
text=$source/tests/golden/text/harbour.txt
fast="--backend cpu --threads 1 --warmup 0 --min-time 1ms --max-time 10ms --ceilings off --quiet"
small="--task classes --inputs 8 --outputs 3 --dim 8 --samples 40 --batch 4"
language="--task language --dim 8 --batch 2 --time 8"

compare() { # STATUS ARGUMENTS...
    status=$1; shift
    expect "$status" "$bin/mmrec-compare" $fast "$@"
    [ "$(wc -l <err)" -eq $((status != 0)) ] || fail "on standard error: $(head -2 err) (after: $what)"
}
same() { # FILE PATH PATH: two values of a file
    value=$("$bin/cli_check" get "$1" "$2") || fail "no $2 in $1 (after: $what)"
    is "$1" "$3" "$value"
}

what="a model and itself"
compare 0 --models lstm,lstm $small --train-steps 12 --seeds 2 --export-json self.json --export-csv self.csv --export-markdown self.md
valid self.json
rows self.csv 8
is self.json rows.0.label '"lstm"'
is self.json rows.1.label '"lstm (2)"'
is self.json rows.0.parameters 603
is self.json status.interrupted false
is self.json training.steps 12
for path in parameters memory.planned_all_bytes gradients.norm quality.held_out_loss quality.accuracy size_bytes; do
    same self.json rows.0.$path rows.1.$path
done
for seed in 0 1; do same self.json rows.0.quality.runs.$seed.training_loss rows.1.quality.runs.$seed.training_loss; done
holds out '^| Model  *|  *Parameters |  *FLOPs |  *Forward (ms) |  *Backward (ms) |  *Memory (MB) |  *Grad Norm |$'
holds out '^| lstm (2)  *|  *603 | '
holds out '^| training  *| 12 steps of AdamW at rate 0.001, 2 seeds from 1 *|$'
holds self.md '^| lstm (2)  *|  *603 | '
lacks out 'nan\|inf '

what="the same comparison again"
compare 0 --models lstm,lstm $small --train-steps 12 --seeds 2 --export-json again.json
for path in rows.0.quality.held_out_loss.mean rows.1.quality.runs.1.training_loss rows.0.gradients.norm; do
    is again.json $path "$("$bin/cli_check" get self.json $path)"
done

what="rows that cannot do the task"
compare 1 --models all $small --export-json all.json
valid all.json
is all.json rows.0.label '"lstm"'
is all.json rows.0.failure null
is all.json rows.7.parameters null
is all.json rows.12.label '"nsm-states"'
[ "$("$bin/cli_check" get all.json rows.8.failure)" != null ] || fail "mmrec did a task of classes"
holds err '^mmrec-compare: 6 of 13 models could not be measured: block, mmrec, gpt, nsm-router, nsm-layer, nsm-states$'
holds out '^- block: model block cannot do a task: it is a part of a model, without a loss of its own; leave it out$'
holds out '^| nsm-sequential  *|  *[0-9][0-9]* |'

what="suites"
compare 0 --suite nsm --batch 2 --samples 40 --export-json nsm.json
for row in 0:288010 1:524748 2:1102668 3:601354 4:677194; do is nsm.json rows.${row%:*}.parameters ${row#*:}; done
is nsm.json rows.1.dead_parameters 29954
is nsm.json rows.2.dead_parameters 108738
compare 0 --suite language --dim 8 --batch 2 --time 8 --data "$text" --train-steps 3 --seeds 2 --layers --export-json language.json
valid language.json
is language.json task.data '"harbour.txt"'
is language.json rows.3.model '"gpt"'
compare 0 --suite mlp --epochs 0.1 --seeds 2 --export-json mlp.json
valid mlp.json
is mlp.json training.steps 32
is mlp.json rows.1.fused true
is mlp.json rows.1.parameters 3009
# The same sums in another order.
one=$("$bin/cli_check" get mlp.json rows.0.quality.held_out_loss.mean) two=$("$bin/cli_check" get mlp.json rows.1.quality.held_out_loss.mean)
awk "BEGIN { exit !($one > 0 && $two < $one * 1.001 && $two > $one * 0.999) }" || fail "mlp learned $one, fused $two"

what="several configurations of one model"
compare 0 --model nsm-simple --set gate=gru,states=4 --set gate=lstm,states=4 --inputs 8 --dim 8 --samples 40 --batch 4 --export-json set.json
is set.json rows.0.label '"nsm-simple gate=gru,states=4"'
is set.json rows.1.config.gate '"lstm"'
is set.json rows.1.config.states 4

what="sizing"
compare 0 --models lstm,gru,gpt,mmrec $language --match parameters --budget 20000 --export-json match.json
valid match.json
is match.json match '"parameters"'
for row in 0 1 2 3; do
    is match.json rows.$row.budget 20000.0
    off=$("$bin/cli_check" get match.json rows.$row.off_by_share)
    awk "BEGIN { exit !($off < 0.1 && $off > -0.1) }" || fail "row $row is off by $off"
done

what="scaling, with pictures where gnuplot is"
compare 0 --models lstm,gpt $language --axis time=4,8,16 --plot plots --export-json axis.json
valid axis.json
is axis.json axis.name '"time"'
is axis.json rows.1.scaling.points.2.at 16
for file in plot.dat plot.gp; do [ -s plots/$file ] || fail "no plots/$file"; done

what="JSON on standard output"
compare 0 --models lstm $small --export-json -
valid out

what="settings from a file and the environment"
printf 'models = lstm,gru\ntask = classes\ninputs = 8\ndim = 8\nsamples = 40\nbatch = 4\n' >settings.ini
expect 0 env MMREC_BATCH=2 "$bin/mmrec-compare" $fast --config settings.ini --outputs 3 --export-json file.json
is file.json task.batch 2
is file.json task.outputs 3
is file.json rows.1.label '"gru"'
expect 0 "$bin/mmrec-compare" --config settings.ini --outputs 3 --print-config
mv out printed.ini
expect 0 "$bin/mmrec-compare" $fast --config printed.ini --export-json printed.json
is printed.json task.inputs 8
is printed.json task.outputs 3

what="outputs that cannot be written"
compare 2 --models lstm $small --export-json /proc/no-folder/x.json
holds err '^mmrec-compare: .*/proc/no-folder'
[ ! -s out ] || fail "measured, and then there was nowhere to write to"
compare 2 --models lstm $small --export-csv same --export-markdown same
compare 2 --models lstm $small --plot "$text/folder"
"$bin/mmrec-compare" $fast --models lstm $small --export-json still.json >/dev/full 2>err
[ $? -eq 2 ] || fail "a full standard output, and no exit 2"
holds err '^mmrec-compare: cannot write [0-9]* bytes to standard output: No space left on device$'
valid still.json

what="data that is not there"
compare 2 --suite language --data no-such-file
holds err '^mmrec-compare: .*no-such-file'
printf 'short' >short.txt
compare 2 --suite language --data short.txt
holds err '^mmrec-compare: .*short.txt'

what="progress"
expect 0 "$bin/mmrec-compare" $(echo "$fast" | sed 's/ --quiet//') --models lstm,gru $small
holds err 'lstm'

interrupt() { # SIGNAL STATUS MESSAGE ARGUMENTS...: when that message is told
    what="SIG$1 while $3"
    signal=$1 status=$2 message=$3
    shift 3
    "$bin/mmrec-compare" --backend cpu --threads 1 --warmup 0 --ceilings off --models lstm,gru "$@" --export-json int.json >out 2>err &
    pid=$!
    tries=0
    until grep -q "^$message " err || [ $tries -eq 600 ]; do sleep 0.1; tries=$((tries + 1)); done
    sleep 0.3
    kill -"$signal" $pid
    wait $pid
    got=$?
    [ $got -eq "$status" ] || fail "exit $got after SIG$signal, not $status"
    valid int.json
    is int.json status.interrupted true
    is int.json rows.0.failure null
    [ "$("$bin/cli_check" get int.json rows.1.parameters)" -gt 0 ] || fail "what was known before is gone (after: $what)"
    holds err '^mmrec-compare: interrupted; what was measured till then is in the report$'
}
interrupt INT 130 timing --task language --min-time 60s --max-time 60s
interrupt TERM 143 training $small --min-time 1ms --max-time 10ms --train-steps 1000000000

what="questions"
expect 0 "$bin/mmrec-compare" --list
holds out '^nsm-simple: '
expect 0 "$bin/mmrec-compare" --help
holds out '^  --models NAME,\.\.\. '
expect 0 "$bin/mmrec-compare" --version
holds out '^mmrec-compare [0-9]*\.[0-9]*\.[0-9]*$'

[ $failed -eq 0 ] && echo "mmrec-compare does what it says"
[ $failed -eq 0 ]
