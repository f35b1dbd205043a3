#!/bin/sh
# Small real studies (mmrec-train --study): the same twice but for times, nothing where there is nothing, every file as it
# should be, with and without gnuplot, and interrupted.
#
#   study.sh BIN SOURCE
bin=$1 source=$2
[ -x "$bin/mmrec-train" ] && [ -x "$bin/cli_check" ] || { echo "the programs are not in $bin"; exit 1; }
. "$source/tests/cli/rig.sh"
cd "$work" || exit 1
schema=$source/docs/study.schema.json kind=json
tiny="--dim 8 --heads 2 --slots 16 --level 1 --time 12 --batch 2 --threads 1 --seeds 2 --steps 12 --val-every 5 --val-batches 2"

study() { expect 0 "$bin/mmrec-train" $tiny "$@"; }
whole() { # FOLDER POINTS STEPS: every file of a study
    valid "$1/results.json"
    rows "$1/curves.csv" "$2"
    rows "$1/steps.csv" "$3"
    for file in report.md plot.dat plot.gp; do [ -s "$1/$file" ] || fail "no $file (after: $what)"; done
    lacks "$1/report.md" 'nan\|inf '
}
# Times are the last field of a row; of the report, what is made of them, the head, and how wide the columns then are.
timeless() {
    sed 's/,[^,]*$//' "$1/curves.csv" "$1/steps.csv"
    sed -e '/^| \(Time per step\|Tokens per\|Training to\|processor \|run \)/d' -e 's/ A step takes [^.]*[^)]*)//' \
        -e 's/  */ /g' -e 's/--*/-/g' "$1/report.md"
}

what="the same study twice"
for folder in first second; do
    mkdir $folder
    (cd $folder && "$bin/mmrec-train" $tiny --task copy --study uboo --dropout 0.1 --seed 3) >out 2>err || fail "exit $?: $(cat err)"
    timeless $folder/study-uboo >$folder.txt
done
cmp -s first.txt second.txt || fail "two studies with the same seeds differ: $(diff first.txt second.txt | head -5)"
[ "$(wc -l <first.txt)" -gt 100 ] || fail "there was hardly anything to compare"
whole first/study-uboo 24 72
is first/study-uboo/results.json complete true
is first/study-uboo/results.json study '"uboo"'
is first/study-uboo/results.json seeds '["3","4"]'
is first/study-uboo/results.json variants.2.name '"deep"'
is first/study-uboo/results.json figures.0.key '"final_validation_loss"'
is first/study-uboo/results.json figures.0.sides.1.seeds 2
holds out '^| Metric  *|  *Baseline |  *UBÖO |  *Difference |$'
holds out '^| Final validation loss, nats (decides) *| '
holds out '^| Cosine of main and auxiliary gradient, mean over training *| n/a (no auxiliary loss) | '
holds out '^\*\*UBÖO planning: [a-z ]*\.\*\* Final validation loss '
holds err '^seed 4 (2 of 2), step 12 of 12: validation loss off [0-9.]*, planning [0-9.]*, deep [0-9.]*$'
holds first/study-uboo/report.md '^mmrec-train --task copy .*--study uboo'
holds first/study-uboo/report.md '^| seeds  *| 2: 3 to 4 '

what="an auxiliary loss of no weight"
study --task copy --study uboo --uboo-weight 0 --output nothing --quiet
whole nothing 24 72
is nothing/results.json figures.0.differences.0.mean 0.0
is nothing/results.json figures.0.differences.0.word '"no difference shown"'
holds out '^\*\*UBÖO planning: nothing gained\.\*\* '
[ -s err ] && fail "--quiet, and still on standard error: $(head -1 err)"

what="a file, a target, one seed"
expect 0 "$bin/mmrec-train" $(echo "$tiny" | sed 's/--seeds 2/--seeds 1/') --data "$source/README.md" --study hem --target 5.6 \
    --output deep/er --quiet
whole deep/er 8 24
is deep/er/results.json target_loss 5.5999999999999996
is deep/er/results.json figures.0.differences.0.word '"not decided"'
holds out '^\*\*HEM: not decided by one seed\.\*\* '
holds out '^| Final bits per byte  *| '
holds out '^| Steps to the target 5\.6000 '
lacks out 'Cosine'
holds deep/er/report.md '^| data  *| README.md, CRC-32 [0-9a-f]\{8\} '

what="gnuplot, and none"
if command -v gnuplot >/dev/null; then
    [ -s nothing/plot.svg ] && [ -s nothing/plot.png ] || fail "gnuplot is here and nothing was drawn"
    holds nothing/report.md '^!\[curves\](plot.svg)$'
fi
mkdir empty
expect 0 env PATH="$work/empty" "$bin/mmrec-train" $tiny --task copy --study dpg --output none --quiet
whole none 16 48
[ ! -e none/plot.svg ] || fail "something was drawn without gnuplot"
holds none/report.md '^Curves: not drawn: no gnuplot; '

what="an interrupt"
long=$(echo "$tiny" | sed 's/--steps 12/--steps 100000/; s/--val-every 5/--val-every 50/')
"$bin/mmrec-train" $long --task copy --study uboo --output cut >out 2>err &
pid=$!
tries=0
until grep -q 'step 50 of' err || [ $tries -eq 600 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -INT $pid
wait $pid
got=$?
[ $got -eq 130 ] || fail "exit $got after SIGINT, not 130"
valid cut/results.json
is cut/results.json complete false
is cut/results.json stopped '"it was interrupted"'
holds cut/report.md '^\*\*Incomplete: it was interrupted\.\*\* The figures are of 1 of 2 seeds, at step [0-9]* of 100000\.$'

what="what cannot be"
expect 2 "$bin/mmrec-train" $tiny --task copy --study uboo --uboo deep
holds err '^mmrec-train: --uboo cannot be given with --study uboo, which trains off, planning and deep: leave it out$'
expect 2 "$bin/mmrec-train" $tiny --task copy --study hem --output nothing/report.md
holds err '^mmrec-train: cannot write "nothing/report.md/report.md"'
[ ! -s out ] || fail "a study was begun that has nowhere to write to"

echo "$failed failed"
[ "$failed" -eq 0 ]
