local cjson = require("cjson")
local host = require("spec.support.host")
local program = require("spec.support.program")

local function engine(source, options)
  options = options or {}
  options.libraries = false
  options.kinds = options.kinds or { { name = "things", parts = 2 }, { name = "parts", parts = 2 } }
  options.scripts = options.scripts or { { name = "t.lua", source = source } }
  return program.engine(options)
end

local function thing(name, fields, namespace)
  local o = { kind = "Thing", metadata = { name = name, namespace = namespace or "ns" } }
  for k, v in pairs(fields or {}) do o[k] = v end
  return o
end

describe("limits of a fragment's output", function()
  --- The only failure of a rendering.
  local function failure(source, options)
    options = options or {}
    options.fragment_bytes = options.fragment_bytes or 10000
    local e = engine(source, options)
    e:put("things", thing("a"))
    e:render()
    local id, message = next(e.host.failures)
    assert.is_nil(next(e.host.failures, id))
    return message
  end

  it("stop each way of emitting at its line, and name the object", function()
    for _, call in ipairs({
      "out:map_entry('m', 'k' .. i, 'v')", "out:map('m' .. i)", "out:file('f' .. i, 'text')", "out:global('maxconn', i)",
      "out:backend('b' .. i, function(b) b:line('mode', 'http') end)", "out:section('peers p' .. i, function() end)",
    }) do
      local message = failure("each(resources.things, 't', function(_, out)\n  for i = 1, 1e9 do\n" .. call .. "\nend end)")
      assert.matches("^t.lua:3: the output of one fragment is larger than 10000 bytes %(things ns/a%)$", message)
    end
  end)

  it("stop lines without end within a section", function()
    for _, call in ipairs({
      "b:line('mode', 'http')", "b:server({ name = 's', address = '10.0.0.1', port = 80 })", "b:comment('c')", "b:raw('a b')",
      "b:acl('a', 'path', '/')", "b:include('lines')",
    }) do
      local message = failure("each(resources.things, 't', function(_, out) out:backend('b', function(b)\n  while true do\n"
        .. call .. "\nend end) end)", { snippets = { lines = "mode http\n" } })
      assert.matches("^t.lua:3: the output of one fragment is larger than 10000 bytes %(things ns/a%)$", message)
    end
  end)

  it("count the bodies that are not finished together", function()
    local message = failure("each(resources.things, 't', function(_, out) local function f(i)\n"
      .. "out:backend('b' .. i, function(b) b:line('x', ('y'):rep(3000)) f(i + 1) end) end f(1) end)")
    assert.matches("^t.lua:2: the output of one fragment", message)
  end)

  it("stop text without end, also in snippets", function()
    local endless = "a\n{% while true do %}\nb {{ 1 }}\n{% end %}"
    assert.matches("^haproxyConfig:[34]: the text is larger than the 10000 bytes", failure("", { haproxyConfig = endless }))
    assert.matches("^files/f:[34]: the text is larger", failure("", { files = { f = endless } }))
    assert.matches("^s:[34]: the text is larger", failure("", { maps = { m = "{% include('s') %}" }, snippets = { s = endless } }))
  end)

  it("leave alone what is within them, and each run anew", function()
    local e = engine("each(resources.things, 't', function(o, out) out:backend(o.metadata.name, function(b)\n"
      .. "for _ = 1, 100 do b:line('option', 'httplog') end end) end)", { fragment_bytes = 3000 })
    for _, name in ipairs({ "a", "b", "c" }) do e:put("things", thing(name)) end
    e:render()
    assert.same({}, e.host.failures)
  end)

  it("are not for a template to catch", function()
    local larger = "the output of one fragment is larger than 10000 bytes"
    for _, case in ipairs({
      { "pcall(out.map_entry, out, 'm', 'k' .. i, 'v')", larger },
      { "pcall(function() out:file('f' .. i, 'text') end)", larger },
      { "pcall(out.global, out, 'maxconn', i)", larger },
      { "out:backend('b', function(b) for _ = 1, 1000 do pcall(b.line, b, 'mode', 'http') end end)", larger },
      { "pcall(out.backend, out, 'b', function(b) while true do b:line('mode', 'http') end end)", larger },
      { "pcall(pcall, function() while true do pcall(error, 'x') out:warn('R' .. i, 'x') i = i + 1 end end)",
        "warnings and events for more than 100 reasons of one fragment" },
      { "pcall(warn, nil, 'R' .. i, 'x')", "more than 50 contributions of one fragment", contributions = 50 },
      { "pcall(out.map, out, 'm' .. i)", "more than 50 contributions of one fragment", contributions = 50 },
    }) do
      local message = failure("each(resources.things, 't', function(_, out)\n  for i = 1, 1000 do\n" .. case[1]
        .. "\nend\n out:map_entry('z', 'last', 'v')\n end)", { contributions = case.contributions })
      assert.equal("t.lua:3: " .. case[2] .. " (things ns/a)", message)
    end
  end)

  it("are not for a text template to catch", function()
    local swallows = "a b\n{% for i = 1, 2000 do pcall(function() %}\nb{{ i }} c\n{% end) end %}"
    assert.matches("^haproxyConfig:[34]: the text is larger than the 10000 bytes",
      failure("", { haproxyConfig = "global\n" .. swallows }))
    assert.matches("^maps/m:[23]: the text is larger", failure("", { maps = { m = swallows } }))
    assert.matches("^files/f:[23]: the text is larger", failure("", { files = { f = swallows } }))
    local message = failure("each(resources.things, 't', function(_, out) out:backend('b', function(b)\n"
      .. "pcall(b.include, b, 's') end) end)", { snippets = { s = swallows } })
    assert.matches("^s:[23]: the text is larger than the 10000 bytes of one fragment's output %(things ns/a%)$", message)
  end)

  it("leave the last good output in force", function()
    local e = engine("each(resources.things, 't', function(o, out) for i = 1, o.n do\n"
      .. "pcall(out.map_entry, out, 'm', 'k' .. i, 'v') end end)", { fragment_bytes = 10000 })
    e:put("things", thing("a", { n = 1 }))
    e:render()
    e:put("things", thing("a", { n = 2000 }))
    e:render()
    assert.matches("^t.lua:2: the output of one fragment", (select(2, next(e.host.failures))))
    assert.equal("k1 v\n", e:output().maps.m)
    e:put("things", thing("a", { n = 2 }))
    e:render()
    assert.same({}, e.host.failures)
    assert.equal("k1 v\nk2 v\n", e:output().maps.m)
  end)

  it("include memory, which runs out anywhere", function()
    local message = failure("each(resources.things, 't', function(_, out)\n"
      .. "pcall(error, 'not enough memory', 0) out:map_entry('m', 'k', 'v') end)")
    assert.equal("t.lua:2: not enough memory (things ns/a)", message)
  end)

  --- A fragment whose functions it can do without: its output.
  local function output(source, options)
    options = options or {}
    options.fragment_bytes = options.fragment_bytes or 10000
    local e = engine("fragment('t', function(out)\n" .. source .. "\nend)", options)
    e:render()
    assert.same({}, e.host.failures)
    return e:output()
  end

  it("count no section that its function's error ended", function()
    for _, ended in ipairs({
      "out:backend('b', function(b) b:line('x', ('y'):rep(3000)) error('no') end)",
      "out:backend('b', function(b) b:line('x', ('y'):rep(1500)) out:backend('c', function(c) c:line('x', ('y'):rep(1500))"
        .. " error('no') end) end)",
      "out:backend('b', { rank = -1 }, function(b) b:line('x', ('y'):rep(3000)) end)",
      "out:frontend('kept', { key = 'k', from = i }, function(b) b:line('x', ('y'):rep(3000)) end)",
      "local l = ('y'):rep(3000) local k = out:backend('b', function(b) kept[1] = b error('no') end)",
    }) do
      local o = output("local kept = {}\nout:frontend('kept', { key = 'k', from = 'base' }, function(b) b:line('k') end)\n"
        .. "for i = 1, 20 do assert(not pcall(function() " .. ended .. " end)) end\n"
        .. "if kept[1] then for _ = 1, 20 do assert(not pcall(kept[1].line, kept[1], ('y'):rep(3000))) end end\n"
        .. "out:backend('last', function(b) b:line('x', ('y'):rep(3000)) end)")
      assert.equal("frontend kept from base\n    k\n\nbackend last from base\n    x " .. ("y"):rep(3000) .. "\n\n", o.config)
    end
  end)

  it("count the lines of a section within which an error was caught, once", function()
    local source = "out:backend('b', { from = false }, function(b) for i = 1, 3 do pcall(function() b:line('x', ('y'):rep(2000))\n"
      .. "out:map_entry('m', 'k' .. i, 'v') out:section('peers p', function(p) p:line('z', ('y'):rep(2000)) error('no') end)\n"
      .. "end) end end)"
    local o = output(source)
    assert.equal("defaults haptic_none\n\nbackend b from haptic_none\n" .. ("    x " .. ("y"):rep(2000) .. "\n"):rep(3) .. "\n", o.config)
    assert.equal("k1 v\nk2 v\nk3 v\n", o.maps.m)
    assert.matches("^t.lua:2: the output of one fragment is larger than 6000 bytes$",
      failure("fragment('t', function(out) " .. source .. " end)", { fragment_bytes = 6000 }))
  end)

  it("count no snippet that was refused", function()
    local o = output("out:backend('b', { from = false }, function(b) for _ = 1, 20 do\n"
      .. "assert(not pcall(b.include, b, 's')) end b:line('last') end)",
      { snippets = { s = "x " .. ("y"):rep(3000) .. "\nfrontend f\n" } })
    assert.equal("defaults haptic_none\n\nbackend b from haptic_none\n    last\n\n", o.config)
  end)

  it("count no include that was ended by an error as one that goes deeper", function()
    local e = engine("", { snippets = { bad = "{% error('no') %}", good = "maxconn 5\n" },
      haproxyConfig = "global\n{% for _ = 1, 100 do pcall(include, 'bad') end %}\n{% include('good') %}" })
    e:render()
    assert.same({}, e.host.failures)
    assert.equal("global\n    maxconn 5\n\n", e:output().config)
  end)

  it("bound the number of contributions", function()
    local message = failure("each(resources.things, 't', function(_, out)\nfor i = 1, 1e9 do out:map_entry('m', 'k' .. i, 'v')"
      .. " end end)", { contributions = 50, fragment_bytes = 1e6 })
    assert.matches("^t.lua:2: more than 50 contributions of one fragment %(things ns/a%)$", message)
  end)
end)

