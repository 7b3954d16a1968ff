--- The real programs around `haptic run`, for the end-to-end specs.
--
-- The specs run in a network, process and mount namespace of their own: every port and every address of 198.18.0.0/15
-- is theirs, and whatever they start ends with them, also when they are killed. Requiring this module moves the program
-- there.
--
-- What a spec starts belongs to a scope; scope:close() ends it, newest first. Files lie in a folder that goes with the
-- run; E2E_KEEP=1 keeps it.

local posix = require("support.posix")

local M = {}

-- What surrounds the specs. Tools are looked up before the network is left.
local ENTER = [[
set -eu
E2E_ROOT=$(mktemp -d "${TMPDIR:-/tmp}/e2e.XXXXXX")
export E2E_ROOT
[ "${E2E_KEEP:-}" = 1 ] && echo "e2e: files are kept in $E2E_ROOT" >&2 || trap 'rm -rf "$E2E_ROOT"' EXIT
trap 'exit 130' INT TERM
for series in 2.6 3.0 3.2 3.4; do tools/testenv haproxy "$series" >"$E2E_ROOT/haproxy-$series"; done
tools/testenv apiserver >/dev/null
tools/testenv etcd >/dev/null
tools/testenv leaderelection >"$E2E_ROOT/leaderelection"
tools/testenv pebble >"$E2E_ROOT/pebble"
if [ "$(id -u)" = 0 ]; then as_root=; else as_root=--map-root-user; fi
export E2E_INSIDE=1
unshare $as_root --net --pid --fork --kill-child --mount-proc -- sh -eu -c '
  ip link set lo up
  ip route add local 198.18.0.0/15 dev lo
  exec "$@"' sh "$@"
]]

if not os.getenv("E2E_INSIDE") then
  local argv = { "sh", "-c", ENTER, "e2e" }
  for word in posix.read_file("/proc/self/cmdline"):gmatch("([^%z]*)%z") do
    argv[#argv + 1] = word
  end
  posix.exec(argv)
end

M.REPOSITORY = assert(posix.real_path("."))
local ROOT = assert(os.getenv("E2E_ROOT"))

--- More and longer: what is reported, not what is tested, depends on it.
M.is_full = os.getenv("E2E_FULL") == "1"

M.ROOT = ROOT
M.BIN = posix.real_path(os.getenv("HAPTIC_BIN") or "build/release/core/haptic")

--- The program under test, with a clear word when it was not built.
function M.program()
  return M.BIN or error("haptic is not built: cmake --preset release && cmake --build --preset release "
    .. "(or name it in HAPTIC_BIN)", 0)
end

--- The path of HAProxy "2.6", "3.0", "3.2" or "3.4".
function M.haproxy_binary(series)
  return (posix.read_file(ROOT .. "/haproxy-" .. series):gsub("%s+$", ""))
end

--- The path of the competitor with client-go's elector (tools/leaderelection-go).
function M.leaderelection_binary()
  return (posix.read_file(ROOT .. "/leaderelection"):gsub("%s+$", ""))
end

--- Numbers that are given out once in a run. busted loads this module anew for each file of specs.
local function next_number(name, first)
  local path = ROOT .. "/next-" .. name
  local number = tonumber(posix.read_file(path) or first)
  posix.write_file(path, tostring(number + 1))
  return number
end

--- A port that nobody else has: the network is ours.
function M.port()
  return next_number("port", 20000)
end

--- The last lines of a text.
function M.tail(text, lines)
  local all = {}
  for line in text:gmatch("[^\n]+") do
    all[#all + 1] = line
  end
  return table.concat(all, "\n", math.max(1, #all - lines + 1))
end

-- ---- scopes ----

local Scope = {}
M.Scope = Scope
Scope.__index = Scope

--- A new scope; close it in after_each or teardown.
function M.scope(name)
  local directory = ("%s/%d"):format(ROOT, next_number("scope", 1))
  assert(select(2, posix.run({ "mkdir", "-p", directory })) == 0)
  return setmetatable({ name = name, directory = directory, things = {}, count = 0 }, Scope)
end

--- Ends everything of the scope. Fails when a program under test did not end as it should.
function Scope:close()
  local problems = {}
  for i = #self.things, 1, -1 do
    local ok, message = pcall(self.things[i].close, self.things[i])
    if not ok then
      problems[#problems + 1] = tostring(message)
    end
  end
  self.things = {}
  if #problems > 0 then
    error(table.concat(problems, "\n"), 2)
  end
end

function Scope:add(thing)
  self.things[#self.things + 1] = thing
  return thing
end

--- A path in the scope's folder that was not used before.
function Scope:path(name)
  self.count = self.count + 1
  return ("%s/%d-%s"):format(self.directory, self.count, name)
end

--- Starts a program that belongs to the scope.
function Scope:spawn(options)
  options.output = options.output or self:path((options.name or "program") .. ".log")
  local process = posix.spawn(options)
  function process.close(p)
    p:signal("CONT")
    p:signal("KILL")
    p:wait(10)
  end
  return self:add(process)
end

--- Waits until `condition()` is true and returns its results. An error in it counts as false.
---@param what string completes "waited N s for …"
function Scope:wait_for(what, seconds, condition)
  local start, last = posix.now(), nil
  local pause = 0.005
  repeat
    local results = { pcall(condition) }
    if results[1] and results[2] then
      return unpack(results, 2)
    end
    last = results[1] and results[3] or not results[1] and results[2] or last
    posix.sleep(pause)
    pause = math.min(0.05, pause * 1.3)
  until posix.now() - start > seconds
  local parts = { ("waited %g s for %s"):format(seconds, what) }
  if last ~= nil then
    parts[#parts + 1] = "last seen: " .. tostring(last)
  end
  for _, thing in ipairs(self.things) do
    if thing.is_haptic then
      parts[#parts + 1] = ("the end of the log of %s (%s):\n%s"):format(thing.name,
        thing:is_running() and "running" or thing.status, M.tail(thing:log(), 25))
    end
  end
  error(table.concat(parts, "\n"), 2)
end

return M
