-- Silent mistakes of authors: each is an error with the template's line and, where there is one, the nearest name.
local program = require("spec.support.program")

--- The error that a script or snippets cause, at load or in a fragment.
local function mistake(source, options)
  options = options or {}
  options.scripts = { { name = "mine.lua", source = source } }
  local ok, e = pcall(program.engine, options)
  if not ok then return e end
  e:put("services", program.service("web"))
  e:put("ingressclasses", { metadata = { name = "haptic" }, spec = {} })
  e:render()
  local _, message = next(e.host.failures)
  return message
end

local function in_fragment(line) return 'fragment("f", function(out)\n' .. line .. "\nend)" end

local function in_backend(line)
  return in_fragment('out:backend("b", function(b) ' .. line .. " end)")
end

describe("a mistake", function()
  for name, case in pairs({
    ["an unknown option of section()"] = {
      'section("frontend http", { ordr = 1 }, function() end)',
      'mine.lua:1: section "frontend http": unknown field "ordr"; did you mean "order"?' },
    ["an unknown option of out:section()"] = {
      in_fragment('out:section("frontend x", { form = "base" }, function() end)'),
      'mine.lua:2: section "frontend x": unknown field "form"; did you mean "from"?' },
    ["an unknown option of out:backend()"] = {
      in_fragment('out:backend("x", { proflie = false }, function() end)'),
      'mine.lua:2: section "backend x": unknown field "proflie"; did you mean "profile"?' },
    ["an option without a name"] = {
      in_fragment('out:backend("x", { "base" }, function() end)'),
      'mine.lua:2: section "backend x": an option without a name: base' },
    ["an option of the wrong type"] = {
      in_fragment('out:backend("x", { profile = "no" }, function() end)'), 'mine.lua:2: section "backend x": profile is true or false' },
    ["options that are none"] = {
      in_fragment('out:backend("x", 5, function() end)'), 'mine.lua:2: section "backend x": expected a table of options, got a number' },
    ["an order that is no number"] = { in_fragment('out:section("frontend http", { order = "first" }, function() end)'),
      'mine.lua:2: section "frontend http": order must be a whole number from 0 to 1000000' },
    ["a rank of section()"] = { 'section("frontend http", { rank = -1 }, function() end)',
      'mine.lua:1: section "frontend http": rank must be a whole number from 0 to 1000000' },
    ["an unknown section"] = { in_fragment('out:section("fronted http", function() end)'),
      'mine.lua:2: section: no section of HAProxy is called "fronted"; did you mean "frontend"?' },
    ["an unknown section of section()"] = { '\nsection("fronted http", function() end)',
      'mine.lua:2: section: no section of HAProxy is called "fronted"; did you mean "frontend"?' },
    ["an unknown point"] = { '\nextend("defalts", 1, function() end)',
      'mine.lua:2: extend: nobody opens a point "defalts"; did you mean "defaults"?' },
    ["a point that is named only behind a longer word"] = {
      '-- reapply("defalts"), apply[[defalts]], apply "defalts\nextend("defalts", 1, function() end)',
      'mine.lua:2: extend: nobody opens a point "defalts"; did you mean "defaults"?' },
    ["an order number that is none"] = { 'extend("defaults", 0.5, function() end)',
      "mine.lua:1: extend: the order number is a whole number from 0 to 1000000" },
    ["a point twice"] = { 'point("defaults", "defaults base")', 'mine.lua:1: point: "defaults" is opened already' },
    ["get with a dot"] = { in_fragment('local x = resources.services.get("default", "web")'),
      'mine.lua:2: get: write resources.services:get(…) with a ":", not with a "."' },
    ["fetch with a dot"] = { in_fragment('local x = resources.services.fetch("default", "web")'),
      'mine.lua:2: fetch: write resources.services:fetch(…) with a ":", not with a "."' },
    ["list with a dot"] = { in_fragment("local x = resources.services.list()"),
      'mine.lua:2: list: write resources.services:list(…) with a ":", not with a "."' },
    ["get without a namespace"] = { in_fragment('local x = resources.services:get("web")'),
      "mine.lua:2: services:get: this kind has namespaces; write :get(namespace, name)" },
    ["get with a namespace where there is none"] = { in_fragment('local x = resources.ingressclasses:get("default", "haptic")'),
      "mine.lua:2: ingressclasses:get: this kind has no namespaces; write :get(name)" },
    ["a kind that is not watched"] = { in_fragment("local x = resources.servces:list()"),
      'mine.lua:2: the kind "servces" is not watched; did you mean "services"?' },
    ["a key that is nil, in a call in the place of a return"] = {
      'each(resources.services, "s", function(service, out)\n  local key = service.metadata.nothing\n'
        .. '  return out:map_entry("m.map", key, "v")\nend)', "mine.lua:3: map_entry: the key is nil, which is no word (services default/web)" },
    ["a wrong reason, in a call in the place of a return behind a loop"] = {
      in_fragment('for i = 1, 500 do out:map_entry("m.map", "k" .. i, "v") end\nreturn out:warn("bad", "x")'),
      'mine.lua:3: a reason is one CamelCase word, got "bad"' },
    ["annotation() of an object"] = { in_fragment('local v = annotation(resources.services:get("default", "web"), "a/b")'),
      'mine.lua:2: annotation: the first argument is a key, such as "haproxy-haptic.org/timeout-server"; the value that an object has '
        .. 'is dig(object, "metadata", "annotations", "KEY")' },
    ["a method of out as a global"] = { 'frontend("http", function() end)',
      "mine.lua:1: undeclared global 'frontend'; write section(\"frontend NAME\", …), or out:frontend(\"NAME\", …) in a function of "
        .. "each() or fragment()" },
    ["map_entry with a dot"] = { in_fragment('out.map_entry("m.map", "k", "v")'),
      'mine.lua:2: map_entry: write out:map_entry(…) with a ":", not out.map_entry(…)' },
    ["backend with a dot"] = { in_fragment('out.backend("b", function() end)'),
      'mine.lua:2: backend: write out:backend(…) with a ":", not out.backend(…)' },
    ["warn with a dot"] = { in_fragment('out.warn("Bad", "x")'), 'mine.lua:2: warn: write out:warn(…) with a ":", not out.warn(…)' },
    ["line with a dot"] = { in_backend('b.line("balance", "random")'), 'mine.lua:2: line: write b:line(…) with a ":", not b.line(…)' },
    ["server with a dot"] = { in_backend("b.server({})"), 'mine.lua:2: server: write b:server(…) with a ":", not b.server(…)' },
    ["path with a dot"] = { in_backend('b:line("acl", "x", "path", "-f", path.file("x"))'),
      'mine.lua:2: path: write path:file(…) with a ":", not with a "."' },
    ["an unknown field of a server"] = { in_backend('b:server({ name = "a", adress = "10.0.0.1", port = 1 })'),
      'mine.lua:2: server: unknown field "adress"; did you mean "address"?' },
    ["an unknown field beside right ones"] = {
      in_backend('b:server({ name = "a", address = "10.0.0.1", port = 1, wieght = 3 })'),
      'mine.lua:2: server: unknown field "wieght"; did you mean "weight"?' },
    ["out:status"] = { in_fragment("out:status({ x = 1 })"),
      "mine.lua:2: status: this fragment has no object of its own: name one, "
      .. "out:status(value, {kind = …, namespace = …, name = …})" },
    ["an unknown function"] = { 'fragmnt("f", function() end)', "mine.lua:1: undeclared global 'fragmnt'; did you mean 'fragment'?" },
    ["an unknown fragment to replace"] = { 'replace("ingress.lua:rutes", function() end)',
      'mine.lua:1: replace: there is no fragment "ingress.lua:rutes"; did you mean "ingress.lua:routes"?' },
    ["an unknown snippet"] = { in_backend('b:include("extar")'), 'mine.lua:2: include: there is no snippet "extar"; did you mean "extra"?',
      { snippets = { extra = "" } } },
    ["a snippet of an unknown point"] = { "", 'fronted-http-450-x:1: no template includes this snippet, and nobody opens a point'
      .. ' "fronted-http"; did you mean "frontend-http"?', { snippets = { ["fronted-http-450-x"] = "http-request deny" } } },
  }) do
    it("such as " .. name .. " is told", function() assert.equal(case[2], mistake(case[1], case[3])) end)
  end
end)

