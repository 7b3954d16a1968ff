--- What HAProxy holds, compared with an HAProxy that was just started on the same directory.
-- Part of support.e2e: adds to its scopes.

local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local function lines(text)
  local i = 0
  local all = {}
  for line in (text or ""):gmatch("[^\n]+") do
    i = i + 1
    all[i] = line
  end
  return all
end

local function sorted(list)
  table.sort(list)
  return list
end

--- Backend, name, address, port, weight, and what an administrator has set, of each server.
local function servers_of(haproxy)
  local list = {}
  for _, line in ipairs(lines(assert(haproxy:ask("show servers state")))) do
    local w = {}
    for word in line:gmatch("%S+") do w[#w + 1] = word end
    if #w > 18 and w[1] ~= "#" then
      list[#list + 1] = table.concat({ w[2], w[4], w[5], w[19], w[8], w[7] }, " ")
    end
  end
  return sorted(list)
end

--- Backends by name. Those that nothing leads to any more stay for a while.
local function entries_of(haproxy)
  local list = {}
  for _, line in ipairs(lines(assert(haproxy:ask("show map")))) do
    local id, file = line:match("^(%d+) %(([^)]+)%)")
    if id then
      for _, entry in ipairs(lines(assert(haproxy:ask("show map #" .. id)))) do
        list[#list + 1] = file:match("[^/]+$") .. " " .. entry:gsub("^%S+ ", "", 1)
      end
    end
  end
  return sorted(list)
end

local function certificates_of(haproxy)
  local list = {}
  local seen = {}
  for _, line in ipairs(lines(haproxy:ask("show ssl cert"))) do
    if line:find("%.pem$") and not seen[line] then
      seen[line] = true
      local text = assert(haproxy:ask("show ssl cert " .. line))
      list[#list + 1] = line:match("[^/]+$") .. " " .. (text:match("SHA1 FingerPrint: (%S+)") or "none")
    end
  end
  return sorted(list)
end

local function lists_of(haproxy)
  local list = {}
  for _, line in ipairs(lines(haproxy:ask("show ssl crt-list"))) do
    if line:sub(1, 1) ~= "#" then
      for _, entry in ipairs(lines(haproxy:ask("show ssl crt-list " .. line))) do
        if entry:sub(1, 1) ~= "#" then list[#list + 1] = entry end
      end
    end
  end
  return sorted(list)
end

--- All of it, as sorted lists of lines.
function M.runtime_state(haproxy)
  return {
    servers = servers_of(haproxy), map_entries = entries_of(haproxy), certificates = certificates_of(haproxy),
    crt_lists = lists_of(haproxy),
  }
end

--- The same of an HAProxy that is started on a copy of the directory, in a network of its own.
function Scope:fresh_state(directory, series)
  local copy = self:path("fresh")
  assert(select(2, posix.run({ "cp", "-r", directory, copy })) == 0)
  posix.run({ "sh", "-c", 'rm -f "$1"/*.sock', "sh", copy })
  local text = assert(posix.read_file(copy .. "/haproxy.cfg"))
  local from, to = text:find(directory, 1, true)
  while from do
    text = text:sub(1, from - 1) .. copy .. text:sub(to + 1)
    from, to = text:find(directory, from + #copy, true)
  end
  posix.write_file(copy .. "/haproxy.cfg", text)
  local process = self:spawn({ name = "fresh", directory = copy, env = { HAPTIC_DIR = copy },
    argv = { "unshare", "--net", M.haproxy_binary(series), "-W", "-f", copy .. "/haproxy.cfg" } })
  local haproxy = M.haproxy_of(copy)
  self:wait_for("a fresh HAProxy", 15, function()
    return haproxy:ask("show info"), process:log()
  end)
  local state = M.runtime_state(haproxy)
  process:signal("KILL")
  process:wait(10)
  return state
end
