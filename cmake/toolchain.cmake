# Compiler and linker settings common to every target, carried by switchyard_flags.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

# The law (exact bits everywhere) forbids contraction and any reordering of floating-point work.
add_compile_options(-Wall -Wextra -Werror -ffp-contract=off -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_compile_options(-Wno-restrict)  # GCC 12 sees overlaps in std::string where there are none
endif()
if(SWITCHYARD_SANITIZE)
  # Half the building time of -O2 -g; the checks are the same.
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    add_compile_options(-Wno-maybe-uninitialized)  # the checks hide from GCC what is set
    add_compile_options(-Wno-subobject-linkage)  # a source of a unity build is a header to GCC
  endif()
  add_compile_options(-fsanitize=${SWITCHYARD_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SWITCHYARD_SANITIZE})
endif()
if(SWITCHYARD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# switchyard_library(NAME FOLDER sources…): the static library of one folder.
function(switchyard_library name)
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  set_target_properties(
    ${name} PROPERTIES UNITY_BUILD_CODE_BEFORE_INCLUDE
                       "// NOLINTNEXTLINE(bugprone-suspicious-include)")
endfunction()
