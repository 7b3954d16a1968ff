--- haptic test and haptic repl with requests: a real HAProxy with what is rendered, and servers that stand in.

local cjson = require("cjson")
local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"
local dir

local function write(name, text)
  local path = dir .. "/" .. name
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("*a")
  f:close()
  return s
end

--- Run a command; what it printed, on standard error, and its exit status.
local function sh(command)
  local status = os.execute(("%s >%s/out 2>%s/err </dev/null"):format(command, dir, dir))
  if type(status) == "number" then status = math.floor(status / 256) end
  return read(dir .. "/out"), read(dir .. "/err"), status == true and 0 or status
end

local function haproxy(series)
  local pipe = assert(io.popen("tools/testenv haproxy " .. series .. " 2>/dev/null"))
  local path = pipe:read("*l")
  pipe:close()
  return assert(path, "there is no HAProxy " .. series)
end

--- An own haproxy.cfg: two backends of one service each, a TCP service, a frontend behind a frontend.
local OWN = [[
watchedResources:
  services: {apiVersion: v1, resources: services}
templatingSettings:
  libraries: []
templateSnippets:
  routes.lua:
    template: |
      each(resources.services, "backend", function(service, out)
        local name = service.metadata.name
        out:map_entry("hosts.map", name .. ".test", "app_" .. name)
        out:backend("app_" .. name, { from = "own", profile = false, rank = 5000 }, function(b)
          for i, address in ipairs(service.spec.externalIPs) do
            b:server({ name = "s" .. i, address = address, port = 80, weight = i })
          end
        end)
      end)
haproxyConfig:
  template: |
    global
      stats socket DIRECTORY/outside.sock level admin
      pidfile DIRECTORY/outside.pid
      daemon
    defaults own
      mode http
      timeout client 5s
      timeout server 200ms
      timeout connect 1s
      retries 0
    frontend web from own
      bind :80
      bind :81 accept-proxy
      http-request deny if { path /denied }
      http-request set-header X-Source %[src]
      http-request set-header X-Port %[dst_port]
      http-response set-header X-Frontend web
      use_backend %[req.hdr(host),lower,map(maps/hosts.map)] if { req.hdr(host),lower,map(maps/hosts.map) -m found }
      use_backend inner if { hdr(host) inner.test }
    backend inner from own
      server loop 127.0.0.1:9000 send-proxy-v2
    frontend behind from own
      bind 127.0.0.1:9000 accept-proxy
      http-request return status 200 content-type text/plain lf-string "behind %[src]"
    frontend db from own
      mode tcp
      bind :5432
      default_backend postgres
    backend postgres from own
      mode tcp
      server primary db.example:5432 send-proxy
validationTests:
  _global:
    fixtures:
      services:
        - {apiVersion: v1, kind: Service, metadata: {name: one, namespace: d}, spec: {externalIPs: [10.0.0.1]}}
        - {apiVersion: v1, kind: Service, metadata: {name: two, namespace: d}, spec: {externalIPs: [10.0.0.2, 10.0.0.3]}}
  t:
]]

--- Failures of one test with these requests, as texts; and the exit status.
local function failures(requests, more, options)
  local config = write("own.yaml", (OWN:gsub("DIRECTORY", dir)) .. (more or "") .. "    requests:\n" .. requests)
  local out, err, status = sh(("%s test -o json -c %s %s"):format(BIN, config, options or ""))
  assert.equal("", err)
  local document = cjson.decode(out)
  local list = {}
  for i, f in ipairs((document.tests or {})[1] and document.tests[1].failures or document.findings) do list[i] = f.message end
  return list, status
end

local function passes(requests, more, options)
  local list, status = failures(requests, more, options)
  assert.same({}, list)
  assert.equal(0, status)
end

