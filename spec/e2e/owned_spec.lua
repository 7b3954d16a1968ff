--- Objects that templates want to exist, before a real API server.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local LABEL, APPLIED = "haproxy-haptic.org/owned-by", "haproxy-haptic.org/applied"
local RULES = kube.rules_with(kube.rules({ "get", "list", "watch", "create", "update" }),
  { apiGroups = { "" }, resources = { "configmaps" },
    verbs = { "get", "list", "watch", "create", "patch", "delete" } })

--- Each Ingress with the annotation "note" wants a ConfigMap, and reads it.
local SCRIPT = [[
each(resources.ingresses, "note", function(ing, out)
  local note = dig(ing, "metadata", "annotations", "note")
  if note == "fail" then fail("as told") end
  if not note then return end
  local name = dig(ing, "metadata", "annotations", "name") or "note-" .. ing.metadata.name
  out:object({ apiVersion = "v1", kind = "ConfigMap",
    metadata = { namespace = ing.metadata.namespace, name = name, labels = { app = "notes" } },
    data = { note = note, size = dig(ing, "metadata", "annotations", "size") } },
    { force = dig(ing, "metadata", "annotations", "force") == "yes" })
  local made = resources.configmaps:get(ing.metadata.namespace, name)
  out:map_entry("notes.map", name, made and made.data.note or "none")
end)
]]

