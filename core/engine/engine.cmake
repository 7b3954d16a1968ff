# The renderer and its core side. lua/haptic/*.lua, templates/*.lua, templates/*/*.lua, core/cmd/crds/*.yaml and core/cmd/page/page.* become part of the library: an assembler file includes the
# bytes, a C header names them. (The assembler is fast at any size, and link-time optimisation leaves it alone.)
enable_language(ASM)
find_library(LUA_CJSON NAMES liblua5.1-cjson.a REQUIRED) # Lua 5.1's ABI is LuaJIT's

set(embedded_dir ${CMAKE_CURRENT_BINARY_DIR}/embedded/engine)
file(GLOB embedded_files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
     ${CMAKE_SOURCE_DIR}/lua/haptic/*.lua ${CMAKE_SOURCE_DIR}/templates/*.lua
     ${CMAKE_SOURCE_DIR}/templates/*/*.lua ${CMAKE_SOURCE_DIR}/core/cmd/crds/*.yaml ${CMAKE_SOURCE_DIR}/core/cmd/page/page.*)
list(SORT embedded_files COMPARE STRING)
set(embedded_asm "/* Written by core/engine/engine.cmake. */\n.section .rodata\n")
set(embedded_externs "")
set(embedded_rows "")
set(embedded_paths "")
set(embedded_n 0)
foreach(file ${embedded_files})
  string(APPEND embedded_asm
         ".global embedded_${embedded_n}\n.hidden embedded_${embedded_n}\nembedded_${embedded_n}:\n.incbin \"${CMAKE_SOURCE_DIR}/${file}\"\n"
         ".global embedded_${embedded_n}_end\n.hidden embedded_${embedded_n}_end\nembedded_${embedded_n}_end:\n.byte 0\n")
  string(APPEND embedded_externs "extern const char embedded_${embedded_n}[], embedded_${embedded_n}_end[];\n")
  string(APPEND embedded_rows "    {\"${file}\", embedded_${embedded_n}, embedded_${embedded_n}_end},\n")
  list(APPEND embedded_paths ${CMAKE_SOURCE_DIR}/${file})
  math(EXPR embedded_n "${embedded_n} + 1")
endforeach()
string(APPEND embedded_asm ".section .note.GNU-stack,\"\",%progbits\n")
file(CONFIGURE OUTPUT ${embedded_dir}/embedded_bytes.S CONTENT "${embedded_asm}" @ONLY)
file(CONFIGURE OUTPUT ${embedded_dir}/embedded_table.h @ONLY CONTENT
"/* Written by core/engine/engine.cmake. */
${embedded_externs}
static const struct embedded_range embedded_table[] = {
${embedded_rows}    {NULL, NULL, NULL}, /* C knows no empty array */
};
#define EMBEDDED_COUNT ${embedded_n}
")
set_source_files_properties(${embedded_dir}/embedded_bytes.S PROPERTIES OBJECT_DEPENDS "${embedded_paths}")

haptic_layer(engine haptic_store PkgConfig::LUAJIT PkgConfig::SECCOMP)
target_sources(haptic_engine PRIVATE ${embedded_dir}/embedded_bytes.S)
target_include_directories(haptic_engine PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/embedded)
target_link_libraries(haptic_engine PUBLIC ${LUA_CJSON} m)
