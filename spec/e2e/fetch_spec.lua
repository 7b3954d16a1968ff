--- Contents of URLs for templates: http:fetch.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

--- A map of the lines of a URL; `options` of http:fetch as Lua.
local function list_of(name, url, options)
  return ([[
fragment("%s", function(out)
  out:map("%s.map")
  local text, why = http:fetch("%s", %s)
  if not text then out:warn("NotFetched", why) end
  for line in (text or ""):gmatch("[^\n]+") do out:map_entry("%s.map", line, "listed") end
end)
]]):format(name, name, url, options or '{ interval = "1s" }', name)
end

describe("contents of URLs", function()
  local scope, source, haptic, folder, pages, port

  before_each(function()
    scope = e2e.scope("fetch")
    source = scope:manifests()
    source:write("class.yaml", kube.ingress_class())
    folder, port = scope:path("pages"), e2e.port()
    posix.run({ "mkdir", folder })
  end)

  after_each(function()
    scope:close()
  end)

  local function serve(...)
    pages = scope:spawn({ name = "pages", argv = { "python3", "spec/support/pages.py", tostring(port), folder, ... } })
    scope:wait_for("the server", 10, function()
      return posix.connect("127.0.0.1", port, posix.now() + 1)
    end)
  end

  local function page(name, text)
    posix.write_file(folder .. "/" .. name .. ".new", text)
    assert(os.rename(folder .. "/" .. name .. ".new", folder .. "/" .. name))
  end

  local function url(path, scheme)
    return ("%s://127.0.0.1:%d%s"):format(scheme or "http", port, path)
  end

  local function config(snippets, allow, kinds)
    local changes = { templateSnippets = {}, watchedResources = kinds,
      templatingSettings = { httpFetch = { allow = allow or { { url = url("/") } } } } }
    for name, text in pairs(snippets) do changes.templateSnippets[name .. ".lua"] = { template = text } end
    return e2e.config(changes)
  end

  local function start(options)
    options.source = source.path
    haptic = scope:haptic(options)
    return haptic:wait_ready()
  end

  local function map(name)
    local answer = haptic:get("/debug/maps/" .. name .. ".map")
    return answer and answer.status == 200 and answer.body or nil
  end

  local function wait_map(name, wanted, seconds)
    scope:wait_for(("the map %s to be %q"):format(name, wanted), seconds or 10, function()
      return map(name) == wanted, map(name)
    end)
  end

  local function state_of(path)
    for _, row in ipairs(haptic:state().fetched) do
      if row.url:find(path, 1, true) then return row end
    end
    return {}
  end

  local function wait_state(path, wanted, seconds)
    scope:wait_for(path .. " to be " .. wanted, seconds or 10, function()
      return state_of(path).state == wanted, http.encode(state_of(path))
    end)
  end

  local function requests(path)
    local list = {}
    for line in (posix.read_file(folder .. "/requests") or ""):gmatch("[^\n]+") do
      if line:find(path, 1, true) == 1 then list[#list + 1] = line end
    end
    return list
  end

  it("are in the first configuration, are followed, and go with the last wish", function()
    serve()
    page("list", "192.0.2.1\n")
    start({ config = config({ list = list_of("list", url("/list")) }) })
    assert.equal("192.0.2.1 listed\n", map("list"))
    scope:wait_for("a conditional request", 10, function() return requests("/list 304")[1] end)
    page("list", "192.0.2.2\n")
    wait_map("list", "192.0.2.2 listed\n")
    assert.equal("good", state_of("/list").state)
    assert.is_true(haptic:metric("haptic_http_fetches_total", { result = "unchanged" }) > 0)
    assert.equal(1, haptic:metric("haptic_http_urls", { state = "good" }))
    local fetched = haptic:get("/debug/fetched").body
    assert.matches('"kind":"FetchedURL"', fetched, 1, true)
    assert.matches("192.0.2.2", fetched, 1, true)
    -- Without the template nobody asks any more.
    posix.write_file(haptic.config_file, http.encode(config({})))
    scope:wait_for("no wish", 10, function() return #haptic:state().fetched == 0 end)
    local before = #requests("/list")
    posix.sleep(1.5)
    assert.equal(before, #requests("/list"))
  end)

  it("stay as they were while the server, its answer or the configuration is wrong, and over a restart", function()
    serve()
    page("list", "192.0.2.1\n")
    page("bad", "192.0.2.9")
    local snippets = { list = list_of("list", url("/list")), slow = list_of("slow", url("/slow"), '{ timeout = "1s" }'),
      huge = list_of("huge", url("/huge")), away = list_of("away", url("/away/http://127.0.0.2:1/x")),
      missing = list_of("missing", url("/nothing?key=hidden")), elsewhere = list_of("elsewhere", "https://example.com/x"),
      bad = ([[
section("frontend extra", { from = false }, function(b)
  b:line("mode", "http")
  b:line("http-request", "deny", "if", "{", "src", http:fetch("%s", { interval = "1s", required = true }), "}")
end)]]):format(url("/bad")) }
    start({ config = config(snippets) })
    assert.equal("192.0.2.1 listed\n", map("list"))
    wait_state("/slow", "missing")
    assert.matches("no whole answer in time", state_of("/slow").error, 1, true)
    assert.matches("larger than the 1048576 bytes", state_of("/huge").error, 1, true)
    assert.matches("may not be fetched: add its beginning to templatingSettings.httpFetch.allow",
      state_of("/away/").error, 1, true)
    assert.equal(404, state_of("/nothing").status)
    assert.equal("refused", state_of("example.com").state)
    assert.is_nil(haptic:log():find("hidden", 1, true))
    assert.is_nil(haptic:get("/debug/state").body:find("hidden", 1, true))
    -- A page that is no address any more.
    local accepted = haptic:get("/debug/config").body
    assert.matches("192.0.2.9", accepted, 1, true)
    page("bad", "no address")
    scope:wait_for("the quarantine", 10, function() return haptic:metric("haptic_quarantined_objects") == 1 end)
    assert.equal(accepted, haptic:get("/debug/config").body)
    page("bad", "192.0.2.9")
    scope:wait_for("its end", 10, function() return haptic:metric("haptic_quarantined_objects") == 0 end)
    -- The page is gone: the last one stays.
    os.remove(folder .. "/list")
    wait_state("/list", "stale")
    assert.equal("192.0.2.1 listed\n", map("list"))
    -- And over a start without the server.
    haptic:stop()
    pages:signal("KILL")
    pages:wait(5)
    haptic = scope:haptic({ source = source.path, directory = haptic.directory, config_file = haptic.config_file,
      http_port = haptic.http_port, status_port = haptic.status_port })
    haptic:wait_ready()
    assert.equal("192.0.2.1 listed\n", map("list"))
    assert.equal(accepted, haptic:get("/debug/config").body)
  end)

  it("are fetched by TLS with the authority that is named, and by nobody else's credentials", function()
    local authority, other = scope:authority("ours"), scope:authority("other")
    serve(authority:issue({ names = "IP:127.0.0.1" }))
    page("list", "192.0.2.1\n")
    page("token", "spec-token-4711")
    local secrets = { secrets = { apiVersion = "v1", resources = "secrets" } }
    source:write("secret.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default",
      name = "token" }, stringData = { token = "spec-token-4711\n" } })
    local snippets = {
      guarded = list_of("guarded", url("/guarded/list", "https"),
        '{ interval = "1s", auth = { secret = resources.secrets:get("default", "token"), bearer = "token" } }'),
      open = list_of("open", url("/guarded/list", "https")),
    }
    local allow = { { url = url("/", "https"), ca = posix.read_file(authority.crt) } }
    start({ config = config(snippets, allow, secrets) })
    assert.equal("192.0.2.1 listed\n", map("guarded"))
    assert.equal("", map("open"))
    assert.is_true(requests("/guarded/list 200")[1]:find("Bearer spec-token-4711", 1, true) ~= nil)
    for _, place in ipairs({ haptic:log(), haptic:get("/debug/state").body, haptic:get("/debug/fetched").body,
      haptic:get("/debug/dump").body }) do
      assert.is_nil(place:find("spec-token", 1, true))
    end
    -- Another authority, in the same file: the content that there is stays.
    allow[1].ca = posix.read_file(other.crt)
    posix.write_file(haptic.config_file, http.encode(config(snippets, allow, secrets)))
    scope:wait_for("the refusal of the certificate", 10, function()
      for _, row in ipairs(haptic:state().fetched) do
        if row.state == "stale" and row.error:find("SSL certificate", 1, true) then return true end
      end
    end)
    assert.equal("192.0.2.1 listed\n", map("guarded"))
    -- No longer allowed: it is not used either.
    allow[1].url = url("/elsewhere/", "https")
    posix.write_file(haptic.config_file, http.encode(config(snippets, allow, secrets)))
    wait_map("guarded", "")
    -- Allowed again: fetched anew.
    allow[1] = { url = url("/", "https"), ca = posix.read_file(authority.crt) }
    posix.write_file(haptic.config_file, http.encode(config(snippets, allow, secrets)))
    wait_map("guarded", "192.0.2.1 listed\n")
  end)

  it("are not to be had where nothing is allowed", function()
    start({ config = e2e.config({ templateSnippets = { ["list.lua"] = { template = list_of("list", url("/list")) } } }) })
    scope:wait_for("the failure", 10, function()
      local problem = haptic:state().problems[1]
      return problem and problem.message:find("nothing may be fetched; add the beginning of the URL", 1, true)
    end)
  end)
end)
