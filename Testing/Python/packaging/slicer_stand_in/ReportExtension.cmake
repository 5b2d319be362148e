# Writes the extension's variables where a test can read what CMake itself made of them.
set(report "{\n")
foreach(name HOMEPAGE CATEGORY CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  string(APPEND report "  \"${name}\": \"${EXTENSION_${name}}\",\n")
endforeach()
file(WRITE ${CMAKE_BINARY_DIR}/extension.json "${report}  \"NAME\": \"${PROJECT_NAME}\"\n}\n")
