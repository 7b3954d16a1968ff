-- Which servers get requests: those that cannot be reached are left alone, names have addresses that can be reached,
-- and HAProxy listens on both families.
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")
local ingress, service, slice = program.ingress, program.service, program.slice

local folder, port, backend
setup(function()
  folder, port = haproxy.folder(), haproxy.free_port()
  backend = haproxy.backend(folder, port)
end)
teardown(function()
  haproxy.stop(backend)
  haproxy.remove(folder)
end)

local function engine(dir, context, capabilities)
  local c = { local_endpoints = true, http_bind = "unix@" .. dir .. "/http", status_bind = "unix@" .. dir .. "/status" }
  for k, v in pairs(context or {}) do c[k] = v end
  return program.engine({ context = c, capabilities = capabilities })
end

local function start(binary, dir, e)
  e:render()
  assert.same({}, e.host.failures)
  haproxy.write(dir, e:output())
  local ok, words = haproxy.check(binary, dir)
  assert.is_true(ok, words)
  return haproxy.start(binary, dir, dir .. "/stats.sock")
end

local function cli(dir, command) return haproxy.ask(dir, dir .. "/runtime.sock", { { cli = command } })[1].body end

local function get(dir, host)
  local status, body = haproxy.get(dir .. "/http", "/", host)
  return status, body and body:match("^%S+")
end

--- Wait until fn() gives something, for as long as anything may take on a busy machine.
local function eventually(what, fn)
  for _ = 1, 300 do
    local v = fn()
    if v then return v end
    haproxy.sh("sleep 0.1")
  end
  error("never: " .. what)
end

local function background(command, ready)
  haproxy.sh("rm -f " .. ready)
  local pid = haproxy.sh("python3 " .. command .. " " .. ready .. " >" .. ready .. ".log 2>&1 & echo $!"):match("%d+")
  eventually(command .. ": " .. haproxy.sh("cat " .. ready .. ".log"), function() return select(2, haproxy.sh("test -e " .. ready)) == 0 end)
  return pid
end

for _, binary in ipairs(haproxy.binaries()) do
  local version = haproxy.sh(binary .. " -v"):match("version (%d+%.%d+)")

  describe("HAProxy " .. version, function()
    it("leaves a server alone that does not answer, and takes it back when it does", function()
      local dir = folder .. "/hole"
      haproxy.sh("mkdir -p " .. dir)
      local hole_port = haproxy.free_port()
      local hole = background("spec/support/blackhole.py 127.1.0.9 " .. hole_port, dir .. "/hole")
      local e = engine(dir, { timeout_connect = "200ms" })
      e:put("services", service("web"))
      e:put("endpoints", slice("web-1", "web", port, { { "127.1.0.1", pod = "good" } }))
      e:put("endpoints", slice("web-2", "web", hole_port, { { "127.1.0.9", pod = "hole" } }))
      e:put("ingresses", ingress("i", { rules = { { host = "h.example", paths = { { "/" } } } } }))
      local pid = start(binary, dir, e)
      finally(function()
        haproxy.stop(pid)
        haproxy.stop(hole)
      end)
      local function stat(server, field)
        local lines = cli(dir, "show stat typed")
        local id = lines:match("%f[%w]S%.(%d+%.%d+)%.[^\n]*svname[^\n]*:" .. server .. "\n")
        return lines:match("\nS%." .. id:gsub("%.", "%%.") .. "%.[^\n]-%." .. field .. "%.[^:\n]*:[^:\n]*:[^:\n]*:([^\n]*)")
      end
      for _ = 1, 12 do assert.equal(200, (get(dir, "h.example"))) end
      assert.equal("DOWN", stat("hole", "status"):match("%u+"))
      -- Connections that failed and were made to the other server instead.
      local function failures() return tonumber(stat("hole", "wretr")) + tonumber(stat("hole", "wredis")) end
      local failed = failures()
      assert.is_true(failed >= 1 and failed <= 4, failed .. " connections failed")
      for _ = 1, 10 do assert.equal(200, (get(dir, "h.example"))) end
      assert.equal(failed, failures())
      haproxy.sh("kill -USR1 " .. hole)
      eventually("the server is back", function() return select(2, get(dir, "h.example")) == "127.1.0.9" end)
    end)

    it("asks for external names over the family that the machine has, and takes long answers", function()
      local dir, dns_port = folder .. "/dns", haproxy.free_port()
      haproxy.sh("mkdir -p " .. dir)
      local dns = background("spec/support/dns.py " .. dns_port, dir .. "/dns")
      local e = engine(dir, { nameservers = "127.0.0.1:" .. dns_port })
      for _, name in ipairs({ "two", "many" }) do
        e:put("services", service(name, nil, { type = "ExternalName", externalName = name .. ".example" }))
        e:put("ingresses", ingress(name, { rules = { { host = name .. ".example", paths = { { "/", "Prefix", name, port } } } } }))
      end
      local pid = start(binary, dir, e)
      finally(function()
        haproxy.stop(pid)
        haproxy.stop(dns)
      end)
      eventually("an answer of both", function() return get(dir, "two.example") == 200 and get(dir, "many.example") == 200 end)
      assert.equal("127.0.0.1", select(2, get(dir, "two.example")))
      assert.matches("^127%.1%.0%.", select(2, get(dir, "many.example")))
    end)

    it("listens on IPv4 and, where there is IPv6, on that", function()
      local dir = folder .. "/families"
      local has_ipv6 = haproxy.has_ipv6()
      if not has_ipv6 then print("the machine has no IPv6: only IPv4 is asked") end
      local http, status = haproxy.free_port(), haproxy.free_port()
      for _, context in ipairs({ { http_bind = false, http_port = http, status_bind = false, status_port = status },
        { http_bind = has_ipv6 and "[::]:" .. http .. " v4v6" or "0.0.0.0:" .. http, status_bind = false, status_port = status },
        { http_bind = { ":" .. http, has_ipv6 and "[::]:" .. http .. " v6only" or nil }, status_bind = false, status_port = status } }) do
        local e = engine(dir, context, { version = version, ipv6 = has_ipv6 })
        local pid = start(binary, dir, e)
        local got = {}
        for _, address in ipairs({ "127.0.0.1", has_ipv6 and "[::1]" or nil }) do
          for _, p in ipairs({ http, status }) do
            got[#got + 1] = haproxy.ask(dir, address .. ":" .. p, { { raw = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" } })[1].status
          end
        end
        haproxy.stop(pid)
        assert.same(has_ipv6 and { 404, 200, 404, 200 } or { 404, 200 }, got)
      end
    end)
  end)
end

describe("The family of external names", function()
  local function preferred(context, capabilities)
    local e = program.engine({ context = context, capabilities = capabilities })
    e:put("services", service("x", nil, { type = "ExternalName", externalName = "x.example" }))
    e:put("ingresses", ingress("i", { rules = { { host = "h.example", paths = { { "/", "Prefix", "x" } } } } }))
    e:render()
    return e:output().config:match("resolve%-prefer (%S+)")
  end

  it("is one that the machine has a way to, or the administrator's", function()
    assert.equal("ipv4", preferred())
    assert.equal("ipv4", preferred(nil, { version = "3.0", ipv4_route = true, ipv6_route = true }))
    assert.equal("ipv6", preferred(nil, { version = "3.0", ipv4_route = false, ipv6_route = true }))
    assert.equal("ipv4", preferred(nil, { version = "3.0", ipv4_route = false, ipv6_route = false }))
    assert.equal("ipv6", preferred({ resolve_prefer = "ipv6" }))
  end)
end)
