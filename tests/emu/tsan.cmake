# Kernels compiled by clang with ThreadSanitizer; the emulation's own files never are.
#
# CMake has one C++ compiler per build, so these objects are made by rules of their own.
set(MMREC_TSAN_FOLDER ${CMAKE_CURRENT_BINARY_DIR}/tsan)
get_target_property(MMREC_BLAS_FOLDERS mmrec_blas INTERFACE_SYSTEM_INCLUDE_DIRECTORIES)

# Objects of `sources` in the variable `out`; further arguments are flags.
function(mmrec_tsan_objects out sources)
  set(objects)
  foreach(source ${sources})
    file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR} ${source})
    string(REPLACE "/" "_" name ${name})
    set(object ${MMREC_TSAN_FOLDER}/${name}.o)
    set(language c++ -std=c++17)
    if(source MATCHES "\\.c$")
      set(language c -std=gnu11)
    endif()
    add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d VERBATIM
      COMMAND ${CMAKE_COMMAND} -E make_directory ${MMREC_TSAN_FOLDER}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${MMREC_CLANGXX} -x ${language} -O1 -g -fPIC -fvisibility=hidden -w -D_GNU_SOURCE
        -DMMREC_EMULATED=1 ${ARGN} -I${PROJECT_SOURCE_DIR}/include -I${PROJECT_SOURCE_DIR}/host -I${MMREC_KERNELS_FOLDER}
        -I${MMREC_KERNELS_FOLDER}/fake/include -I${CMAKE_CURRENT_SOURCE_DIR} -isystem ${MMREC_BLAS_FOLDERS}
        -MMD -MF ${object}.d -c ${source} -o ${object})
    list(APPEND objects ${object})
  endforeach()
  set(${out} ${objects} PARENT_SCOPE)
endfunction()

mmrec_tsan_objects(MMREC_TSAN_EMULATION "${MMREC_EMULATION}" -DMMREC_EMULATION_TSAN)
mmrec_tsan_objects(MMREC_TSAN_FAKE "${MMREC_FAKE_RUNTIME}")
mmrec_tsan_objects(MMREC_TSAN_HOST "${MMREC_EMU_CORE};${CMAKE_CURRENT_SOURCE_DIR}/rig.cpp")
mmrec_tsan_objects(MMREC_TSAN_BUG_OBJECT ${CMAKE_CURRENT_SOURCE_DIR}/bugs.cu -fsanitize=thread)

set(MMREC_TSAN_BUGS ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/emu_bugs_tsan)
add_custom_command(OUTPUT ${MMREC_TSAN_BUGS} VERBATIM
  DEPENDS ${MMREC_TSAN_BUG_OBJECT} ${MMREC_TSAN_EMULATION} ${MMREC_TSAN_FAKE} ${MMREC_TSAN_HOST}
  COMMAND ${MMREC_CLANGXX} -fsanitize=thread ${MMREC_TSAN_BUG_OBJECT} ${MMREC_TSAN_EMULATION} ${MMREC_TSAN_FAKE} ${MMREC_TSAN_HOST}
    -o ${MMREC_TSAN_BUGS} $<TARGET_PROPERTY:mmrec_blas,INTERFACE_LINK_LIBRARIES> -lm)
add_custom_target(emu_bugs_tsan ALL DEPENDS ${MMREC_TSAN_BUGS})

