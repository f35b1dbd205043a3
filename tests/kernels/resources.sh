#!/bin/sh
# Registers, static shared memory and spills of every kernel, per architecture, against a golden file.
#
#   resources.sh BUILD_FOLDER GOLDEN_FOLDER COMPILER_VERSION [update]
#
# The figures are those that ptxas gave when the module was built (cmake/keep_ptxas.sh): nothing is compiled again. A spill
# is a failure, golden file or not. So is a changed count of registers, which moves occupancy, or of bytes of stack: whoever
# changes them says so by updating the file. Another nvcc allocates otherwise: without a golden file of its version only
# spills are judged.
build=$1 folder=$2 version=$3 update=$4
major=${version%%.*} rest=${version#*.}
golden=$folder/nvcc-$major.${rest%%.*}.txt
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

find "$build" -name '*.cu.o.ptxas' >"$work/files"
sort "$work/files" | while IFS= read -r file; do
  [ -f "${file%.ptxas}" ] && cat "$file"
done | awk '
  /Compiling entry function/ {
    split($0, part, "\047")
    name = part[2]; arch = part[4]
  }
  /bytes stack frame/ { stack = $1; spilled = $5 + $9 } # spill stores and loads
  /Used [0-9]+ registers/ {
    shared = 0
    for (i = 1; i <= NF; i++) {
      if ($i == "Used") registers = $(i + 1)
      if ($i ~ /^smem/) shared = $(i - 2)
    }
    print name, arch, registers, shared, stack, spilled
  }' | c++filt | awk '{
    spilled = $NF; stack = $(NF - 1); shared = $(NF - 2); registers = $(NF - 3); arch = $(NF - 4)
    name = $0
    sub(/ [^ ]+ [0-9]+ [0-9]+ [0-9]+ [0-9]+$/, "", name)
    sub(/^void /, "", name); gsub(/\(anonymous namespace\)::/, "", name)
    sub(/>\(.*/, ">", name); if (name !~ /</) sub(/\(.*/, "", name)
    printf "%-6s %-64s %3d registers, %3d stack, %5d shared, %3d spilled\n", arch, name, registers, stack, shared, spilled
  }' | LC_ALL=C sort >"$work/got"

kernels=$(wc -l <"$work/got")
[ "$kernels" -ge 100 ] || { echo "only $kernels kernels found under $build"; exit 1; }
if grep -v ' 0 spilled$' "$work/got" >"$work/spilled"; then
  echo "these kernels spill registers into memory:"
  cat "$work/spilled"
  exit 1
fi
if [ "$update" = update ]; then
  cp "$work/got" "$golden"
  echo "wrote $golden: $kernels kernels"
  exit 0
fi
if [ ! -f "$golden" ]; then
  echo "$kernels kernels, none spills; there is no $golden, so registers are not judged"
  exit 0
fi
if ! diff -u "$golden" "$work/got" >"$work/diff"; then
  sed -n 1,60p "$work/diff"
  echo "if this is meant: sh tests/kernels/resources.sh $build $folder $version update"
  exit 1
fi
echo "$kernels kernels as in $golden, none spills"
