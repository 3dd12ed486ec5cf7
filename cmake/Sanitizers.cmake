# MLXGK_SANITIZE: a list for -fsanitize= (address,undefined / thread / fuzzer-no-link,...); see CMakePresets.json.
set(MLXGK_SANITIZE "" CACHE STRING "Sanitizers to compile with, as -fsanitize= takes them")
if(MLXGK_SANITIZE)
  # -O1: the tests run kernels and whole models. Assertions stay on: these builds are for finding our own bugs.
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1 -g1")
  add_compile_options(-fsanitize=${MLXGK_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MLXGK_SANITIZE})
  if(MLXGK_SANITIZE MATCHES "undefined")
    # Without this UBSan prints and goes on, and the test passes. vptr needs the type information of MLX's
    # classes, which its library does not export.
    add_compile_options(-fno-sanitize-recover=all -fno-sanitize=vptr)
    add_link_options(-fno-sanitize=vptr)
  endif()
endif()
