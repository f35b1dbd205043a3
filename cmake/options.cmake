# mmrec_flags: what every target is compiled with.
add_library(mmrec_flags INTERFACE)
target_include_directories(mmrec_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/host)
# Feature test macro: the POSIX calls of core/io.c and the CPU masks of backend/host.c.
target_compile_definitions(mmrec_flags INTERFACE _GNU_SOURCE)
target_compile_options(mmrec_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wpointer-arith -Wundef
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>
  $<$<BOOL:${MMREC_WERROR}>:-Werror>
  $<$<BOOL:${MMREC_NATIVE}>:-march=native>)
if(MMREC_SANITIZE)
  target_compile_options(mmrec_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(mmrec_flags INTERFACE -fsanitize=address,undefined)
endif()
