# Suites that need no device: what they have besides a program.

# 17 s of training, 71 s with sanitizers; what it runs is in unit.trainer too.
set_tests_properties(unit.learning PROPERTIES LABELS release-only)

# Its clock is made up: a busy machine must not decide how these tests end.
target_link_options(test_sampling PRIVATE -Wl,--wrap=mmrec_clock_ns -Wl,--wrap=mmrec_clock_seconds_since)

# The fast backend again with the instruction sets that a lesser machine would choose.
foreach(isa base avx2)
  add_test(NAME unit.exec-${isa} COMMAND test_exec)
  set_tests_properties(unit.exec-${isa} PROPERTIES ENVIRONMENT MMREC_ISA=${isa})
  add_test(NAME unit.mlp-${isa} COMMAND test_mlp)
  set_tests_properties(unit.mlp-${isa} PROPERTIES ENVIRONMENT MMREC_ISA=${isa})
endforeach()

# The tool that test_nvtx makes NVTX load.
if(MMREC_NVTX_INCLUDE)
  add_library(mmrec_nvtx_injection MODULE nvtx_injection.c)
  target_link_libraries(mmrec_nvtx_injection PRIVATE mmrec_flags)
  target_include_directories(mmrec_nvtx_injection SYSTEM PRIVATE ${MMREC_NVTX_INCLUDE})
  set_tests_properties(unit.nvtx PROPERTIES ENVIRONMENT
    "NVTX_INJECTION64_PATH=$<TARGET_FILE:mmrec_nvtx_injection>;MMREC_NVTX_LOG=${CMAKE_BINARY_DIR}/nvtx.log")
  add_dependencies(test_nvtx mmrec_nvtx_injection)
endif()

if(NOT MMREC_SANITIZE)
  include(optimizer_mutants.cmake)
endif()

# The libraries that test_device_meter has in the place of NVML and CUPTI.
foreach(fake nvml cupti)
  string(TOUPPER ${fake} upper)
  add_library(mmrec_fake_${fake} MODULE fake_${fake}.c)
  target_link_libraries(mmrec_fake_${fake} PRIVATE mmrec_flags)
  target_compile_definitions(test_device_meter PRIVATE MMREC_FAKE_${upper}="$<TARGET_FILE:mmrec_fake_${fake}>")
  add_dependencies(test_device_meter mmrec_fake_${fake})
endforeach()
