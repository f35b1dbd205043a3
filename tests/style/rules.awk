# The rules, file by file. Text inside comments and strings does not count, except for the words of rule 3.
function fault(line, text) { printf "%s:%d: %s\n", FILENAME, line, text }

# 1. A file has at most 600 lines, a function at most 100 (a kernel 150).
function end_of_file() { if (last_lines > 600) printf "%s: %d lines, at most 600\n", last_file, last_lines }

# 2. Layers, lowest first. A file includes from its own layer and from those below.
BEGIN {
  split("core graph ops checkpoint models backend train measure report run compare apps", order, " ")
  for (i in order) rank[order[i]] = i + 0
  # The public headers, by the layer that defines what they declare. Ops and graph know of each other by op.h alone.
  split("status alloc io fault rng shape compare options version op", names, " "); for (i in names) header[names[i]] = "core"
  split("graph plan exec backend", names, " "); for (i in names) header[names[i]] = "graph"
  split("safetensors checkpoint", names, " "); for (i in names) header[names[i]] = "checkpoint"
  split("model baselines state_manager", names, " "); for (i in names) header[names[i]] = "models"
  split("optimizer data train mlp", names, " "); for (i in names) header[names[i]] = "train"
  split("measure bench parity", names, " "); for (i in names) header[names[i]] = "measure"
  header["report"] = "report"; header["run"] = "run"; header["comparison"] = "compare"
}

function layer_of(path,    part) {
  if (split(path, part, "/") < 2) return ""
  if (part[1] == "host") return part[2]
  return part[1] == "apps" ? "apps" : ""
}

function check_include(line, path,    own, part, name, target) {
  own = layer_of(FILENAME)
  if (path == "nvtx.h" && FILENAME !~ /^host\/graph\/(exec|nvtx)\.c$/) fault(line, "only the executor opens NVTX ranges")
  if (own == "" || path !~ /\//) return
  split(path, part, "/")
  if (part[1] == "mmrec") {
    name = part[2]
    if (name !~ /\.h$/) return
    sub(/\.h$/, "", name)
    target = header[name]
    if (target == "") fault(line, path " has no layer in rules.awk")
  } else target = part[1]
  if (rank[target] > rank[own]) fault(line, own " includes " path ", which is above it")
}

# Takes strings, character constants and comments out of a line; comments may go on in the next.
function code_of(text,    out, rest) {
  out = ""
  while (text != "") {
    if (in_comment) {
      if (!(rest = index(text, "*/"))) return out
      text = substr(text, rest + 2); in_comment = 0
    } else if (match(text, /^[^"'\/]+/)) { out = out substr(text, 1, RLENGTH); text = substr(text, RLENGTH + 1) }
    else if (match(text, /^"([^"\\]|\\.)*"/)) { out = out "\"\""; text = substr(text, RLENGTH + 1) }
    else if (match(text, /^'([^'\\]|\\.)*'/)) { out = out "0"; text = substr(text, RLENGTH + 1) }
    else if (text ~ /^\/\*/) { in_comment = 1; text = substr(text, 3) }
    else if (text ~ /^\/\//) return out
    else { out = out substr(text, 1, 1); text = substr(text, 2) }
  }
  return out
}

FNR == 1 { end_of_file(); in_comment = 0; start = 0 }
{ last_file = FILENAME; last_lines = FNR }

# 3. Nothing is left for later, nothing switched off.
/(^|[^A-Za-z])(TODO|FIXME)([^A-Za-z]|$)/ || /^[ \t]*#[ \t]*if[ \t]+0([^0-9]|$)/ { fault(FNR, "left for later, or switched off") }

/^[ \t]*#[ \t]*include[ \t]+"/ {
  path = $0; sub(/^[^"]*"/, "", path); sub(/".*/, "", path)
  check_include(FNR, path)
  next
}

{
  code = code_of($0)
  # A function: from the line that ends in { with no blank in front, to the } in the first column.
  if (code ~ /^[A-Za-z_].*\{[ \t]*$/ && code !~ /^(typedef|struct|enum|union|extern "")/ && code !~ /=[ \t]*\{/) start = FNR
  if (code ~ /^[A-Za-z_].*\($/ || code ~ /^[A-Za-z_].*,$/) if (!start) start = FNR
  if (code ~ /^\}/) {
    limit = FILENAME ~ /\.cuh?$/ ? 150 : 100
    if (start && FNR - start + 1 > limit) fault(start, "a function of " FNR - start + 1 " lines, at most " limit)
    start = 0
  }
  if (FILENAME !~ /^host\//) next
  # 4. Calls that have one place: memory in alloc.c, output in io.c, the end of the program nowhere.
  if (code ~ /(^|[^A-Za-z0-9_>.])(malloc|calloc|realloc|aligned_alloc|posix_memalign|free|strdup)[ \t]*\(/ && FILENAME != "host/core/alloc.c")
    fault(FNR, "memory is asked for in core/alloc.c alone")
  if (code ~ /(^|[^A-Za-z0-9_])(v?f?printf|puts|fputs|putchar|fputc|perror|fwrite|fopen|fread|fclose)[ \t]*\(/)
    fault(FNR, "files and output go through core/io.c")
  if (code ~ /(^|[^A-Za-z0-9_])(exit|_exit|abort|assert|quick_exit)[ \t]*\(/) fault(FNR, "the library never ends the program")
}

END { end_of_file() }
