#!/usr/bin/env bash
# Records what mmrec-bench measures on this machine: profiles/record.sh FOLDER [PART...], a part being small, ops,
# recurrence or baselines; all of them without one. BENCH names another mmrec-bench.
# One JSON file per run, with every sample; docs/cpu-speed.md quotes them. About seven minutes; the machine should be idle.
set -eu
folder=$1
shift
bench=${BENCH:-"$(dirname "$0")/../build/default/bin/mmrec-bench"}
mkdir -p "$folder"

run() { # NAME OPTION...
  local name=$1
  shift
  echo "$name: mmrec-bench $*" >&2
  "$bench" --quiet --threads 2 --export-json "$folder/$name.json" "$@" >/dev/null
}

record_small() {
  run small
}

record_ops() {
  run ops --op matmul,randn,fill,softmax,layernorm,rmsnorm,linear,memory_attention,cross_entropy,gelu,relu,combine,decay_gate,embedding,dropout,scan_linear,scan_product
}

record_recurrence() {
  local size name
  for size in "B=16 T=128 D=1024" "B=16 T=128 D=512" "B=64 T=32 D=1024" "B=4 T=128 D=1024" "B=1 T=512 D=512" "B=1 T=512 D=1024"; do
    name=recurrence-$(echo "$size" | tr 'A-Z' 'a-z' | tr -d '= ')
    run "$name" --op recurrence --at "$size"
    run "$name-bf16" --op recurrence --at "$size bf16=1"
  done
  MMREC_ISA=avx2 run recurrence-b16t128d1024-avx2 --op recurrence --at "B=16 T=128 D=1024"
  MMREC_ISA=avx2 run recurrence-b1t512d512-avx2 --op recurrence --at "B=1 T=512 D=512"
  MMREC_ISA=base run recurrence-b16t128d1024-base --op recurrence --at "B=16 T=128 D=1024"
}

# Longer, for more windows between two measurements of the ceiling.
record_baselines() {
  local batch long="--max-time 15s --target-ci 0.5%"
  for batch in 16 32 64; do
    run "lstm-gru-b$batch" $long --op lstm,gru --at "B=$batch T=128 X=128 D=512 H=512"
  done
  run attention-causal $long --op attention --at "B=2 T=1024 M=1024 D=512 heads=8 causal=1 -visible"
  run attention $long --op attention --at "B=2 T=1024 M=1024 D=512 heads=8 -visible"
  run softmax --op softmax --at "N=8192 D=1000"
  run layernorm --op layernorm --at "N=8192 D=1024"
}

for part in "${@:-all}"; do
  case $part in
    all) record_small; record_ops; record_recurrence; record_baselines ;;
    small | ops | recurrence | baselines) "record_$part" ;;
    *)
      echo "record.sh: there is no part '$part', only small, ops, recurrence and baselines" >&2
      exit 2
      ;;
  esac
done
