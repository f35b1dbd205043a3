# Turns ctest's LastTest.log into one line per suite, and shows the output of suites that failed.
# A suite that cannot run exits 77 and prints "SKIP: why".
function finish(    word, note) {
  if (name == "") return
  word = status != "Passed" ? "FAIL" : (reason == "" ? "pass" : "skip")  # ctest calls a skipped test passed here
  note = word == "skip" ? reason : (checks ? checks " checks" : last)
  printf "%s %-8s %-26s %6.1f s  %s\n", word, preset, name, seconds, word == "FAIL" ? status : note
  if (word == "FAIL") printf "%s", output
  name = ""
}
/^[0-9]+\/[0-9]+ Testing: / { finish(); name = $3; output = ""; reason = ""; checks = 0; last = ""; status = "Failed"; next }
/^[0-9]+\/[0-9]+ Test: / || /^Command: / || /^Directory: / || /^"[^"]*" start time/ || /^Output:$/ || /^-+$/ { next }
/^<end of output>$/ { next }
/^Test time = / { seconds = $4; next }
/^Test Pass Reason:$/ { status = "Passed"; next } # PASS_REGULAR_EXPRESSION: there is no other line
/^Test (Passed|Failed|Skipped|Timed Out)|^Test (timed|not)/ { status = $2 == "Passed." ? "Passed" : substr($0, 6); sub(/\.$/, "", status); next }
/^"[^"]*" (end time|time elapsed)/ { next }
/^End testing: / { finish(); next }
name != "" {
  if (match($0, /SKIP: /)) reason = substr($0, RSTART + 6)
  if (match($0, /PASSED *\] [0-9]+ test/)) { split(substr($0, RSTART), part, " "); checks = part[3] ~ /^[0-9]+$/ ? part[3] : part[2] }
  if ($0 != "") last = $0
  output = output "    " $0 "\n"
}
END { finish() }
