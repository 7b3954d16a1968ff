--- A walk through the guide to high availability: each command, log grep, metric and PromQL expression in it that needs no
--- node of a cluster is run as it stands. `kubectl logs` reads the log from a node: here the log file takes its place.

local cjson = require("cjson")
local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local RULES = "examples/monitoring/leader-election-alerts.yaml"
local A, B = "haptic-7d9f8b4c6d-abc12", "haptic-7d9f8b4c6d-def34"
local NAMESPACE = "default"

describe("the guide", function()
  local world = e2e.world("guide", { routes = { { "steady", "198.18.0.1" } }, clients = { "a", "b" } })
  local admin, cluster, faults

  setup(function() admin, cluster, faults = world:begin() end)
  teardown(function() world:finish() end)

  --- A command line of the guide, in a shell. Returns its output and exit code.
  local function sh(command)
    return posix.run({ "sh", "-c", "export KUBECONFIG=" .. cluster.admin_kubeconfig .. "; " .. command })
  end

  --- The same, which must succeed.
  local function run(command)
    local output, code = sh(command)
    assert(code == 0, command .. ": exit " .. code .. ": " .. output)
    return output
  end

  --- `kubectl logs POD | grep …`
  local function grep(haptic, filter)
    return (sh("cat " .. haptic.output .. " | " .. filter))
  end

  local function controller_pod(name)
    return {
      apiVersion = "v1", kind = "Pod",
      metadata = {
        name = name, namespace = NAMESPACE,
        labels = { ["app.kubernetes.io/name"] = "haptic", ["app.kubernetes.io/component"] = "controller" },
      },
      spec = {
        containers = { {
          name = "haptic", image = "haptic",
          env = {
            { name = "POD_NAME", valueFrom = { fieldRef = { fieldPath = "metadata.name" } } },
            { name = "POD_NAMESPACE", valueFrom = { fieldRef = { fieldPath = "metadata.namespace" } } },
          },
          resources = { requests = { cpu = "100m", memory = "128Mi" }, limits = { cpu = "500m", memory = "512Mi" } },
        } },
      },
    }
  end

  local function apply(scope, object)
    local path = scope:path("object.json")
    posix.write_file(path, http.encode(object))
    return run("kubectl apply -f " .. path)
  end

  describe("with two replicas", function()
    local scope, replicas, leader, follower

    --- The guide's own configuration, with what a test needs beside it.
    local function guide_config(timings)
      return ([[
controller:
  leader_election:
    enabled: true
    lease_name: haptic-leader
    lease_duration: %s    # Failover happens within this time
    renew_deadline: %s    # Leader tries to renew for this long
    retry_period: %s       # Interval between renewal attempts
logging: {level: DEBUG}
]]):format(unpack(timings))
    end

    local function start(timings)
      replicas = scope:replicas({
        names = { A, B },
        kubeconfig = function(name)
          return scope:kubeconfig(cluster, { user = "alice", server = faults.server[name == A and "a" or "b"] })
        end,
        config = function() return guide_config(timings) end,
      })
      leader = replicas:wait_leader(20)
      replicas:wait_all_ready()
      follower = replicas:others(leader)[1]
    end

    before_each(function() scope = world:open() end)
    after_each(function() world:close() end)

    it("shows the current leader in the Lease, in logs and in metrics", function()
      start({ "60s", "15s", "5s" })
      local lease = run("kubectl get lease -n " .. NAMESPACE .. " haptic-leader -o yaml")
      assert.truthy(lease:find("holderIdentity: " .. leader.name, 1, true), lease)
      assert.truthy(lease:find("leaseDurationSeconds: 60", 1, true), lease)

      local log = grep(leader, [[grep -E "leader|election"]])
      assert.truthy(log:find(('level=INFO msg="Leader election started" identity=%s lease=haptic-leader'):format(leader.name), 1, true), log)
      assert.truthy(log:find(('level=INFO msg="Became leader: %s" identity=%s'):format(leader.name, leader.name), 1, true), log)
      assert.is_nil(grep(follower, "cat"):find("Became leader", 1, true))

      local metrics = run(("curl -s http://localhost:%d/metrics | grep leader_election"):format(leader.metrics_port))
      assert.truthy(metrics:find("\nhaptic_leader_election_is_leader 1", 1, true)
        or metrics:find("\nhaptic_leader_election_is_leader{[^}]*} 1"), metrics)
      assert.truthy(metrics:find("haptic_leader_election_transitions_total", 1, true), metrics)
      assert.equal(0, follower:metric("haptic_leader_election_is_leader"))
      assert.equal(1, leader:metric("haptic_leader_election_transitions_total"))
      -- The loop over pods at the guide's end: one line with 1, one with 0.
      local found = {}
      for _, h in ipairs({ leader, follower }) do
        found[#found + 1] = run(("curl -s http://localhost:%d/metrics | grep is_leader | grep -v '^#'"):format(h.metrics_port)):match("(%d)%s*$")
      end
      assert.same({ "1", "0" }, found)
    end)

    it("finds the leader's deployment activity and its components", function()
      start({ "60s", "15s", "5s" })
      scope:wait_for("a deployment in the log", 5, function() return grep(leader, [[grep -i "deploy"]]):find("Deployed") end)
      local components = grep(leader, [[grep "Started.*Deployer\|DeploymentScheduler"]])
      assert.truthy(components:find("Deployer", 1, true), components)
      assert.truthy(components:find("DeploymentScheduler", 1, true), components)
      assert.equal("", (grep(follower, [[grep "Started.*Deployer\|DeploymentScheduler"]]):gsub("%s", "")))
    end)

    it("finds connection problems and failed renewals by its greps", function()
      start({ "3s", "2s", "500ms" })
      local first = leader
      faults:down(first.name == A and "a" or "b")
      scope:wait_for("another leader", 10, function()
        local now = replicas:leaders()
        return #now == 1 and now[1] ~= first
      end)
      assert.truthy(grep(first, [[grep "connection refused\|timeout"]]):find("%S"))
      local renew = grep(first, [[grep "lease renew\|deadline"]])
      assert.truthy(renew:find("lease renew", 1, true), renew)
      assert.truthy(renew:find("deadline", 1, true), renew)
      assert.truthy(first:log():find('msg="Lost leadership"', 1, true))
      -- A server that does not answer is a timeout.
      local second = replicas:leaders()[1]
      faults:rule({ action = "hang", client = second.name == A and "a" or "b" })
      scope:wait_for("timeouts in the log", 10, function()
        return grep(second, [[grep "connection refused\|timeout"]]):find("timeout")
      end)
    end)

    it("runs its PromQL against a real Prometheus", function()
      start({ "3s", "2s", "500ms" })
      local config, port = scope:path("prometheus.yml"), e2e.port()
      posix.write_file(config, http.encode({
        global = { scrape_interval = "1s", evaluation_interval = "1s" },
        scrape_configs = { {
          job_name = "haptic",
          static_configs = {
            { targets = { "127.0.0.1:" .. leader.metrics_port }, labels = { pod = leader.name } },
            { targets = { "127.0.0.1:" .. follower.metrics_port }, labels = { pod = follower.name } },
          },
        } },
        rule_files = { posix.real_path(RULES) },
      }))
      scope:spawn({
        name = "prometheus",
        argv = {
          "prometheus", "--config.file=" .. config, "--storage.tsdb.path=" .. scope:path("tsdb"),
          "--web.listen-address=127.0.0.1:" .. port, "--log.level=warn",
        },
      })
      local function query(expression)
        local encoded = expression:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)
        local status, answer = http.json({ port = port, path = "/api/v1/query?query=" .. encoded })
        assert(status == 200, type(answer) == "table" and answer.error or tostring(answer))
        return answer.data.result
      end
      scope:wait_for("two samples of both", 15, function()
        local result = query("min(count_over_time(haptic_leader_election_is_leader[10s])) and count(haptic_leader_election_is_leader) == 2")
        return result[1] and tonumber(result[1].value[2]) >= 2
      end)

      local sum = query("sum(haptic_leader_election_is_leader)")
      assert.equal("1", sum[1].value[2])
      local who = query('haptic_leader_election_is_leader{pod=~".*"} == 1')
      assert.equal(1, #who)
      assert.equal(leader.name, who[1].metric.pod)
      assert.equal(2, #query("rate(haptic_leader_election_transitions_total[1h])"))
      assert.equal(0, #query("rate(haptic_leader_election_transitions_total[1h]) > 5"))
      assert.equal(0, #query("sum(haptic_leader_election_is_leader) > 1"))
      -- Hot standby: all replicas render the same.
      scope:wait_for("one hash", 10, function()
        local distinct = query('count(count_values("hash", haptic_model_hash))')
        return distinct[1] and distinct[1].value[2] == "1"
      end)
      -- After a change of leader the expressions follow.
      local old = leader
      old:stop()
      scope:wait_for("Prometheus to see the other one", 15, function()
        local now = query('haptic_leader_election_is_leader{pod=~".*"} == 1')
        return #now == 1 and now[1].metric.pod == follower.name
      end)
    end)

    it("shows is_leader=0 everywhere and election failures when permissions are missing", function()
      start({ "3s", "2s", "500ms" })
      admin:allow("alice", { unpack(kube.rules(), 1, 4) })
      scope:wait_for("no leader", 15, function() return #replicas:leaders() == 0 end)
      for _, h in ipairs({ leader, follower }) do
        assert.equal(0, h:metric("haptic_leader_election_is_leader"))
        scope:wait_for("failures in the log", 15, function()
          return grep(h, [[grep -E "leader|election"]]):find("may not %l+ leases")
        end)
        assert.is_true(h:metric("haptic_leader_election_failures_total", { reason = "denied" }) > 0)
      end
      admin:allow("alice", kube.rules())
      replicas:wait_leader(20)
    end)

    it("tells gain and loss as Events and on the debug endpoint", function()
      start({ "3s", "2s", "500ms" })
      scope:wait_for("the Event", 10, function()
        for _, event in ipairs(admin:list("Event", NAMESPACE)) do
          if event.reason == "LeaderElection" and (event.message or event.note or ""):find("became leader", 1, true)
            and event.involvedObject.name == "haptic-leader" then
            return true
          end
        end
      end)
      local state = cjson.encode(leader:state())
      assert.truthy(state:find("haptic-leader", 1, true), state)
      leader:stop()
      scope:wait_for("the Event of the loss", 10, function()
        for _, event in ipairs(admin:list("Event", NAMESPACE)) do
          if event.reason == "LeaderElection" and (event.message or ""):find("stopped leading", 1, true) then return true end
        end
      end)
    end)

    it("walks through its commands about objects", function()
      apply(scope, { apiVersion = "v1", kind = "ServiceAccount", metadata = { name = "haptic", namespace = NAMESPACE } })
      apply(scope, {
        apiVersion = "rbac.authorization.k8s.io/v1", kind = "ClusterRole", metadata = { name = "guide-haptic" },
        rules = { { apiGroups = { "coordination.k8s.io" }, resources = { "leases" }, verbs = { "get", "create", "update" } } },
      })
      run(("kubectl create clusterrolebinding guide-haptic --clusterrole=guide-haptic --serviceaccount=%s:haptic"):format(NAMESPACE))
      for _, verb in ipairs({ "get", "create", "update" }) do
        assert.equal("yes\n", (run(("kubectl auth can-i %s leases --as=system:serviceaccount:%s:haptic"):format(verb, NAMESPACE)):gsub("\n+$", "\n")))
      end
      assert.truthy(sh("kubectl auth can-i delete leases --as=system:serviceaccount:default:haptic"):find("^no"))

      apply(scope, controller_pod(A))
      local environment = run(("kubectl get pod %s -o yaml | grep -A2 \"POD_NAME\\|POD_NAMESPACE\""):format(A))
      assert.truthy(environment:find("fieldRef", 1, true), environment)
      assert.truthy(run(("kubectl describe pod %s | grep -A10 \"Limits\\|Requests\""):format(A)):find("memory", 1, true))
      local pods = run("kubectl get pods -l app.kubernetes.io/name=haptic,app.kubernetes.io/component=controller "
        .. "-o custom-columns=NAME:.metadata.name,LEADER:.status.podIP")
      assert.truthy(pods:find(A, 1, true), pods)
      assert.equal("ok", (run("kubectl get --raw /healthz"):gsub("%s", "")))

      apply(scope, {
        apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "haptic-controller", namespace = NAMESPACE },
        spec = {
          replicas = 2, selector = { matchLabels = { app = "haptic" } },
          template = { metadata = { labels = { app = "haptic" } }, spec = controller_pod(A).spec },
        },
      })
      run("kubectl scale deployment haptic-controller --replicas=3")
      assert.equal("3", (run("kubectl get deployment haptic-controller -o jsonpath={.spec.replicas}"):gsub("%s", "")))
      run("kubectl scale deployment haptic-controller --replicas=2")
      run("kubectl rollout restart deployment haptic-controller")
      run("kubectl delete deployment/haptic-controller pod/" .. A .. " clusterrole/guide-haptic clusterrolebinding/guide-haptic "
        .. "serviceaccount/haptic --wait=false --grace-period=0 --force")
    end)
  end)

  describe("with one replica", function()
    local scope

    before_each(function() scope = world:open() end)
    after_each(function() world:close() end)

    it("runs alone with leader election disabled, and touches no Lease", function()
      local haptic = scope:haptic({
        kubeconfig = scope:kubeconfig(cluster, { user = "alice" }),
        config = "controller:\n  leader_election:\n    enabled: false  # Disabled in single-replica mode\n",
      }):wait_ready()
      scope:wait_answer(haptic.http_port, "steady.example", "198.18.0.1:8001")
      posix.sleep(1)
      assert.is_nil(admin:get("Lease", "haptic-leader"))
    end)

    for _, spelling in ipairs({
      { "nothing written", "logging: {level: INFO}\n" },
      { "camelCase", "controller: {leaderElection: {enabled: true, leaseName: haptic-leader, leaseDuration: 60s, renewDeadline: 15s, retryPeriod: 5s}}\n" },
    }) do
      it("has the guide's defaults with " .. spelling[1], function()
        local haptic = scope:haptic({ kubeconfig = scope:kubeconfig(cluster, { user = "alice" }), config = spelling[2] }):wait_ready()
        local started = haptic:log():match('[^\n]*msg="Leader election started"[^\n]*')
        assert.truthy(started:find("renew_within=15s", 1, true) and started:find("retry_period=5s", 1, true), started)
        assert.equal(60, admin:get("Lease", "haptic-leader").spec.leaseDurationSeconds)
        assert.equal("haptic", admin:get("Lease", "haptic-leader").spec.holderIdentity)
      end)
    end

    it("refuses timings that leave no margin, with the reason", function()
      for _, case in ipairs({
        { "15s", "15s", "5s", "lease" }, { "60s", "5s", "5s", "retry" }, { "60s", "15s", "0s", "retry" }, { "soon", "15s", "5s", "duration" },
      }) do
        local path = scope:path("config.yaml")
        posix.write_file(path, ("controller: {leader_election: {lease_duration: %s, renew_deadline: %s, retry_period: %s}}\n"):format(unpack(case)))
        local output, code = posix.run({
          "timeout", "10", "env", "POD_NAME=x", "POD_NAMESPACE=default", e2e.program(), "run", "--config", path, "--kubeconfig",
          cluster.admin_kubeconfig, "--metrics-port", "0", "--haproxy-dir", scope.directory .. "/h", "--haproxy-binary",
          e2e.haproxy_binary("3.2"),
        })
        assert.equal(1, code, output)
        assert.truthy(output:lower():find(case[4], 1, true), output)
      end
    end)

    for variable, field in pairs({ POD_NAME = "metadata.name", POD_NAMESPACE = "metadata.namespace" }) do
      it("says what to add when " .. variable .. " is missing", function()
        local other = variable == "POD_NAME" and "POD_NAMESPACE" or "POD_NAME"
        local argv = {
          "timeout", "10", "env", "-u", "KUBECONFIG", "-u", variable, other .. "=x", e2e.program(), "run", "--kubeconfig",
          scope:kubeconfig(cluster, { user = "alice" }), "--metrics-port", "0", "--haproxy-dir", scope.directory .. "/h",
          "--haproxy-binary", e2e.haproxy_binary("3.2"),
        }
        local output, code = posix.run(argv)
        assert.equal(1, code, output)
        assert.truthy(output:find(variable, 1, true), output)
        assert.truthy(output:find("fieldRef", 1, true), output)
        assert.truthy(output:find(field, 1, true), output)
      end)
    end
  end)

  it("has alerts that fire and clear", function()
    local scope = e2e.scope("alerts")
    finally(function() scope:close() end)
    run("cp " .. RULES .. " spec/e2e/leader-election-alerts.test.yaml " .. scope.directory)
    run("promtool check rules " .. scope.directory .. "/leader-election-alerts.yaml")
    assert.truthy(run("cd " .. scope.directory .. " && promtool test rules leader-election-alerts.test.yaml"):find("SUCCESS"))
  end)
end)
