--- A leader that is cut off with its node, a node that is drained, and addresses in the status of Ingresses.

local k8s = require("support.k8s")

if not k8s.wanted() then
  return
end

describe("high availability", function()
  local cluster

  setup(function()
    cluster = k8s.up()
    cluster:install("--set replicaCount=2 --set controller.config.controller.leader_election.lease_duration=15s "
      .. "--set controller.config.controller.leader_election.renew_deadline=10s --set controller.config.controller.leader_election.retry_period=2s")
    cluster:application("web", 2)
    cluster:wait_answer()
  end)
  teardown(function()
    cluster:uninstall()
    cluster:forget("web")
    cluster:down()
  end)

  --- A signal to every process of a pod, past the kubelet.
  local function signal(name, pod)
    local uid = cluster:run(("kubectl get pod %s -o jsonpath='{.metadata.uid}'"):format(pod))
    local output, code = cluster:inside(("pids=$(grep -l %s /proc/[0-9]*/cgroup | cut -d/ -f3); echo $pids; kill -%s $pids"):format(uid, name))
    assert.equal(0, code, output)
  end

  it("lasts when the leader stands still with its node: the Lease expires, another leads, and the old one leads no more", function()
    local leader = assert(cluster:leader())
    cluster:under_traffic(function()
      signal("STOP", leader)
      cluster:wait_for("another leader", 60, function() return cluster:leader() ~= leader end)
      -- It deploys.
      cluster:run("kubectl rollout restart deployment/web")
      cluster:rolled_out("deployment/web")
      cluster:settled("app=web", 2)
      local transitions = cluster:run("kubectl get lease haptic-leader -o jsonpath='{.spec.leaseTransitions}'")
      signal("CONT", leader)
      cluster:rolled_out("deployment/haptic-controller")
      cluster:wait_for("one leader", 60, function()
        local sum = 0
        for _, pod in ipairs(cluster:controllers()) do sum = sum + cluster:metric(pod, "haptic_leader_election_is_leader") end
        return sum == 1, sum
      end)
      assert.not_equal(leader, cluster:leader())
      assert.equal(transitions, cluster:run("kubectl get lease haptic-leader -o jsonpath='{.spec.leaseTransitions}'"))
    end)
  end)

  it("counts each HAProxy that dies in its pod, for the alert about it", function()
    local pod = cluster:haproxies()[1]
    local uid = cluster:run(("kubectl get pod %s -o jsonpath='{.metadata.uid}'"):format(pod))
    local function deaths()
      local text = cluster:run(("kubectl exec %s -c agent -- wget -qO- http://localhost:5557/metrics"):format(pod))
      return tonumber(text:match("\nhaptic_haproxy_deaths_total (%d+)"))
    end
    assert.is_nil(deaths())
    -- The second one dies without a reload since its start: pid and number of reloads are those of the first. With the master
    -- its worker ends by itself, perhaps before it is killed.
    for count = 1, 2 do
      local output, code = cluster:inside(("for pid in $(grep -l %s /proc/[0-9]*/cgroup | cut -d/ -f3); do "
        .. [[if [ "$(cat /proc/$pid/comm)" = haproxy ]; then kill -KILL $pid || true; fi; done]]):format(uid))
      assert.equal(0, code, output)
      cluster:wait_for("the death to be counted", 60, function() return deaths() == count, deaths() end)
    end
    cluster:rolled_out("deployment/haptic-haproxy")
    cluster:wait_answer()
  end)

  it("lasts when the node is drained: the budgets keep one controller and one HAProxy", function()
    cluster:under_traffic(function()
      local output, code = cluster:sh("kubectl drain node --pod-selector=app.kubernetes.io/name=haptic --delete-emptydir-data --timeout=40s 2>&1")
      assert.not_equal(0, code)
      assert(output:find("would violate the pod's disruption budget", 1, true), output)
      for _, what in ipairs({ "controller", "haproxy" }) do
        assert.equal("1", cluster:run(("kubectl get deployment haptic-%s -o jsonpath='{.status.readyReplicas}'"):format(what)))
      end
      cluster:run("kubectl uncordon node")
      cluster:rolled_out("deployment/haptic-controller")
      cluster:rolled_out("deployment/haptic-haproxy")
    end)
  end)

  it("writes the addresses of the load balancer into Ingresses, and follows them", function()
    local function status(wanted)
      cluster:wait_for("the status '" .. wanted .. "'", 40, function()
        local found = cluster:run("kubectl get ingress web -o jsonpath='{.status.loadBalancer.ingress[*].ip}'")
        return found == wanted, found
      end)
    end
    local function balancer(addresses)
      cluster:run(([[kubectl patch service haptic-haproxy --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":[%s]}}}']])
        :format(addresses))
    end
    -- A load balancer is the cloud's; here its part is played by hand.
    cluster:run([[kubectl patch service haptic-haproxy -p '{"spec":{"type":"LoadBalancer"}}']])
    balancer([[{"ip":"192.0.2.1"},{"ip":"192.0.2.2"}]])
    status("192.0.2.1 192.0.2.2")
    balancer([[{"ip":"192.0.2.3"}]])
    status("192.0.2.3")
    -- Or the nodes' own addresses: a setting that the running controllers take, with another kind and another right.
    local before = cluster:controllers()
    cluster:run("helm upgrade haproxy-ic charts/haptic --reuse-values --set controller.ingressStatus.publishNodes=internal")
    status(cluster:run("kubectl get node -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'"))
    assert.same(before, cluster:controllers())
  end)
end)
