--- HAProxies that specs start or look at.
-- Part of support.e2e: adds to the module and its scopes.

local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local SECONDS = 5
local RETRY_SECONDS = 1 -- a reload takes less, and specs look at HAProxies that have ended, too
local PAUSE_SECONDS = 0.02

--- The master's CLI stays open after an answer, unlike the workers'; both know quit.
local function ask_once(path, command, deadline)
  local socket, reason = posix.connect(path, nil, deadline)
  if not socket then
    return nil, path .. ": " .. reason
  end
  local ok, text
  ok, reason = socket:send(command .. "\nquit\n", deadline)
  if ok then
    text, reason = socket:receive_all(deadline)
  end
  socket:close()
  if text == "" then -- an answer has a newline at least
    return nil, path .. ": closed without an answer"
  end
  return text, reason
end

--- A master that loads itself anew hangs up on its clients, and up to 3.0 it does not listen for a moment. So a
-- question is asked again. A command is not, since it may have been carried out.
local function ask_socket(path, command)
  local start = posix.now()
  while true do
    local text, reason = ask_once(path, command, start + SECONDS)
    if text or not command:find("^show ") or posix.now() - start >= RETRY_SECONDS then
      return text, reason
    end
    posix.sleep(PAUSE_SECONDS)
  end
end

--- What a spec asks of the HAProxy of a directory, whoever started it.
local HAProxy = {}
HAProxy.__index = HAProxy

function M.haproxy_of(directory)
  return setmetatable({ directory = directory }, HAProxy)
end

--- The answer of the runtime API, or nil and the reason.
function HAProxy:ask(command)
  return ask_socket(self.directory .. "/runtime.sock", command)
end

function HAProxy:ask_master(command)
  return ask_socket(self.directory .. "/master.sock", command)
end

--- Does HAProxy take the directory as it is? Its output and exit code of a check.
function HAProxy:check(series)
  return posix.run({ "sh", "-c", 'cd "$1" && exec "$2" -c -f haproxy.cfg 2>&1', "sh", self.directory,
    M.haproxy_binary(series or "3.2") })
end

--- Process ids, and how often the master was told to reload.
function HAProxy:processes()
  local text = assert(self:ask_master("show proc"))
  local master, reloads = text:match("\n(%d+)%s+master%s+(%d+)")
  local worker = assert(self:ask("show info")):match("\nPid: (%d+)")
  return { master = tonumber(master), worker = tonumber(worker), reloads = tonumber(reloads) }
end

--- Servers of a backend: name → {address, port, admin (0: ready), weight}.
function HAProxy:servers(backend)
  local text = assert(self:ask("show servers state " .. backend))
  local servers = {}
  for line in text:gmatch("[^\n]+") do
    local w = {}
    for word in line:gmatch("%S+") do
      w[#w + 1] = word
    end
    if #w > 18 and w[1] ~= "#" then
      servers[w[4]] = { address = w[5], admin = tonumber(w[7]), weight = tonumber(w[8]), port = tonumber(w[19]) }
    end
  end
  return servers
end

local BOOTSTRAP = [[
global
    stats socket ${HAPTIC_DIR}/runtime.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend waiting
    bind ${HAPTIC_DIR}/waiting.sock
    http-request return status 503
]]

--- An HAProxy that somebody else than HAPTIC supervises, with a configuration that only waits for the first real one.
---@param options table series; directory (an existing one of haproxy() to start again)
function Scope:haproxy(options)
  local directory = options.directory
  if not directory then
    directory = self:path("haproxy")
    posix.run({ "mkdir", "-m", "0700", directory })
    posix.write_file(directory .. "/haproxy.cfg", BOOTSTRAP)
  end
  local process = self:spawn({
    name = "haproxy", directory = directory, env = { HAPTIC_DIR = directory },
    argv = {
      M.haproxy_binary(options.series or "3.2"), "-W", "-S", directory .. "/master.sock,mode,600", "-f",
      directory .. "/haproxy.cfg",
    },
  })
  local haproxy = M.haproxy_of(directory)
  haproxy.process = process
  self:wait_for("HAProxy", 10, function()
    return haproxy:ask("show info")
  end)
  return haproxy
end

--- Stands before a socket: listens at `listen` and passes on to `target`, until `set(mode)` asks for faults (see
-- e2e_socket_faults).
function Scope:socket_faults(listen, target)
  local faults = { mode_file = self:path("mode"), path = listen }
  function faults.set(mode)
    posix.write_file(faults.mode_file, mode)
  end
  faults.set("pass")
  self:spawn({
    name = "socket faults", argv = { "spec/support/e2e_socket_faults", faults.mode_file, listen .. "=" .. target },
  })
  self:wait_for("the socket", 5, function()
    local socket = posix.connect(listen, nil, posix.now() + 1)
    if socket then
      socket:close()
    end
    return socket ~= nil
  end)
  return faults
end
