-- What luacheck takes for granted: every Lua file runs under LuaJIT.
std = "luajit"
max_line_length = 120
codes = true

files["spec"] = { std = "+busted" }
