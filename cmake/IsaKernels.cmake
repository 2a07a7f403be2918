include(CheckIsaObjects)

# Kernels are compiled once per ISA level; core/isa.cpp picks one when the library is loaded.
set(DD2424_ISAS generic)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  list(APPEND DD2424_ISAS avx2 avx512 avx512_bf16)
endif()
list(LENGTH DD2424_ISAS most)
set(DD2424_ISA_LEVELS ${most} CACHE STRING "How many ISA levels to compile, from generic up: fewer build faster")
list(SUBLIST DD2424_ISAS 0 ${DD2424_ISA_LEVELS} DD2424_ISAS)
target_compile_definitions(dd2424_flags INTERFACE DD2424_ISA_LEVELS=${DD2424_ISA_LEVELS})
set(DD2424_FLAGS_generic "")
set(DD2424_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(DD2424_FLAGS_avx512 ${DD2424_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
set(DD2424_FLAGS_avx512_bf16 ${DD2424_FLAGS_avx512} -mavx512bf16)

# Compiles each source once per ISA level into target.
function(dd2424_add_isa_kernels target)
  set(optimisation -O3)
  if(DD2424_SANITIZE)
    set(optimisation -O1)
  endif()
  foreach(isa IN LISTS DD2424_ISAS)
    add_library(${target}_${isa} OBJECT ${ARGN})
    target_link_libraries(${target}_${isa} PRIVATE dd2424_flags)
    target_compile_definitions(${target}_${isa} PRIVATE DD2424_ISA=${isa} DD2424_ISA_IS_${isa})
    # Fused multiply-add is written, never inferred; -O3, whatever the build type, because the time goes to these loops.
    target_compile_options(${target}_${isa} PRIVATE ${DD2424_FLAGS_${isa}} ${optimisation} -fno-exceptions -fno-rtti
                           -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${isa}>)
    dd2424_check_isa_objects(${target} ${isa})
  endforeach()
endfunction()
