#!/usr/bin/env bash
# Records what mmrec-bench measures on this machine: profiles/record.sh FOLDER [BENCH]
# One JSON file per run, with every sample; docs/cpu-speed.md quotes them. About two minutes; the machine should be idle.
set -eu
folder=$1
bench=${2:-"$(dirname "$0")/../build/default/bin/mmrec-bench"}
mkdir -p "$folder"

run() { # NAME OPTION...
  local name=$1
  shift
  echo "$name: mmrec-bench $*" >&2
  "$bench" --quiet --threads 2 --export-json "$folder/$name.json" "$@" >/dev/null
}

run small
run ops --op matmul,randn,fill,softmax,layernorm,rmsnorm,linear,memory_attention,cross_entropy,gelu,relu,combine,decay_gate,embedding,dropout,scan_linear,scan_product
for size in "B=16 T=128 D=1024" "B=16 T=128 D=512" "B=64 T=32 D=1024" "B=4 T=128 D=1024" "B=1 T=512 D=512" "B=1 T=512 D=1024"; do
  name=recurrence-$(echo "$size" | tr 'A-Z' 'a-z' | tr -d '= ')
  run "$name" --op recurrence --at "$size"
  run "$name-bf16" --op recurrence --at "$size bf16=1"
done
MMREC_ISA=avx2 run recurrence-b16t128d1024-avx2 --op recurrence --at "B=16 T=128 D=1024"
MMREC_ISA=avx2 run recurrence-b1t512d512-avx2 --op recurrence --at "B=1 T=512 D=512"
MMREC_ISA=base run recurrence-b16t128d1024-base --op recurrence --at "B=16 T=128 D=1024"
