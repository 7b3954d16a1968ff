--- Who owns what the controllers make, so that it goes with the installation: the references in metadata, against a real
--- API server. (Nobody collects garbage here; spec/cluster/upgrade_spec.lua removes an installation.)

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local SHORT = { enabled = true, lease_duration = "3s", renew_deadline = "2s", retry_period = "500ms" }
local OWNERS = "apps/v1/deployments/haptic-controller,v1/services/haptic-controller"
local MARK = "haproxy-haptic.org/fleet-certificates"
local SECRETS = {
  { apiGroups = { "" }, resources = { "secrets" }, verbs = { "create" } },
  { apiGroups = { "" }, resources = { "secrets" }, resourceNames = { "fleet" }, verbs = { "get", "update", "watch" } },
}
-- What the chart's Role has besides.
local OWNING = {
  { apiGroups = { "" }, resources = { "secrets" }, resourceNames = { "fleet", "default-certificate", "somebodys" }, verbs = { "get", "patch" } },
  { apiGroups = { "apps" }, resources = { "deployments" }, resourceNames = { "haptic-controller" }, verbs = { "get" } },
  { apiGroups = { "" }, resources = { "services" }, resourceNames = { "haptic-controller" }, verbs = { "get" } },
  { apiGroups = { "coordination.k8s.io" }, resources = { "leases" }, resourceNames = { "haptic-leader" }, verbs = { "patch" } },
}

