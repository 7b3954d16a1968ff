--- What the chart's accounts may do, and an installation that follows one namespace with Roles only.

local k8s = require("support.k8s")

if not k8s.wanted() then
  return
end

describe("rights", function()
  local cluster

  setup(function() cluster = k8s.up() end)
  teardown(function() cluster:down() end)
  after_each(function() cluster:uninstall() end)

  local function can(verb, what, namespace)
    local output = cluster:sh(("kubectl auth can-i %s %s -n %s --as=system:serviceaccount:default:haptic"):format(verb, what, namespace or "default"))
    return output:match("(%l+)%s*$") -- behind a warning that a kind is in no namespace
  end

  it("are those that the manual lists, and no others", function()
    cluster:install("--set replicaCount=2 --set https.enabled=false")
    for _, kind in ipairs({ "ingresses.networking.k8s.io", "ingressclasses.networking.k8s.io", "services", "endpointslices.discovery.k8s.io" }) do
      for _, verb in ipairs({ "get", "list", "watch" }) do
        assert.equal("yes", can(verb, kind, "kube-system"), verb .. " " .. kind)
      end
      for _, verb in ipairs({ "create", "update", "patch", "delete" }) do
        assert.equal("no", can(verb, kind), verb .. " " .. kind)
      end
    end
    for _, case in ipairs({
      { "list", "secrets" }, { "watch", "secrets" }, { "get", "secrets" }, { "update", "secrets" }, { "create", "secrets", "kube-system" },
      { "update", "secrets/haptic-default-certificate" },
      { "patch", "secrets" }, { "delete", "secrets/haptic-fleet" }, { "patch", "leases" }, { "delete", "leases/haptic-leader" },
      { "get", "deployments.apps" }, { "patch", "deployments.apps/haptic-controller" }, { "get", "deployments.apps/haptic-haproxy" },
      { "get", "secrets/haptic-fleet", "kube-system" }, { "get", "pods", "kube-system" }, { "create", "pods" }, { "create", "pods/exec" },
      { "delete", "leases" }, { "get", "configmaps" }, { "get", "nodes" }, { "impersonate", "users" },
    }) do
      assert.equal("no", can(unpack(case)), table.concat(case, " "))
    end
    assert.equal("yes", can("patch", "ingresses.networking.k8s.io --subresource=status", "kube-system"))
    assert.equal("no", can("update", "ingresses.networking.k8s.io --subresource=status"))
    assert.equal("yes", can("update", "secrets/haptic-fleet"))
    -- To name the owners of what the controllers made.
    assert.equal("yes", can("patch", "secrets/haptic-fleet"))
    assert.equal("yes", can("patch", "leases.coordination.k8s.io/haptic-leader"))
    assert.equal("yes", can("get", "deployments.apps/haptic-controller"))
    -- With HTTPS: read Secrets, and no more.
    cluster:run("helm upgrade haproxy-ic charts/haptic --reuse-values --set https.enabled=true --wait --timeout 150s")
    assert.equal("yes", can("list", "secrets", "kube-system"))
    assert.equal("no", can("update", "secrets"))
    -- No token in the pods of HAProxy, and none of the containers is another user than it should be.
    for _, pod in ipairs(cluster:haproxies()) do
      assert.equal("", (cluster:run(("kubectl exec %s -c haproxy -- sh -c 'ls /var/run/secrets 2>/dev/null || true'"):format(pod))))
      assert.equal("99 99", cluster:run(("kubectl exec %s -c haproxy -- sh -c 'echo $(id -u) $(id -g)'"):format(pod)))
    end
    local controller = cluster:controllers()[1]
    assert.equal("65532", cluster:run(("kubectl exec %s -- id -u"):format(controller)))
    assert.equal("tini", cluster:run(("kubectl exec %s -- cat /proc/1/comm"):format(controller)))
    assert.equal(1, select(2, cluster:sh(("kubectl exec %s -- touch /usr/file"):format(controller))))
    -- An orphan is taken in.
    cluster:run(("kubectl exec %s -- sh -c '(sleep 0.2 &) ; sleep 1'"):format(controller))
    assert.equal("0", cluster:run(("kubectl exec %s -- sh -c 'grep -l \"^State:.Z\" /proc/[0-9]*/status 2>/dev/null | wc -l'"):format(controller)))
  end)

  it("may be Roles in one namespace only", function()
    cluster:install("--set replicaCount=2 --set 'controller.rbac.namespaces={default}' --set ingressClass.enabled=false "
      .. "--set controller.config.watchedResources.configmaps.apiVersion=v1,controller.config.watchedResources.configmaps.resources=configmaps "
      .. "--set 'controller.config.watchedResources.configmaps.indexBy={metadata.namespace,metadata.name}' "
      .. "--set 'controller.config.watchedResources.configmaps.namespaces={default}'")
    -- What the configuration follows besides may be read, and that only.
    assert.equal("yes", can("list", "configmaps"))
    assert.equal("no", can("update", "configmaps"))
    assert.equal("no", can("list", "configmaps", "kube-system"))
    assert.equal("", cluster:run("kubectl get clusterrole,clusterrolebinding -l app.kubernetes.io/name=haptic -o name"))
    assert.equal("yes", can("list", "ingresses.networking.k8s.io"))
    assert.equal("no", can("list", "ingresses.networking.k8s.io", "kube-system"))
    cluster:application("web", 2)
    cluster:wait_answer()
    -- By HTTPS, without a certificate of its own: the default one.
    local certificate = cluster:inside(("echo | openssl s_client -connect %s:443 -servername web.example 2>&1")
      :format(cluster:address()))
    assert(certificate:find("CN *= *default.haptic.invalid"), certificate)
    cluster:forget("web")
  end)
end)
