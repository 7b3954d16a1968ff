--- haproxy.lua — real HAProxy processes for specs: check a configuration, run it, ask it.
local cjson = require("cjson")

local M = {}

local function sh(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo \"|$?\""))
  local out = pipe:read("*a")
  pipe:close()
  local text, code = out:match("^(.*)|(%d+)\n$")
  return text, tonumber(code)
end
M.sh = sh

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function exists(path)
  local f = io.open(path)
  if f then f:close() end
  return f ~= nil
end

--- The HAProxy executables to test with: the machine's own, and the other series that `tools/testenv haproxy` has made.
function M.binaries()
  local list = { "haproxy" }
  local cache = (os.getenv("XDG_CACHE_HOME") or os.getenv("HOME") .. "/.cache") .. "/haptic-tools/"
  for _, series in ipairs({ "3.0", "3.2", "3.4" }) do
    local path = cache .. "haproxy-" .. series .. "/haproxy"
    if exists(path) then list[#list + 1] = path end
  end
  return list
end

--- A folder of its own, removed by remove().
function M.folder()
  local path = sh("mktemp -d"):match("%S+")
  return path
end

function M.remove(path)
  assert(path:find("^/tmp/"), path)
  sh("rm -rf " .. quote(path))
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

--- Write an output (host.lua) as HAProxy wants it.
function M.write(folder, output)
  sh("mkdir -p " .. folder .. "/maps " .. folder .. "/files")
  write(folder .. "/haproxy.cfg", output.config)
  for name, text in pairs(output.maps or {}) do write(folder .. "/maps/" .. name, text) end
  for name, text in pairs(output.files or {}) do write(folder .. "/files/" .. name, text) end
end

--- haproxy -c: true, or false and its words.
function M.check(binary, folder)
  local text, code = sh("HAPTIC_DIR=" .. folder .. " " .. binary .. " -c -f " .. folder .. "/haproxy.cfg")
  return code == 0 and not text:find("%[ALERT%]"), text
end

--- Start it; wait until it listens on `socket`. Returns its pid.
function M.start(binary, folder, socket)
  local pid = sh("HAPTIC_DIR=" .. folder .. " " .. binary .. " -f " .. folder .. "/haproxy.cfg >" .. folder
    .. "/log 2>&1 & echo $!"):match("%d+")
  for _ = 1, 200 do
    if select(2, sh("kill -0 " .. pid)) ~= 0 then break end
    -- The file is there before anybody listens; 7 is curl's "cannot connect".
    if select(2, sh("curl -s -m 2 -o /dev/null --unix-socket " .. socket .. " http://x/")) ~= 7 then return pid end
    sh("sleep 0.02")
  end
  local f = io.open(folder .. "/log")
  error("HAProxy did not start: " .. (f and f:read("*a") or ""))
end

function M.stop(pid)
  -- Where nobody reaps it, an ended process stays as a zombie.
  sh("kill -TERM " .. pid .. "; for i in $(seq 100); do grep -q '^State:.[^ZX]' /proc/" .. pid
    .. "/status || break; sleep 0.02; done")
end

--- A request over a Unix socket: status, body. headers: list of "Name: value".
function M.get(socket, path, host, headers)
  local args = { "curl", "-sS", "--path-as-is", "-g", "-m", "5", "--unix-socket", socket, "-w",
    quote("|%{http_code}"), "-H", quote("Host: " .. (host or "x")) }
  for _, h in ipairs(headers or {}) do
    args[#args + 1] = "-H"
    args[#args + 1] = quote(h)
  end
  args[#args + 1] = quote("http://x" .. path)
  local text = sh(table.concat(args, " "))
  local body, status = text:match("^(.*)|(%d%d%d)$")
  return tonumber(status), body, text
end

--- A port that nobody uses.
function M.free_port()
  return tonumber((sh("python3 tools/lib/free_port.py")))
end

--- Can this machine listen at ::1?
function M.has_ipv6()
  local _, code = sh("python3 -c 'import socket; socket.socket(socket.AF_INET6).bind((\"::1\", 0))'")
  return code == 0
end

--- An HAProxy that answers on every local address at `port` with that address and what it was asked; its pid.
function M.echo(folder, port)
  sh("mkdir -p " .. folder)
  write(folder .. "/haproxy.cfg", ([[
global
    stats socket FOLDER/ready.sock
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 5s
frontend echo
    bind :PORT
    bind [::]:PORT v6only
    http-request return status 200 content-type text/plain lf-string "ANSWER"
]]):gsub("ANSWER", "%%[dst] %%[path] xff=%%[req.hdr(x-forwarded-for)] proto=%%[req.hdr(x-forwarded-proto)]")
    :gsub("FOLDER", folder):gsub("PORT", tostring(port)))
  return M.start("haproxy", folder, folder .. "/ready.sock")
end

--- A backend that answers with the request as it got it and accepts upgrades (echo.py); its pid.
function M.backend(folder, port)
  local ready = folder .. "/backend.sock"
  local pid = sh("mkdir -p " .. folder .. "; python3 spec/support/echo.py " .. port .. " " .. ready .. " >" .. folder
    .. "/backend.log 2>&1 & echo $!"):match("%d+")
  for _ = 1, 500 do
    if select(2, sh("test -S " .. ready)) == 0 then return pid end
    sh("sleep 0.02")
  end
  error("the backend did not start: " .. sh("cat " .. folder .. "/backend.log"))
end

--- Send requests as they stand (ask.py) to a socket or "address:port", one after the other; the answers.
function M.ask(folder, where, requests)
  write(folder .. "/requests.json", cjson.encode(requests))
  local text, code = sh("python3 spec/support/ask.py " .. quote(where) .. " <" .. folder .. "/requests.json")
  assert(code == 0, text)
  return cjson.decode(text)
end

--- Has each HAProxy of a series here take an output; how many there are. Raises what one of them says against it.
function M.check_series(version, output)
  local count = 0
  for _, binary in ipairs(M.binaries()) do
    if sh(binary .. " -v"):find("version " .. version, 1, true) then
      local folder = M.folder()
      M.write(folder, output)
      sh("sed -i 's|default-path config|default-path origin " .. folder .. "|' " .. folder .. "/haproxy.cfg")
      local ok, words = M.check(binary, folder)
      M.remove(folder)
      assert(ok, words)
      count = count + 1
    end
  end
  return count
end

return M
