# What the scripts of this folder begin with; sourced, with `bin` and `source` set. Gives a work folder, removed at the end,
# an environment without MMREC_*, and the questions below. `what` names the run that is looked at.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
for name in $(env | sed -n 's/^\(MMREC_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
failed=0

fail() { failed=$((failed + 1)); echo "FAILED: $*"; }
expect() { # STATUS COMMAND...: runs it, with standard output in out and standard error in err
    status=$1; shift
    "$@" >out 2>err
    got=$?
    [ $got -eq "$status" ] || fail "exit $got instead of $status: $*: $(head -c 300 err)"
}
holds() { grep -q -e "$2" "$1" || fail "no line like '$2' in $1 (after: $what)"; }
lacks() { ! grep -q -e "$2" "$1" || fail "a line like '$2' in $1 (after: $what)"; }
valid() { # FILE: by the script's `schema`, of a `kind` that is json or jsonl
    "$bin/cli_check" "$kind" "$schema" "$1" || fail "$1 does not follow the schema (after: $what)"
}
rows() { "$bin/cli_check" csv "$1" "$2" || fail "$1 is not the CSV it should be (after: $what)"; }
is() { # FILE PATH VALUE
    value=$("$bin/cli_check" get "$1" "$2")
    [ "$value" = "$3" ] || fail "$2 is $value and not $3 in $1 (after: $what)"
}
