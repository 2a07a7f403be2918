# The CUDA library: kernels for GPUs and what the host asks of a GPU, with neither Python nor a symbol of ours in
# between (csrc/core/device.h). Both sides are compiled with a hash of the headers that they share, and compare it.
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
set_source_files_properties(csrc/core/device.cpp PROPERTIES COMPILE_DEFINITIONS "${DD2424_CONTRACTS_DEFINITION}")
