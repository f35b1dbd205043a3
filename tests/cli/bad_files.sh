# Makes the files that the golden cases are refused for, in the current folder. Sourced by golden.sh.

# A safetensors file: 8 bytes of header length (little-endian, headers here are shorter than 64 KiB), header, data.
safetensors() { # NAME HEADER DATA
    length=${#2}
    low=$((length % 256)) high=$((length / 256))
    printf "\\$(printf %o $low)\\$(printf %o $high)\\0\\0\\0\\0\\0\\0" >"$1"
    printf '%s%s' "$2" "$3" >>"$1"
}

bad_files() {
    tensor='"dtype":"F32","shape":[1],"data_offsets":[0,4]'
    block='"config":"{\"kind\":\"block\"}"'
    : >empty.safetensors
    printf '\1\2\3' >short.safetensors
    printf '\377\377\377\377\377\377\377\177{}' >length.safetensors
    printf '\100\0\0\0\0\0\0\0{}' >truncated.safetensors
    safetensors json.safetensors '{"x":' ''
    safetensors array.safetensors '[]' ''
    safetensors duplicate.safetensors "{\"x\":{$tensor},\"x\":{$tensor}}" 'abcd'
    safetensors outside.safetensors '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}' 'abcd'
    safetensors overflow.safetensors '{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}' 'abcd'
    safetensors dtype.safetensors '{"x":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}' 'abcd'
    safetensors trailing.safetensors "{\"x\":{$tensor}}" 'abcdefgh'
    safetensors nokind.safetensors "{\"x\":{$tensor}}" 'abcd'
    safetensors kind.safetensors "{\"__metadata__\":{\"kind\":\"poem\",$block},\"x\":{$tensor}}" 'abcd'
    safetensors noconfig.safetensors "{\"__metadata__\":{\"kind\":\"block\"},\"x\":{$tensor}}" 'abcd'
    safetensors config.safetensors "{\"__metadata__\":{\"kind\":\"block\",\"config\":\"{\"},\"x\":{$tensor}}" 'abcd'
    safetensors notensors.safetensors '{"__metadata__":{"kind":"block","config":"{\"B\":1}"}}' ''
    mkdir -p folder
    : >file
    printf 'dmi = 3\n' >unknown.ini
    printf '# sizes\ndim = 8\n\ndim = 9\n' >twice.ini
    printf 'dim = 8\ntime = soon\n' >value.ini
    printf 'dim\n' >form.ini
    printf '[bench]\ndim = 8\n' >section.ini
    printf 'dim = 8\n' >good.ini
    printf 'ab' >two.bytes
}
