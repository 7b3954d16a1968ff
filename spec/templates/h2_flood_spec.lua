-- A client of HTTP/2 that only causes work loses its connection (HAProxy counts glitches from 3.0 on).
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")

local function configuration(version, context)
  local major, minor = version:match("^(%d+)%.(%d+)")
  local e = program.engine({ context = context, capabilities = { version = version, major = tonumber(major), minor = tonumber(minor) } })
  e:render()
  assert.same({}, e.host.failures)
  return e:output()
end

describe("a flood of HTTP/2 frames", function()
  local folder, pid
  before_each(function() folder = haproxy.folder() end)
  after_each(function()
    if pid then haproxy.stop(pid) end
    pid = nil
    haproxy.remove(folder)
  end)

  for _, binary in ipairs(haproxy.binaries()) do
    local version = haproxy.sh(binary .. " -v"):match("version (%d+%.%d+)")
    local function flood(h2_glitches, frames)
      local port = haproxy.free_port()
      haproxy.write(folder, configuration(version, { h2_glitches = h2_glitches, http_bind = { "127.0.0.1:" .. port, "unix@" .. folder .. "/http" },
        stats_bind = { "unix@" .. folder .. "/stats.sock" }, status_bind = { "unix@" .. folder .. "/status" } }))
      haproxy.sh("sed -i 's|default-path config|default-path origin " .. folder .. "|' " .. folder .. "/haproxy.cfg")
      pid = haproxy.start(binary, folder, folder .. "/http")
      return (haproxy.sh(("python3 spec/support/h2_flood.py %d %d"):format(port, frames)))
    end

    if version == "2.6" then
      it("has no limit on 2.6, which does not know the setting", function() assert.equal("open\n", flood(100, 300)) end)
    else
      it("ends the connection on " .. version, function() assert.equal("closed\n", flood(100, 300)) end)

      it("ends no connection below the default on " .. version, function() assert.equal("open\n", flood(nil, 300)) end)

      it("ends no connection without a limit on " .. version, function() assert.equal("open\n", flood(0, 3000)) end)
    end
  end
end)
