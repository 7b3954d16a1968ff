--- From the chart before this one to this one and back, who may install it, and what is left when it is removed.

local k8s = require("support.k8s")

if not k8s.wanted() then
  return
end

describe("a release", function()
  local cluster

  setup(function() cluster = k8s.up() end)
  teardown(function() cluster:down() end)
  after_each(function()
    cluster:uninstall()
    cluster:forget("web")
  end)

  --- Everything in the namespace and beside it that is not the cluster's own, a line each.
  local function objects()
    local kinds = cluster:run("kubectl api-resources --verbs=list -o name "
      .. "| grep -vE '^(events|pods|endpoints|endpointslices|leases|apiservices|replicasets|controllerrevisions)' | paste -sd,")
    return cluster:run(("kubectl get %s -o name --ignore-not-found 2>/dev/null | grep -i -E 'haptic|haproxy' || true"):format(kinds))
  end

  it("is upgraded from the chart before this one, and rolled back, while no request fails", function()
    -- That of the last commit but one which changed the chart; with this tree's image, since there is no other.
    local before = cluster.scratch .. "/before"
    local commit = cluster:run("git log -2 --format=%H -- charts/haptic | tail -n 1")
    cluster:run(("mkdir -p %s && git archive %s charts/haptic | tar -x -C %s"):format(before, commit, before))
    cluster:run("helm install haproxy-ic " .. before .. "/charts/haptic --set haproxy.service.type=NodePort --set replicaCount=2 --wait --timeout 150s")
    cluster:application("web", 2)
    cluster:wait_answer()
    local function changed(command)
      cluster:under_traffic(function()
        cluster:run(command)
        cluster:rolled_out("deployment/haptic-controller")
        cluster:rolled_out("deployment/haptic-haproxy")
        cluster:settled(k8s.HAPROXIES, 2)
        -- It works: a change goes live.
        cluster:run("kubectl rollout restart deployment/web")
        cluster:rolled_out("deployment/web")
        cluster:settled("app=web", 2)
      end)
    end
    changed("helm upgrade haproxy-ic charts/haptic --reuse-values")
    changed("helm rollback haproxy-ic 1")
    changed("helm upgrade haproxy-ic charts/haptic --reset-then-reuse-values")
    assert.equal("True", cluster:run([[kubectl get htplcfg haptic-config -o jsonpath='{.status.conditions[?(@.type=="Deployed")].status}']]))
  end)

  it("leaves its definitions when it is removed, and what the manual names", function()
    cluster:install("--set replicaCount=2")
    cluster:run("helm uninstall haproxy-ic --wait --timeout 120s")
    assert.equal("customresourcedefinition.apiextensions.k8s.io/haproxytemplateconfigs.haproxy-haptic.org\n"
      .. "customresourcedefinition.apiextensions.k8s.io/haproxytemplatelibraries.haproxy-haptic.org\n"
      .. "secret/haptic-default-certificate\nsecret/haptic-fleet", (cluster:run("sort <<'END'\n" .. objects() .. "\nEND")))
    cluster:run("kubectl delete lease haptic-leader")
    cluster:run("kubectl delete secret haptic-fleet haptic-default-certificate")
  end)

  it("is installed by an account that has rights in one namespace only", function()
    cluster:run("kubectl delete --ignore-not-found crd haproxytemplateconfigs.haproxy-haptic.org haproxytemplatelibraries.haproxy-haptic.org")
    cluster:apply([[
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant, namespace: default}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}
subjects: [{kind: User, name: tenant, apiGroup: rbac.authorization.k8s.io}]
]])
    cluster:run("helm install haproxy-ic charts/haptic --kube-as-user tenant --skip-crds --set controller.configResource.enabled=false "
      .. "--set ingressClass.enabled=false --set 'controller.rbac.namespaces={default}' --set haproxy.service.type=NodePort --wait --timeout 150s")
    cluster:application("web", 2)
    cluster:wait_answer()
    assert.equal("no", (cluster:sh("kubectl auth can-i list ingresses.networking.k8s.io -n kube-system "
      .. "--as=system:serviceaccount:default:haptic"):match("(%l+)%s*$")))
    cluster:run("helm uninstall haproxy-ic --kube-as-user tenant --wait --timeout 120s")
    cluster:run("kubectl delete role,rolebinding tenant")
    cluster:run("kubectl delete secret --ignore-not-found haptic-fleet haptic-default-certificate")
    assert.equal("", objects())
  end)
end)