local function configure_error(document)
  local E = require("haptic.engine")(host.new().api)
  return E.configure(type(document) == "string" and document or program.document(document))
end

describe("engine", function()
  it("says what is wrong with a program", function()
    assert.matches("no JSON", configure_error("{"))
    assert.matches("not an object", configure_error("1"))
    local function script(source) return configure_error({ libraries = false, scripts = { { name = "a.lua", source = source } } }) end
    assert.matches("^a.lua:2: ", script("\nlocal local"))
    assert.matches("^a.lua:1: the kind \"nothing\" is not watched; there are: endpoints, ingress", script("each(resources.nothing, 'x', function() end)"))
    assert.matches("^a.lua:2: there is a fragment a.lua:x already", script("fragment('x', function() end)\nfragment('x', function() end)"))
    assert.matches("^a.lua:3: replace: there is no fragment \"b.lua:x\"", script("\n\nreplace('b.lua:x', function() end)"))
    assert.matches("^a.lua:1: oh no", script("fail('oh no')"))
    assert.matches("^a.lua:1: use: no script before this one provides \"x\"", script("use('x')"))
    assert.matches("^s:2: ", configure_error({ libraries = false, snippets = { s = "\n{{ 1 1 }}" } }))
    assert.matches("^maps/m:1: ", configure_error({ libraries = false, maps = { m = "{{ 1 1 }}" } }))
    assert.matches("^haproxyConfig:1: ", configure_error({ libraries = false, haproxyConfig = "{{ 1 1 }}" }))
  end)

  it("keeps the program in force when a new one does not load", function()
    local e = engine("fragment('f', function(out) out:map_entry('m', 'a', 'b') end)")
    e:render()
    assert.is_true(e.E.configure("{") ~= "")
    assert.equal(0, e:render().run)
    assert.equal("a b\n", e:output().maps.m)
  end)

  it("keeps the snippets of the program in force, too", function()
    local e = engine("each(resources.things, 'x', function(o, out) out:backend('b', { from = false }, function(b) b:include('s') end) end)",
      { snippets = { s = "one\n" } })
    assert.matches("^t.lua:1: ", e.E.configure(program.document({ libraries = false, snippets = { s = "two\n" }, scripts = { { name = "t.lua", source = "local" } } })))
    e:put("things", thing("a"))
    e:render()
    assert.matches("backend b from haptic_none\n    one\n", e:output().config)
  end)

  it("takes objects over into a new program and renders all of it", function()
    local function document(value)
      return program.document({ libraries = false, kinds = { { name = "things", parts = 2 } }, scripts = { { name = "t.lua",
        source = "each(resources.things, 'x', function(o, out) out:map_entry('m', o.metadata.name, '" .. value .. "') end)" } } })
    end
    local h = host.new()
    local E = require("haptic.engine")(h.api)
    assert.equal("", E.configure(document("one")))
    E.put("things", "ns/a", "ns", "a", 1, cjson.encode(thing("a")), "ns", "a")
    assert.same({ true, 1, 1, false }, { E.render() })
    assert.same({ false, 0, 1, false }, { E.render() })
    assert.equal("", E.configure(document("two")))
    assert.same({ true, 1, 1, false }, { E.render() })
    assert.equal("a two\n", h:output().maps.m)
  end)

  it("runs a fragment again exactly when something it read has changed", function()
    local e = engine([[
      each(resources.things, "get", function(o, out)
        local other = o.other and resources.things:get("ns", o.other)
        out:map_entry("get", o.metadata.name, other and other.value or "absent")
      end)
      each(resources.things, "fetch", function(o, out)
        local n = 0
        for _, p in ipairs(resources.parts:fetch("ns", o.metadata.name)) do n = n + p.value end
        out:map_entry("sum", o.metadata.name, n)
      end)
      fragment("all", function(out) out:map_entry("count", "things", #resources.things:list()) end)
      fragment("namespace", function(out) out:map_entry("count", "parts", #resources.parts:fetch("ns")) end)
      fragment("nothing", function(out) out:map_entry("count", "one", 1) end)
    ]])
    local parts = function(o) return o.metadata.namespace, o.of end
    local function put_part(name, of, value, namespace)
      local o = thing(name, { of = of, value = value }, namespace)
      e.E.put("parts", program.id_of(o), o.metadata.namespace, name, 1, cjson.encode(o), parts(o))
    end
    local function ran()
      local r = e:render()
      for i, id in ipairs(r.ran) do r.ran[i] = id:gsub("^t.lua:", ""):gsub("/things/ns/", " ") end
      -- Checked mode repeats runs without a word to the host.
      assert.equal(#r.ran, r.run)
      return table.concat(r.ran, ", ")
    end
    e:put("things", thing("a", { other = "b" }))
    e:put("things", thing("c"))
    put_part("p1", "a", 1)
    assert.equal("all, namespace, nothing, get a, get c, fetch a, fetch c", ran())
    assert.equal("", ran())
    -- Equal content is no change.
    e:put("things", thing("c"))
    put_part("p1", "a", 1)
    assert.equal("", ran())
    -- An identity that was absent when it was read.
    e:put("things", thing("b", { value = "here" }))
    assert.equal("all, get a, get b, fetch b", ran())
    assert.equal("a here\nb absent\nc absent\n", e:output().maps.get)
    -- An index key, and the prefix of it; another namespace is neither.
    put_part("p2", "a", 5)
    assert.equal("namespace, fetch a", ran())
    assert.equal("a 6\nb 0\nc 0\n", e:output().maps.sum)
    put_part("p9", "a", 5, "other")
    assert.equal("", ran())
    -- An index key that found nothing.
    put_part("p3", "c", 7)
    assert.equal("namespace, fetch c", ran())
    -- An index value that changes: both keys.
    put_part("p3", "b", 7)
    assert.equal("namespace, fetch b, fetch c", ran())
    e:delete("things", "ns/b")
    assert.equal("all, get a", ran())
    assert.same({ "t.lua:fetch/things/ns/b", "t.lua:get/things/ns/b" }, e.host.gone_log)
    e:delete("parts", "ns/p1")
    assert.equal("namespace, fetch a", ran())
    e:delete("parts", "ns/unknown")
    assert.equal("", ran())
  end)

  it("does not send what has not changed", function()
    local e = engine("each(resources.things, 'x', function(o, out) out:map_entry('m', o.metadata.name, 'v') end)")
    e:put("things", thing("a", { n = 1 }))
    assert.same({ "t.lua:x/things/ns/a" }, e:render().sent)
    e:put("things", thing("a", { n = 2 }))
    local r = e:render()
    assert.equal(1, r.run)
    assert.same({}, r.sent)
  end)

  it("computes a shared value once, and asks its readers again only when it is another", function()
    local e = engine([[
      local limit = shared("limit", function()
        local t = resources.things:get("ns", "limit")
        return { value = t and t.value or 0 }
      end)
      local double = shared("double", function(name) return limit().value * 2 .. name end)
      each(resources.parts, "x", function(o, out) out:map_entry("m", o.metadata.name, double("x")) end)
    ]])
    for i = 1, 3 do e:put("parts", thing("p" .. i)) end
    e:put("things", thing("limit", { value = 1 }))
    assert.equal(3, e:render().run)
    e:put("things", thing("limit", { value = 1, note = "no matter" }))
    assert.equal(0, e:render().run)
    e:put("things", thing("limit", { value = 2 }))
    assert.equal(3, e:render().run)
    assert.equal("p1 4x\np2 4x\np3 4x\n", e:output().maps.m)
  end)

  it("lets a shared value fail for its readers only, until its reads change", function()
    local e = engine([[
      local v = shared("v", function()
        local t = resources.things:get("ns", "t")
        if not t then fail("no t") end
        return t.value
      end)
      fragment("a", function(out) out:map_entry("m", "a", v()) end)
      fragment("b", function(out) out:map_entry("m", "b", "1") end)
    ]])
    e:render()
    assert.same({ ["t.lua:a"] = "t.lua:3: no t" }, e.host.failures)
    e:put("things", thing("t", { value = "x" }))
    e:render()
    assert.same({}, e.host.failures)
    assert.equal("a x\nb 1\n", e:output().maps.m)
  end)

  it("says so when shared values go in a circle", function()
    local e = engine([[
      local b
      local a = shared("a", function() return b() end)
      b = shared("b", function() return a() end)
      fragment("f", function() a() end)
    ]])
    e:render()
    assert.matches("depends on itself", e.host.failures["t.lua:f"])
  end)

  it("reports a failure with file, line and object, and goes on with the others", function()
    local e = engine("each(resources.things, 'x', function(o, out)\n  out:map_entry('m', o.metadata.name, o.a.b.c)\nend)")
    e:put("things", thing("bad"))
    e:put("things", thing("good", { a = { b = { c = "v" } } }))
    e:render()
    assert.same({ ["t.lua:x/things/ns/bad"] = "t.lua:2: attempt to index field 'a' (a nil value) (things ns/bad)" }, e.host.failures)
    assert.equal("good v\n", e:output().maps.m)
    e:put("things", thing("good", { a = 1 }))
    e:render()
    assert.equal("good v\n", e:output().maps.m) -- what was good before stays
    e:put("things", thing("good", { a = { b = { c = "v" } } }))
    assert.same({ "t.lua:x/things/ns/good" }, e:render().sent) -- sent again: the failure is over
    assert.is_nil(e.host.failures["t.lua:x/things/ns/good"])
  end)

  it("takes any error value", function()
    local e = engine("fragment('a', function() error({}) end) fragment('b', function() error() end) fragment('c', function() error('x', 0) end)")
    e:render()
    assert.matches("an error that is a table", e.host.failures["t.lua:a"])
    assert.matches("an error that is a nil", e.host.failures["t.lua:b"])
    assert.matches("x", e.host.failures["t.lua:c"])
  end)

  it("leaves out a fragment that is to be skipped until its object changes", function()
    local e = engine("each(resources.things, 'x', function(o, out) out:map_entry('m', o.metadata.name, o.v or '0') end)")
    e.E.skip("t.lua:x/things/ns/a")
    e:put("things", thing("a"))
    e:put("things", thing("b"))
    local r = e:render()
    assert.same({ "t.lua:x/things/ns/b" }, r.ran)
    assert.matches("not run: it ended the renderer", e.host.failures["t.lua:x/things/ns/a"])
    e:put("things", thing("a", { v = "1" }))
    assert.same({ "t.lua:x/things/ns/a" }, e:render().ran)
    assert.equal("a 1\nb 0\n", e:output().maps.m)
  end)

  it("blames a template that changes an object, with the path", function()
    local e = engine("each(resources.things, 'x', function(o) o.spec.list[2] = 'changed' end)")
    e:put("things", thing("a", { spec = { list = { "x", "y" } } }))
    e:render()
    assert.matches("changed the object ns/a at spec.list%[2%]", e.host.failures["t.lua:x/things/ns/a"])
  end)

  it("finds changed objects in production by samples", function()
    local e = engine("each(resources.things, 'x', function(o) o.spec = 'changed' end)", { checked = false })
    for i = 1, 600 do e:put("things", thing("a" .. i, { spec = "x" })) end
    e:render()
    local _, message = next(e.host.failures)
    assert.matches("changed the object ns/a%d+ at spec", message)
  end)

  it("blames a template that is no pure function", function()
    local e = engine("local n = 0\nfragment('x', function(out) n = n + 1 out:map_entry('m', 'n', n) end)")
    e:render()
    assert.matches("differs when run a second time", e.host.failures["t.lua:x"])
  end)

  it("treats null as absent", function()
    local e = engine("each(resources.things, 'x', function(o, out) out:map_entry('m', 'x', tostring(o.a) .. tostring(o.b.c) .. #o.d) end)")
    e.E.put("things", "ns/a", "ns", "a", 1, '{"metadata":{"name":"a"},"a":null,"b":{"c":null},"d":[]}', "ns", "a")
    e:render()
    assert.equal("x nilnil0\n", e:output().maps.m)
  end)

  it("keeps index values with separators apart", function()
    local e = engine("fragment('x', function(out) out:map_entry('m', 'x', #resources.parts:fetch('a/b', 'c') .. #resources.parts:fetch('a', 'b/c')) end)")
    e.E.put("parts", "ns/p", "ns", "p", 1, "{}", "a/b", "c")
    e:render()
    assert.equal("x 10\n", e:output().maps.m)
  end)

  it("explains a line of a contribution", function()
    local e = engine([[
      fragment("f", function(out)
        out:backend("b", function(b)
          b:line("balance", "source")
          b:server({ name = "s", address = "10.0.0.1", port = 80 })
        end)
        out:map_entry("m", "k",
          "v")
      end)
    ]], { snippets = { ["frontend-http-10-x"] = "bind :80\n{% if true then %}\nbind :{{ 81 }}\n{% end %}\n" },
      haproxyConfig = "global\n  # c\n\n  maxconn {{ 5 }}\nfrontend http\n  {% include('frontend-http-10-x') %}\n" })
    e:render()
    assert.equal("t.lua:4", e.E.explain("t.lua:f", 0, "backend b", "body", 0))
    assert.matches("^t.lua:[67]$", e.E.explain("t.lua:f", 2, "m", "k", 0))
    assert.equal("haproxyConfig:4", e.E.explain("haproxyConfig:text", 0, "global", "body", 1))
    assert.equal("frontend-http-10-x:3", e.E.explain("haproxyConfig:text", 0, "frontend http", "body", 1))
    assert.equal("", e.E.explain("t.lua:f", 2, "m", "other", 0))
    assert.equal("", e.E.explain("unknown", 2, "m", "other", 0))
  end)

  it("explains where a section says what it is derived from", function()
    local from, e = 1, engine([[
      section("frontend a", { name = "a", from = "x" }, function(b) b:line("bind", ":1") end)
      fragment("f", function(out)
        out:section("frontend b", { from = "x" }, function(b) b:line("bind", ":2") end)
      end)
    ]], { haproxyConfig = "global\ndefaults\n  mode http\n\nfrontend c from x\n  bind :3\n" })
    e:render()
    assert.equal("t.lua:1", e.E.explain("t.lua:a", from, "frontend a", "from", 0))
    assert.equal("t.lua:3", e.E.explain("t.lua:f", from, "frontend b", "from", 0))
    assert.equal("haproxyConfig:5", e.E.explain("haproxyConfig:text", from, "frontend c", "from", 0))
  end)
end)

describe("scripts", function()
  it("extend points, replace fragments, provide to others", function()
    local e = engine(nil, {
      scripts = {
        { name = "a.lua", source = "provide('lib', { two = 2 }) fragment('f', function(out) out:backend('b', { from = false }, function(b) apply('backend', b, { n = 7 }) end) end)" ..
          " fragment('g', function(out) out:map_entry('m', 'g', 'a') end)" },
        { name = "b.lua", source = "extend('backend', 20, function(b, c) b:line('late', c.n * use('lib').two) end) extend('backend', 5, function(b) b:line('early') end)" ..
          " replace('a.lua:g', function(out) out:map_entry('m', 'g', 'b') end)" },
      },
      snippets = { ["backend-10-mid"] = "mid {{ args.n }}\n" },
    })
    e:render()
    assert.same({}, e.host.failures)
    assert.matches("backend b from haptic_none\n    early\n    mid 7\n    late 14\n", e:output().config)
    assert.equal("g b\n", e:output().maps.m)
  end)

  it("cannot register while they run", function()
    local e = engine("fragment('f', function() fragment('g', function() end) end)")
    e:render()
    assert.matches("t.lua:1: fragment is for the time a script loads", e.host.failures["t.lua:f"])
  end)
end)

describe("whole-file templates", function()
  local function render(text, options)
    options = options or {}
    options.haproxyConfig = text
    local e = engine("", options)
    e:render()
    local _, message = next(e.host.failures)
    return message or e:output()
  end

  it("become sections in the order of the text", function()
    local o = render("# head\nglobal\n  maxconn 5\n\ndefaults d # why\n  mode http\nfrontend z from d\n  bind :1\nbackend a from d\n")
    assert.equal("global\n    maxconn 5\n\ndefaults d\n    mode http\n\nfrontend z from d\n    bind :1\n\nbackend a from d\n\n", o.config)
  end)

  it("must be clear about where things belong", function()
    assert.matches("line 1 of the rendered configuration: \"maxconn 5\" is outside", render("maxconn 5\nglobal\n"))
    assert.matches("line 3 of the rendered configuration: a second section \"backend a\"", render("backend a\n\nbackend a\n"))
  end)

  it("include snippets, all of a point in the order of their numbers", function()
    local snippets = { ["f-100-a"] = "x {{ args.v }}\n", ["f-20-b"] = "y\n", ["f-zoo"] = "z\n", ["f2-1-c"] = "no\n" }
    assert.equal("global\n    y\n    x 'a b'\n    z\n\n", render("global\n{% include_all('f-*', { v = 'a b' }) %}{# include_all('f2-*') #}", { snippets = snippets }).config)
    assert.matches("haproxyConfig:2: include: there is no snippet \"nope\"", render("global\n{% include('nope') %}"))
    assert.matches("include: nested deeper than 40", render("global\n{% include('f') %}", { snippets = { f = "{% include('f') %}" } }))
    assert.matches("raw: raw text is switched off", render("global\n{{ raw('x') }}", { allowRaw = false }))
    assert.equal("global\n    a b\n\n", render("global\n{{ raw('a b') }}").config)
  end)

  it("fill maps and files", function()
    local e = engine("", { maps = { ["h.map"] = "# all\n{% for _, v in ipairs(context.v) do %}\n{{ v }}/x  be {{ v }}\n{% end %}\n", ["empty.map"] = "" },
      files = { ["e.http"] = "HTTP {{ context.v[1] }}\r\n\r\n<{{ \"it's # here\" }}>" }, context = { v = { "b", "a" } } })
    e:render()
    assert.same({}, e.host.failures)
    assert.same({ ["h.map"] = "a/x be a\nb/x be b\n", ["empty.map"] = "" }, e:output().maps)
    assert.same({ ["e.http"] = "HTTP b\r\n\r\n<it's # here>" }, e:output().files)
  end)

  it("refuse values that would break a map", function()
    for value, pattern in pairs({ ["a b"] = "has a blank", ["a\nb"] = "control character", ["#a"] = "begins with '#'" }) do
      local e = engine("", { maps = { m = "{{ context.v }} x" }, context = { v = value } })
      e:render()
      assert.matches("maps/m:1: .*" .. pattern, e.host.failures["maps/m:text"])
    end
  end)
end)

describe("helpers", function()
  local function value(expression)
    local e = engine("fragment('f', function(out) out:file('v', tostring(" .. expression .. ")) end)")
    e:render()
    local _, message = next(e.host.failures)
    return message or e:output().files.v
  end

  it("do what their names say", function()
    assert.equal("1,2,a,b", value("table.concat(keys({ b = 1, a = 2, 'x', 'y' }), ',')"))
    assert.equal("b1a2c", value("(function() local s = '' for _, v in ipairs(sort_by({ {k=2,v='a2'}, {k=1,v='b1'}, {v='c'} }, 'k')) do s = s .. v.v end return s end)()"))
    assert.equal("2", value("#group_by({ {k='x'}, {k='y'}, {k='x'}, {} }, 'k').x"))
    assert.equal("7", value("dig({ a = { { b = 7 } } }, 'a', 1, 'b')"))
    assert.equal("nil", value("dig({ a = 1 }, 'a', 'b')"))
    assert.equal("aGVsbG8=", value("b64encode('hello')"))
    assert.equal("hello", value("b64decode('aGVs\\nbG8=')"))
    assert.equal("nil", value("b64decode('a*')"))
    assert.equal('{"a":[1,2.5,true],"b":{},"c":"\\u0001\\/"}', value("json({ c = '\\1/', b = {}, a = { 1, 2.5, true } })"))
    assert.equal("2", value("json_decode('{\"a\":[1,2]}').a[2]"))
    assert.equal("a\\.b\\*\\\\", value("regex_escape('a.b*\\\\')"))
    assert.equal("%%[src]", value("format_escape('%[src]')"))
    assert.equal("maps/a.map files/b certs/c.pem", value("path:map('a.map') .. ' ' .. path:file('b') .. ' ' .. path:cert('c.pem')"))
    assert.matches("no valid file name", value("path:map('../x')"))
    assert.equal(host.digest("x"), value("hash('x')"))
    assert.equal("a|b", value("table.concat(('a,b'):split(','), '|')"))
    assert.equal("true false", value("tostring(watched('things')) .. ' ' .. tostring(watched('nothing'))"))
  end)

  it("round-trip Base64 of any bytes", function()
    local helpers = require("haptic.helpers")
    for n = 0, 260 do
      local bytes = {}
      for i = 1, n do bytes[i] = string.char((i * 37 + n) % 256) end
      local s = table.concat(bytes)
      assert.equal(s, helpers.b64decode(helpers.b64encode(s)))
    end
  end)
end)

describe("a fragment that protects", function()
  local SOURCE = [[
    each(resources.things, "route", function(o, out) out:map_entry("m", o.metadata.name, "b") end)
    each(resources.things, "auth", { guards = true }, function(o, out)
      if o.fail then fail(o.fail) end
      out:file(o.metadata.name, "auth")
    end)
  ]]
  local ID = "t.lua:auth/things/ns/a"

  local function guard_of(e, id)
    for _, c in ipairs((e.host.fragments[id] or { items = {} }).items) do
      if c.kind == 9 then return c.key .. " " .. c.text end
    end
  end

  it("says so first, with its output and without", function()
    local e = engine(SOURCE)
    e:put("things", thing("a", { fail = "no" }))
    e:put("things", thing("b", {}))
    assert.same({ ID, "t.lua:auth/things/ns/b", "t.lua:route/things/ns/a", "t.lua:route/things/ns/b" },
      e:render().ran)
    assert.is_nil(e.host.fragments[ID])
    assert.equal(ID .. " haptic_unavailable", guard_of(e, ID .. "#guard"))
    assert.equal("t.lua:auth/things/ns/b haptic_unavailable", guard_of(e, "t.lua:auth/things/ns/b"))
    e:put("things", thing("a", {}))
    e:render()
    assert.is_nil(e.host.fragments[ID .. "#guard"])
    assert.equal(ID .. " haptic_unavailable", guard_of(e, ID))
    e:put("things", thing("a", { fail = "again" }))
    e:render()
    assert.equal(ID .. " haptic_unavailable", guard_of(e, ID .. "#guard"))
    e:delete("things", "ns/a")
    e:render()
    assert.is_nil(e.host.fragments[ID])
    assert.is_nil(e.host.fragments[ID .. "#guard"])
  end)

  it("says so also when it is not run, because it ended the renderer", function()
    local e = engine(SOURCE)
    e:put("things", thing("a", {}))
    e.E.skip(ID)
    e:render()
    assert.equal(ID .. " haptic_unavailable", guard_of(e, ID .. "#guard"))
  end)

  it("names a backend, and has no other options", function()
    for _, case in ipairs({ { "{ guards = 'two words' }", "name of a backend" }, { "{ guards = 7 }", "name of a backend" },
      { "{ guard = true }", "there is no option .*guard.* did you mean guards" }, { "'x'", "expected resources.KIND" } }) do
      local ok, message = pcall(engine, "each(resources.things, 'x', " .. case[1] .. ", function() end)")
      assert.is_false(ok)
      assert.matches(case[2], message)
    end
  end)
end)

