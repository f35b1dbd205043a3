#!/bin/sh
# Small real trainings with mmrec-train: what it tells, what it keeps, and how it ends.
#
#   train.sh BIN SOURCE
bin=$1 source=$2
[ -x "$bin/mmrec-train" ] || { echo "the programs are not in $bin"; exit 1; }
. "$source/tests/cli/rig.sh"
cd "$work" || exit 1
schema=$source/docs/train.schema.json kind=jsonl
text=$source/tests/golden/text/harbour.txt
model="--dim 16 --heads 2 --layers 2 --slots 16 --level 1 --batch 2 --threads 1 --backend cpu"
tiny="--data $text $model --time 16 --val-batches 2"

train() { expect 0 "$bin/mmrec-train" "$@"; [ ! -s err ] || fail "on standard error: $(head -1 err) (after: $what)"; }
refused() { # STATUS ARGUMENTS: ends with that status and, beside warnings, one line on standard error
    expect "$1" "$bin/mmrec-train" $2
    [ "$(grep -vc '^mmrec: warning: ' err)" -eq 1 ] || fail "not one line: $2: $(cat err)"
}
counts() { # FILE PATTERN NUMBER
    [ "$(grep -c -e "$2" "$1")" -eq "$3" ] || fail "$(grep -c -e "$2" "$1") lines like '$2' in $1 and not $3 (after: $what)"
}
is() { # FILE RECORD PATH VALUE: of the last record of that kind
    grep "^{\"record\":\"$2\"" "$1" | tail -1 >record
    value=$("$bin/cli_check" get record "$3")
    [ "$value" = "$4" ] || fail "$3 of the last $2 is $value and not $4 in $1 (after: $what)"
}
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ (after: $what)"; }
# The same records without what the clock says, and without those that come when a disk is done.
timeless() { grep -v '"event":"saved"' "$1" | sed 's/"\(started_at\|ended_at\|load1\|step_ns\|tokens_per_s\|validation_ns\|wall_s\|data_waits\|data_wait_ns\)":[^,}]*//g'; }
step() { printf '%s/step-%012d.safetensors' "$1" "$2"; }

what="a plain run"
train $tiny --steps 6 --val-every 4 --log plain.jsonl
holds out '^ *data  harbour.txt: [0-9]* bytes to train on, [0-9]* held out, CRC-32 [0-9a-f]\{8\}$'
holds out '^ *model  mmrec: D 16, L 2, H 2, V 256, [0-9]* parameters; HEM on, auxiliary loss off$'
holds out '^ *memory  [0-9.]* [KM]iB planned: parameters [0-9.]* KiB, gradients '
holds out '^ *step  *loss bits/byte  *norm  *lr  *ms tokens/s  *memory h growth$'
counts out '^ *[1-6]  *[0-9]\.[0-9]\{4\} ' 6
counts out '^ *step  *loss' 1
counts out '^ *val  *[0-9]\.[0-9]\{4\}  *[0-9.]*  2 batches in ' 2
holds out '^ *end  step 6 of 6 (finished): 6 steps, 192 tokens in '
valid plain.jsonl
counts plain.jsonl '^{"record":"step"' 6
is plain.jsonl run options.steps.source '"flag"'
is plain.jsonl run options.lr.source '"default"'
is plain.jsonl run data.name '"harbour.txt"'
is plain.jsonl run resumed_from_step null
is plain.jsonl validation step 6
is plain.jsonl step loss_aux_nats null
is plain.jsonl end exit_code 0
is plain.jsonl end tokens 192

what="the same run again"
train $tiny --steps 6 --val-every 4 --log again.jsonl --log-every 100 --quiet
lacks out '^ *1  *[0-9]\.'
timeless plain.jsonl | sed 's/"\(log\|log-every\|quiet\)":{[^}]*}//g' >plain.records
timeless again.jsonl | sed 's/"\(log\|log-every\|quiet\)":{[^}]*}//g' >again.records
same plain.records again.records

what="records on standard output"
train $tiny --steps 3 --log -
valid out
lacks out '^ *step'

what="an auxiliary loss, and every part of the model"
train $tiny --steps 3 --uboo deep --pe 4 --dpg 3 --dropout 0.1 --recompute on --hem off --log deep.jsonl --grad-stats 2
valid deep.jsonl
holds out '^ *step  *loss  *aux bits/byte'
holds out '^ *grads  norm [0-9.e-]* over [0-9]* parameters, [0-9]* zero, [0-9]* missing, 0 not finite; largest '
counts deep.jsonl '^{"record":"gradients","step":2,' 1
lacks deep.jsonl '"loss_aux_nats":null'
train $tiny --steps 2 --uboo planning --stream on --grad-stats 1