# The whole module for the op harness, its kernels watched.
file(GLOB MMREC_KERNELS CONFIGURE_DEPENDS ${MMREC_KERNELS_FOLDER}/*.cu)
mmrec_tsan_objects(MMREC_TSAN_KERNELS "${MMREC_KERNELS}" -fsanitize=thread)
set(MMREC_TSAN_MODULE ${MMREC_TSAN_FOLDER}/libmmrec_cuda.so)
set(MMREC_TSAN_MODULE_OBJECTS ${MMREC_TSAN_KERNELS} ${MMREC_TSAN_EMULATION} ${MMREC_TSAN_FAKE} $<TARGET_OBJECTS:mmrec_cuda_host>)
add_custom_command(OUTPUT ${MMREC_TSAN_MODULE} VERBATIM COMMAND_EXPAND_LISTS DEPENDS ${MMREC_TSAN_MODULE_OBJECTS}
  COMMAND ${MMREC_CLANGXX} -shared -fsanitize=thread ${MMREC_TSAN_MODULE_OBJECTS} -o ${MMREC_TSAN_MODULE}
    $<TARGET_PROPERTY:mmrec_blas,INTERFACE_LINK_LIBRARIES> -lm)
add_custom_target(emu_race_module ALL DEPENDS ${MMREC_TSAN_MODULE})

# The harness itself is not watched, it only needs TSan's runtime from the start: what `clang++ -fsanitize=thread` links.
add_executable(ops_harness_tsan $<TARGET_OBJECTS:ops_harness>)
set_target_properties(ops_harness_tsan PROPERTIES LINKER_LANGUAGE CXX)
target_link_options(ops_harness_tsan PRIVATE -Wl,--whole-archive ${MMREC_TSAN_RUNTIME} -Wl,--no-whole-archive -Wl,--export-dynamic)
target_link_libraries(ops_harness_tsan PRIVATE mmrec_ops_counting mmrec)

# The same module with a barrier taken out of block_join (kernels/device.cuh), on which mean_square stands: does the suite bite?
set(MMREC_TSAN_BROKEN ${MMREC_TSAN_FOLDER}/libmmrec_cuda_broken.so)
set(MMREC_TSAN_BROKEN_FOLDER ${MMREC_TSAN_FOLDER}/broken)
file(GLOB MMREC_KERNEL_HEADERS CONFIGURE_DEPENDS ${MMREC_KERNELS_FOLDER}/*.h ${MMREC_KERNELS_FOLDER}/*.cuh)
set(MMREC_TSAN_REST ${MMREC_TSAN_MODULE_OBJECTS})
list(REMOVE_ITEM MMREC_TSAN_REST ${MMREC_TSAN_FOLDER}/kernels_mean_square.cu.o)
add_custom_command(OUTPUT ${MMREC_TSAN_BROKEN} VERBATIM COMMAND_EXPAND_LISTS DEPENDS ${MMREC_TSAN_MODULE} ${MMREC_KERNEL_HEADERS}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${MMREC_TSAN_BROKEN_FOLDER}
  COMMAND ${CMAKE_COMMAND} -E copy ${MMREC_KERNEL_HEADERS} ${MMREC_KERNELS_FOLDER}/mean_square.cu ${MMREC_TSAN_BROKEN_FOLDER}
  COMMAND sed -i -e "/shared.simt_warp... = v/{n" -e d -e "}" ${MMREC_TSAN_BROKEN_FOLDER}/device.cuh
  COMMAND ${MMREC_CLANGXX} -x c++ -std=c++17 -O1 -g -fPIC -fvisibility=hidden -w -fsanitize=thread -I${PROJECT_SOURCE_DIR}/include -I${PROJECT_SOURCE_DIR}/host
    -I${MMREC_KERNELS_FOLDER} -I${MMREC_KERNELS_FOLDER}/fake/include -c ${MMREC_TSAN_BROKEN_FOLDER}/mean_square.cu
    -o ${MMREC_TSAN_BROKEN_FOLDER}/mean_square.o
  COMMAND ${MMREC_CLANGXX} -shared -fsanitize=thread ${MMREC_TSAN_BROKEN_FOLDER}/mean_square.o ${MMREC_TSAN_REST}
    -o ${MMREC_TSAN_BROKEN} $<TARGET_PROPERTY:mmrec_blas,INTERFACE_LINK_LIBRARIES> -lm)
add_custom_target(emu_race_broken ALL DEPENDS ${MMREC_TSAN_BROKEN})

add_test(NAME emu.race COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/race.sh $<TARGET_FILE:ops_harness_tsan> ${MMREC_TSAN_MODULE}
  ${MMREC_TSAN_BROKEN} mean_square)
set_tests_properties(emu.race PROPERTIES LABELS cuda)
