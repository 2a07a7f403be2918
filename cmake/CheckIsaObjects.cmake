# A weak symbol may be taken from any object that has it: one compiled for AVX-512 would then run on a processor without.
# So every weak symbol of a level's objects must lie in that level's own namespace, or the build fails.
if(CMAKE_SCRIPT_MODE_FILE)
  string(REPLACE "," ";" OBJECTS "${OBJECTS}")
  execute_process(COMMAND ${NM} --defined-only ${OBJECTS} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(LENGTH "${ISA}" length)
  string(REGEX MATCHALL " [VWu] [^\n]+" weak "${symbols}")
  list(FILTER weak EXCLUDE REGEX "3cpu${length}${ISA}")
  if(weak)
    list(JOIN weak "\n " weak)
    message(FATAL_ERROR "Weak symbols outside namespace dd2424::cpu::${ISA}, from a header that is not ours:\n ${weak}")
  endif()
  return()
endif()

set(DD2424_CHECK_ISA_OBJECTS ${CMAKE_CURRENT_LIST_FILE})

function(dd2424_check_isa_objects target isa)
  # Sanitizers add weak symbols of their own, and without optimization every inline function is one.
  if(DD2424_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    return()
  endif()
  add_custom_command(
    TARGET ${target} PRE_LINK
    COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DISA=${isa} "-DOBJECTS=$<JOIN:$<TARGET_OBJECTS:${target}_${isa}>,$<COMMA>>"
            -P ${DD2424_CHECK_ISA_OBJECTS}
    VERBATIM)
endfunction()
