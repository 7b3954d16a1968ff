-- What a section without a defaults section of its own inherits: nothing, on every version of HAProxy. Real requests.
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")

local BINARIES = haproxy.binaries()

--- Two backends on the profile of one of them; the frontend is derived from nothing too.
local SCRIPT = [[
fragment("all", function(out)
  out:defaults("base", { from = false }, function(b)
    b:line("mode", "http")
    for _, t in ipairs({ "client", "server", "connect" }) do b:line("timeout", t, "5s") end
  end)
  out:backend("closed", function(b) b:line("http-request", "deny", "deny_status", 403) end)
  out:backend("plain", { from = false }, function(b)
    b:line("mode", "http")
    b:line("http-request", "return", "status", 200, "content-type", "text/plain", "string", "plain")
  end)
  out:section("frontend f", { from = false }, function(b)
    b:line("mode", "http")
    b:line("timeout", "client", "5s")
    b:line("bind", "unix@" .. context.socket)
    b:line("use_backend", "closed", "if", "{", "path", "/closed", "}")
    b:line("default_backend", "plain")
  end)
  out:section("listen l", { from = false }, function(b)
    b:line("mode", "http")
    b:line("timeout", "client", "5s")
    b:line("bind", "unix@" .. context.socket .. ".listen")
    b:line("http-request", "return", "status", 200, "content-type", "text/plain", "string", "listen")
  end)
end)
]]

--- The same as text whose first sections have no defaults section before them, beside a script with a profile.
local TEXT = [[
frontend f
  mode http
  timeout client 5s
  bind unix@{{ context.socket }}
  use_backend closed if { path /closed }
  default_backend plain
backend plain
  mode http
  http-request return status 200 content-type text/plain string plain
]]
local BESIDE = [[
fragment("closed", function(out)
  out:defaults("base", { from = false }, function(b) b:line("mode", "http") end)
  out:backend("closed", function(b) b:line("http-request", "deny", "deny_status", 403) end)
end)
]]

local function rendered(options)
  local e = program.engine(options)
  e:render()
  return e:output()
end

local function ask(socket, path)
  return (haproxy.sh("curl -s -m 5 -w ' %{http_code}' --unix-socket " .. socket .. " http://x.example" .. path))
end

describe("A section that is derived from nothing", function()
  for _, binary in ipairs(BINARIES) do
    it("has nothing of another's defaults: " .. binary, function()
      local folder = haproxy.folder()
      local socket = folder .. "/s"
      local o = rendered({ libraries = false, scripts = { { name = "a.lua", source = SCRIPT } }, context = { socket = socket } })
      haproxy.write(folder, o)
      local ok, words = haproxy.check(binary, folder)
      assert.is_true(ok, words)
      local pid = haproxy.start(binary, folder, socket)
      local plain, closed, listen = ask(socket, "/"), ask(socket, "/closed"), ask(socket .. ".listen", "/")
      haproxy.stop(pid)
      haproxy.remove(folder)
      assert.equal("plain 200", plain)
      assert.is_truthy(closed:find(" 403$"))
      assert.equal("listen 200", listen)
    end)

    it("also in a text beside scripts: " .. binary, function()
      local folder = haproxy.folder()
      local socket = folder .. "/s"
      local o = rendered({ libraries = false, scripts = { { name = "a.lua", source = BESIDE } }, haproxyConfig = TEXT,
        context = { socket = socket } })
      haproxy.write(folder, o)
      local ok, words = haproxy.check(binary, folder)
      assert.is_true(ok, words)
      local pid = haproxy.start(binary, folder, socket)
      local plain, closed = ask(socket, "/"), ask(socket, "/closed")
      haproxy.stop(pid)
      haproxy.remove(folder)
      assert.equal("plain 200", plain)
      assert.is_truthy(closed:find(" 403$"))
    end)
  end
end)
