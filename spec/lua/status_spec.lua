-- What a fragment wishes for the status of objects.
local program = require("spec.support.program")

local STATUS = 6

--- An engine with one object of each kind; `body` is what the fragment of a thing does.
local function run(body, options)
  options = options or {}
  local e = program.engine({
    libraries = false,
    kinds = { { name = "things", parts = 2, status = true }, { name = "others", parts = 2, status = options.others },
      { name = "closed", parts = 2 } },
    scripts = { { name = "t.lua", source = options.source
      or "each(resources.things, 'x', function(thing, out)\n" .. body .. "\nend)" } },
  })
  e:put("things", { metadata = { namespace = "ns", name = "a" }, secret = options.secret })
  e:render()
  local _, failure = next(e.host.failures)
  local wishes = {}
  for _, f in pairs(e.host.fragments) do
    for _, c in ipairs(f.items) do
      if c.kind == STATUS then wishes[#wishes + 1] = c.scope .. "|" .. c.key .. "|" .. c.text end
    end
  end
  return wishes, failure
end

local CONDITION = "{ type = 'Ready', status = 'True', reason = 'Fine', message = '' }"

describe("a status", function()
  it("is a contribution for the owner, as JSON with its keys in order", function()
    local wishes, failure = run("out:status({ b = { 1, 2 }, a = 'x', conditions = { " .. CONDITION .. " } })")
    assert.is_nil(failure)
    assert.same({ '||{"a":"x","b":[1,2],"conditions":[{"message":"","reason":"Fine","status":"True","type":"Ready"}]}' },
      wishes)
  end)

  it("can be that of another object of a declared kind", function()
    assert.same({ "others|ns/b|{\"x\":1}" },
      (run("out:status({ x = 1 }, { kind = 'others', namespace = 'ns', name = 'b' })", { others = true })))
    assert.same({ "others|b|{\"x\":1}" }, (run("out:status({ x = 1 }, { kind = 'others', name = 'b' })", { others = true })))
    assert.matches("status of others may not be written: set watchedResources.others.statusPatch",
      select(2, run("out:status({ x = 1 }, { kind = 'others', name = 'b' })")))
    assert.matches("the object's name is missing", select(2, run("out:status({}, { kind = 'things' })")))
    assert.matches("namespce", select(2, run("out:status({}, { kind = 'things', name = 'b', namespce = 'ns' })")))
  end)

  it("needs an object", function()
    assert.matches("this fragment has no object of its own: name one",
      select(2, run(nil, { source = "fragment('x', function(out) out:status({ a = 1 }) end)" })))
    assert.matches('write out:status%(…%) with a ":"', select(2, run("out.status({ a = 1 })")))
    assert.matches("is a table of fields", select(2, run("out:status('x')")))
    assert.matches("is a table of fields", select(2, run("out:status({ 1, 2 })")))
  end)

  it("has no generation and no time in its conditions", function()
    for _, field in ipairs({ "observedGeneration = 1", "lastTransitionTime = 'now'" }) do
      assert.matches(field:match("%a+") .. " is set by the controller", select(2, run(
        "out:status({ conditions = { { type = 'A', status = 'True', reason = 'R', message = '', " .. field .. " } } })")))
    end
    assert.matches('condition "A": status is "True"', select(2, run("out:status({ conditions = { { type = 'A' } } })")))
    assert.matches("reason is one CamelCase word", select(2,
      run("out:status({ conditions = { { type = 'A', status = 'True', reason = 'a b' } } })")))
    assert.matches("a message is missing", select(2,
      run("out:status({ parents = { { conditions = { { type = 'A', status = 'True', reason = 'R' } } } } })")))
  end)

  it("never has the value of a Secret", function()
    local handle = "HapticSecret0123456789abcdef0123456789abcdefEnd"
    assert.matches("the value of a Secret cannot stand in a status",
      select(2, run("out:status({ a = { b = thing.secret } })", { secret = handle })))
  end)

  it("says which lists others write as well, and when ours is left out", function()
    local wishes, failure = run("out:status({ a = 1 }, nil, { alone = true, shared = { parents = { owner = 'by', value = 'us' }, "
      .. "conditions = { key = 'type' } } })")
    assert.is_nil(failure)
    assert.same({ '||{"$options":{"alone":true,"shared":{"conditions":{"key":"type"},"parents":{"owner":"by","value":"us"}}},"a":1}' },
      wishes)
    for options, message in pairs({
      ["{ alone = 1 }"] = "alone is true or false", ["{ alon = true }"] = 'did you mean "alone"', ["true"] = "the options are a table",
      ["{ shared = { 'parents' } }"] = "shared.1 is {owner =, value =} or {key =}",
      ["{ shared = { parents = { owner = 'by' } } }"] = "shared.parents is {owner =, value =} or {key =}",
      ["{ shared = { parents = { owner = 'by', value = 'us', key = 'x' } } }"] = "shared.parents is {owner =, value =} or {key =}",
      ["{ shared = { parents = { owners = 'by' } } }"] = 'did you mean "owner"',
      ["{ shared = (function() local t = {} for i = 1, 9 do t['l' .. i] = { key = 'k' } end return t end)() }"] = "more than 8 shared lists",
    }) do
      assert.matches(message, select(2, run("out:status({ a = 1 }, nil, " .. options .. ")")) or "nothing", 1, true)
    end
    -- Nobody gets options in by a field.
    assert.matches('a field does not begin with "$"', select(2, run("out:status({ ['$options'] = { alone = true } })")), 1, true)
  end)

  it("is wished once for an object by one fragment", function()
    assert.same(1, #(run("out:status({ a = 1 }) out:status({ a = 1 })")))
    assert.matches("wishes something else for the same object already", select(2, run("out:status({ a = 1 }) out:status({ a = 2 })")))
    assert.matches("is %d+ bytes long, more than the 65536", select(2, run("out:status({ a = ('x'):rep(70000) })")))
  end)

  it("may be asked for", function()
    assert.is_nil(select(2, run("assert(may_patch_status('things') and not may_patch_status('closed'))")))
  end)
end)
