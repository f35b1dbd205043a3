# headers.sh INCLUDE FOLDER C C++: each public header is the whole of a program in both languages.
set -u
include=$1 folder=$2 c=$3 cxx=$4
flags="-Wall -Wextra -Wconversion -Wshadow -Wundef -Werror -fsyntax-only -I$include"
headers=0 failed=0
for header in "$include"/mmrec/*.h; do
  name=mmrec/$(basename "$header")
  # Twice: it must guard itself.
  printf '#include "%s"\n#include "%s"\n' "$name" "$name" >"$folder/header.c"
  cp "$folder/header.c" "$folder/header.cpp"
  # shellcheck disable=SC2086
  "$c" -std=c11 -Wpedantic -Wstrict-prototypes $flags "$folder/header.c" || { echo "$name: not C11 alone"; failed=$((failed + 1)); }
  # shellcheck disable=SC2086
  "$cxx" -std=c++17 -Wpedantic $flags "$folder/header.cpp" || { echo "$name: not C++17 alone"; failed=$((failed + 1)); }
  headers=$((headers + 1))
done
echo "$headers headers as C11 and C++17, $failed faults"
[ "$headers" -gt 0 ] && [ "$failed" -eq 0 ]
