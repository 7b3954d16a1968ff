-- What of a client's request goes on to a backend, and what it is routed by: on HTTP/1.1 and HTTP/2.
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")
local ingress, service, slice = program.ingress, program.service, program.slice

local port, folder, backend
setup(function()
  port = haproxy.free_port()
  folder = haproxy.folder()
  backend = haproxy.backend(folder, port)
end)
teardown(function()
  haproxy.stop(backend)
  haproxy.remove(folder)
end)

--- A service with one endpoint, 127.1.0.n.
local function app(e, name, n)
  e:put("services", service(name))
  e:put("endpoints", slice(name .. "-1", name, port, { { "127.1.0." .. n, pod = name .. "-0" } }))
end

--- Answers of an HAProxy with these Ingresses to requests.
local function answers_of(binary, context, ingresses, requests)
  local dir = folder .. "/haproxy"
  local version = haproxy.sh(binary .. " -v"):match("version (%S+)")
  local c = { local_endpoints = true, http_bind = "unix@" .. dir .. "/http", status_bind = "unix@" .. dir .. "/status" }
  for k, v in pairs(context or {}) do c[k] = v end
  local e = program.engine({ context = c, capabilities = { version = version:match("^%d+%.%d+"), major = tonumber(version:match("^%d+")) } })
  for i, name in ipairs({ "one", "two", "three" }) do app(e, name, i) end
  for _, o in ipairs(ingresses) do e:put("ingresses", o) end
  e:render()
  assert.same({}, e.host.failures)
  haproxy.write(dir, e:output())
  local ok, words = haproxy.check(binary, dir)
  assert.is_true(ok, words)
  local pid = haproxy.start(binary, dir, dir .. "/http")
  local answers = haproxy.ask(dir, dir .. "/http", requests)
  haproxy.stop(pid)
  haproxy.remove(dir)
  return answers
end

