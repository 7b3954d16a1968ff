--- A snapshot of a cluster: no byte of a Secret, and what is rendered from it is what the controller renders. The doctor,
-- and its bundle, which has such a snapshot.

local e2e = require("support.e2e")
local http = require("support.http")
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

  describe("haptic doctor", function()
    local controller

    --- A Pod as a kubelet would report it: at an address of this machine.
    local function put_pod(name, component, address, status)
      admin:put({ kind = "Pod", apiVersion = "v1", metadata = { name = name, namespace = "default",
        labels = { ["app.kubernetes.io/name"] = "haptic", ["app.kubernetes.io/component"] = component } },
        spec = { containers = { { name = "main", image = "haptic" } } } })
      status = status or { phase = "Running", podIP = address, podIPs = { { ip = address } } }
      admin:patch_status("Pod", name, status)
    end

    --- A member whose answers tell secrets, as no agent does.
    local function talker(address, texts)
      local folder, port = scope:path("talker"), e2e.port()
      posix.run({ "mkdir", folder })
      for name, text in pairs(texts) do posix.write_file(folder .. "/" .. name, text) end
      local server = scope:add(posix.spawn({ name = "talker", output = folder .. ".log", argv = { "python3", "-m", "http.server",
        tostring(port), "--bind", address, "--directory", folder } }))
      server.close = function(self) self:stop(5) end
      scope:wait_for("the talker", 10, function() return posix.read_file(folder .. ".log"):find("Serving") ~= nil
        or select(1, posix.connect(address, port, posix.now() + 1)) ~= nil end)
      return port
    end

    before_each(function()
      controller = scope:haptic({ kubeconfig = cluster.admin_kubeconfig, config_file = config, https = true,
        args = { "--metrics-address", "0.0.0.0" } })
      controller:wait_ready()
      put_pod("controller-1", "controller", "198.18.7.1")
    end)
    after_each(function()
      for _, name in ipairs({ "controller-1", "member-1", "member-2" }) do admin:delete_by_force("Pod", name) end
    end)

    local function doctor(...)
      return haptic("doctor", "--kubeconfig", cluster.admin_kubeconfig, "-c", config, "-n", "default", "--controller-port",
        tostring(controller.metrics_port), ...)
    end

    it("finds nothing where all is well, through the API server and by address", function()
      local output, code = doctor()
      assert.matches("controller default/controller%-1: Running, ready, leads, generation %d+, %d+ objects\n", output)
      -- The Ingress whose key does not fit its certificate is the only complaint.
      assert.is_nil(output:find(" error ", 1, true), output)
      assert.equal(0, code, output)
      output, code = haptic("doctor", "--no-cluster", "--address", "http://127.0.0.1:" .. controller.debug_port, "-o", "json")
      assert.equal(0, code, output)
      local report = json.decode(output)
      assert.is_true(report.targets[1].ready)
      assert.equal(controller:state().generation, report.targets[1].state.generation)
    end)

    it("names what is wrong, with codes and remedies", function()
      put_pod("member-1", "loadbalancer", nil, { phase = "Running", podIP = "198.18.7.2", podIPs = { { ip = "198.18.7.2" } },
        containerStatuses = { { name = "main", image = "haptic", imageID = "", ready = false, restartCount = 7,
          state = { waiting = { reason = "CrashLoopBackOff" } } } } })
      put_pod("member-2", "loadbalancer", "198.18.7.3")
      local output, code = doctor("--member-port", tostring(e2e.port()))
      assert.equal(1, code)
      assert.matches("error HT0602: the Pod is Running: container main: CrashLoopBackOff", output)
      assert.matches("object: default/member%-1", output)
      assert.matches("HT0603", output)
      assert.matches("remedy: ", output)
      assert.matches("member     default/member%-1: Running, 7 restarts", output)
      -- Nobody holds a Lease that the configuration asks for.
      local elects = scope:path("elects.yaml")
      posix.write_file(elects, '{"controller": {"leader_election": {"lease_name": "no-such-lease"}}}')
      output = haptic("doctor", "--kubeconfig", cluster.admin_kubeconfig, "-c", elects, "-n", "default", "-o", "json")
      local codes = {}
      for _, finding in ipairs(json.decode(output).report.findings) do codes[finding.code] = finding.message end
      assert.matches("no%-such%-lease", codes.HT0605)
      assert.is_truthy(codes.HT0603)
      output, code = haptic("doctor", "--kubeconfig", cluster.admin_kubeconfig, "--server", "https://127.0.0.1:1")
      assert.equal(2, code, output)
      output = haptic("explain", "HT0602")
      assert.matches("kubectl", output)
    end)

    it("writes a bundle without a byte of a Secret, which renders", function()
      local port = talker("198.18.7.2", { readyz = "ready\n",
        metrics = "# the password is " .. PASSWORD .. "\n" .. TOKEN .. "\n" .. base64(PASSWORD) .. "\n" .. certificate.key
          .. "\nhaptic_agent_generation 7\n" .. HASH .. "\n" })
      put_pod("member-1", "loadbalancer", "198.18.7.2")
      local bundle, folder = scope:path("bundle.tar.gz"), scope:path("bundle")
      local output, code = doctor("--member-port", tostring(port), "--bundle", bundle)
      assert.equal(0, code, output)
      assert.matches("member     default/member%-1: Running, ready, generation 7", output)
      posix.run({ "mkdir", folder })
      output, code = posix.run({ "tar", "-xzf", bundle, "-C", folder })
      assert.equal(0, code, output)
      assert_nothing_told((posix.run({ "sh", "-c", "find " .. folder .. " -type f -exec cat {} +" })))
      assert.matches("haptic_agent_generation 7", posix.read_file(folder .. "/pods/member-1/metrics.txt"))
      assert.matches("haptic_ready 1", posix.read_file(folder .. "/pods/controller-1/metrics.txt"))
      assert.matches("controller default/controller%-1", posix.read_file(folder .. "/doctor.txt"))
      assert.is_truthy(posix.read_file(folder .. "/pods/controller-1/main.log"))
      output, code = haptic("render", "-c", config, "--haproxy-version", "3.2", folder .. "/snapshot")
      assert.is_true(code < 2, output)
      assert.matches("\nbackend default_plain_80", output)
      -- Who may not read the Secrets gets no bundle: nothing could be recognised.
      os.remove(bundle)
      admin:allow("alice", kube.rules_with(kube.rules(), { apiGroups = { "" }, resources = { "pods", "pods/proxy" },
        verbs = { "get", "list" } }))
      output, code = haptic("doctor", "--kubeconfig", scope:kubeconfig(cluster, { user = "alice" }), "-c", config, "-n", "default",
        "--controller-port", tostring(controller.metrics_port), "--bundle", bundle)
      assert.equal(2, code, output)
      assert.matches("the bundle is not written", output)
      assert.is_nil(posix.read_file(bundle))
    end)
  end)

  it("is an author's session: an error, its repair at the prompt, a saved test, the cluster", function()
    local kubeconfig = { "--kubeconfig", cluster.admin_kubeconfig }
    local output, code = haptic("crds", "apply", unpack(kubeconfig))
    assert.equal(0, code, output)
    admin:know("HAProxyTemplateConfig", "/apis/haproxy-haptic.org/v1alpha1", "haproxytemplateconfigs")
    local snap, file, saved = take(scope:path("snap")), scope:path("author.yaml"), scope:path("saved.yaml")
    local function write(snippet)
      posix.write_file(file, ("apiVersion: haproxy-haptic.org/v1alpha1\nkind: HAProxyTemplateConfig\nmetadata: {name: author, namespace: default}\n"
        .. "spec:\n  controller: {leader_election: {enabled: false}}\n  templateSnippets:\n    backend-600-hello:\n      template: |\n%s")
        :format(snippet))
    end
    -- A snippet with a mistake: the message names the line of the template.
    write("        # said in every answer\n        http-response set-headre X-Hello {{ args.namespace }}\n")
    output, code = haptic("validate", "-c", file, "--haproxy-binary", e2e.haproxy_binary("3.2"), snap)
    assert.equal(1, code, output)
    assert.matches("backend%-600%-hello:2:1: error HT0301: ", output)
    assert.matches("http%-response set%-headre X%-Hello", output)
    -- At the prompt: the file is repaired, the templates are loaded again, a request shows it, and becomes a test.
    local right = scope:path("right.yaml")
    write("        # said in every answer\n        http-response set-header X-Hello {{ args.namespace }}\n")
    posix.run({ "cp", file, right })
    write("        # said in every answer\n        http-response set-headre X-Hello {{ args.namespace }}\n")
    local session, shown = scope:path("session"), scope:path("shown")
    posix.write_file(session, ([[
      : >%s; { echo 'output("ingress.lua:routes/ingresses/default/plain")'
        until grep -q headre %s; do sleep 0.05; done; cat %s >%s
        echo 'request{host = "plain.example", expect = {status = 200, headers = {["x-hello"] = "default"}}}'
        echo ':save %s'; } | %s repl -c %s --haproxy-binary %s %s >%s; code=$?; cat %s; exit $code]]):format(shown, shown, right,
      file, saved, e2e.program(), file, e2e.haproxy_binary("3.2"), snap, shown, shown))
    output, code = posix.run({ "sh", session })
    assert.equal(0, code, output)
    assert.matches("set%-headre X%-Hello default", output)
    assert.matches("author.yaml: templates loaded again\n", output)
    assert.matches("\nas expected\n", output)
    output, code = haptic("test", "-c", file, "--coverage", "--haproxy-binary", e2e.haproxy_binary("3.2"), saved)
    assert.equal(0, code, output)
    assert.matches("1 passed, 0 failed", output)
    assert.matches("\nCoverage: [%d.]+ %% of %d+ template lines, [%d.]+ %% of %d+ routes\n", output)
    -- The same document goes to the cluster, and the answer changes.
    scope:wait_for("the CRD to be served", 20, function()
      return admin:call("GET", "/apis/haproxy-haptic.org/v1alpha1/haproxytemplateconfigs") == 200
    end)
    admin:put({ kind = "HAProxyTemplateConfig", apiVersion = "haproxy-haptic.org/v1alpha1",
      metadata = { name = "author", namespace = "default" }, spec = { controller = { leader_election = { enabled = false } } } })
    local controller = scope:haptic({ kubeconfig = cluster.admin_kubeconfig, config = false,
      args = { "--config-resource", "default/author" } })
    controller:wait_ready()
    local function hello()
      local answer = http.request({ port = controller.http_port, host = "plain.example", path = "/" })
      return answer and answer.headers and answer.headers["x-hello"]
    end
    scope:wait_answer(controller.http_port, "plain.example", "198.18.0.1:8001")
    assert.is_nil(hello())
    local function kubectl(...) return posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, ... }) end
    output, code = kubectl("apply", "--server-side", "--force-conflicts", "-f", file)
    assert.equal(0, code, output)
    output, code = kubectl("wait", "--for=condition=Deployed", "--timeout=30s", "htplcfg/author")
    assert.equal(0, code, output)
    scope:wait_for("the answer to change", 20, function() return hello() == "default", hello() end)
    admin:delete("HAProxyTemplateConfig", "author")
  end)
end)
