--- Agents and controllers of two versions: each side works with the other one's former version.
---
--- HAPTIC_OLDER names the haptic of an earlier commit (git worktree add /tmp/older COMMIT, and the preset release there).

local e2e = require("support.e2e")
local kube = require("support.kube")

local OLDER = os.getenv("HAPTIC_OLDER")

describe("a fleet of two versions", function()
  local scope, manifests, identity, http_port, status_port, changes

  before_each(function()
    e2e.backends()
    scope = e2e.scope("versions")
    manifests = scope:manifests()
    identity = scope:fleet_identity()
    http_port, status_port, changes = e2e.port(), e2e.port(), 0
    manifests:write("class.yaml", kube.ingress_class())
  end)

  after_each(function() scope:close() end)

  --- A change arrives; so much of it that the bodies of newer controllers are packed.
  local function change(m)
    changes = changes + 1
    local address = "198.18.3." .. changes
    manifests:write("route.yaml", kube.route("moving", "moving.example", { address }))
    for i = 1, 40 do
      manifests:write("more" .. i .. ".yaml", kube.route("more" .. i, ("more%d-%d.example"):format(i, changes), { address }))
    end
    m:wait_answer("moving.example", address .. ":8001", 20)
    m:wait_answer(("more40-%d.example"):format(changes), address .. ":8001", 20)
  end

  for what, programs in pairs({
    ["an older agent"] = { agent = OLDER }, ["an older controller"] = { controller = OLDER },
  }) do
    it("works with " .. what, function()
      if not OLDER then
        pending("left out: HAPTIC_OLDER names no program of an earlier commit")
        return
      end
      local m = scope:member({ name = "member", identity = identity, series = "3.4", program = programs.agent })
      local h = scope:haptic({
        name = "controller", source = manifests.path, series = "3.4", http_port = http_port, status_port = status_port,
        program = programs.controller,
        config = e2e.config({
          templateSnippets = {
            ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' },
          },
        }),
        args = {
          "--haproxy", "fleet", "--members", m.url, "--fleet-ca", identity.authority.crt, "--fleet-cert",
          identity.controller_crt, "--fleet-key", identity.controller_key,
        },
      })
      h.supervises = false
      h:wait_ready()
      change(m)
      change(m)
      assert.equal(h:state().hash, m:state().digest)
      assert.equal(0, h:count_log("level=WARN.*[Mm]ember"))
    end)
  end
end)
