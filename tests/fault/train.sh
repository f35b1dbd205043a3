#!/bin/sh
# One training for the fault loop: three steps on from a checkpoint, with a log and a save at the end. Before it starts, what
# the run before has left must be in order: its checkpoint valid or the older one still there, no temporary file.
#
#   train.sh PROGRAM FOLDER TEXT [OPTION...]      options of the training with the fault alone, in place of `calm`
program=$1 folder=$2 text=$3 calm="--backend cpu --save-every 1000"
shift 3
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $calm
fault=$MMREC_FAULT cuda_fault=$MMREC_FAKE_CUDA
unset MMREC_FAULT MMREC_FAKE_CUDA
tiny="--data $text --dim 8 --heads 2 --layers 1 --slots 16 --level 1 --time 4 --batch 2 --threads 1 --quiet
  --keep 1 --val-batches 1 --sample 2 --steps 6"
sane() { # PROGRAM'S OWN view: it resumes, from a step that was made
    # shellcheck disable=SC2086
    "$program" $tiny $calm --checkpoint run --resume --stop-after 1 --log after.jsonl >/dev/null 2>after.err || return 1
    grep -q '"resumed_from_step":[3-6],' after.jsonl || return 1
    [ -z "$(ls -A run | grep -v '^step-[0-9]*.safetensors$')" ]
}
mkdir -p "$folder" && cd "$folder" || exit 98
if [ ! -d begun ]; then
    # shellcheck disable=SC2086
    "$program" $tiny $calm --checkpoint begun --stop-after 3 --log begun.jsonl >/dev/null || exit 97
fi
if [ -d run ] && ! sane; then
    echo "what the run before this one left is not in order: $(cat after.err; ls -A run)" >&2
    exit 99
fi
rm -rf run run.jsonl after.jsonl
cp -r begun run
cp begun.jsonl run.jsonl
[ -z "$fault" ] || export MMREC_FAULT="$fault"
[ -z "$cuda_fault" ] || export MMREC_FAKE_CUDA="$cuda_fault"
# shellcheck disable=SC2086
exec "$program" $tiny --checkpoint run --resume --log run.jsonl "$@"
