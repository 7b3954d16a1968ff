--- Other forms of the chart: an agent that is no native sidecar, further classes, ports and containers, both families of addresses, and HAProxy in the
-- nodes' network.

local k8s = require("support.k8s")

if not k8s.wanted() then
  return
end

describe("the chart", function()
  local cluster

  setup(function() cluster = k8s.up() end)
  teardown(function() cluster:down() end)
  after_each(function()
    cluster:uninstall()
    cluster:forget("web")
    cluster:run("kubectl label namespace default pod-security.kubernetes.io/enforce=restricted --overwrite")
  end)

  it("works without native sidecars, also while the pods are replaced", function()
    cluster:install("--set haproxy.agent.nativeSidecar=false")
    cluster:application("web", 2)
    cluster:wait_answer()
    -- Whichever of the two containers is started first, the folder is the agent's.
    local restarts = cluster:run(("kubectl get pods -l %s -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}'"):format(k8s.HAPROXIES))
    assert.equal("0 0 0 0", restarts)
    assert.equal("agent haproxy", cluster:run(("kubectl get pod %s -o jsonpath='{.spec.containers[*].name}'"):format(cluster:haproxies()[1])))
    cluster:under_traffic(function()
      cluster:run("kubectl rollout restart deployment haptic-haproxy")
      cluster:rolled_out("deployment/haptic-haproxy")
      cluster:settled(k8s.HAPROXIES, 2)
    end)
  end)

  it("serves further classes, made by it or by others", function()
    cluster:apply("apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: old}\nspec: {controller: example.com/other}\n")
    cluster:install("--set ingressClass.further[0].name=internal --set ingressClass.further[0].create=true "
      .. "--set ingressClass.further[1].controllerName=example.com/other --set ingressClass.further[1].status=never")
    cluster:application("web", 2)
    cluster:wait_answer()
    assert.equal("haproxy-haptic.org/controller", cluster:run("kubectl get ingressclass internal -o jsonpath='{.spec.controller}'"))
    local function class(name, served)
      cluster:run(([[kubectl patch ingress web -p '{"spec":{"ingressClassName":"%s"}}']]):format(name))
      cluster:wait_for("what becomes of the class " .. name, 40, function()
        local status = cluster:ask()
        return status == (served and 200 or 404), status
      end)
    end
    class("elsewhere", false)
    class("internal", true)
    class("elsewhere", false)
    class("old", true)
    cluster:run("kubectl delete ingressclass old")
  end)

  it("serves TCP services at further ports, with a sidecar, and as another user", function()
    local values = cluster.scratch .. "/values.yaml"
    require("support.posix").write_file(values, [[
controller:
  podSpec: {podSecurityContext: {runAsUser: 1000650000, runAsGroup: 0, fsGroup: 1000650000}}
  config:
    templatingSettings: {extraContext: {tcp_services: default/ports}}
    watchedResources:
      configmaps: {apiVersion: v1, resources: configmaps, indexBy: [metadata.namespace, metadata.name], namespaces: [default]}
haproxy:
  podSpec: {podSecurityContext: {runAsUser: 1000650000, runAsGroup: 0, fsGroup: 1000650000}}
  service: {extraPorts: [{name: web-tcp, port: 81, targetPort: 5432}]}
  extraVolumes: [{name: own, emptyDir: {}}]
  extraVolumeMounts: [{name: own, mountPath: /own}]
  lifecycle: {postStart: {exec: {command: [sh, -c, "echo ours >/own/file"]}}}
  sidecars:
    - name: beside
      image: localhost/haptic/haproxy:3.4
      command: [sleep, "3600"]
      volumeMounts: [{name: own, mountPath: /own}]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
]])
    cluster:run("kubectl create configmap ports --from-literal=5432=default/web:80")
    cluster:install("-f " .. values)
    cluster:application("web", 2)
    cluster:wait_answer()
    cluster:wait_for("an answer at the port", 40, function()
      local body = cluster:inside(("curl -s -m 3 http://%s:81/"):format(cluster:address()))
      return body:find("^web%-"), body
    end)
    local pod = cluster:haproxies()[1]
    assert.equal("ours", cluster:run(("kubectl exec %s -c beside -- cat /own/file"):format(pod)))
    for _, container in ipairs({ "haproxy", "agent" }) do
      assert.equal("1000650000", cluster:run(("kubectl exec %s -c %s -- id -u"):format(pod, container)))
    end
    -- The wait before the end is still there, beside what the values add.
    assert.equal("10", cluster:run(("kubectl get pod %s -o jsonpath='{.spec.containers[0].lifecycle.preStop.sleep.seconds}'"):format(pod)))
    cluster:run("kubectl delete configmap ports")
  end)

  it("has addresses of both families, and reaches pods of both", function()
    if cluster:inside(". " .. cluster.directory .. "/node.env; echo $NODE_IP6") == "\n" then
      pending("the machine has no IPv6")
    end
    cluster:install("--set haproxy.service.ipFamilyPolicy=RequireDualStack --set 'haproxy.service.ipFamilies={IPv6,IPv4}'")
    local six, four = cluster:run("kubectl get service haptic-haproxy -o jsonpath='{.spec.clusterIPs[*]}'"):match("^(%x*:%S+) ([%d.]+)$")
    assert(six, "the Service has no address of each family")
    cluster:application("web", 2)
    cluster:run("kubectl get configmap web -o yaml | sed 's/bind :8080/bind :::8080 v4v6/' | kubectl apply -f -")
    cluster:run("kubectl rollout restart deployment/web")
    cluster:rolled_out("deployment/web")
    -- Pods with IPv4 addresses, then the same with those of IPv6, then with both.
    for _, families in ipairs({ "IPv4", "IPv6", "IPv4,IPv6" }) do
      cluster:run("kubectl delete service web")
      cluster:wait_for("nobody to answer", 60, function()
        local status = cluster:ask(nil, four)
        return status == 503, status
      end)
      cluster:apply(("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ipFamilyPolicy: %s, ipFamilies: [%s], selector: {app: web}, "
        .. "ports: [{name: http, port: 80, targetPort: http}]}\n"):format(families:find(",") and "RequireDualStack" or "SingleStack", families))
      for _, address in ipairs({ "[" .. six .. "]", four }) do
        cluster:wait_for(address .. " to answer for " .. families, 60, function()
          local status, body = cluster:ask(nil, address)
          return status == 200 and body:find("^web%-"), tostring(status) .. " " .. tostring(body)
        end)
      end
    end
  end)

  it("works in the nodes' network", function()
    cluster:run("kubectl label namespace default pod-security.kubernetes.io/enforce=privileged --overwrite")
    cluster:install("--set haproxy.kind=DaemonSet --set haproxy.hostNetwork=true --set haproxy.hostPorts.http=8088")
    cluster:application("web", 2)
    cluster:wait_answer()
    local node = cluster:run("kubectl get node -o jsonpath='{.items[0].status.addresses[0].address}'")
    local body = cluster:inside(("curl -s -m 3 -H 'Host: web.example' http://%s:8088/"):format(node))
    assert(body:find("^web%-"), body)
  end)
end)
