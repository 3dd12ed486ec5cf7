# cmake -DBUILD=build-tree -DSOURCE=tests/install -DWORK=scratch -DPYTHON=... -DVERSION=... -P run.cmake
# Installs into a scratch prefix, builds the program beside this file against it, runs it.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE rc OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT rc EQUAL 0)
    message(FATAL_ERROR "${ARGN}: ${rc}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
# Headers must be complete by themselves: the source tree is not on the include path of the consumer.
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_PREFIX_PATH=${WORK}/prefix -DMLXGK_PYTHON=${PYTHON})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
if(NOT output STREQUAL "mlx_genkit ${VERSION}, 1 + 1 = 2\n")
  message(FATAL_ERROR "the program printed: ${output}")
endif()
# The installed program must find MLX without the build tree's help.
run(${WORK}/prefix/bin/mlxgk --version)
