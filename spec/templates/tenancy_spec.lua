-- What one tenant's objects can do to HAProxy's own machine and to other tenants' routes.
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")
local ingress, service, slice = program.ingress, program.service, program.slice

local function rendered(objects, options)
  local e = program.engine(options)
  for _, o in ipairs(objects) do e:put(o[1], o[2], o[3]) end
  e:render()
  return e:output(), e
end

--- The configuration with one endpoint of that address, and the warnings of its Service.
local function with_endpoint(address, context)
  local o = rendered({
    { "services", service("web") },
    { "endpoints", slice("web-1", "web", 80, { { address } }, { addressType = address:find(":", 1, true) and "IPv6" or "IPv4" }) },
    { "ingresses", ingress("i", { rules = { { host = "t.example", paths = { { "/" } } } } }) },
  }, { context = context })
  return o.config:match("\n    (server [^\n]*)"), (o.warnings["default/web"] or {}).InvalidEndpoint
end

local function with_external(name, context)
  local o = rendered({
    { "services", service("web", nil, { type = "ExternalName", externalName = name }) },
    { "ingresses", ingress("i", { rules = { { host = "t.example", paths = { { "/" } } } } }) },
  }, { context = context })
  return o.config:match("\n    (server [^\n]*)"), (o.warnings["default/i"] or {}).InvalidExternalName
end

