# Finds everything that tools/bootstrap.sh installs. MLX comes from its Python wheel.
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)

set(MLXGK_PYTHON ${CMAKE_SOURCE_DIR}/.deps/venv/bin/python CACHE FILEPATH
  "Python whose environment holds the mlx wheel")
execute_process(COMMAND ${MLXGK_PYTHON} -m mlx --cmake-dir
  OUTPUT_VARIABLE mlxgk_mlx_dir OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE mlxgk_rc)
if(NOT mlxgk_rc EQUAL 0)
  message(FATAL_ERROR "no MLX in ${MLXGK_PYTHON}: run `make bootstrap` first")
endif()
list(APPEND CMAKE_PREFIX_PATH ${mlxgk_mlx_dir})
find_package(MLX 0.32.4 CONFIG REQUIRED)
