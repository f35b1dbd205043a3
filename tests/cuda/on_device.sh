#!/bin/sh
# on_device.sh COMMAND...: the command; that there is no device (exit status 77) is a reason to skip, in words.
"$@" 2>&1
status=$?
[ $status -ne 77 ] || echo "SKIP: no CUDA device"
exit $status
