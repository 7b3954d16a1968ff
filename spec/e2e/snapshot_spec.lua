--- A snapshot of a cluster: no byte of a Secret, and what is rendered from it is what the controller renders.

local e2e = require("support.e2e")
local json = require("cjson")
local kube = require("support.kube")
local posix = require("support.posix")

-- Values that nobody may ever see: in Secrets of several types, in an annotation, and hidden in a larger text.
local PASSWORD = "planted-Pa55word-0001"
local TOKEN = "planted-token-0002-" .. ("x7"):rep(40)
local NESTED = "user=ada\npassword=planted-0003-nested\n"
local BINARY = "planted\0\1\2\2550004"
local HASH = "$6$planted0005salt$" .. ("planted0005DigestOfNothing/."):rep(3) .. "ab"

local function base64(text)
  local name = os.tmpname()
  posix.write_file(name, text)
  local encoded = posix.run({ "base64", "-w0", name })
  os.remove(name)
  return (encoded:gsub("%s", ""))
end

local function secret(name, values, type, annotations)
  local data = {}
  for key, value in pairs(values) do data[key] = base64(value) end
  return { kind = "Secret", apiVersion = "v1", type = type,
    metadata = { name = name, namespace = "default", annotations = annotations }, data = data }
end

describe("haptic snapshot", function()
  local world = e2e.world("snapshot", { routes = { { "plain", "198.18.0.1" } } })
  local admin, cluster, scope, config, certificate, rsa, other

  setup(function() admin, cluster = world:begin() end)
  teardown(function() world:finish() end)

  before_each(function()
    scope = world:open()
    config = scope:path("config.yaml")
    posix.write_file(config, json.encode(e2e.config({
      watchedResources = { secrets = { apiVersion = "v1", resources = "secrets" } }, templateSnippets = {
      ["pages.lua"] = { template = 'each(resources.secrets, "pages", function(s, out)\n'
        .. '  if s.metadata.name ~= "other" then return end\n'
        .. '  out:file("page.txt", "length " .. s.lengths.token .. ": " .. s.data.token .. "\\n")\nend)\n' },
    } })))
    certificate = scope:certificate({ names = { "shop.example", "www.shop.example" }, days = 77 })
    rsa = scope:certificate({ names = { "rsa.example" }, key = "rsa" })
    other = scope:certificate({ names = { "wrong.example" } })
    admin:put(secret("users", { ada = HASH }))
    admin:put(secret("other", { token = TOKEN, password = PASSWORD, nested = NESTED, binary = BINARY },
      "Opaque", { note = "the password is " .. PASSWORD, harmless = "no" }))
    admin:put(secret("shop-tls", { ["tls.crt"] = certificate.cert, ["tls.key"] = certificate.key }, "kubernetes.io/tls"))
    admin:put(secret("rsa-tls", { ["tls.crt"] = rsa.cert, ["tls.key"] = rsa.key }, "kubernetes.io/tls"))
    admin:put(secret("wrong-tls", { ["tls.crt"] = certificate.cert, ["tls.key"] = other.key }, "kubernetes.io/tls"))
    for _, name in ipairs({ "shop", "rsa", "wrong" }) do
      local ingress = kube.ingress({ name = name, host = name .. ".example", service = "plain",
        annotations = name == "shop" and { ["haproxy.org/auth-type"] = "basic-auth",
          ["haproxy.org/auth-secret"] = "users" } or nil })
      ingress.spec.tls = { { hosts = { name .. ".example" }, secretName = name .. "-tls" } }
      admin:put(ingress)
    end
  end)
  after_each(function()
    world:close()
    for _, name in ipairs({ "users", "other", "shop-tls", "rsa-tls", "wrong-tls" }) do admin:delete("Secret", name) end
  end)

  local function haptic(...)
    return posix.run({ e2e.program(), ... })
  end

  local function take(directory, ...)
    local output, code = haptic("snapshot", "--kubeconfig", cluster.admin_kubeconfig, "-c", config, "-d", directory, ...)
    assert.equal(0, code, output)
    assert.matches("^haptic snapshot: %d+ objects in ", output)
    return directory
  end

  local function files(directory)
    return (posix.run({ "sh", "-c", "cat " .. directory .. "/* " .. directory .. "/.h*" }))
  end

  local function assert_nothing_told(text)
    for _, value in ipairs({ PASSWORD, TOKEN, NESTED, "planted-0003-nested", BINARY, HASH, "planted0005", certificate.key,
      certificate.cert, rsa.key, rsa.cert, other.key }) do
      assert.is_nil(text:find(value, 1, true), value)
      assert.is_nil(text:find((json.encode(value):sub(2, -2):gsub("\\/", "/")), 1, true), value)
      -- As base64 at each of the three places in a group, without what depends on its neighbours.
      for shift = 0, 2 do
        local encoded = base64(("\0"):rep(shift) .. value)
        assert.is_nil(text:find(encoded:sub(shift == 0 and 1 or 5, #encoded - 4), 1, true), value .. " as base64")
      end
    end
    for line in (certificate.key .. rsa.key .. certificate.cert .. rsa.cert):gmatch("[^\n]+") do
      if not line:find("^%-") and #line > 20 then assert.is_nil(text:find(line, 1, true), "a line of a key or certificate") end
    end
  end

  it("has no byte of a Secret, and is the same each time", function()
    local one, two = take(scope:path("one")), take(scope:path("two"))
    local text = files(one)
    assert.equal(text, files(two))
    assert_nothing_told(text)
    -- Again into the same folder: its own files go, nobody else's folder is taken.
    take(one)
    assert.equal(text, files(one))
    local output, code = haptic("snapshot", "--kubeconfig", cluster.admin_kubeconfig, "-d", scope.directory)
    assert.equal(2, code)
    assert.matches("is not empty and is no snapshot", output)
    -- The one that told its value lost its annotations; others keep theirs.
    local list = json.decode(posix.read_file(one .. "/secrets.json"))
    for _, s in ipairs(list.items) do
      if s.metadata.name == "other" then
        assert.is_nil(s.metadata.annotations)
        assert.equal(#base64(TOKEN), #s.data.token)
        assert.equal(#base64(BINARY), #s.data.binary)
      end
    end
  end)

  it("has certificates with the same names and dates, and keys that fit", function()
    local one = take(scope:path("one"))
    local function value(name, key)
      local script = ("jq -r '.items[] | select(.metadata.name == \"%s\") | .data[\"%s\"]' %s/secrets.json | base64 -d")
      local path = scope:path(key)
      local _, code = posix.run({ "sh", "-c", script:format(name, key, one) .. " >" .. path })
      assert.equal(0, code)
      return path
    end
    local function facts(path)
      return (posix.run({ "openssl", "x509", "-in", path, "-noout", "-subject", "-dates", "-serial", "-ext", "subjectAltName" }))
    end
    for _, case in ipairs({ { "shop-tls", certificate }, { "rsa-tls", rsa } }) do
      local crt, key = value(case[1], "tls.crt"), value(case[1], "tls.key")
      assert.equal(facts(case[2].directory .. "/cert.pem"), facts(crt))
      local public = posix.run({ "openssl", "x509", "-in", crt, "-noout", "-pubkey" })
      assert.matches("BEGIN PUBLIC KEY", public)
      assert.equal(public, (posix.run({ "openssl", "pkey", "-in", key, "-pubout" })))
      assert.equal("0", (posix.run({ "sh", "-c", "openssl pkey -in " .. key .. " -check -noout >/dev/null 2>&1; printf $?" })))
      local function kind(path)
        return (posix.run({ "sh", "-c", "openssl x509 -in " .. path .. " -noout -text | grep -A1 'Public Key Algorithm'" }))
      end
      assert.equal(kind(case[2].directory .. "/cert.pem"), kind(crt))
    end
    -- The password of a fake user is known.
    local users = posix.read_file(value("users", "ada"))
    assert.equal(#HASH, #users)
    assert.equal(users, (posix.run({ "openssl", "passwd", "-6", "-salt", users:match("^%$6%$([^$]+)%$"), "haptic" })
      :gsub("%s", "")))
  end)

  it("renders offline to what the controller renders in the cluster", function()
    local controller = scope:haptic({ kubeconfig = cluster.admin_kubeconfig, config_file = config, https = true })
    controller:wait_ready()
    local one = take(scope:path("one"))
    local settings = { "--haproxy-binary", e2e.haproxy_binary("3.2"), "--set", "http_port=" .. controller.http_port, "--set",
      "https_port=" .. controller.https_port, "--set", "status_port=" .. controller.status_port }
    local out = scope:path("rendered")
    local output, code = haptic("render", "-c", config, "-d", out, one, unpack(settings))
    assert.is_true(code == 0 or code == 1, output)
    assert.equal(posix.read_file(out .. "/haproxy.cfg"), (assert(controller:get("/debug/config")).body))
    local names = 0
    for name in assert(controller:get("/debug/maps")).body:gmatch("[^\n]+") do
      names = names + 1
      assert.equal(posix.read_file(out .. "/maps/" .. name), (assert(controller:get("/debug/maps/" .. name)).body), name)
    end
    assert.is_true(names > 3)
    -- HAProxy loads what is rendered with the fakes.
    output, code = haptic("validate", "-c", config, one, unpack(settings))
    assert.is_true(code == 0 or output:find("wrong%-tls") ~= nil, output)
    -- One file is as good as the folder.
    local file = scope:path("snapshot.json")
    output, code = posix.run({ "sh", "-c", ("%s snapshot --kubeconfig %s -c %s >%s"):format(e2e.program(),
      cluster.admin_kubeconfig, config, file) })
    assert.equal(0, code, output)
    assert_nothing_told(posix.read_file(file))
    local again = scope:path("again")
    haptic("render", "-c", config, "-d", again, file, unpack(settings))
    assert.equal("", (posix.run({ "diff", "-r", out, again })))
  end)

  it("says what it may not read", function()
    local output, code = haptic("snapshot", "-c", config, "--kubeconfig", scope:kubeconfig(cluster, { user = "alice" }))
    assert.equal(1, code)
    assert.matches("list secrets: 403: the user alice may not list secrets", output)
  end)
end)