what="resuming is not stopping"
for way in "" "--stream on" "--accumulate 3 --dropout 0.2 --uboo deep" "--stream on --accumulate 2 --recompute on"; do
    rm -rf whole parts
    train $tiny --steps 9 $way --checkpoint whole --save-every 4 --quiet
    train $tiny --steps 9 $way --checkpoint parts --save-every 4 --stop-after 3 --log parts.jsonl
    holds out '^ *stopped  stop-after at step 3 of 9; --resume goes on from there$'
    is parts.jsonl end status '"stop-after"'
    train $tiny --steps 9 $way --checkpoint parts --save-every 4 --stop-after 3 --resume --log parts.jsonl
    train $tiny --steps 9 $way --checkpoint parts --save-every 4 --resume --log parts.jsonl
    holds out '^ *resumed  at step 6, micro-batch '
    valid parts.jsonl
    counts parts.jsonl '^{"record":"run"' 3
    is parts.jsonl run resumed_from_step 6
    is parts.jsonl end run_steps 3
    same "$(step whole 9)" "$(step parts 9)"
done

what="resuming with nothing to go on from, and with nothing left to do"
train $tiny --steps 2 --checkpoint none --resume
holds out '^ *note  there is no checkpoint in none: training begins anew$'
train $tiny --steps 2 --checkpoint none --resume --log none.jsonl
is none.jsonl end run_steps 0
counts none.jsonl '^{"record":"validation"' 1

what="signals, within a step"
long="$tiny --steps 30 --accumulate 40 --save-every 7 --quiet --val-every 0"
train $long --checkpoint calm
for signal in INT TERM; do
    for attempt in 1 2 3 4 5; do
        rm -rf rough rough.jsonl
        "$bin/mmrec-train" $long --checkpoint rough --log rough.jsonl >out 2>err &
        pid=$!
        until grep -q '"record":"step"' rough.jsonl 2>/dev/null || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
        kill -$signal $pid
        wait $pid
        got=$?
        micro=$(sed -n 's/^{"record":"end".*"micro_batches":\([0-9]*\).*/\1/p' rough.jsonl)
        [ $((micro % 40)) -ne 0 ] && break
    done
    [ $got -eq "$([ $signal = INT ] && echo 130 || echo 143)" ] || fail "exit $got after SIG$signal"
    [ $((micro % 40)) -ne 0 ] || fail "SIG$signal never came within a step"
    valid rough.jsonl
    is rough.jsonl end exit_code $got
    is rough.jsonl end status '"interrupted"'
    holds out '^ *stopped  by a signal at step [0-9]* of 30; --resume goes on from there$'
    train $long --checkpoint rough --resume --log rough.jsonl
    valid rough.jsonl
    is rough.jsonl run resumed_from_micro_batch "$micro"
    same "$(step calm 30)" "$(step rough 30)"
done

what="limits of time and of epochs"
train $tiny --steps 1000000 --max-time 300ms --val-every 0 --log-every 1000000 --sample 5 --log time.jsonl
is time.jsonl end status '"max-time"'
counts time.jsonl '^{"record":"validation"' 1
holds out '^sample at temperature 0.8, the first 1 bytes are the prompt:$'
train $tiny --epochs 0.02 --log epochs.jsonl
is epochs.jsonl run steps 14
holds out '^ *steps  14 of 2 x 16 tokens (0.0[0-9]* epochs)$'

what="settings from a file, the environment and flags"
printf 'steps = 5\nlr = 0.002\nval-every = 0\nlog = file.jsonl\n' >settings.ini
expect 0 env MMREC_LR=0.003 "$bin/mmrec-train" $tiny --config settings.ini --steps 2
is file.jsonl run options.steps.source '"flag"'
is file.jsonl run options.lr.source '"environment"'
is file.jsonl run options.val-every.source '"file"'
is file.jsonl run options.val-every.line 3
is file.jsonl end step 2
expect 0 "$bin/mmrec-train" $tiny --config settings.ini --steps 2 --lr 0.003 --print-config
mv out printed.ini
cp file.jsonl flags.jsonl
train --config printed.ini --log file.jsonl
# What a file says is kept in memory.
for log in flags file; do timeless $log.jsonl | sed 's/"memory_bytes":[0-9]*//' | grep '"record":"[sv]' >$log.records; done
same flags.records file.records

