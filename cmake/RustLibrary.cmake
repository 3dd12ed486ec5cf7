# The Rust static library: tokenizers and chat templates behind a C ABI.
#
# Cargo builds in one folder for every build tree (release, sanitizers, fuzzing), so Rust is compiled once.
# Each tree then takes its own copy: what a tree links changes only when that tree's build ran.
set(MLXGK_CARGO_TARGET_DIR ${CMAKE_SOURCE_DIR}/rust/target CACHE PATH "Where cargo builds")
find_program(MLXGK_CARGO cargo HINTS $ENV{CARGO_HOME}/bin $ENV{HOME}/.cargo/bin REQUIRED)
set(mlxgk_rust_lib ${CMAKE_BINARY_DIR}/rust/libgenkit_rust.a)
file(GLOB_RECURSE mlxgk_rust_sources CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/rust/src/* ${CMAKE_SOURCE_DIR}/rust/build.rs ${CMAKE_SOURCE_DIR}/rust/.cargo/*)
add_custom_command(OUTPUT ${mlxgk_rust_lib}
  # CFLAGS of this build must not reach the C parts of crates: they would be compiled again for each tree.
  COMMAND ${CMAKE_COMMAND} -E env --unset=CFLAGS --unset=CXXFLAGS CARGO_TERM_COLOR=auto
          ${MLXGK_CARGO} build --release --locked --lib
          --manifest-path ${CMAKE_SOURCE_DIR}/rust/Cargo.toml --target-dir ${MLXGK_CARGO_TARGET_DIR}
  COMMAND ${CMAKE_COMMAND} -E copy ${MLXGK_CARGO_TARGET_DIR}/release/libgenkit_rust.a ${mlxgk_rust_lib}
  DEPENDS ${mlxgk_rust_sources} ${CMAKE_SOURCE_DIR}/rust/Cargo.toml ${CMAKE_SOURCE_DIR}/rust/Cargo.lock
  COMMENT "Building the Rust library" USES_TERMINAL VERBATIM)
add_custom_target(genkit_rust_build DEPENDS ${mlxgk_rust_lib})
add_library(genkit_rust STATIC IMPORTED GLOBAL)
set_target_properties(genkit_rust PROPERTIES IMPORTED_LOCATION ${mlxgk_rust_lib}
  INTERFACE_INCLUDE_DIRECTORIES ${CMAKE_SOURCE_DIR}/rust/include
  INTERFACE_LINK_LIBRARIES "${CMAKE_DL_LIBS};m;Threads::Threads")
add_dependencies(genkit_rust genkit_rust_build)
