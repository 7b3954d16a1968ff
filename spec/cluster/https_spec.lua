--- HTTPS by spec.tls through the Service, and what replicas say about each other.

local k8s = require("support.k8s")

if not k8s.wanted() then
  return
end

describe("HTTPS", function()
  local cluster

  setup(function()
    cluster = k8s.up()
    cluster:install("--set replicaCount=2")
    cluster:application("web", 2)
    cluster:wait_answer()
  end)
  teardown(function()
    cluster:uninstall()
    cluster:forget("web")
    cluster:run("kubectl delete secret web-tls --ignore-not-found")
    cluster:down()
  end)

  it("has the certificate of the Ingress' Secret, and every pod of HAProxy the same configuration", function()
    local pem = cluster.scratch .. "/web"
    cluster:run(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=web.example "
      .. "-addext subjectAltName=DNS:web.example -keyout %s.key -out %s.crt 2>/dev/null"):format(pem, pem))
    cluster:run(("kubectl create secret tls web-tls --cert=%s.crt --key=%s.key"):format(pem, pem))
    cluster:run([[kubectl patch ingress web --type=merge -p '{"spec":{"tls":[{"hosts":["web.example"],"secretName":"web-tls"}]}}']])
    cluster:wait_for("an answer by HTTPS", 60, function()
      local body = cluster:inside(("curl -s -m 3 --cacert %s.crt --resolve web.example:443:%s https://web.example/")
        :format(pem, cluster:address()))
      return body:find("^web%-"), body
    end)
    -- HTTP leads there.
    local status = cluster:ask()
    assert.equal(302, status)
    -- All replicas have accepted the same, and the leader has proved it at each pod of HAProxy.
    cluster:wait_for("replicas that agree", 30, function()
      local hashes = {}
      for _, pod in ipairs(cluster:controllers()) do
        hashes[#hashes + 1] = cluster:metric(pod, "haptic_model_hash")
      end
      return #hashes == 2 and hashes[1] == hashes[2], table.concat(hashes, " ")
    end)
    local leader = cluster:leader()
    cluster:wait_for("members that are level", 30, function()
      local members, verified = cluster:metric(leader, "haptic_members"), cluster:metric(leader, "haptic_members_verified")
      return members == 2 and verified == 2, tostring(members) .. " " .. tostring(verified)
    end)
    for _, pod in ipairs(cluster:haproxies()) do
      assert.equal("ok", cluster:run(("kubectl exec %s -c agent -- wget -qO- http://localhost:5557/readyz"):format(pod)))
    end
  end)

  it("has every metric that the alerts ask for", function()
    -- These begin with their first event, at an agent, or with the library "acme".
    local seen = { haptic_drift_repairs_total = true, haptic_haproxy_deaths_total = true, haptic_acme_certificates = true }
    for _, pod in ipairs(cluster:controllers()) do
      for name in cluster:run(("kubectl exec %s -- wget -qO- localhost:9090/metrics"):format(pod)):gmatch("# TYPE (%S+)") do
        seen[name] = true
      end
    end
    local rules = cluster:run("cat charts/haptic/files/*alerts.yaml")
    local count = 0
    for expression in rules:gmatch("expr: ([^\n]+)") do
      for name in expression:gmatch("haptic_[%l_]+") do
        count = count + 1
        assert(seen[name], "no controller exports " .. name)
      end
    end
    assert(count >= 12, count)
  end)
end)
