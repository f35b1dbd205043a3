# rules_bite.sh SOURCE FOLDER: a small tree with one fault of each kind; the rules must name each, and nothing else.
set -u
tree=$2/tree
rm -rf "$tree"
mkdir -p "$tree/include/mmrec" "$tree/host/core" "$tree/host/graph" "$tree/host/ops" "$tree/kernels" "$tree/apps" "$tree/tests/style"
cp "$1"/tests/style/rules.awk "$tree/tests/style/"
cd "$tree" || exit 2
awk 'BEGIN { for (i = 0; i < 601; i++) print "int a" i ";" }' >host/core/long_file.c
awk 'BEGIN { print "int f(void) {"; for (i = 0; i < 99; i++) print "    g();"; print "}" }' >host/core/long_function.c
awk 'BEGIN { print "int f(int a,"; print "      int b) {"; for (i = 0; i < 98; i++) print "    g();"; print "}" }' >host/core/wrapped.c
printf '#include "mmrec/plan.h"\n' >host/core/upward.c
printf '#include "report/buffer.h"\n' >host/graph/upward.c
printf '#include "nvtx.h"\n' >host/graph/plan.c
printf '#if 0\n#endif\n/* TODO: later */\n' >host/ops/later.c
printf 'void *f(void) { return malloc(3); }\n' >host/ops/memory.c
printf 'void f(void) { printf("x"); }\n' >host/ops/output.c
printf 'void f(void) { abort(); }\n' >host/ops/end.c
# Nothing of this is a fault.
printf '/* printf("x"); exit(1); free(x)\n   malloc(3) */\nvoid f(char *t) { snprintf(t, 3, "exit(1) /*"); b->free(t); }\n' >host/ops/clean.c
printf '#include "mmrec/op.h"\n#include "core/text.h"\n#include "nvtx.h"\n' >host/graph/exec.c
printf 'int main(void) { printf("x"); return 0; }\n' >apps/main.c
cat >expected <<'TEXT'
host/core/long_file.c: 601 lines, at most 600
host/core/long_function.c:1: a function of 101 lines, at most 100
host/core/upward.c:1: core includes mmrec/plan.h, which is above it
host/core/wrapped.c:1: a function of 101 lines, at most 100
host/graph/plan.c:1: only the executor opens NVTX ranges
host/graph/upward.c:1: graph includes report/buffer.h, which is above it
host/ops/end.c:1: the library never ends the program
host/ops/later.c:1: left for later, or switched off
host/ops/later.c:3: left for later, or switched off
host/ops/memory.c:1: memory is asked for in core/alloc.c alone
host/ops/output.c:1: files and output go through core/io.c
TEXT
if sh "$1/tests/style/rules.sh" "$tree" >all; then
  echo "the rules found nothing"
  exit 1
fi
sed '$d' all | sort >found
diff expected found && echo "11 faults planted, 11 named"
