-- What luacheck takes for granted: every Lua file runs under LuaJIT.
std = "luajit"
max_line_length = 120
codes = true

files["spec"] = { std = "+busted" }
-- Tables of cases are wide.
files["spec/e2e"] = { max_line_length = 160 }
files["spec/cluster"] = { max_line_length = 160 }
files["spec/lua"] = { max_line_length = 200 }
files["spec/templates"] = { max_line_length = 200 }
files["tools/fuzz"] = { globals = { "fuzz_allowed" }, read_globals = { "fuzz_budget" } }
-- What lua/haptic/program.lua gives to scripts.
files["templates"] = {
  std = "luajit",
  read_globals = {
    "address_parse", "annotated", "annotation", "annotation_keys", "annotation_near", "annotations", "apply",
    "b64decode", "b64encode", "capabilities", "context", "dig", "each", "each_requested", "extend", "extended",
    "fail", "family",
    "format_escape", "fragment", "from_env", "group_by", "hash", "json", "json_decode", "keys", "may_patch_status",
    "path", "point", "provide", "regex_escape", "replace", "resources", "section", "settings", "shared", "snippets",
    "sort_by", "use", "warn", "watched",
  },
}
