#!/bin/sh
# keep_ptxas.sh OBJECT COMPILER...: runs the compiler; what ptxas says of each kernel (registers, spills) goes to
# OBJECT.ptxas, for the suite kernels.resources, and everything else to standard error.
object=$1
shift
"$@" 2>"$object.messages"
status=$?
grep -E '^ptxas info|bytes stack frame' "$object.messages" >"$object.ptxas"
grep -vE '^ptxas info|bytes stack frame' "$object.messages" >&2
rm -f "$object.messages"
exit $status