what="text at the end"
train $tiny --steps 2 --sample 300 --temperature 1.5 --prompt 'The harbour ' --log sample.jsonl
LC_ALL=C grep -q "$(printf '[\001-\010\013-\037\177]')" out && fail "control characters in a sample"
iconv -f UTF-8 -t UTF-8 out >/dev/null 2>&1 || fail "a sample is not UTF-8"
holds out '^The harbour '
valid sample.jsonl
is sample.jsonl sample prompt '"The harbour "'
for task in copy recall text-markov; do
    train --task $task $model --time 24 --steps 2 --val-batches 2 --sample 12 --log task.jsonl
    valid task.jsonl
    is task.jsonl run data.task "\"$task\""
    holds out '^ *step  *loss perplexity '
    holds out '^ *val .*  [0-9.]* above the best possible  accuracy [0-9.]* of [0-9.]*  2 batches'
    grep '"record":"sample"' task.jsonl | grep -q '"text":"[a-z]\{12\}"' || fail "no sample of symbols for $task"
done
train --task copy $model --time 24 --steps 1 --sample 3 --prompt abc
refused 2 "--task copy $model --time 24 --steps 1 --sample 3 --prompt aZ"
holds err '^mmrec-train: --prompt: symbol 2 is none of task copy, which has abcdefghij$'

