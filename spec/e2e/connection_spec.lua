--- How HAPTIC reaches an API server and proves who is who: certificates and names, client certificates, proxies,
-- kubeconfig lists, a pod's service account. Whatever is wrong is named with what to do about it, and nothing is shown
-- to a server that has not proved itself.
--
-- Behind each server's certificate stands the real API server, through a fault proxy that shows that certificate.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("the way to the API server:", function()
  local suite, cluster, admin, authority, other, strange, misnamed, expired
  local scope

  --- The API server behind another certificate.
  local function server_with(issuer, options, port)
    local crt, key = issuer:issue(options)
    return suite:faults(cluster, { "haptic" }, { crt = crt, key = key, port = port })
  end

  setup(function()
    suite = e2e.scope("connection")
    cluster = suite:cluster()
    admin = cluster.admin
    authority = suite:cluster_authority(cluster)
    other = suite:authority("another-authority")
    strange = server_with(other, { names = "IP:127.0.0.1" })
    misnamed = server_with(authority, { names = "DNS:kube.example" })
    expired = server_with(authority, { names = "IP:127.0.0.1", expired = true })
    admin:allow("alice", kube.rules())
    admin:put(kube.ingress_class())
  end)

  teardown(function()
    suite:close()
  end)

  before_each(function()
    scope = e2e.scope("connection")
  end)

  after_each(function()
    scope:close()
  end)

  local function start(options, more)
    options.user = "alice"
    more = more or {}
    more.kubeconfig = scope:kubeconfig(cluster, options)
    return scope:haptic(more), more.kubeconfig
  end

  --- The log says all of these (plain texts, in this order, in one line).
  local function says(haptic, ...)
    local parts = {}
    for i, text in ipairs({ ... }) do
      parts[i] = text:gsub("%p", "%%%0")
    end
    haptic:wait_log(table.concat(parts, ".*"), 15)
    assert.is_false((haptic:is_ready()))
  end

  local function base64(path)
    return e2e.base64_file(path)
  end

  describe("a server's certificate", function()
    it("of another authority is refused; what was trusted is named", function()
      strange:forget_requests()
      local haptic = start({ server = strange.server.haptic })
      says(haptic, "TLS: the certificate of " .. strange.server.haptic .. " is not signed by the authority in "
        .. cluster.directory .. "/ca.crt", "Then put the new one there")
      local kubeconfig
      haptic, kubeconfig = start({
        server = strange.server.haptic,
        entry = { ["certificate-authority"] = false, ["certificate-authority-data"] = base64(authority.crt) },
      })
      says(haptic, "is not signed by the authority in certificate-authority-data of " .. kubeconfig .. ": context ")
      assert.same({}, strange:requests()) -- no token went there
    end)

    it("for another name is refused, and taken with tls-server-name", function()
      local haptic = start({ server = misnamed.server.haptic })
      says(haptic, "is for other names", "127.0.0.1", "tls-server-name")
      start({ server = misnamed.server.haptic, entry = { ["tls-server-name"] = "kube.example" } }):wait_ready()
      haptic = start({ entry = { ["tls-server-name"] = "kube.example" } })
      says(haptic, "is for other names", "kube.example", "tls-server-name")
    end)

    it("that expired is refused", function()
      says(start({ server = expired.server.haptic }), "is not valid now", "renew it")
    end)

    it("is not looked at with insecure-skip-tls-verify", function()
      local skip = { ["certificate-authority"] = false, ["insecure-skip-tls-verify"] = true }
      start({ server = strange.server.haptic, entry = skip }):wait_ready()
      start({ server = expired.server.haptic, entry = skip }):wait_ready()
    end)

    it("of an authority of this system counts only where the cluster names none", function()
      local through = scope:with_system_authorities(other.crt)
      start({ server = strange.server.haptic, entry = { ["certificate-authority"] = false } }, { through = through })
        :wait_ready()
      says(start({ server = strange.server.haptic }, { through = through }), "is not signed by the authority in "
        .. cluster.directory .. "/ca.crt")
      says(start({ entry = { ["certificate-authority"] = false } }, { through = through }),
        "is not signed by an authority that this system trusts", "certificate-authority of ")
    end)
  end)

  describe("a client certificate", function()
    it("is taken from data and from files, and read again when they are others", function()
      local crt, key = authority:issue({ subject = "/CN=alice" })
      start({
        credentials = { ["client-certificate-data"] = base64(crt), ["client-key-data"] = base64(key) },
      }):wait_ready()
      local crt_file, key_file = scope:path("client.crt"), scope:path("client.key")
      local old_crt, old_key = authority:issue({ subject = "/CN=alice", expired = true })
      posix.write_file(key_file, posix.read_file(old_key))
      posix.write_file(crt_file, posix.read_file(old_crt))
      local haptic = start({ credentials = { ["client-certificate"] = crt_file, ["client-key"] = key_file } })
      says(haptic, "401", "the client certificate in " .. crt_file .. ", which expired on " .. os.date("!%Y-"))
      posix.write_file(key_file, posix.read_file(key))
      posix.write_file(crt_file, posix.read_file(crt))
      haptic:wait_ready(30)
    end)

    it("of another authority is refused by the server; it is named", function()
      local crt, key = other:issue({ subject = "/CN=alice" })
      local haptic, kubeconfig = start({
        credentials = { ["client-certificate-data"] = base64(crt), ["client-key-data"] = base64(key) },
      })
      says(haptic, "401", "shown was the client certificate in " .. kubeconfig)
      assert.equal(0, haptic:count_log("expired"))
      assert.is_nil(haptic:log():find(base64(key):sub(1, 40), 1, true))
    end)

    it("with the key of another is named", function()
      local crt = authority:issue({ subject = "/CN=alice" })
      local _, key = authority:issue({ subject = "/CN=alice" })
      local haptic, kubeconfig = start({ credentials = { ["client-certificate"] = crt, ["client-key"] = key } })
      says(haptic, "TLS: the client certificate of " .. kubeconfig)
    end)
  end)

  describe("a proxy", function()
    local function host_of(url)
      return url:match("//(.*)")
    end

    it("of the kubeconfig is used whatever the environment says", function()
      local proxy = scope:connect_proxy()
      local haptic = start({ entry = { ["proxy-url"] = proxy.url } }, { env = { NO_PROXY = "*", no_proxy = "*" } })
      haptic:wait_ready()
      local requests = proxy.requests()
      assert.truthy(requests:find("CONNECT " .. host_of(cluster.server) .. " 200", 1, true))
      assert.equal("", (requests:gsub("CONNECT [^\n]* 200\n", "")))
    end)

    it("goes with tls-server-name: the connection goes to the server's address", function()
      local proxy = scope:connect_proxy()
      start({
        server = misnamed.server.haptic,
        entry = { ["proxy-url"] = proxy.url, ["tls-server-name"] = "kube.example" },
      }):wait_ready()
      assert.truthy(proxy.requests():find("CONNECT " .. host_of(misnamed.server.haptic) .. " 200", 1, true))
    end)

    it("of the environment is asked, but not for a server on this machine or one that NO_PROXY names", function()
      local proxy = scope:connect_proxy("--refuse", "403")
      local env = { HTTPS_PROXY = proxy.url, NO_PROXY = false, no_proxy = false, https_proxy = false }
      start({}, { env = env }):wait_ready()
      local elsewhere = { server = "https://kube.example:6443" }
      env.NO_PROXY = "kube.example"
      says(start(elsewhere, { env = env }), "connect to https://kube.example:6443: ")
      assert.equal("", (proxy.requests()))
      env.NO_PROXY = false
      says(start(elsewhere, { env = env }), "the proxy that the environment names refuses to connect to "
        .. "https://kube.example:6443: 403")
      assert.truthy(proxy.requests():find("CONNECT kube.example:6443 403", 1, true))
    end)

    it("that is not there is named, not the server", function()
      local url = "http://127.0.0.1:" .. e2e.port()
      says(start({ entry = { ["proxy-url"] = url } }), "connect to the proxy " .. url .. ", on the way to "
        .. cluster.server .. ": connection refused (proxy-url of ")
    end)

    it("that refuses is named with what to do", function()
      local proxy = scope:connect_proxy("--refuse", "403")
      says(start({ entry = { ["proxy-url"] = proxy.url } }), "the proxy " .. proxy.url .. " refuses to connect to "
        .. cluster.server .. ": 403", "allow CONNECT")
    end)

    it("that wants a password gets it from its URL, and nobody else does", function()
      local proxy = scope:connect_proxy("--user", "jane:hunter2")
      says(start({ entry = { ["proxy-url"] = proxy.url } }), "wants a user name and a password", "USER:PASSWORD")
      local url = ("http://%s:%s@127.0.0.1:" .. proxy.port)
      start({ entry = { ["proxy-url"] = url:format("jane", "hunter2") } }):wait_ready()
      local haptic = start({ entry = { ["proxy-url"] = url:format("jane", "wrong-one") } })
      says(haptic, "the proxy " .. proxy.url .. " wants")
      assert.is_nil(haptic:log():find("wrong-one", 1, true))
    end)

    it("whose URL cannot be used is named without its password", function()
      for _, url in ipairs({ "http://jane:hun ter2@127.0.0.1:1", "ftp://jane:hunter2@127.0.0.1:1" }) do
        local env = { HTTPS_PROXY = url, NO_PROXY = false, no_proxy = false, https_proxy = false }
        local haptic = start({ server = "https://kube.example:6443" }, { env = env })
        says(haptic, "connect to https://kube.example:6443: the URL of the proxy that the environment names is not one")
        assert.is_nil(haptic:log():find("ter2", 1, true))
      end
    end)

    it("or a server whose URL is wrong in the kubeconfig ends the start, and no password is told", function()
      local function refuses(options, field)
        local haptic = start(options)
        haptic.ended = true
        assert.equal("exit 1", haptic.process:wait(10), haptic:log())
        assert.equal(1, haptic:count_log(field), haptic:log())
        assert.is_nil(haptic:log():find("ter2", 1, true))
      end
      refuses({ entry = { ["proxy-url"] = "http://jane:hun/ter2@127.0.0.1:3128" } }, "proxy%-url: want a URL")
      refuses({ entry = { ["proxy-url"] = "ftp://jane:hunter2@127.0.0.1:3128" } }, "proxy%-url: want a URL")
      refuses({ server = "https://jane:hunter2@127.0.0.1:6443" }, "cluster%.server: want")
    end)
  end)

  it("a list in KUBECONFIG is merged; --context chooses", function()
    local user, others = scope:path("users"), scope:path("clusters")
    posix.write_file(user, ("users: [{name: alice, user: {token: %s}}, {name: nobody, user: {token: x}}]\n")
      :format(cluster:token("alice")))
    posix.write_file(others, ([[
current-context: wrong
contexts:
- {name: wrong, context: {cluster: spec, user: nobody}}
- {name: right, context: {cluster: spec, user: alice}}
users: [{name: alice, user: {token: the-first-file-wins}}]
clusters: [{name: spec, cluster: {server: '%s', certificate-authority: %s/ca.crt}}]
]]):format(cluster.server, cluster.directory))
    local env = { KUBECONFIG = ("%s:%s:%s"):format(user, scope:path("missing"), others) }
    says(scope:haptic({ env = env }), "401", "the token in " .. others .. ": context ")
    scope:haptic({ env = env, args = { "--context", "right" } }):wait_ready()
  end)

  describe("in a pod", function()
    local function files(ca, token)
      return { ["ca.crt"] = posix.read_file(ca), token = token or cluster:token("alice"), namespace = "kube-public" }
    end

    local function start_in(account, server)
      return scope:haptic({
        through = account.through,
        config = e2e.config({ controller = { leader_election = { enabled = true, lease_name = "in-a-pod" } } }),
        env = {
          KUBERNETES_SERVICE_HOST = "127.0.0.1", KUBERNETES_SERVICE_PORT = server:match(":(%d+)$"), POD_NAMESPACE = false,
        },
      })
    end

    it("the service account says who, where and whom to trust", function()
      finally(function() admin:delete("Lease", "in-a-pod", "kube-public") end)
      start_in(scope:service_account(files(authority.crt)), cluster.server):wait_ready()
      assert.equal("haptic", admin:get("Lease", "in-a-pod", "kube-public").spec.holderIdentity)
    end)

    it("authority and token that are replaced are taken over without a restart", function()
      finally(function() admin:delete("Lease", "in-a-pod", "kube-public") end)
      local account = scope:service_account(files(authority.crt))
      local old = server_with(authority, { names = "IP:127.0.0.1" })
      local haptic = start_in(account, old.server.haptic)
      haptic:wait_ready()
      -- The cluster gets another authority.
      old.process:close()
      local port = tonumber(old.server.haptic:match(":(%d+)$"))
      local new = server_with(other, { names = "IP:127.0.0.1" }, port)
      haptic:wait_log("is not signed by the authority in /var/run/secrets/kubernetes.io/serviceaccount/ca.crt", 30)
      assert.same({}, new:requests())
      account:mount(files(other.crt, "no-token-of-anybody"))
      haptic:wait_log("shown was the token in /var/run/secrets/kubernetes.io/serviceaccount/token", 30)
      account:mount(files(other.crt))
      admin:put_route("rotated", "rotated.example", { "198.18.0.1" })
      finally(function() admin:clean() end)
      scope:wait_for("the new route", 30, function()
        return haptic:get("/debug/config").body:find("198.18.0.1", 1, true)
      end)
      assert.is_true(haptic:is_running())
    end)
  end)
end)