describe("Endpoints", function()
  it("are not HAProxy's own machine, its link, nobody or everybody", function()
    for _, address in ipairs({
      "127.0.0.1", "127.255.0.9", "169.254.169.254", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255",
      "::1", "::", "0:0:0:0:0:0:0:1", "fe80::1", "febf::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:7f00:1",
      "0:0:0:0:0:ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::127.0.0.1",
      "::ffff:10.0.0.1", "::ffff:0:7f00:1", "64:ff9b:1::1", "64:ff9b:1:ffff::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1",
      "2001:0:7f00:1::", "fec0::1", "feff::1", "::ffff:100.100.100.200", "64:ff9b::6464:64c8", "2002:a83f:8110::",
    }) do
      local server, warning = with_endpoint(address)
      assert.is_nil(server, address)
      assert.is_string(warning, address)
    end
  end)

  it("are no metadata service of a cloud, nor its link", function()
    for _, address in ipairs({ "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
      "FD00:0EC2:0:0::254", "fd00:ec2::23", "fd20:ce::254" }) do
      for _, value in ipairs({ "false", "true" }) do
        local server, warning = with_endpoint(address, { local_endpoints = value })
        assert.is_nil(server, address)
        assert.is_string(warning, address)
      end
    end
  end)

  it("have the family that their slice names", function()
    local o = rendered({
      { "services", service("web") },
      { "endpoints", slice("web-1", "web", 80, { { "2001:db8::1" } }) },
      { "endpoints", slice("web-2", "web", 80, { { "10.0.0.1" } }, { addressType = "IPv6" }) },
      { "ingresses", ingress("i", { rules = { { host = "t.example", paths = { { "/" } } } } }) },
    })
    assert.is_nil(o.config:match("\n    (server [^\n]*)"))
  end)

  it("have one way to be written: none that a resolver reads as octal", function()
    for _, address in ipairs({ "010.0.0.1", "10.00.0.1", "10.0.0.01" }) do
      local server, warning = with_endpoint(address)
      assert.is_nil(server, address)
      assert.is_string(warning, address)
    end
  end)

  it("may be anything else", function()
    for _, address in ipairs({ "10.0.0.1", "126.255.255.255", "128.0.0.1", "169.253.0.1", "192.168.0.0", "223.255.255.255", "100.64.0.1", "100.100.100.199", "192.0.0.191", "168.63.129.17" }) do
      assert.equal("server " .. address .. "_80 " .. address .. ":80", (with_endpoint(address)))
    end
    for _, address in ipairs({ "2001:db8::1", "2001:1::1", "fd00::1", "fd00:ec3::254", "64:ff9b::a00:1", "2002:a00:1::1" }) do
      assert.equal("server " .. address:gsub("^:", "0:"):gsub(":", "-") .. "_80 [" .. address .. "]:80", (with_endpoint(address)))
    end
  end)

  it("may be of this machine where the administrator says so, but not its link", function()
    for _, value in ipairs({ true, "true" }) do
      assert.equal("server 127.0.0.1_80 127.0.0.1:80", (with_endpoint("127.0.0.1", { local_endpoints = value })))
      assert.equal("server 0--1_80 [::1]:80", (with_endpoint("::1", { local_endpoints = value })))
      for _, address in ipairs({ "169.254.169.254", "0.0.0.0", "::", "fe80::1", "::ffff:169.254.169.254" }) do
        assert.is_nil((with_endpoint(address, { local_endpoints = value })), address)
      end
    end
    assert.is_nil((with_endpoint("127.0.0.1", { local_endpoints = "false" })))
  end)

  it("with the longest names of pods have servers of their own", function()
    local pod = ("p"):rep(253)
    local o = rendered({
      { "services", service("web") },
      { "endpoints", slice("web-1", "web", 80, {
        { "2001:0db8:0000:0000:0000:0000:0000:0001", pod = pod:sub(1, 200) },
        { "2001:0db8:0000:0000:0000:0000:0000:0002", pod = pod:sub(1, 200) }, { "2001:db8::3", pod = pod } }, { addressType = "IPv6" }) },
      { "ingresses", ingress("i", { rules = { { host = "t.example", paths = { { "/" } } } } }) },
    })
    local names = {}
    for name in o.config:gmatch("\n    server (%S+)") do names[#names + 1] = name end
    assert.equal(3, #names)
    assert.is_nil(o.failures and o.failures["ingress.lua:routes/ingresses/default/i"])
  end)
end)

describe("External names", function()
  it("are none that the system's resolver reads as an address of this machine", function()
    for _, name in ipairs({
      "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "1.2.3", "10.0.0.0x1", "a.0x7f", "a.1", "localhost.localdomain",
      "x.localdomain", "ip6-localhost", "ip6-loopback", "localhost6", "localhost6.localdomain6", "224.0.0.1", "255.255.255.255",
      "metadata.google.internal", "METADATA.google.internal.", "metadata.goog", "x.metadata.goog", "instance-data", "instance-data.ec2.internal",
      "100.100.100.200", "169.254.169.254",
    }) do
      local server, warning = with_external(name)
      assert.is_nil(server, name)
      assert.is_string(warning, name)
    end
    assert.equal("server external 10.1.2.3:80 resolvers default resolve-prefer ipv4 init-addr last,none", (with_external("10.1.2.3")))
    assert.equal("server external 4chan.1and1.example:80 resolvers default resolve-prefer ipv4 init-addr last,none", (with_external("4chan.1and1.example")))
  end)

  it("can be switched off", function()
    for _, value in ipairs({ false, "false" }) do
      local server, warning = with_external("api.example.com", { external_names = value })
      assert.is_nil(server)
      assert.is_string(warning)
    end
  end)
end)

describe("Names of backends", function()
  it("are one per service and port, and none of the library's own", function()
    local function backend_of(namespace, name, port)
      local o, e = rendered({
        { "ingresses", ingress("i", { namespace = namespace, rules = { { host = "t.example", paths = { { "/", "Prefix", name, port } } } } }) } })
      assert.same({}, e.host.failures)
      return o.maps["path-prefix.map"]:match("^%S+ (%S+)\n$")
    end
    local seen = { haptic_notfound = "library", haptic_unavailable = "library" }
    for _, n in ipairs({ { "a", "b-c", 80 }, { "a-b", "c", 80 }, { "a", "b", "c-80" }, { "a", "b-c", "p80" }, { "a--b", "c", 80 }, { "haptic", "not", "found" },
      { "p", "a", 1 }, { "base", "a", 1 } }) do
      local name = backend_of(n[1], n[2], n[3])
      local id = table.concat(n, "/")
      assert.is_nil(seen[name], name .. " is " .. id .. " and " .. tostring(seen[name]))
      seen[name] = id
    end
    local config = rendered({}).config
    for name in config:gmatch("\nbackend (%S+)") do
      local _, blanks = name:gsub("_", "")
      assert.is_true(blanks < 2, name .. " could be a service's")
    end
  end)
end)

describe("The Host header", function()
  it("cannot add to the path that is looked up", function()
    local folder = haproxy.folder()
    local socket = folder .. "/http"
    finally(function() haproxy.remove(folder) end)
    for _, binary in ipairs(haproxy.binaries()) do
      local major = tonumber(haproxy.sh(binary .. " -v"):match("version (%d+)"))
      local output = rendered({
        { "services", service("web") },
        { "ingresses", ingress("i", { rules = { { host = "t.example", paths = { { "/public" } } } } }) },
      }, { context = { http_bind = "unix@" .. socket, status_bind = "unix@" .. folder .. "/status" },
        capabilities = { version = major .. ".0", major = major } })
      haproxy.write(folder, output)
      local pid = haproxy.start(binary, folder, socket)
      local routed = haproxy.get(socket, "/public/x", "t.example:80")
      local statuses = {}
      local hosts = { "t.example/public", "t.example:80/public", "x,t.example", "t.example/public/", "/public", "t.example?/public",
        "t.example:80@u.example", "u.example@t.example" }
      for i, host in ipairs(hosts) do statuses[i] = haproxy.get(socket, (i == 3 or i > 6) and "/public" or "/admin", host) end
      haproxy.stop(pid)
      assert.equal(503, routed, binary) -- the backend, which has no servers
      for i, host in ipairs(hosts) do
        assert.is_true(statuses[i] == 400 or statuses[i] == 404, ("%s: host %s gave %s"):format(binary, host, tostring(statuses[i])))
      end
    end
  end)
end)
