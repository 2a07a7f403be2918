# What every target of ours is compiled with.
add_library(dd2424_flags INTERFACE)
target_compile_features(dd2424_flags INTERFACE cxx_std_20)
target_include_directories(dd2424_flags INTERFACE ${PROJECT_SOURCE_DIR}/csrc)
target_compile_options(dd2424_flags INTERFACE -Wall -Wextra -Wpedantic -Werror -Wno-missing-field-initializers
                       -fvisibility=hidden)
find_package(Threads REQUIRED)
target_link_libraries(dd2424_flags INTERFACE Threads::Threads)

set(DD2424_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined or thread")
if(DD2424_SANITIZE)
  target_compile_definitions(dd2424_flags INTERFACE DD2424_SANITIZED=1)
  target_compile_options(dd2424_flags INTERFACE -O1 -g1 -fsanitize=${DD2424_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  # AddressSanitizer sees most accesses that these foretell; they take up to a third of a kernel's compile time.
  if(DD2424_SANITIZE MATCHES "undefined")
    target_compile_options(dd2424_flags INTERFACE -fno-sanitize=null,object-size,pointer-overflow)
  endif()
  target_link_options(dd2424_flags INTERFACE -fsanitize=${DD2424_SANITIZE})
else()
  target_compile_definitions(dd2424_flags INTERFACE DD2424_SANITIZED=0)
endif()
