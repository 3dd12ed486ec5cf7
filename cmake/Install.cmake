# find_package(mlx_genkit) gives mlx_genkit::mlx_genkit: headers, both static libraries, and what they need.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(mlxgk_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mlx_genkit)

install(TARGETS mlx_genkit EXPORT mlx_genkit_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY genkit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES $<TARGET_PROPERTY:genkit_rust,IMPORTED_LOCATION> DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT mlx_genkit_targets NAMESPACE mlx_genkit:: DESTINATION ${mlxgk_cmake_dir})

configure_package_config_file(cmake/mlx_genkitConfig.cmake.in ${CMAKE_BINARY_DIR}/mlx_genkitConfig.cmake
  INSTALL_DESTINATION ${mlxgk_cmake_dir} PATH_VARS CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mlx_genkitConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/mlx_genkitConfig.cmake ${CMAKE_BINARY_DIR}/mlx_genkitConfigVersion.cmake
  DESTINATION ${mlxgk_cmake_dir})

# The installed programs find MLX's library where it was when they were linked. (CMake's own option for this
# leaves out folders inside the source tree, and .deps/venv is one.)
foreach(program ${MLXGK_PROGRAMS})
  set_target_properties(${program} PROPERTIES INSTALL_RPATH "${MLX_LIBRARY_DIRS}")
  install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endforeach()