describe("no mistake", function()
  for name, case in pairs({
    ["a snippet that is included by its name"] = { in_backend('b:include("x-1-y")'), { snippets = { ["x-1-y"] = "" } } },
    ["a snippet of a point that a text template names"] = { "", { snippets = { ["x-1-y"] = "", top = '{% include_all("x-*") %}' } } },
    ["a point that a script applies"] = { 'extend("mine", 1, function() end)\n' .. in_backend('apply("mine", b, {})') },
    ["a point that is opened"] = { 'point("mine")\nextend("mine", 1, function() end)' },
    ["names of a cluster-scoped kind"] = { in_fragment('local x = resources.ingressclasses:get("haptic")') },
    ["a name with its namespace in it"] = { in_fragment('local x = resources.services:get("default/web")') },
  }) do
    it("is " .. name, function() assert.is_nil(mistake(case[1], case[2])) end)
  end
end)

describe("a kind without objects", function()
  it("is asked again when the first one comes", function()
    local e = program.engine({ scripts = { { name = "mine.lua", source = in_fragment('local x = resources.services:get("web")') } } })
    e:render()
    assert.same({}, e.host.failures)
    e:put("services", program.service("other"))
    e:render()
    assert.truthy(e.host.failures["mine.lua:f"]:find("this kind has namespaces", 1, true))
  end)
end)

describe("the points", function()
  local function config(options)
    local e = program.engine(options)
    e:render()
    assert.same({}, e.host.failures)
    return e:output().config
  end

  it("take what scripts and snippets add, in order", function()
    for point, header in pairs({ global = "global", defaults = "defaults base", ["frontend-http"] = "frontend http",
      ["frontend-status"] = "frontend status" }) do
      local text = config({
        scripts = { { name = "mine.lua", source = ('extend(%q, 950, function(b) b:line("maxconn", 1) end)\nextend(%q, 950, function(b) b:line("maxconn", 2) end)')
          :format(point, point) } },
        snippets = { [point .. "-960-a"] = "maxconn 3", [point .. "-970-b"] = "maxconn 4" },
      })
      local section = text:match("\n?(" .. header:gsub("%-", "%%-") .. "[^\n]*\n[ \n].-)\n%a") or text
      assert.truthy(section:find("maxconn 1\n    maxconn 2\n    maxconn 3\n    maxconn 4", 1, true), point .. "\n" .. section)
    end
  end)
end)
