--- What the memory of a process has in it.

local M = {}

--- Is the text in the memory of a process? Huge regions (a sanitizer's) are left out.
function M.has(pid, text)
  local file = assert(io.open("/proc/" .. pid .. "/mem", "rb"))
  file:setvbuf("no")
  local found, seen = false, 0
  for line in assert(io.open("/proc/" .. pid .. "/maps")):lines() do
    local from, to = line:match("^(%x+)%-(%x+) r")
    from, to = tonumber(from or "0", 16), tonumber(to or "0", 16)
    if to > from and to - from < 2 ^ 29 and not line:find("[v", 1, true) then
      local tail = ""
      file:seek("set", from)
      while from < to and not found do
        local chunk = file:read(math.min(2 ^ 20, to - from))
        if not chunk then break end
        found = (tail .. chunk):find(text, 1, true) ~= nil
        tail = chunk:sub(-#text)
        from = from + #chunk
        seen = seen + #chunk
      end
    end
  end
  file:close()
  return found, seen
end

return M
