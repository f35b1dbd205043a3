#!/bin/sh
# Runs every case of a list (golden.txt, train_golden.txt, compare_golden.txt) and compares exit status and standard error
# exactly.
#
#   golden.sh BIN SOURCE LIST [UPDATED]
#
# A case is a line `$ COMMAND`, a line with the exit status, then the lines of standard error. With UPDATED, what the
# programs really said is written there in the same form: read the difference before it becomes the golden file.
bin=$1 source=$2 list=$3 updated=$4
for name in mmrec-bench mmrec-compare mmrec-parity mmrec-train; do
    [ -x "$bin/$name" ] || { echo "$name is not in $bin"; exit 1; }
done
. "$source/tests/cli/rig.sh"
PATH=$bin:$PATH FIXTURES=$source/tests/golden/fixtures
export PATH FIXTURES
. "$source/tests/cli/bad_files.sh"
mkdir "$work/run" && cd "$work/run" || exit 1
bad_files
cases=0 failed=0

run_case() { # uses $command and the files wanted, got
    [ -n "$command" ] || return
    cases=$((cases + 1))
    sh -c "$command" >"$work/out" 2>"$work/err"
    # How much was to be written depends on the machine's name and the version of its libraries.
    { echo $?; sed 's/cannot write [0-9]* bytes to standard/cannot write N bytes to standard/' "$work/err"; } >"$work/got"
    [ -z "$updated" ] || { printf '$ %s\n' "$command"; cat "$work/got"; } >>"$updated"
    fault=
    cmp -s "$work/wanted" "$work/got" || fault="said: $(tr '\n' '|' <"$work/got")"
    # A refusal must leave nothing on standard output that a reader could take for a result.
    if [ "$(sed -n 1p "$work/got")" = 2 ] && [ -s "$work/out" ]; then fault="refused, but wrote to standard output"; fi
    [ -z "$fault" ] || echo "FAILED: $command: $fault"
    [ -z "$fault" ] || failed=$((failed + 1))
    command=
}

command=
while IFS= read -r line; do
    case $line in
    '#'* | '') run_case; [ -z "$updated" ] || printf '%s\n' "$line" >>"$updated" ;;
    '$ '*) run_case; command=${line#'$ '}; : >"$work/wanted" ;;
    *) printf '%s\n' "$line" >>"$work/wanted" ;;
    esac
done <"$source/tests/cli/$list"
run_case
echo "$cases cases, $failed failed"
[ "$failed" -eq 0 ] && [ "$cases" -ge 40 ]