describe("requests", function()
  before_each(function() dir = posix.make_temporary_directory("/tmp/haptic-requests.") end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("are answered by HAProxy " .. series, function()
      passes([[
      - host: one.test
        path: /a%20b?c=d
        method: PUT
        headers: {X-A: [b, c], X-Empty: ""}
        body: text
        source: 203.0.113.7
        expect:
          status: 200
          backend: app_one
          server: s1
          object: services d/one
          headers: {x-frontend: web, X-Nothing: null, content-type: {match: "^text/"}}
          body: "app_one/s1 PUT /a%20b?c=d\n"
          received: {method: PUT, path: /a%20b?c=d, body: text, headers: {x-a: b, x-source: 203.0.113.7, x-port: "80"}}
      - {host: TWO.test, http: "2", source: "2001:db8::5", expect: {backend: app_two, received: {headers: {x-source: "2001:db8::5"}}}}
      - {host: one.test, http: "1.0", expect: {status: 200, received: {headers: {x-source: 192.0.2.1}}}}
      - {host: one.test, method: HEAD, expect: {status: 200, body: ""}}
      - {host: nobody.test, expect: {status: 503, backend: "", received: false}}
      - {host: one.test, path: /denied, expect: {status: 403, received: false}}
      - {host: inner.test, source: 203.0.113.8, expect: {body: behind 203.0.113.8}}
      - {port: 5432, source: 203.0.113.9, expect: {status: 200, backend: postgres, server: primary, received: {source: 203.0.113.9}}}
      - {port: 81, host: one.test, proxyProtocol: {source: 198.51.100.4}, expect: {received: {headers: {x-source: 198.51.100.4}}}}
      - {port: 81, host: one.test, expect: {closed: true}}
]], nil, "--haproxy-binary " .. haproxy(series))
    end)
  end

  it("say what is expected and what is, with template and object", function()
    local list, status = failures([[
      - host: one.test
        description: a wrong hope
        expect:
          {status: 201, backend: app_two, server: s9, object: services d/two, body: {match: "^no"},
           headers: {x-frontend: api, X-No: {match: a}, date: null}, received: {method: POST, headers: {x-port: "1"}}}
      - {host: one.test, path: /denied, expect: {status: 200, redirect: "/x"}}
      - {host: one.test, expect: {closed: true}}
      - {port: 81, host: one.test, expect: {status: 200}}
      - {host: one.test, expect: {received: false}}
      - {host: two.test, times: 300, expect: {shares: {s1: 90}}}
]])
    assert.equal(1, status)
    assert.equal(6, #list)
    for _, line in ipairs({ "GET http://one.test/ (a wrong hope)\n", "\n  status: expected 201, actual 200\n",
      '\n  backend: expected "app_two", actual "app_one"\n', '\n  server: expected "s9", actual "s1"\n',
      '\n  object: expected "services d/two", actual "services d/one"\n', '\n  header x-frontend: expected "api", actual "web"\n',
      "\n  header X-No: expected a match of /a/, actual none\n", "\n  header date: expected none, actual \"",
      '\n  body: expected a match of /^no/, actual "app_one/s1 GET /\n"', '\n  received.method: expected "POST", actual "GET"\n',
      '\n  received.headers.x-port: expected "1", actual "80"\n', "\n  answered by: server s1 of backend app_one, frontend web\n",
      " |     server s1 10.0.0.1:80", "\n  from: backend app_one, piece body, written by services d/one (routes.lua:6)" }) do
      assert.truthy(list[1]:find(line, 1, true), line .. " is not in\n" .. list[1])
    end
    assert.matches("status: expected 200, actual 403\n  redirect: expected \"/x\", actual none\n", list[2])
    assert.matches("\n  > +%d+ |     http%-request deny if { path /denied }\n", list[2])
    assert.matches("\n  from: frontend web, piece [^\n]+%(haproxyConfig:14%)", list[2])
    assert.matches("\n  closed: expected no answer, actual status 200", list[3])
    assert.matches("\n  no answer: ", list[4])
    assert.matches('\n  received: expected none, actual "/"', list[5])
    assert.matches("\n  share of s1: expected 90 %% of 300, actual 33%.%d %% %(100; ", list[6])
  end)

  it("count shares, also of many clients", function()
    passes([[
      - {host: two.test, times: 300, expect: {status: 200, shares: {s1: 33.3, app_two/s2: 66.6, app_two: 100, app_one: 0}}}
      - {host: one.test, times: 20, source: 10.0.0.0/8, expect: {received: {headers: {x-source: {match: "^10[.]"}}}}}
]])
  end)

  it("reach servers that do as a test says", function()
    passes([[
      - {host: one.test, expect: {status: 418, body: tea, headers: {x-app: "1", content-type: text/tea}}}
      - {host: two.test, expect: {status: 504}}
      - {port: 5432, expect: {closed: true}}
]], "    servers:\n      app_one: {status: 418, headers: {X-App: 1, content-type: text/tea}, body: tea}\n"
      .. "      app_two/s1: {delay: 1s}\n      app_two/s2: {delay: 1s}\n      postgres: {reset: true}\n")
  end)

  it("do nothing outside, and leave nothing behind", function()
    local config = write("own.yaml", (OWN:gsub("DIRECTORY", dir)) .. "    servers: {app_one: {delay: 60s}}\n"
      .. "    requests: [{host: one.test, expect: {status: 200}}]\n")
    write("outside.pid", "precious")
    config = write("own.yaml", (read(config):gsub("timeout server 200ms", "timeout server 30s")))
    -- killed while HAProxy waits for its server; a process that is just being made for it may be seen as well
    sh(("{ %s test -c %s >/dev/null 2>&1 & p=$!; for i in $(seq 500); do c=$(pgrep -P $p -f -- '-db -dr') && break; sleep 0.02; done; "
      .. "echo $c; kill -9 $p; for c in $c; do for i in $(seq 200); do kill -0 $c 2>/dev/null || break; sleep 0.02; done; "
      .. "kill -0 $c 2>/dev/null && echo alive; done; true; }"):format(BIN, config))
    assert.matches("^%d[%d ]*\n$", read(dir .. "/out"))
    assert.equal("precious", read(dir .. "/outside.pid"))
    assert.is_false(posix.is_file(dir .. "/outside.sock"))
  end)

  it("are not made where HAProxy refuses what is rendered", function()
    local list = failures("      - {host: one.test, expect: {status: 200}}\n",
      "    extraContext: {}\n    fixtures:\n      services:\n        - {apiVersion: v1, kind: Service, metadata: {name: three, namespace: d}, "
      .. "spec: {externalIPs: [not/an/address]}}\n")
    assert.equal(1, #list, list[1])
    assert.matches("no valid address", list[1])
  end)

  it("name the field that is wrong", function()
    for request, message in pairs({
      ["{host: a}"] = "requests[0].expect: is missing or empty: a request that expects nothing cannot fail",
      ["{hots: a, expect: {status: 200}}"] = 'requests[0].hots: unknown field; did you mean "host"?',
      ["{host: a, expect: {stat: 200}}"] = 'requests[0].expect.stat: unknown field; did you mean "status"?',
      ["{host: a, expect: {status: 99}}"] = "requests[0].expect.status: must be a whole number from 100 to 599",
      ["{host: a, http: '3', expect: {status: 200}}"] = 'requests[0].http: must be "1.0", "1.1" or "2", in quotes',
      ["{host: a, sni: b, expect: {status: 200}}"] = "requests[0].sni: needs tls: true",
      ["{host: a, expect: {shares: {a: 50}}}"] = "requests[0].expect.shares: needs times: how many requests are made",
      ["{host: a, headers: {'A B': c}, expect: {status: 200}}"] = "requests[0].headers: a name has neither blanks nor a colon",
      ["{host: a, expect: {received: true}}"] = "requests[0].expect.received: must have method, path, headers, body, "
          .. "source, http, tls, sni or certificate; or be false",
      ["{host: a, source: here, expect: {status: 200}}"] = 'source: "here" is no address; write one such as 203.0.113.7',
      ["{host: a, port: 82, expect: {status: 200}}"] = "nobody listens at port 82; there are: :80 (frontend web), :81 (frontend web)",
      ["{host: a, tls: true, expect: {status: 200}}"] = "nobody listens with TLS; there are: :80 (frontend web)",
    }) do
      local list, status = failures("      - " .. request .. "\n")
      assert.equal(1, status)
      assert.truthy(list[1]:find(message, 1, true), message .. " is not in " .. list[1])
    end
  end)

  it("speak TLS: names, certificates of both sides, rules about them", function()
    sh(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=shop.test "
      .. "-addext subjectAltName=DNS:shop.test -keyout %s/k -out %s/c"):format(dir, dir))
    sh(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=client "
      .. "-keyout %s/ck -out %s/cc"):format(dir, dir))
    local function block(name, indent) return "|\n" .. read(dir .. "/" .. name):gsub("[^\n]+", (" "):rep(indent) .. "%0") end
    local config = write("tls.yaml", [[
watchedResources:
  secrets: {apiVersion: v1, resources: secrets}
validationTests:
  t:
    fixtures:
      ingressclasses:
        - {apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: haptic}, spec: {controller: haproxy-haptic.org/controller}}
      secrets:
        - apiVersion: v1
          kind: Secret
          metadata: {name: shop, namespace: d}
          type: kubernetes.io/tls
          stringData:
            tls.crt: ]] .. block("c", 14) .. "            tls.key: " .. block("k", 14) .. [[
        - apiVersion: v1
          kind: Secret
          metadata: {name: clients, namespace: d}
          stringData:
            ca.crt: ]] .. block("cc", 14) .. [[
      ingresses:
        - apiVersion: networking.k8s.io/v1
          kind: Ingress
          metadata: {name: shop, namespace: d, annotations: {haproxy-haptic.org/client-ca: clients}}
          spec:
            ingressClassName: haptic
            tls: [{hosts: [shop.test], secretName: shop}]
            rules: [{host: shop.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
      services:
        - {apiVersion: v1, kind: Service, metadata: {name: web, namespace: d}, spec: {ports: [{port: 80, targetPort: 8080}]}}
      endpoints:
        - apiVersion: discovery.k8s.io/v1
          kind: EndpointSlice
          metadata: {name: web-1, namespace: d, labels: {kubernetes.io/service-name: web}}
          addressType: IPv4
          ports: [{name: "", port: 8080}]
          endpoints: [{addresses: [10.1.2.3], conditions: {ready: true}}]
    requests:
      - {host: shop.test, path: /a, expect: {status: 302, redirect: "https://shop.test/a", received: false}}
      - {host: shop.test, tls: true, expect: {status: 496, certificate: shop.test}}
      - {host: shop.test, tls: true, sni: other.test, expect: {status: 421}}
      - host: shop.test
        tls: true
        http: "2"
        source: 203.0.113.1
        clientCertificate:
          cert: ]] .. block("cc", 12) .. "          key: " .. block("ck", 12) .. [[
        expect: {status: 200, object: ingresses d/shop, received: {headers: {x-forwarded-proto: https, x-forwarded-for: 203.0.113.1}}}
]])
    local out, err, status = sh(BIN .. " test -c " .. config)
    assert.equal(0, status, out .. err)
    assert.is_nil((out .. err):find("PRIVATE", 1, true))
    -- TLS that ends behind a frontend which looks at names
    write("tls.yaml", "templatingSettings: {extraContext: {ssl_passthrough: true}}\n" .. read(config))
    out, err, status = sh(BIN .. " test -c " .. config)
    assert.equal(0, status, out .. err)
  end)

  it("are asked at the prompt", function()
    local out, _, status = sh(BIN .. " repl examples/manifests -e 'request{host = \"shop.localhost\", path = \"/cart\"}'")
    assert.equal(0, status)
    assert.matches("^status: 200\n", out)
    assert.matches("\n  received: GET /cart\n    host: shop.localhost\n", out)
    assert.matches("\n  answered by: server 127.0.0.1_8082 of backend default_cart_80, frontend http\n", out)
    assert.matches("\n  objects: ingresses default/shop, services default/cart\n", out)
    -- after a change, the HAProxy is another one
    out = sh(BIN .. [[ repl examples/manifests -e 'request{host = "new.test", expect = {status = 404}}' ]]
      .. [[-e 'edit(resources.ingresses:get("default", "shop"), function(o) o.spec.rules[1].host = "new.test" end)' ]]
      .. [[-e 'request{host = "new.test", expect = {status = 200}}']])
    assert.matches("^as expected\n.*\nas expected\n$", out)
    out, _, status = sh(BIN .. " repl examples/manifests -e 'request{host = \"shop.localhost\", expect = {status = 404}}'")
    assert.matches("\n  status: expected 404, actual 200\n", out)
    assert.equal(1, status)
  end)

  it("are saved as a test", function()
    write("session", 'request{host = "shop.localhost"}\n'
      .. 'edit(resources.ingresses:get("default", "shop"), function(o) o.spec.rules[1].host = "new.test" end)\n'
      .. 'request{host = "new.test", path = "/cart"}\nrequest{host = "new.test", expect = {status = 200}}\n'
      .. 'request{host = "shop.localhost"}\n:save ' .. dir .. "/new-host.yaml\n:save " .. dir .. "/new-host.yaml\n")
    local out, _, status = sh(("sh -c 'exec %s repl examples/manifests <%s/session'"):format(BIN, dir))
    assert.matches('/new%-host.yaml: 3 requests\nerror: (%S+) exists: ":save! %1" replaces it\n$', out)
    assert.equal(1, status)
    local config = write("own.yaml", "validationTests:\n  mine: {assertions: [{type: haproxy_valid}]}\n")
    local text, err, code = sh(("%s test -c %s %s/new-host.yaml"):format(BIN, config, dir))
    assert.equal(0, code, text .. err)
    assert.matches("^Tests: 2 passed, 0 failed, 0 skipped; ", text)
    -- what is saved is what is expected
    write("new-host.yaml", (read(dir .. "/new-host.yaml"):gsub("default_cart_80", "default_web_http")))
    text, _, code = sh(("%s test -c %s --run host %s/new-host.yaml"):format(BIN, config, dir))
    assert.equal(1, code)
    assert.truthy(text:find("failed  new-host (" .. dir .. "/new-host.yaml:", 1, true), text)
    assert.truthy(text:find('\n  backend: expected "default_web_http", actual "default_cart_80"\n', 1, true), text)
    text, err, code = sh(("%s test -c %s %s/nobody.yaml"):format(BIN, config, dir))
    assert.matches("nobody.yaml cannot be read", text .. err)
    assert.equal(1, code)
    out, _, status = sh(("%s repl examples/manifests -e 'request{host = \"shop.localhost\"}' -e ':save! %s/new-host.yaml'"):format(BIN, dir))
    assert.matches("/new%-host.yaml: 1 request\n$", out)
    assert.equal(0, status)
    assert.falsy(read(dir .. "/new-host.yaml"):find("new.test", 1, true))
    out = sh(BIN .. " repl examples/manifests -e 'x = 1' -e ':save " .. dir .. "/x'")
    assert.matches("^error: nothing was asked", out)
  end)
end)
