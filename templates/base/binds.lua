--- binds.lua — the addresses that a frontend listens at.

local function is_address(word) return word:find(":%d[%d-]*$") or word:find("^[%w-]+@") or word:sub(1, 1) == "/" end

--- The words of each address: of `value`, a list of addresses with optional bind options of HAProxy after each
--- ("[::]:8080 v4v6"), or the port on every address of the machine. In a text that was split into a list at its blanks,
--- options are items of their own.
provide("base.binds", function(value, port)
  local lines = {}
  for _, bind in ipairs(value or {}) do
    local words = lines[#lines]
    if not words or is_address(bind:match("%S+")) then
      words = {}
      lines[#lines + 1] = words
    end
    for w in bind:gmatch("%S+") do words[#words + 1] = w end
  end
  if #lines > 0 then return lines end
  lines = { { ":" .. port } }
  -- A separate socket instead of "v4v6", with which addresses of IPv4 clients would be written as IPv6.
  if capabilities.ipv6 then lines[2] = { "[::]:" .. port, "v6only" } end
  return lines
end)