--- The values of a header field that a backend got.
local function got(answer, name)
  local values = {}
  for line in answer.body:gmatch("[^\n]+") do
    local field, value = line:match("^([%w-]+): *(.-)\r?$")
    if field and field:lower() == name then values[#values + 1] = value end
  end
  return values
end

local function raw(method, target, host, headers)
  return { raw = ("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n"):format(method, target, host, headers or "") }
end
local function h2(method, target, host, fields)
  local list = { { ":method", method }, { ":scheme", "http" }, { ":path", target }, { ":authority", host } }
  for _, f in ipairs(fields or {}) do list[#list + 1] = f end
  return { h2 = list }
end
local function followed_by(request, bytes)
  request["then"] = bytes
  return request
end

--- The same request on both versions of HTTP.
local function both(method, target, host, fields)
  local lines = ""
  for _, f in ipairs(fields or {}) do lines = lines .. f[1] .. ": " .. f[2] .. "\r\n" end
  return raw(method, target, host, lines), h2(method, target, host, fields)
end

for _, binary in ipairs(haproxy.binaries()) do
  local version = haproxy.sh(binary .. " -v"):match("version (%d+%.%d+)")

  describe("HAProxy " .. version, function()
    local open = ingress("open", { rules = { { host = "h.example", paths = { { "/", "Prefix", "one" } } },
      { host = "exact.example", paths = { { "/public", "Exact", "one" } } } } })

    it("gives no client a tunnel but for websocket", function()
      local ws = "Connection: Upgrade, X-Forwarded-For\r\nUpgrade: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      local function extended(protocol)
        return followed_by({ h2 = { { ":method", "CONNECT" }, { ":protocol", protocol }, { ":scheme", "http" }, { ":path", "/public" },
          { ":authority", "exact.example" }, { "sec-websocket-version", "13" }, { "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==" } } }, "GET /secret\n")
      end
      local a = answers_of(binary, nil, { open }, {
        followed_by(raw("CONNECT", "h.example:80", "h.example:80"), "GET /secret HTTP/1.1\r\n\r\n"),
        followed_by({ h2 = { { ":method", "CONNECT" }, { ":authority", "h.example:80" } } }, "GET /secret HTTP/1.1\r\n\r\n"),
        raw("TRACE", "/", "h.example"), h2("TRACE", "/", "h.example"),
        followed_by(raw("GET", "/public", "exact.example", ws:format("h2c") .. "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), "GET /secret\n"),
        followed_by(raw("GET", "/public", "exact.example", ws:format("H2C")), "GET /secret\n"),
        followed_by(raw("GET", "/public", "exact.example", ws:format("TLS/1.3, websocket")), "GET /secret\n"),
        followed_by(raw("GET", "/public", "exact.example", ws:format("websocket, h2c")), "GET /secret\n"),
        extended("h2c"), extended("connect-udp"),
        followed_by(raw("GET", "/public", "exact.example", ws:format("WebSocket")), "hello\n"),
        extended("websocket"),
      })
      for i = 1, 4 do assert.equal(405, a[i].status, "request " .. i) end
      for i = 5, 10 do
        -- HAProxy 3 takes what it knows to be another protocol out of a list: then this is websocket alone.
        local websocket = i == 8 and a[i].head:lower():find("upgrade: websocket", 1, true)
        assert.is_true(a[i].status ~= 101 or websocket ~= nil, "request " .. i)
        assert.is_true(websocket ~= nil or a[i].body:find("echo", 1, true) == nil, "request " .. i .. ": " .. a[i].body)
      end
      for i = 5, 6 do
        assert.equal(200, a[i].status)
        assert.same({}, got(a[i], "upgrade"))
        assert.same({}, got(a[i], "http2-settings"))
        assert.same({}, got(a[i], "connection"))
      end
      for i = 9, 10 do assert.is_true(a[i].status ~= 200, "request " .. i) end
      assert.equal(101, a[11].status)
      assert.equal("echo hello\n", a[11].body)
      assert.equal(200, a[12].status)
      assert.equal("echo GET /secret\n", a[12].body)
    end)

    it("answers OPTIONS * and a URI without a path as the root of the host", function()
      local exact = ingress("root", { rules = { { host = "root.example", paths = { { "/", "Exact", "two" } } }, { host = "deep.example", paths = { { "/api" } } } } })
      local a = answers_of(binary, nil, { open, exact }, { raw("OPTIONS", "*", "h.example"), h2("OPTIONS", "*", "h.example"), raw("OPTIONS", "*", "root.example"),
        raw("OPTIONS", "*", "deep.example"), raw("OPTIONS", "http://root.example", "root.example"), raw("GET", "http://root.example/", "root.example") })
      for i, expected in ipairs({ "127.1.0.1", "127.1.0.1", "127.1.0.2", 404, "127.1.0.2", "127.1.0.2" }) do
        if expected == 404 then
          assert.equal(404, a[i].status, "request " .. i)
        else
          assert.equal(200, a[i].status, "request " .. i)
          assert.equal(expected, a[i].body:match("^%S+"), "request " .. i)
        end
      end
      assert.matches("^%S+ OPTIONS %* ", a[1].body)
    end)

    it("compares hosts and hexadecimal digits as equal that are", function()
      local names = ingress("names", { rules = {
        { host = "shop.example", paths = { { "/", "Prefix", "one" }, { "/k%C3%B8d", "Prefix", "two" }, { "/a%2fb", "Exact", "three" } } },
        { host = "*.wild.example", paths = { { "/", "Prefix", "two" } } } } })
      local cases = {
        { "shop.example", "/", 1 }, { "shop.example.", "/", 1 }, { "shop.example.:28080", "/", 1 }, { "SHOP.Example.", "/", 1 }, { "shop.example..", "/", 404 },
        { "a.wild.example", "/", 2 }, { "A.wild.example.", "/x", 2 }, { "a.b.wild.example", "/", 404 }, { "wild.example", "/", 404 },
        { "shop.example", "/k%C3%B8d/x", 2 }, { "shop.example", "/k%c3%b8d/x", 2 }, { "shop.example", "/k%c3%B8d", 2 }, { "shop.example", "/k%25c3%B8d", 1 },
        { "shop.example", "/a%2Fb", 3 }, { "shop.example", "/a%2fb", 3 }, { "shop.example", "/a/b", 1 }, { "shop.example", "/caf%c3%a9", 1 },
        { ".wild.example", "/", { 404, 400 } }, { ".", "/", { 404, 400 } }, { "..", "/", { 404, 400 } },
      }
      local requests = {}
      for _, c in ipairs(cases) do
        requests[#requests + 1], requests[#requests + 2] = both("GET", c[2], c[1])
      end
      local a = answers_of(binary, nil, { names }, requests)
      for i, answer in ipairs(a) do
        local c = cases[math.ceil(i / 2)]
        local what = ("%s: %s%s, HTTP/%d: %d %s"):format(version, c[1], c[2], i % 2 == 1 and 1 or 2, answer.status, answer.body)
        if type(c[3]) == "table" then
          assert.is_true(answer.status == c[3][1] or answer.status == c[3][2] or answer.status == 0, what)
        elseif c[3] > 100 then
          assert.equal(c[3], answer.status, what)
        else
          assert.equal(200, answer.status, what)
          assert.equal("127.1.0." .. c[3], answer.body:match("^%S+"), what)
          assert.is_truthy(answer.body:find(" " .. c[2] .. " HTTP", 1, true), what) -- the path goes on as it came
        end
      end
    end)

    local FORGED = {}
    for _, name in ipairs({ "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-prefix", "x-forwarded-scheme",
      "x-forwarded-ssl", "x-forwarded-server", "x-forwarded-client-cert", "x-forwarded", "forwarded", "x-real-ip", "x-client-ip", "true-client-ip",
      "x-original-url", "x-rewrite-url", "front-end-https", "proxy", "x-custom-ip" }) do
      FORGED[#FORGED + 1] = { name, "forged" }
    end

    it("believes no forwarding header of a client, and says what the client used", function()
      local plain_1, plain_2 = both("GET", "/", "h.example", FORGED)
      local port_1, port_2 = both("GET", "/", "h.example:9999", FORGED)
      local odd = raw("GET", "/", "h.example:99999")
      local strip = raw("GET", "/", "h.example", "Connection: close, X-Forwarded-For, X-Forwarded-Proto\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n")
      local a = answers_of(binary, { untrusted_headers = { "X-Custom-IP" } }, { open }, { plain_1, plain_2, port_1, port_2, strip, odd })
      for i = 1, 5 do
        local host, client_port = "h.example", "80"
        if i == 3 or i == 4 then host, client_port = "h.example:9999", "9999" end
        assert.equal(200, a[i].status)
        assert.is_nil(a[i].body:find("forged", 1, true), a[i].body)
        assert.is_nil(a[i].body:find("1.2.3.4", 1, true), a[i].body)
        assert.same({ host }, got(a[i], "x-forwarded-host"))
        assert.same({ client_port }, got(a[i], "x-forwarded-port"))
        assert.same({ "http" }, got(a[i], "x-forwarded-proto"))
        assert.is_nil(table.concat(got(a[i], "connection")):lower():find("forwarded", 1, true))
      end
      assert.is_true(a[6].status == 400 or got(a[6], "x-forwarded-port")[1] == "80", a[6].body)
    end)

    it("keeps what a trusted proxy says, in one line, with the proxy's address", function()
      local tcp = haproxy.free_port()
      local dir = folder .. "/trusted"
      local e = program.engine({ context = { local_endpoints = true, trusted_proxies = { "127.0.0.0/8" }, http_bind = "127.0.0.1:" .. tcp,
        status_bind = "unix@" .. dir .. "/status" } })
      app(e, "one", 1)
      e:put("ingresses", open)
      e:render()
      haproxy.write(dir, e:output())
      local pid = haproxy.start(binary, dir, dir .. "/status")
      local a = haproxy.ask(dir, "127.0.0.1:" .. tcp, {
        raw("GET", "/", "h.example", "X-Forwarded-For: 192.0.2.7, 192.0.2.8\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 192.0.2.7\r\n"
          .. "Proxy: x\r\n"),
        raw("GET", "/", "h.example"), raw("GET", "/", "h.example", "X-Forwarded-Proto: https\r\n"), raw("GET", "/", "h.example", ("X-Forwarded-For: 192.0.2.1\r\n"):rep(6)) })
      haproxy.stop(pid)
      assert.same({ "192.0.2.7, 192.0.2.8, 192.0.2.9, 127.0.0.1" }, got(a[1], "x-forwarded-for"))
      assert.same({ "https" }, got(a[1], "x-forwarded-proto"))
      assert.same({ "443" }, got(a[1], "x-forwarded-port"))
      assert.same({ "192.0.2.7" }, got(a[1], "x-real-ip"))
      assert.same({}, got(a[1], "proxy"))
      assert.same({ "127.0.0.1" }, got(a[2], "x-forwarded-for"))
      assert.same({ "80" }, got(a[2], "x-forwarded-port"))
      assert.same({ "443" }, got(a[3], "x-forwarded-port"))
      assert.equal(400, a[4].status)
    end)
  end)
end
