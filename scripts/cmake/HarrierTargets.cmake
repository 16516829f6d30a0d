# The two ways this project makes a target. The DEPS lists are the arrows of docs/architecture.md.
find_program(CCACHE ccache)
if(CCACHE)  # paths relative to the source, so that a second clone finds what the first has compiled
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

add_library(harrier_warnings INTERFACE)
target_compile_options(harrier_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Wold-style-cast -Woverloaded-virtual -Wimplicit-fallthrough
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Wdangling>
  $<$<BOOL:${HARRIER_WERROR}>:-Werror>)
target_include_directories(harrier_warnings INTERFACE ${CMAKE_SOURCE_DIR})

if(HARRIER_SANITIZE)
  add_compile_options(-fsanitize=${HARRIER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${HARRIER_SANITIZE})
endif()

# Without this the fuzzers see no coverage of the libraries they are to explore.
if(HARRIER_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# harrier_library(core SRCS a.cc DEPS harrier_base [PRIVATE_DEPS pkg])  ->  target harrier_core
function(harrier_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(harrier_${name} STATIC ${ARG_SRCS})
  target_link_libraries(harrier_${name} PUBLIC ${ARG_DEPS} PRIVATE harrier_warnings ${ARG_PRIVATE_DEPS})
  target_include_directories(harrier_${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# harrier_test(name SRCS x_test.cc DEPS harrier_core)  ->  one doctest binary, one ctest entry
function(harrier_test name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS} ${CMAKE_SOURCE_DIR}/tests/support/doctest_main.cc)
  target_link_libraries(${name} PRIVATE harrier_warnings doctest::doctest ${ARG_DEPS})
  add_test(NAME ${name} COMMAND ${name})
endfunction()

# harrier_fuzz(x_fuzz SRCS x_fuzz.cc DEPS ...): built only by the fuzz preset.
function(harrier_fuzz name)
  if(NOT HARRIER_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE harrier_warnings ${ARG_DEPS})
endfunction()
