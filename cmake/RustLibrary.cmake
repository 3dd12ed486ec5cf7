# The Rust static library: tokenizers and chat templates behind a C ABI.
set(MLXGK_CARGO_TARGET_DIR ${CMAKE_BINARY_DIR}/rust CACHE PATH "Where cargo builds")
find_program(MLXGK_CARGO cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
set(mlxgk_rust_lib ${MLXGK_CARGO_TARGET_DIR}/release/libgenkit_rust.a)
file(GLOB_RECURSE mlxgk_rust_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/rust/src/*.rs)
add_custom_command(OUTPUT ${mlxgk_rust_lib}
  COMMAND ${MLXGK_CARGO} build --release --locked --manifest-path ${CMAKE_SOURCE_DIR}/rust/Cargo.toml
          --target-dir ${MLXGK_CARGO_TARGET_DIR}
  DEPENDS ${mlxgk_rust_sources} ${CMAKE_SOURCE_DIR}/rust/Cargo.toml ${CMAKE_SOURCE_DIR}/rust/Cargo.lock
  COMMENT "Building the Rust library" USES_TERMINAL VERBATIM)
add_custom_target(genkit_rust_build DEPENDS ${mlxgk_rust_lib})
add_library(genkit_rust STATIC IMPORTED GLOBAL)
set_target_properties(genkit_rust PROPERTIES IMPORTED_LOCATION ${mlxgk_rust_lib}
  INTERFACE_INCLUDE_DIRECTORIES ${CMAKE_SOURCE_DIR}/rust/include
  INTERFACE_LINK_LIBRARIES "dl;m;Threads::Threads")
add_dependencies(genkit_rust genkit_rust_build)
