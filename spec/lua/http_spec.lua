-- http:fetch: contents of URLs, as objects that the core puts.
local program = require("spec.support.program")

local FETCH = 10
local SOURCE = [[
local both = shared("both", function()
  return { text = http:fetch("https://a.test/shared", { interval = "1h" }) or "none" }
end)
each(resources.things, "thing", function(thing, out)
  for _, url in ipairs(thing.urls or {}) do
    local text, why = http:fetch(url, thing.options)
    out:map_entry("texts.map", thing.metadata.name .. url, text or "none: " .. why)
  end
  if thing.uses_shared then out:map_entry("shared.map", thing.metadata.name, both().text) end
  if thing.fail then fail("as told") end
end)
]]

local function engine(source)
  local e = program.engine({ libraries = false, kinds = { { name = "things", parts = 2 }, { name = "fetched", parts = 1 },
    { name = "secrets", parts = 2 } }, scripts = { { name = "t.lua", source = source or SOURCE } } })
  return e
end

local function thing(name, fields)
  local o = { metadata = { name = name, namespace = "ns" } }
  for k, v in pairs(fields or {}) do o[k] = v end
  return o
end

local cjson = require("cjson")

local function put_fetched(e, name, fields)
  fields.metadata = { name = name }
  e.E.put("fetched", name, "", name, 0, cjson.encode(fields), fields.url)
end

