--- haptic test with servers that speak TLS, HTTP/2 and gRPC, and connections that are passed through.

local cjson = require("cjson")
local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"
local dir

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("*a")
  f:close()
  return s
end

local function haproxy(series)
  local pipe = assert(io.popen("tools/testenv haproxy " .. series .. " 2>/dev/null"))
  local path = pipe:read("*l")
  pipe:close()
  return assert(path, "there is no HAProxy " .. series)
end

--- An authority, a server's certificate and a client's; the texts by name.
local function certificates()
  local made = os.execute(([[cd %s && {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
    for name in server client; do
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name.test -keyout $name.key -out $name.csr
      printf 'subjectAltName=DNS:%%s.test' $name > $name.ext
      openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
    done; } >/dev/null 2>&1]]):format(dir))
  assert(made == 0 or made == true, "openssl")
  local texts = {}
  for _, name in ipairs({ "ca.pem", "server.pem", "server.key", "client.pem", "client.key" }) do texts[name] = read(dir .. "/" .. name) end
  return texts
end

local CONFIG = [[
watchedResources: {services: {apiVersion: v1, resources: services}}
files:
  ca.pem: {template: CA}
  client.pem: {template: CLIENT}
haproxyConfig:
  template: |
    defaults own
      mode http
      timeout client 5s
      timeout server 5s
      timeout connect 2s
      retries 0
    frontend web from own
      bind :80
      bind :81 proto h2
      use_backend %[req.hdr(host),field(1,.)]
    backend tls from own
      server s 192.0.2.1:443 ssl verify required ca-file files/ca.pem sni str(inner.test)
    backend verified from own
      server s 192.0.2.2:443 ssl verify required ca-file files/ca.pem sni str(server.test)
    backend other from own
      server s 192.0.2.3:443 ssl verify required ca-file files/ca.pem sni str(another.test)
    backend client from own
      server s 192.0.2.4:443 ssl verify none crt files/client.pem
    backend h2 from own
      server s 192.0.2.5:80 proto h2
    backend h2tls from own
      server s 192.0.2.6:443 ssl verify none alpn h2
    backend proxied from own
      server s 192.0.2.7:443 ssl verify none send-proxy-v2
    frontend pass from own
      mode tcp
      bind :443 accept-proxy
      tcp-request inspect-delay 5s
      tcp-request content accept if { req.ssl_hello_type 1 }
      use_backend passed if { req.ssl_sni pass.test }
    backend passed from own
      mode tcp
      server s 192.0.2.8:443
validationTests:
]]

