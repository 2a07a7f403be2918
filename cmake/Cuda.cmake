# The CUDA library: kernels for GPUs and what the host asks of a GPU, with neither Python nor a symbol of ours in
# between (csrc/core/device.h). Both sides are compiled with a hash of the headers that they share, and compare it.
option(DD2424_CUDA "Build the library of CUDA kernels" OFF)
option(DD2424_CUDA_HOST "Build the CUDA kernels for an emulated GPU on the processor, to test them" OFF)
set(DD2424_CUDA_PACKAGE "dd2424" CACHE STRING "The Python package that the library goes into")
set(DD2424_CUDA_VERSION "" CACHE STRING "The CUDA that the package says it is for: nvcc must be of it")
set(DD2424_CUDA_ARCHITECTURES "75-real;80-real;86-real;89-real;90a-real;90-virtual" CACHE STRING
    "What GPUs to compile for; `native` for this machine's")

file(GLOB contracts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/core/*.h)
set(hashes "")
foreach(contract IN LISTS contracts)
  file(SHA256 ${contract} hash)
  string(APPEND hashes ${hash})
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${contracts})
string(SHA256 DD2424_CONTRACTS "${hashes}")
string(SUBSTRING ${DD2424_CONTRACTS} 0 16 DD2424_CONTRACTS)
set(DD2424_CONTRACTS_DEFINITION "DD2424_CONTRACTS=\"${DD2424_CONTRACTS}\"")
set_source_files_properties(csrc/core/device.cpp csrc/cuda/library.cu
                            PROPERTIES COMPILE_DEFINITIONS "${DD2424_CONTRACTS_DEFINITION}")

set(DD2424_CUDA_SOURCES
  csrc/cuda/activation.cu
  csrc/cuda/attention.cu
  csrc/cuda/attention_backward.cu
  csrc/cuda/attention_float.cu
  csrc/cuda/attention_float_backward.cu
  csrc/cuda/attention_tensor.cu
  csrc/cuda/attention_tensor_backward.cu
  csrc/cuda/conv.cu
  csrc/cuda/conv_arrange.cu
  csrc/cuda/conv_dense.cu
  csrc/cuda/conv_depthwise.cu
  csrc/cuda/conv_direct.cu
  csrc/cuda/conv_few.cu
  csrc/cuda/copy.cu
  csrc/cuda/elementwise.cu
  csrc/cuda/gemm.cu
  csrc/cuda/gemm_ladder.cu
  csrc/cuda/index.cu
  csrc/cuda/index_add.cu
  csrc/cuda/library.cu
  csrc/cuda/loss.cu
  csrc/cuda/machine.cu
  csrc/cuda/memory.cu
  csrc/cuda/norm.cu
  csrc/cuda/optim.cu
  csrc/cuda/pinned.cu
  csrc/cuda/pool.cu
  csrc/cuda/random.cu
  csrc/cuda/reduce.cu
  csrc/cuda/reduce_scan.cu
  csrc/cuda/resample.cu
  csrc/cuda/rnn.cu
  csrc/cuda/sort.cu
  csrc/cuda/sort_words.cu
  csrc/cuda/streams.cu)

# Into a plain shared library, `target`, whose file is `name`.so.
function(dd2424_cuda_library target name)
  add_library(${target} MODULE ${DD2424_CUDA_SOURCES})
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME ${name} CXX_VISIBILITY_PRESET hidden
                        CUDA_VISIBILITY_PRESET hidden)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/csrc)
endfunction()

if(DD2424_CUDA AND DD2424_CUDA_HOST)
  message(FATAL_ERROR "DD2424_CUDA and DD2424_CUDA_HOST compile the same sources: one build has one of them")
endif()

if(DD2424_CUDA)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES ${DD2424_CUDA_ARCHITECTURES})
  endif()
  enable_language(CUDA)
  dd2424_cuda_library(dd2424_cuda _cuda)
  set_target_properties(dd2424_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON)
  target_compile_definitions(dd2424_cuda PRIVATE DD2424_ISA_LEVELS=1 DD2424_SANITIZED=0) # of the host's headers
  if(CMAKE_CUDA_ARCHITECTURES MATCHES "90a") # whose instructions no other target knows
    set_property(SOURCE csrc/cuda/conv.cu csrc/cuda/conv_direct.cu csrc/cuda/gemm.cu
                 APPEND PROPERTY COMPILE_DEFINITIONS DD2424_HAS_90A)
  endif()
  # Fused multiply-add is written, never inferred, as on the CPU; -Wpedantic would not take what nvcc makes of launches.
  target_compile_options(dd2424_cuda PRIVATE -fmad=false --expt-relaxed-constexpr --Werror all-warnings
                         --diag-suppress=1835,186 # thread-local storage of the host; signed comparisons in templates
                         -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers)
  if(DD2424_CUDA_VERSION AND NOT CMAKE_CUDA_COMPILER_VERSION MATCHES "^${DD2424_CUDA_VERSION}\\.")
    message(FATAL_ERROR "This package is for CUDA ${DD2424_CUDA_VERSION}, nvcc is of ${CMAKE_CUDA_COMPILER_VERSION}")
  endif()
  if(SKBUILD)
    install(TARGETS dd2424_cuda DESTINATION ${DD2424_CUDA_PACKAGE})
  endif()
endif()

if(DD2424_CUDA_HOST)
  dd2424_cuda_library(dd2424_cuda_host _cuda_host)
  set_source_files_properties(${DD2424_CUDA_SOURCES} PROPERTIES LANGUAGE CXX)
  target_sources(dd2424_cuda_host PRIVATE tests/cuda_host/emulator.cpp tests/cuda_host/streams.cpp)
  target_include_directories(dd2424_cuda_host BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/cuda_host)
  target_link_libraries(dd2424_cuda_host PRIVATE dd2424_flags)
  target_compile_options(dd2424_cuda_host PRIVATE -x c++ -O1 -ffp-contract=off -fwrapv -Wno-unknown-pragmas
                         -Wno-pedantic)
  if(DD2424_SANITIZE) # what each of a kernel's threads passes through at a barrier is no kernel's own code
    set_source_files_properties(tests/cuda_host/emulator.cpp PROPERTIES COMPILE_OPTIONS "-O2;-fno-sanitize=undefined")
  endif()
endif()