describe("objects that templates want", function()
  local world = e2e.world("owned", { routes = { { "one", "198.18.0.1" } }, clients = { "a" }, rules = RULES })
  local admin, scope, haptic

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  before_each(function() scope = world:open() end)
  after_each(function() world:close() end)

  local function start(more)
    local options = { kubeconfig = world:kubeconfig("a"), name = "a", config = e2e.config({
      watchedResources = { configmaps = { apiVersion = "v1", resources = "configmaps", owned = true,
        labelSelector = LABEL } },
      templateSnippets = { ["notes.lua"] = { template = SCRIPT } } }) }
    for key, value in pairs(more or {}) do options[key] = value end
    haptic = scope:haptic(options)
    return haptic:wait_ready()
  end

  local function annotate(annotations)
    for _, key in ipairs({ "note", "name", "size", "force" }) do
      annotations[key] = annotations[key] or cjson.null
    end
    admin:patch("Ingress", "one", { metadata = { annotations = annotations } })
  end

  local function config_map(name) return admin:get("ConfigMap", name or "note-one") end

  local function wait_note(wanted, name)
    return scope:wait_for("the note " .. tostring(wanted), 20, function()
      local map = config_map(name)
      if wanted == nil then return map == nil, map and cjson.encode(map.data) end
      return map and map.data.note == wanted and map, map and cjson.encode(map.data)
    end)
  end

  local function wait_event(reason, text, name)
    scope:wait_for("the event " .. reason, 20, function()
      for _, event in ipairs(admin:list("Event")) do
        if event.reason == reason and event.involvedObject.name == (name or "one")
          and (event.message or event.note):find(text, 1, true) then
          return true
        end
      end
    end)
  end

  it("are made, read, changed, put right, and go with the last wish, but never another's", function()
    annotate({ note = "hello", size = "large" })
    start()
    local made = wait_note("hello")
    assert.equal("notes", made.metadata.labels.app)
    assert.is_string(made.metadata.labels[LABEL])
    assert.is_string(made.metadata.annotations[APPLIED])
    scope:wait_for("the note in the map", 10, function()
      local answer = haptic:get("/debug/maps/notes.map")
      return answer and answer.body == "note-one hello\n"
    end)
    -- A field that is not wished any more goes; one of others stays.
    admin:patch("ConfigMap", "note-one", { data = { theirs = "kept" } })
    annotate({ note = "hello again" })
    local changed = wait_note("hello again")
    assert.is_nil(changed.data.size)
    assert.equal("kept", changed.data.theirs)
    assert.equal(made.metadata.uid, changed.metadata.uid)
    -- What is level is not written again.
    posix.sleep(1)
    assert.equal(2, haptic:metric("haptic_owned_writes_total", { result = "written" }))
    -- Deleted by somebody: made again.
    admin:delete("ConfigMap", "note-one")
    scope:wait_for("it to be made again", 20, function()
      local map = config_map()
      return map and map.metadata.uid ~= made.metadata.uid
    end)
    -- A template that fails goes on wanting it.
    annotate({ note = "fail" })
    haptic:wait_log("as told")
    posix.sleep(1.5)
    assert.is_truthy(config_map())
    -- Nobody's wish, and another name.
    annotate({ note = "moved", name = "note-two" })
    wait_note("moved", "note-two")
    wait_note(nil)
    assert.equal(1, haptic:metric("haptic_owned_deletions_total", { result = "deleted" }))
  end)

  it("are told to the owner where somebody else has the object or a field, or the server refuses", function()
    admin:put({ apiVersion = "v1", kind = "ConfigMap", metadata = { name = "theirs" }, data = { note = "theirs" } })
    annotate({ note = "ours", name = "theirs" })
    start()
    haptic:wait_log("an object of this name exists, and it is not this controller's")
    wait_event("ObjectConflict", "not this controller's")
    assert.equal("theirs", config_map("theirs").data.note)
    -- A field that another manager has applied.
    annotate({ note = "first" })
    wait_note("first")
    assert.equal(200, (admin:call("PATCH", admin:path("ConfigMap", "default", "note-one") .. "?fieldManager=other&force=true",
      { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "note-one" }, data = { note = "other" } },
      "application/apply-patch+yaml")))
    haptic:wait_log("conflict.*other", 20)
    assert.equal("other", config_map().data.note)
    annotate({ note = "first", force = "yes" })
    wait_note("first")
    -- A name that no object can have.
    annotate({ note = "x", name = "UPPER" })
    wait_event("ObjectRefused", "UPPER")
  end)

  it("are one for a name: the owner of another wish for it is told", function()
    annotate({ note = "older", name = "both" })
    local two = kube.ingress({ name = "two", host = "two.example", paths = { { path = "/", service = "one" } } })
    two.metadata.annotations = { note = "younger", name = "both" }
    posix.sleep(1.1) -- creationTimestamp has seconds
    admin:put(two)
    start()
    wait_note("older", "both")
    wait_event("DuplicateKey", "configmaps default/both is also wanted by ingresses default/one", "two")
    -- It counts when the older one is gone.
    annotate({})
    wait_note("younger", "both")
    admin:delete("Ingress", "two")
    wait_note(nil, "both")
  end)

  it("stay over a restart with a template that fails, and orphans of an earlier process go", function()
    annotate({ note = "kept" })
    start()
    local made = wait_note("kept")
    haptic:stop()
    annotate({ note = "fail" })
    local directory = haptic.directory
    start({ directory = directory })
    posix.sleep(2)
    assert.equal(made.metadata.uid, config_map().metadata.uid)
    haptic:stop()
    -- Without the file "accepted", and nothing that fails: nobody wants it.
    annotate({})
    start()
    wait_note(nil)
  end)

  it("need a kind that is declared, and a manifest without what the controller sets", function()
    annotate({ note = "x" })
    local function failing(script, message)
      local config = e2e.config({ watchedResources = { configmaps = { apiVersion = "v1", resources = "configmaps",
        owned = true, labelSelector = LABEL } }, templateSnippets = { ["own.lua"] = { template = script } } })
      haptic = scope:haptic({ kubeconfig = world:kubeconfig("a"), name = "a", config = config })
      haptic:wait_log(message, 20)
      haptic:stop()
    end
    failing([[fragment("f", function(out)
      out:object({ apiVersion = "v1", kind = "Service", metadata = { namespace = "default", name = "x" } })
    end)]], "own.lua:2: object: .+ is no kind that templates may create")
    failing([[fragment("f", function(out)
      out:object({ apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = "x",
        labels = { ["haproxy-haptic.org/owned-by"] = "me" } } })
    end)]], "is set by the controller")
  end)
end)
