--- From the chart before this one to this one and back, who may install it, and what is left when it is removed.

local k8s = require("support.k8s")
local posix = require("support.posix")

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
      .. "| grep -vE '^(events|pods|endpoints|endpointslices|apiservices|replicasets|controllerrevisions)' | paste -sd,")
    return cluster:run(("kubectl get %s -o name --ignore-not-found 2>/dev/null | grep -i -E 'haptic|haproxy' || true"):format(kinds))
  end

  it("is upgraded from the chart before this one, and rolled back, while no request fails", function()
    -- That of the last commit but one which changed what the chart makes; with this tree's image, since there is no other.
    local before = cluster.scratch .. "/before"
    local commit = cluster:run("git log -2 --format=%H -- charts/haptic/templates charts/haptic/values.yaml | tail -n 1")
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

  --- What the controllers make, as one text: name and uid of each.
  local function made()
    return cluster:run("kubectl get lease/haptic-leader secret/haptic-fleet secret/haptic-default-certificate secret/haptic-webhook-tls "
      .. "--ignore-not-found -o jsonpath='{range .items[*]}{.metadata.name}={.metadata.uid} {end}'")
  end

  --- Waits until each of them names two owners.
  local function owned(count)
    cluster:wait_for("owners of what the controllers made", 60, function()
      local text = cluster:run("kubectl get lease/haptic-leader secret/haptic-fleet secret/haptic-default-certificate secret/haptic-webhook-tls "
        .. "--ignore-not-found -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.ownerReferences[*].kind}{\"\\n\"}{end}'")
      local _, found = text:gsub("[^\n]+ Deployment Service", "")
      return found == count, text
    end)
  end

  local DEFINITIONS = "customresourcedefinition.apiextensions.k8s.io/haproxytemplateconfigs.haproxy-haptic.org\n"
    .. "customresourcedefinition.apiextensions.k8s.io/haproxytemplatelibraries.haproxy-haptic.org"

  --- Everything but the definitions is gone, and stays gone. (Kubernetes collects in the background.)
  local function gone(left)
    local function rest()
      return cluster:run("sort <<'END'\n" .. objects() .. "\nEND")
    end
    cluster:wait_for("the objects to be gone", 60, function()
      local seen = rest()
      return seen == left, seen
    end)
    cluster:settled("app.kubernetes.io/name=haptic", 0)
    posix.sleep(5) -- nobody may make one of them again
    assert.equal(left, rest())
  end

  it("leaves its definitions when it is removed, and nothing else", function()
    cluster:install("--set replicaCount=2 --set controller.webhook.enabled=true")
    owned(4)
    -- Who deletes the Deployment and installs it again goes on with the same certificates.
    local before = made()
    cluster:run("kubectl delete deployment haptic-controller --wait")
    cluster:settled(k8s.CONTROLLERS, 0)
    cluster:run("helm upgrade haproxy-ic charts/haptic --reuse-values --wait --timeout 150s")
    owned(4)
    assert.equal(before, made())
    cluster:run("helm uninstall haproxy-ic")
    gone(DEFINITIONS)
    -- At once again, and removed without a pause: nothing of the first one is in the way.
    cluster:install("--set replicaCount=2")
    cluster:run("helm uninstall haproxy-ic")
    cluster:install("--set replicaCount=2")
    owned(3)
    cluster:application("web", 1)
    cluster:wait_answer()
    cluster:forget("web")
    cluster:run("helm uninstall haproxy-ic --wait --timeout 120s")
    gone(DEFINITIONS)
  end)

  it("leaves Secrets of others, and owns what a release before it has made", function()
    cluster:run("kubectl create secret generic own-certificate --from-literal=haptic=1")
    -- As if the controllers of a chart without owners had made them.
    cluster:install("--set replicaCount=1 --set controller.config.controller.leader_election.enabled=true")
    owned(3)
    cluster:run("kubectl scale deployment haptic-controller --replicas=0")
    cluster:settled(k8s.CONTROLLERS, 0)
    for _, name in ipairs({ "lease/haptic-leader", "secret/haptic-fleet", "secret/haptic-default-certificate" }) do
      cluster:run(("kubectl patch %s --type=merge -p '{\"metadata\":{\"ownerReferences\":null}}'"):format(name))
    end
    local before = made()
    cluster:run("kubectl scale deployment haptic-controller --replicas=1")
    owned(3)
    assert.equal(before, made())
    cluster:run("helm uninstall haproxy-ic --wait --timeout 120s")
    gone(DEFINITIONS)
    assert.equal("secret/own-certificate", cluster:run("kubectl get secret own-certificate -o name"))
    cluster:run("kubectl delete secret own-certificate")
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
    gone("")
  end)
end)