what="checkpoints that must not be used"
train $tiny --steps 4 --checkpoint kept --save-every 2 --quiet
refused 2 "$tiny --steps 4 --checkpoint kept"
holds err '^mmrec-train: "kept" holds the checkpoint of step 4 of a training: --resume goes on from it, or name another folder$'
refused 2 "$tiny --steps 4 --checkpoint kept --resume --pe 4"
holds err '^mmrec-train: config.pe is 0 in the checkpoint, 4 here: a training goes on only with the same model, '
refused 2 "$tiny --steps 4 --checkpoint kept --resume --seed 7"
holds err '^mmrec-train: .*seed.* is 1 in the checkpoint, 7 here: '
cp -r kept cut
head -c 1000 "$(step kept 4)" >"$(step cut 4)"
expect 0 "$bin/mmrec-train" $tiny --steps 4 --checkpoint cut --resume --log cut.jsonl
holds err '^mmrec: warning: the checkpoint .*step-000000000004.safetensors is skipped: '
[ "$(wc -l <err)" -eq 1 ] || fail "more than one line about one checkpoint: $(cat err)"
is cut.jsonl run resumed_from_step 2
counts cut.jsonl '"event":"checkpoint skipped"' 1
same "$(step kept 4)" "$(step cut 4)"
for file in cut/*; do : >"$file"; done
refused 2 "$tiny --steps 4 --checkpoint cut --resume"
train $tiny --steps 6 --lr 0.01 --checkpoint kept --resume
holds out '^ *note  config.rate was 0.001 in the checkpoint and is 0.01 from here on$'

what="saves that fail"
refused 2 "$tiny --steps 4 --checkpoint $text/folder"
refused 2 "$tiny --steps 4 --checkpoint /proc/no-folder"
train $tiny --steps 4 --checkpoint four --quiet
found=
for k in 1 4 7 10 13 16 19 22 25 28 31; do
    rm -rf full full.jsonl
    cp -r four full
    expect 2 env MMREC_FAULT=save:$k+:ENOSPC "$bin/mmrec-train" $tiny --steps 9 --checkpoint full --save-every 2 --resume \
        --log full.jsonl
    [ "$(grep -vc '^mmrec: warning: ' err)" -eq 1 ] || fail "not one line: save:$k: $(cat err)"
    same "$(step four 4)" "$(step full 4)"
    ls -A full | grep -v '^step-00000000000[46].safetensors$' && fail "left behind after save:$k"
    grep -q '^mmrec: warning: the checkpoint of step 6 is not safe on disk: ' err || continue
    found=$k
    holds err '^mmrec: warning: the checkpoint of step 6 is not safe on disk: .*No space left on device'
    holds err '^mmrec-train: the state of step 9 could not be saved: .*No space left on device; the newest checkpoint is of step 4 on disk$'
    holds out '^ *val '
    valid full.jsonl
    is full.jsonl end exit_code 2
    is full.jsonl end step 9
    is full.jsonl end checkpoint_step 4
done
[ "$found" ] || fail "no failing save was ever told as a warning"
rm -rf full
cp -r four full
expect 0 env MMREC_FAULT=save:$found:ENOSPC "$bin/mmrec-train" $tiny --steps 9 --checkpoint full --save-every 2 --resume --quiet
counts err '^mmrec: warning: ' 1
train $tiny --steps 9 --checkpoint full --resume --log end.jsonl
is end.jsonl run resumed_from_step 9

what="logs that cannot be written"
rm -rf full whole
train $tiny --steps 5 --checkpoint whole --quiet
refused 2 "$tiny --steps 5 --checkpoint full --log /dev/full"
holds err '^mmrec-train: cannot write .* bytes to /dev/full: No space left on device$'
train $tiny --steps 5 --checkpoint full --resume --quiet
same "$(step whole 5)" "$(step full 5)"
rm -rf full
"$bin/mmrec-train" $tiny --steps 5 --checkpoint full --log still.jsonl >/dev/full 2>err
[ $? -eq 2 ] || fail "a full standard output, and no exit 2"
holds err '^mmrec-train: cannot write .* bytes to standard output: No space left on device$'
valid still.jsonl
is still.jsonl end exit_code 2
refused 2 "$tiny --steps 1 --log $text/log"
cp "$text" precious
refused 2 "$tiny --steps 1 --log precious"
holds err '^mmrec-train: "precious" is not a log: its first line does not begin with {"record":; it is left as it is$'
same precious "$text"

what="a log that a killed run left"
rm -rf full torn.jsonl
train $tiny --steps 3 --checkpoint full --log torn.jsonl
whole=$(wc -l <torn.jsonl)
printf '{"record":"step","step":4,"loss' >>torn.jsonl
train $tiny --steps 5 --checkpoint full --resume --log torn.jsonl
valid torn.jsonl
[ "$(grep -c . torn.jsonl)" -gt "$whole" ] || fail "the log of the run before is gone"
counts torn.jsonl '^{"record":"run"' 2
train $tiny --steps 1 --log torn.jsonl
counts torn.jsonl '^{"record":"run"' 1

what="an emulated device"
"$bin/mmrec-train" --task copy --dim 8 --heads 2 --layers 1 --slots 16 --level 1 --time 8 --batch 2 --steps 2 --val-batches 1 \
    --backend cuda --quiet --log device.jsonl >out 2>err
probe=$?
[ $probe -eq 0 ] || [ $probe -eq 77 ] || grep -q 'this build has no CUDA backend' err || fail "no answer about a device: $(cat err)"
if [ $probe -eq 0 ]; then
    valid device.jsonl
    is device.jsonl run backend '"cuda"'
    if grep -q '"emulated":true' device.jsonl; then
        grep -q '"step_ns":null,"tokens_per_s":null' device.jsonl || fail "times of an emulated device in device.jsonl"
        holds out '^ *[0-9]* .* n/a      n/a '
    fi
    is device.jsonl end exit_code 0
    lacks device.jsonl '"device_memory_bytes":\(null\|0\)'
fi

what="values that are not finite"
rm -rf bad
expect 1 "$bin/mmrec-train" $tiny --steps 400 --lr 10 --clip 0 --lr-warmup 0 --weight-decay 900 --checkpoint bad --save-every 1 --keep 1 --val-every 0 --log bad.jsonl
[ "$(wc -l <err)" -eq 1 ] || fail "more than one line: $(cat err)"
holds err '^mmrec-train: step [0-9]* is number 3 in a row without an update: .*; the newest checkpoint is of step [0-9]*$'
counts out '^ *skipped  step [0-9]*: a [a-z]* is not finite, first in [a-z]' 3
valid bad.jsonl
is bad.jsonl end exit_code 1
is bad.jsonl end status '"failed"'
last=$(sed -n 's/^{"record":"step","step":\([0-9]*\).*"skipped":false.*/\1/p' bad.jsonl | tail -1)
is bad.jsonl end checkpoint_step "$last"
[ -f "$(step bad "$last")" ] || fail "the checkpoint of step $last is gone: $(ls bad)"

[ $failed -eq 0 ] && echo "mmrec-train does what it says"
[ $failed -eq 0 ]