--- The wishes that are put out: by their URL, as decoded JSON with the fragment's id.
local function wishes(e)
  local list = {}
  for id, f in pairs(e.host.fragments) do
    for _, c in ipairs(f.items) do
      if c.kind == FETCH then
        local wish = cjson.decode(c.text)
        wish.id, wish.fragment = c.key, id
        list[#list + 1] = wish
      end
    end
  end
  table.sort(list, function(a, b) return a.url .. a.credentials < b.url .. b.credentials end)
  return list
end

describe("http:fetch", function()
  it("asks once for all who want the same, and withdraws with the last of them", function()
    local e = engine()
    e:put("things", thing("a", { urls = { "https://a.test/x" } }))
    e:put("things", thing("b", { urls = { "https://a.test/x" } }))
    e:render()
    local list = wishes(e)
    assert.equal(1, #list)
    assert.same({ "https://a.test/x", "", 300, 10, 1048576 },
      { list[1].url, list[1].credentials, list[1].interval, list[1].timeout, list[1].max_bytes })
    assert.equal("ahttps://a.test/x none: not fetched yet\nbhttps://a.test/x none: not fetched yet\n",
      e:output().maps["texts.map"])
    put_fetched(e, list[1].id, { url = "https://a.test/x", credentials = "", content = "text", etag = '"1"' })
    local ran = e:render().ran
    assert.equal(3, #ran) -- both, and the wish, which keeps the content
    assert.equal("ahttps://a.test/x text\nbhttps://a.test/x text\n", e:output().maps["texts.map"])
    assert.same({ "text", '"1"' }, { wishes(e)[1].content, wishes(e)[1].etag })
    e:put("things", thing("a", {}))
    assert.same({}, e:render().gone)
    e:put("things", thing("b", {}))
    assert.same({ list[1].fragment }, e:render().gone)
    assert.same({}, wishes(e))
  end)

  it("runs only what reads the URL, also one that is not there", function()
    local e = engine()
    e:put("things", thing("a", { urls = { "https://a.test/x" } }))
    e:put("things", thing("b", { urls = { "https://a.test/y" } }))
    e:render()
    put_fetched(e, "other", { url = "https://a.test/z", credentials = "", content = "z" })
    assert.same({}, e:render().ran)
    put_fetched(e, "y", { url = "https://a.test/y", credentials = "", message = "the server answers 404" })
    assert.same({ "t.lua:thing/things/ns/b" }, e:render().ran)
    assert.matches("bhttps://a.test/y none: the server answers 404", e:output().maps["texts.map"], 1, true)
  end)

  it("keeps the wish of a fragment that fails, and of a shared value", function()
    local e = engine()
    e:put("things", thing("a", { urls = { "https://a.test/x" }, uses_shared = true }))
    e:render()
    assert.equal(2, #wishes(e))
    e:put("things", thing("a", { urls = { "https://a.test/x" }, uses_shared = true, fail = true }))
    e:render()
    assert.equal(2, #wishes(e))
    put_fetched(e, "s", { url = "https://a.test/shared", content = "for all" })
    e:put("things", thing("a", { uses_shared = true }))
    e:render()
    assert.equal("a for all\n", e:output().maps["shared.map"])
    assert.equal("https://a.test/shared", wishes(e)[1].url)
    assert.equal(1, #wishes(e))
    e:put("things", thing("a", {}))
    e:render()
    -- A shared value that nobody reads any more is forgotten when it would have to be computed anew.
    put_fetched(e, "s", { url = "https://a.test/shared", content = "for nobody" })
    e:render()
    assert.same({}, wishes(e))
  end)

  it("tells contents apart by whose credentials they were fetched with", function()
    local e = engine([[
each(resources.things, "thing", function(thing, out)
  local secret = resources.secrets:get("ns", thing.secret)
  local text = http:fetch("https://a.test/x", secret and { auth = { secret = secret, bearer = "token" } })
  out:map_entry("texts.map", thing.metadata.name, text or "none")
end)]])
    for _, name in ipairs({ "one", "two" }) do
      e:put("secrets", { kind = "Secret", metadata = { namespace = "ns", name = name },
        data = { token = "HapticSecret0c1d0c1d0c1d0c1d0c1d0c1d0c1d0c1dEnd" } })
      e:put("things", thing(name, { secret = name }))
    end
    e:put("things", thing("open", { secret = "nobody" }))
    e:render()
    local list = wishes(e)
    assert.same({ "", "ns/one:bearer:token", "ns/two:bearer:token" },
      { list[1].credentials, list[2].credentials, list[3].credentials })
    assert.same({ secret = "ns/one", bearer = "token" }, list[2].auth)
    assert.is_nil(cjson.encode(list):find("HapticSecret", 1, true))
    put_fetched(e, list[2].id, { url = "https://a.test/x", credentials = "ns/one:bearer:token", content = "of one" })
    e:render()
    assert.equal("one of one\nopen none\ntwo none\n", e:output().maps["texts.map"])
  end)

  it("refuses wrong arguments with what would be right", function()
    for call, message in pairs({
      ['http:fetch("ftp x")'] = "expected a URL without blanks",
      ['http.fetch("https://a.test")'] = 'write http:fetch(…) with a ":"',
      ['http:fetch("https://a.test", { intervall = "1s" })'] = 'did you mean "interval"?',
      ['http:fetch("https://a.test", { interval = 5 })'] = 'interval is a duration such as "30s", from 1s to 86400s',
      ['http:fetch("https://a.test", { max_bytes = 1e9 })'] = "max_bytes is a whole number from 1 to 2097152",
      ['http:fetch("https://a.test", { auth = { secret = {}, bearer = "x" } })'] = "auth.secret is a Secret",
      ['http:fetch("https://a.test/?key=hidden", { required = true })'] = "http:fetch: https://a.test/: not fetched yet",
    }) do
      local e = engine('fragment("f", function(out) ' .. call .. " end)")
      e:render()
      local failure = e.host.failures["t.lua:f"]
      assert.truthy(failure, call)
      assert.matches(message, failure, 1, true)
      assert.matches("t.lua:1: ", failure, 1, true)
    end
  end)

  it("says what to configure where nothing may be fetched", function()
    local e = program.engine({ libraries = false, kinds = {}, scripts = { { name = "t.lua",
      source = 'fragment("f", function(out) http:fetch("https://a.test") end)' } } })
    e:render()
    local failure = e.host.failures["t.lua:f"]
    assert.matches("add the beginning of the URL to templatingSettings.httpFetch.allow", failure, 1, true)
  end)
end)