describe("what the controllers make", function()
  local world = e2e.world("ownership", { clients = { "a", "b" } })
  local admin, scope, port

  setup(function()
    admin = world:begin()
    admin:know("Deployment", "/apis/apps/v1", "deployments")
    admin:know("ValidatingAdmissionPolicy", "/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies")
    admin:know("ValidatingAdmissionPolicyBinding", "/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings")
    admin.resources.ValidatingAdmissionPolicy.cluster = true
    admin.resources.ValidatingAdmissionPolicyBinding.cluster = true
  end)
  teardown(function() world:finish() end)

  local function make_deployment()
    local labels = { app = "haptic-controller" }
    admin:put({
      kind = "Deployment", metadata = { name = "haptic-controller" },
      spec = {
        selector = { matchLabels = labels },
        template = { metadata = { labels = labels }, spec = { containers = { { name = "controller", image = "haptic" } } } },
      },
    })
  end

  before_each(function()
    scope = world:open()
    port = e2e.port()
    admin:allow("alice", kube.rules_with(kube.rules_with(kube.rules({ "get", "create", "update", "watch" }), unpack(SECRETS)), unpack(OWNING)))
    make_deployment()
    admin:put(kube.service("haptic-controller"))
  end)
  after_each(function()
    world:close()
    admin:delete("Deployment", "haptic-controller")
    admin:delete("ValidatingAdmissionPolicyBinding", "no-owners")
    admin:delete("ValidatingAdmissionPolicy", "no-owners")
  end)

  local function start(name, owned)
    return scope:haptic({
      name = name, kubeconfig = world:kubeconfig(name), config = e2e.config({ controller = { leader_election = SHORT } }),
      args = {
        "--haproxy", "fleet", "--members", "https://127.0.0.1:" .. port, "--fleet-secret", "fleet", "--owners", OWNERS,
        "--owned-secrets", owned or "default-certificate,absent",
      },
    })
  end

  --- The references of an object as "Kind/name" by their uids, and their number.
  local function references(kind, name)
    local object = admin:get(kind, name)
    local found, count = {}, 0
    for _, reference in ipairs(object and object.metadata.ownerReferences or {}) do
      found[reference.uid] = reference.apiVersion .. " " .. reference.kind .. " " .. reference.name
      count = count + 1
    end
    return found, count, object
  end

  local function uid(kind)
    return admin:get(kind, "haptic-controller").metadata.uid
  end

  local function wait_owned(kind, name, further)
    local wanted = {
      [uid("Deployment")] = "apps/v1 Deployment haptic-controller", [uid("Service")] = "v1 Service haptic-controller",
    }
    for key, value in pairs(further or {}) do
      wanted[key] = value
    end
    scope:wait_for("the owners of " .. name, 20, function()
      local found = references(kind, name)
      return pcall(assert.same, wanted, found), require("cjson").encode(found)
    end)
  end

  it("belongs to the installation, and somebody's own Secret does not", function()
    admin:put({
      kind = "Secret", metadata = { name = "default-certificate", labels = { ["app.kubernetes.io/managed-by"] = "haptic" } },
      stringData = { a = "b" },
    })
    admin:put({ kind = "Secret", metadata = { name = "somebodys" }, stringData = { a = "b" } })
    local h = start("a", "default-certificate,somebodys,absent")
    wait_owned("Lease", "haptic-leader")
    wait_owned("Secret", "fleet")
    wait_owned("Secret", "default-certificate")
    local data = admin:get("Secret", "fleet").data
    -- One of the owners is made again, and somebody else owns the Secret, too.
    local class = admin:get("IngressClass", "haptic")
    local before = uid("Deployment")
    admin:patch("Secret", "fleet", { metadata = { ownerReferences = {
      { apiVersion = "apps/v1", kind = "Deployment", name = "haptic-controller", uid = before },
      { apiVersion = "networking.k8s.io/v1", kind = "IngressClass", name = "haptic", uid = class.metadata.uid },
    } } })
    admin:delete("Deployment", "haptic-controller")
    make_deployment()
    assert.are_not.equal(before, uid("Deployment"))
    -- Whatever changes the Secret lets the leader look.
    admin:patch("Secret", "fleet", { metadata = { annotations = { look = "1" } } })
    wait_owned("Secret", "fleet", { [class.metadata.uid] = "networking.k8s.io/v1 IngressClass haptic" })
    wait_owned("Lease", "haptic-leader")
    assert.same(data, admin:get("Secret", "fleet").data)
    -- What is made now has them from its first moment; a Secret that was deleted comes with another authority.
    admin:delete("Secret", "fleet")
    local made = scope:wait_for("the Secret", 10, function() return admin:get("Secret", "fleet") end)
    assert.equal(2, #(made.metadata.ownerReferences or {}))
    admin:delete("Lease", "haptic-leader")
    made = scope:wait_for("the Lease", 10, function() return admin:get("Lease", "haptic-leader") end)
    assert.equal(2, #(made.metadata.ownerReferences or {}))
    -- The election goes on after what was patched: nobody is asked to lead twice.
    scope:wait_for("the leader", 10, function() return h:metric("haptic_leader_election_is_leader") == 1 end)
    assert.equal(0, select(2, references("Secret", "somebodys")))
    assert.is_nil(admin:get("Secret", "absent"))
    -- Another replica has nothing to write, and leads on.
    start("b")
    local versions = { admin:get("Secret", "fleet").metadata.resourceVersion, admin:get("Secret", "default-certificate").metadata.resourceVersion }
    h:kill()
    scope:wait_for("the other leader", 20, function()
      local lease = admin:get("Lease", "haptic-leader")
      return lease.spec.holderIdentity == "b"
    end)
    wait_owned("Lease", "haptic-leader")
    assert.same(versions, { admin:get("Secret", "fleet").metadata.resourceVersion, admin:get("Secret", "default-certificate").metadata.resourceVersion })
  end)

  it("is not marked where a Secret of somebody else has its name", function()
    admin:put({ kind = "Secret", metadata = { name = "fleet" }, stringData = { ["ca.crt"] = "theirs" } })
    start("a")
    wait_owned("Lease", "haptic-leader")
    -- The Lease comes first in a round: one more has passed the Secret.
    admin:patch("Secret", "fleet", { metadata = { annotations = { look = "1" } } })
    posix.sleep(1)
    local _, count, secret = references("Secret", "fleet")
    assert.equal(0, count)
    assert.is_nil(secret.metadata.annotations[MARK])
  end)

  it("is made all the same without the rights to name owners", function()
    admin:allow("alice", kube.rules_with(kube.rules({ "get", "create", "update", "watch" }), unpack(SECRETS)))
    local h = start("a")
    scope:wait_for("the Secret", 10, function() return admin:get("Secret", "fleet") end)
    h:wait_log("it will stay when the installation is removed")
    scope:wait_for("the leader", 10, function() return h:metric("haptic_leader_election_is_leader") == 1 end)
    assert.equal(0, select(2, references("Secret", "fleet")))
    assert.equal(0, select(2, references("Lease", "haptic-leader")))
  end)

  it("is made all the same where the API server refuses owners", function()
    local h = start("a")
    wait_owned("Secret", "fleet")
    wait_owned("Lease", "haptic-leader")
    admin:put({
      kind = "ValidatingAdmissionPolicy", metadata = { name = "no-owners" },
      spec = {
        failurePolicy = "Fail",
        matchConstraints = { resourceRules = {
          { apiGroups = { "" }, apiVersions = { "v1" }, operations = { "CREATE", "UPDATE" }, resources = { "secrets" } },
          { apiGroups = { "coordination.k8s.io" }, apiVersions = { "v1" }, operations = { "CREATE", "UPDATE" }, resources = { "leases" } },
        } },
        validations = { {
          expression = "!has(object.metadata.ownerReferences) || (oldObject != null && has(oldObject.metadata.ownerReferences))",
          reason = "Forbidden", message = "no owners here",
        } },
      },
    })
    admin:put({
      kind = "ValidatingAdmissionPolicyBinding", metadata = { name = "no-owners" },
      spec = { policyName = "no-owners", validationActions = { "Deny" } },
    })
    scope:wait_for("the policy", 20, function()
      local status = admin:call("POST", "/api/v1/namespaces/default/secrets?dryRun=All", {
        apiVersion = "v1", kind = "Secret", metadata = { name = "probe", ownerReferences = {
          { apiVersion = "v1", kind = "Service", name = "haptic-controller", uid = uid("Service") },
        } },
      })
      return status == 403, status
    end)
    admin:delete("Secret", "fleet")
    admin:delete("Lease", "haptic-leader")
    scope:wait_for("the Secret", 15, function() return admin:get("Secret", "fleet") end)
    scope:wait_for("the Lease", 15, function() return admin:get("Lease", "haptic-leader") end)
    assert.equal(0, select(2, references("Secret", "fleet")))
    assert.equal(0, select(2, references("Lease", "haptic-leader")))
    scope:wait_for("the leader", 10, function() return h:metric("haptic_leader_election_is_leader") == 1 end)
  end)

  it("has owners that the option names in full", function()
    for list, word in pairs({
      ["deployments/web"] = "APIVERSION/RESOURCES/NAME", ["apps/v1/deployments/"] = "APIVERSION/RESOURCES/NAME", [""] = "APIVERSION",
      ["apps/v1/deployments/Web"] = "no name of an object", ["a/b/c/d/e"] = "a/b/c", ["v1/a/b,v1/a/b,v1/a/b,v1/a/b,v1/a/b"] = "more than 4",
    }) do
      local output, code = posix.run({ e2e.program(), "run", "--owners", list })
      assert.equal(2, code, list)
      assert(output:find(word, 1, true), output)
    end
  end)
end)
