--- The user's guide to high availability, command by command, on a real cluster.

local k8s = require("support.k8s")

if not k8s.wanted() then
  return
end

describe("the guide to high availability", function()
  local cluster

  setup(function() cluster = k8s.up() end)
  teardown(function() cluster:down() end)
  after_each(function()
    cluster:uninstall()
    cluster:forget("web")
  end)

  local function ready(count)
    cluster:wait_for(count .. " ready controllers", 90, function()
      local output = cluster:run("kubectl get deployment haptic-controller -o jsonpath='{.spec.replicas} {.status.readyReplicas} {.status.replicas}'")
      -- The status does not count pods that end, but kubectl lists them, and they may be gone at the next command.
      local listed = select(2, cluster:run("kubectl get pods -o name -l " .. k8s.CONTROLLERS):gsub("pod/", ""))
      return output == ("%d %d %d"):format(count, count, count) and listed == count, ("%s, %d pods"):format(output, listed)
    end)
  end

  --- The sum of haptic_leader_election_is_leader over all controllers is one.
  local function one_leader()
    return cluster:wait_for("exactly one leader", 90, function()
      local sum, leader = 0, nil
      for _, pod in ipairs(cluster:controllers()) do
        local value = cluster:metric(pod, "haptic_leader_election_is_leader")
        sum = sum + value
        leader = value == 1 and pod or leader
      end
      return sum == 1 and leader == cluster:leader() and leader, sum
    end)
  end

  local function find(text, wanted, what)
    assert(text:find(wanted), ("%s: '%s' is not in:\n%s"):format(what, wanted, text))
  end

  it("holds as it is written", function()
    -- Deployment
    cluster:run([[helm install haproxy-ic charts/haptic \
      --set replicaCount=2]])
    ready(2)
    cluster:application("web", 2)
    cluster:wait_answer()
    one_leader()

    -- The defaults: the Lease's time, resources, anti-affinity, the budget
    local function field(what, path) return cluster:run(("kubectl get %s -o jsonpath='{%s}'"):format(what, path)) end
    assert.equal("60", field("lease haptic-leader", ".spec.leaseDurationSeconds"))
    assert.equal([[{"limits":{"cpu":"500m","memory":"512Mi"},"requests":{"cpu":"100m","memory":"128Mi"}}]],
      field("deployment haptic-controller", ".spec.template.spec.containers[0].resources"))
    assert.equal([[{"preferredDuringSchedulingIgnoredDuringExecution":[{"podAffinityTerm":{"labelSelector":{"matchLabels":]]
      .. [[{"app.kubernetes.io/name":"haptic"}},"topologyKey":"kubernetes.io/hostname"},"weight":100}]}]],
      field("deployment haptic-controller", ".spec.template.spec.affinity.podAntiAffinity"))
    assert.equal("1", field("poddisruptionbudget haptic-controller", ".spec.minAvailable"))

    -- Scaling
    cluster:run("kubectl scale deployment haptic-controller --replicas=3")
    ready(3)
    one_leader()
    cluster:run("kubectl scale deployment haptic-controller --replicas=2")
    ready(2)
    local leader = one_leader()

    -- Check the current leader
    find(cluster:run("kubectl get lease -n default haptic-leader -o yaml"), "holderIdentity: " .. leader:gsub("%p", "%%%0"),
      "the Lease")
    find(cluster:run([[kubectl logs -n default deployment/haptic-controller | grep -E "leader|election"]]),
      'msg="Leader election started" identity=haptic%-controller%S+ lease=haptic%-leader', "kubectl logs")
    find(cluster:run(("kubectl logs %s | grep -E 'leader|election'"):format(leader)),
      ('msg="Became leader: %s" identity=%s'):format(leader, leader):gsub("%-", "%%-"), "the leader's log")

    -- Metrics by port-forward
    find(cluster:run([[kubectl port-forward -n default deployment/haptic-controller 9090:9090 >/dev/null 2>&1 & forward=$!
      for i in $(seq 50); do curl -s http://localhost:9090/metrics | grep leader_election && break; sleep 0.2; done; kill $forward]]),
      "\nhaptic_leader_election_transitions_total %d+", "curl through port-forward")

    -- Troubleshooting
    for _, verb in ipairs({ "get", "create", "update" }) do
      assert.equal("yes", cluster:run(("kubectl auth can-i %s leases --as=system:serviceaccount:default:haptic"):format(verb)))
    end
    find(cluster:run(([[kubectl get pod %s -o yaml | grep -A2 "POD_NAME\|POD_NAMESPACE"]]):format(leader)),
      "%- name: POD_NAME\n%s+valueFrom:\n%s+fieldRef:", "kubectl get pod")
    -- Without trouble these find nothing.
    for _, words in ipairs({ [[connection refused\|timeout]], [[lease renew\|deadline]] }) do
      assert.equal("", (cluster:sh(([[kubectl logs %s | grep "%s"]]):format(leader, words))))
    end
    assert.equal("ok", cluster:run("kubectl get --raw /healthz"))
    find(cluster:run(([[kubectl describe pod %s | grep -A10 "Limits\|Requests"]]):format(leader)), "cpu:%s+500m", "kubectl describe pod")
    find(cluster:run(([[kubectl describe pod %s | grep -A10 "Limits\|Requests"]]):format(leader)), "memory:%s+128Mi", "kubectl describe pod")
    find(cluster:run("kubectl describe node $(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')"), "haptic%-controller",
      "kubectl describe node")
    find(cluster:run(([[kubectl logs %s | grep -i "deploy"]]):format(leader)), "Deployed", "the leader's log")
    local started = cluster:run(([[kubectl logs %s | grep "Started.*Deployer\|DeploymentScheduler"]]):format(leader))
    find(started, "Started Deployer", "the leader's log")
    find(started, "Started DeploymentScheduler", "the leader's log")

    -- Restart all controller pods
    cluster:run("kubectl rollout restart deployment haptic-controller")
    cluster:run("kubectl rollout status deployment haptic-controller --timeout=150s")
    ready(2)
    one_leader()
    cluster:wait_answer()

    -- Confirm one leader
    local listed = cluster:run([[kubectl get pods -l app.kubernetes.io/name=haptic,app.kubernetes.io/component=controller \
      -o custom-columns=NAME:.metadata.name,LEADER:.status.podIP]])
    find(listed, "haptic%-controller%S+%s+10%.244%.", "kubectl get pods")
    local each = cluster:run([[for pod in $(kubectl get pods -l app.kubernetes.io/name=haptic,app.kubernetes.io/component=controller -o name); do
      echo "$pod:"
      kubectl exec $pod -- wget -qO- localhost:9090/metrics | grep is_leader
    done]])
    find(each, "haptic_leader_election_is_leader 1", "the pods' metrics")
    find(each, "haptic_leader_election_is_leader 0", "the pods' metrics")
  end)

  it("brings one replica to several", function()
    cluster:install("--set replicaCount=1 --set controller.config.controller.leader_election.enabled=false")
    ready(1)
    find(cluster:run("kubectl logs deployment/haptic-controller"), "Leader election disabled", "kubectl logs")
    local values = cluster.scratch .. "/new-values.yaml"
    require("support.posix").write_file(values, [[
replicaCount: 2
controller:
  config:
    controller:
      leader_election:
        enabled: true
]])
    cluster:run("helm upgrade haproxy-ic charts/haptic --reuse-values -f " .. values)
    cluster:run("kubectl rollout status deployment haptic-controller --timeout=150s")
    ready(2)
    local leader = one_leader()
    find(cluster:run("kubectl logs " .. leader .. " | grep leader"), "Became leader: ", "kubectl logs")
    -- It goes on until somebody ends it.
    find(cluster:run("timeout 3 kubectl logs -f deployment/haptic-controller | grep leader"), "Leader election started", "kubectl logs -f")
    cluster:uninstall()
    -- What is left: nothing of the chart's own; the Lease is removed by the test, Secrets with certificates are the manual's matter.
    assert.equal("", cluster:run("kubectl get deployment,service,configmap,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget "
      .. "-l app.kubernetes.io/name=haptic -o name"))
    assert.equal("", cluster:run("kubectl get clusterrole,clusterrolebinding,ingressclass -l app.kubernetes.io/name=haptic -o name"))
  end)
end)
