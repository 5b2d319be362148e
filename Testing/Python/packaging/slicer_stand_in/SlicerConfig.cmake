# What find_package(Slicer) gives an extension, as far as our CMakeLists.txt use it: enough to let the real CMake
# configure and install the extension without Slicer. Written from Slicer's documentation of these macros.
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/ReportExtension.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
