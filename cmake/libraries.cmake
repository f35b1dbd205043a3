# Libraries from Debian, and the parts of the CUDA toolkit that are used when it is there.
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib) # CRC-32 of checkpoints
find_package(Threads REQUIRED)
# The OpenMP build of OpenBLAS: it shares the thread pool with our own parallel loops.
# Debian keeps each build in its own folder, so it is named by full path (and run path).
set(MMREC_BLAS_FOLDER ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp)
find_library(MMREC_BLAS_LIBRARY openblas REQUIRED PATHS /usr/lib/${MMREC_BLAS_FOLDER} NO_DEFAULT_PATH)
find_path(MMREC_BLAS_INCLUDE cblas.h REQUIRED PATHS /usr/include/${MMREC_BLAS_FOLDER} NO_DEFAULT_PATH)
add_library(mmrec_blas INTERFACE)
target_include_directories(mmrec_blas SYSTEM INTERFACE ${MMREC_BLAS_INCLUDE})
target_link_libraries(mmrec_blas INTERFACE ${MMREC_BLAS_LIBRARY})

# NVTX v3 is header-only and needs no driver; without the toolkit the ranges are compiled out.
find_path(MMREC_NVTX_INCLUDE nvtx3/nvToolsExt.h
  HINTS $ENV{CUDA_HOME}/include /usr/local/cuda/include /usr/include)
if(MMREC_CUDA STREQUAL "OFF")
  set(MMREC_NVTX_INCLUDE "" )
endif()
