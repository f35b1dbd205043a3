#!/usr/bin/env bash
# bugs.sh PLAIN ASAN TSAN: every seeded bug must be found by those that bugs.def names, and nobody may complain about its
# correct twin. TSAN may be "": then what only it can find is counted as skipped. As many bugs at once as there are processors.
set -u -o pipefail
plain=$1 asan=$2 tsan=$3
schedules=(forward reverse random random:2 random:3)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
symbolizer=$(command -v llvm-symbolizer || command -v addr2line)
export ASAN_OPTIONS=abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
# Without a second's wait at the end, in which threads still running might be seen: there are none.
export TSAN_OPTIONS=external_symbolizer_path=$symbolizer:atexit_sleep_ms=0

# What finds the bug in this twin, as words.
found_by() {
  local name=$1 twin=$2 mine=$work/$1-$2 schedule out found=""
  : >"$mine.results"
  for schedule in "${schedules[@]}"; do
    out=$(MMREC_EMULATION_SCHEDULE=$schedule timeout 60 "$plain" "$name" "$twin" 2>"$mine.err")
    case $? in
      0) echo "$out" >>"$mine.results" ;;
      3) grep -q "^kernel .*k_$name" "$mine.err" && found+=" message" ;;
      *) found+=" crash" ;;
    esac
  done
  [ "$(grep -c not-finite "$mine.results")" -eq 0 ] && [ "$(sort -u "$mine.results" | wc -l)" -le 1 ] || found+=" values"
  for schedule in forward random; do
    MMREC_EMULATION_SCHEDULE=$schedule timeout 60 "$asan" "$name" "$twin" >/dev/null 2>"$mine.err"
    grep -q "ERROR: AddressSanitizer\|runtime error" "$mine.err" && grep -q "bugs/$name.cu:" "$mine.err" && found+=" asan"
    [ -n "$tsan" ] || continue
    # The second launch: a race must be seen there as well as in the first.
    for launches in 1 2; do
      MMREC_EMULATION_SCHEDULE=$schedule timeout 60 "$tsan" "$name" "$twin" "$launches" >/dev/null 2>"$mine.err"
      grep -q "WARNING: ThreadSanitizer" "$mine.err" && grep -q "bugs/$name.cu:" "$mine.err" && found+=" tsan"
    done
  done
  tr ' ' '\n' <<<"$found" | sort -u | xargs
}

# Writes one line; the words NOT FOUND BY, FALSE ALARM BY and tsan skipped are counted.
judge() {
  local name=$1 finder right wrong missing="" skipped="" verdict=ok
  shift
  right=$(found_by "$name" right) wrong=$(found_by "$name" wrong)
  for finder in "$@"; do
    if [ "$finder" = tsan ] && [ -z "$tsan" ]; then skipped=", tsan skipped"; continue; fi
    grep -qw "$finder" <<<"$wrong" || missing+=" $finder"
  done
  [ -z "$missing" ] || verdict="NOT FOUND BY$missing"
  [ -z "$right" ] || verdict="$verdict, FALSE ALARM BY $right"
  printf '%-18s found by: %-28s %s%s\n' "$name" "$wrong" "$verdict" "$skipped" >"$work/$name.verdict"
}

names=()
while read -r name finders; do
  names+=("$name")
  while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do wait -n; done
  judge "$name" $finders &
done < <("$plain" --list)
wait
for name in "${names[@]}"; do cat "$work/$name.verdict" || echo "$name: NOT FOUND BY this script"; done | tee "$work/all"
failed=$(grep -c 'NOT FOUND BY\|FALSE ALARM BY' "$work/all") skipped=$(grep -c 'tsan skipped' "$work/all")
echo "${#names[@]} bugs, $failed wrong verdicts, $skipped searches by TSan skipped${tsan:+ (none: clang is there)}"
[ "$failed" -eq 0 ] && [ "${#names[@]}" -gt 0 ]
