# rules.sh SOURCE: the rules of docs/house.md that no compiler knows. One line per fault, exit 1 if there is any.
set -u
cd "$1" || exit 2
folders=
for folder in include host kernels apps tests; do [ -d "$folder" ] && folders="$folders $folder"; done
# shellcheck disable=SC2086
files=$(find $folders -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) | sort)
# shellcheck disable=SC2086
faults=$(awk -f tests/style/rules.awk $files)
[ -z "$faults" ] || printf '%s\n' "$faults"
echo "$(printf '%s\n' "$files" | wc -l) files, $(printf '%s' "$faults" | grep -c .) faults"
[ -z "$faults" ]