describe("servers of tests", function()
  local texts
  before_each(function()
    dir = posix.make_temporary_directory("/tmp/haptic-servers.")
    texts = certificates()
  end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  --- Run tests; by name what failed, the exit status.
  local function run(tests, more)
    local config = CONFIG:gsub("template: CA}", function() return "template: " .. cjson.encode(texts["ca.pem"]) .. "}" end)
    config = config:gsub("template: CLIENT}", function()
      return "template: " .. cjson.encode(texts["client.pem"] .. texts["client.key"]) .. "}"
    end)
    posix.write_file(dir .. "/c.yaml", config .. tests)
    local status = os.execute(("%s test -o json -c %s/c.yaml %s >%s/out 2>%s/err </dev/null"):format(BIN, dir, more or "", dir, dir))
    local ok, document = pcall(cjson.decode, read(dir .. "/out"))
    assert.is_true(ok, read(dir .. "/out") .. read(dir .. "/err"))
    local failures = {}
    for _, t in ipairs(document.tests or {}) do failures[t.name] = t.failures[1] and t.failures[1].message end
    return failures, status == 0 or status == true, document
  end

  for _, series in ipairs({ "2.6", "3.4" }) do
    it("speak TLS, HTTP/2 and gRPC behind HAProxy " .. series, function()
      local own = "{cert: " .. cjson.encode(texts["server.pem"]) .. ", key: " .. cjson.encode(texts["server.key"]) .. "}"
      local failures, passed, document = run([[
  tls: {requests: [{host: tls.test, path: /x,
          expect: {status: 200, body: "tls/s GET /x\n", backend: tls, server: s,
            received: {tls: true, sni: inner.test, http: "1.1", certificate: ""}}}]}
  verified:
    servers: {verified: {certificate: ]] .. own .. [[}, other: {certificate: ]] .. own .. [[}}
    requests:
      - {host: verified.test, expect: {status: 200, received: {tls: true}}}
      - {host: other.test, expect: {status: 503, received: false}}
  client: {requests: [{host: client.test, method: PUT, body: hello,
          expect: {status: 200, received: {certificate: client.test, body: hello, method: PUT}}}]}
  h2:
    servers: {h2: {status: 201, headers: {x-a: b}, trailers: {x-sum: "1"}}}
    requests:
      - {host: h2.test, times: 3, expect: {status: 201, headers: {x-a: b}, received: {http: "2", tls: false}}}
      - {host: h2.test, port: 81, http: "2", expect: {status: 201, trailers: {x-sum: "1"}}}
      - {host: h2tls.test, expect: {status: 200, body: "h2tls/s GET /\n", received: {http: "2", tls: true}}}
  grpc:
    servers: {h2tls: {body: sorry, trailers: {grpc-status: "14", grpc-message: later}}}
    requests:
      - {host: h2.test, port: 81, grpc: true, path: /shop.Cart/Get, body: question,
          expect: {status: 200, headers: {content-type: application/grpc}, body: "h2/s POST /shop.Cart/Get\n", trailers: {grpc-status: "0"},
            received: {http: "2", body: question, headers: {te: trailers}}}}
      - {host: h2tls.test, port: 81, grpc: true, path: /shop.Cart/Get, expect: {body: sorry, trailers: {grpc-status: "14", grpc-message: later}}}
  proxied: {requests: [{host: proxied.test, source: 203.0.113.7, expect: {status: 200, received: {source: 203.0.113.7, tls: true}}}]}
  passed:
    servers: {passed: {certificate: ]] .. own .. [[}}
    requests:
      - {host: pass.test, tls: true, proxyProtocol: {source: 203.0.113.9}, path: /y,
          expect: {status: 200, certificate: server.test, backend: passed, body: "passed/s GET /y\n", received: {sni: pass.test, tls: true}}}
      - {host: pass.test, tls: true, http: "2", proxyProtocol: {source: 203.0.113.9}, expect: {status: 200, received: {http: "2"}}}
      - {host: other.test, tls: true, proxyProtocol: {source: 203.0.113.9}, expect: {closed: true, received: false}}
]], "--haproxy-binary " .. haproxy(series))
      assert.same({}, failures)
      assert.is_true(passed, cjson.encode(document))
    end)
  end

  it("are told apart from what was expected", function()
    local failures = run([[
  wrong: {requests: [{host: tls.test, expect: {received: {tls: false, sni: outer.test, http: "2", certificate: client.test}}}]}
  trailer: {requests: [{host: h2.test, port: 81, grpc: true, expect: {trailers: {grpc-status: "5"}}}]}
  key: {servers: {tls: {certificate: {cert: nonsense, key: nonsense}}}, requests: [{host: tls.test, expect: {status: 200}}]}
]])
    assert.matches('received.http: expected "2", actual "1.1"', failures.wrong)
    assert.matches('received.sni: expected "outer.test", actual "inner.test"', failures.wrong)
    assert.matches('received.tls: expected "false", actual "true"', failures.wrong)
    assert.matches('received.certificate: expected "client.test", actual none', failures.wrong)
    assert.matches('trailer grpc%-status: expected "5", actual "0"', failures.trailer)
    assert.matches("servers.tls: certificate: it must be PEM, with the key that belongs to it", failures.key)
  end)
end)
