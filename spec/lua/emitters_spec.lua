local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")
local word = require("haptic.word")

local HOSTILE = {
  "plain", "two words", "tab\there", 'a"b', "a'b", "'", '"', "\\", "a\\", "\\ ", "#", "a#b", " #x", "$HOME", "${HOME}", '"${HOME}"', "%[src]", "%%",
  "{ path /x }", "}", "||", "!", "-f", "--", "a,b(c)", "\\x41", "\\n", "'; http-request deny #", "\195\164", "\255\254\128", ("x"):rep(2000),
}

--- An engine with one script and no libraries.
local function engine(source, options)
  options = options or {}
  options.libraries = false
  options.kinds = options.kinds or {}
  options.scripts = { { name = "t.lua", source = source } }
  return program.engine(options)
end

local function failure(source, options)
  local e = engine(source, options)
  e:render()
  local _, message = next(e.host.failures)
  return message
end

--- What a line looks like that is written with these words.
local function line(words, options)
  local e = engine("section('frontend f', {from=false}, function(b) b:line(" .. words .. ") end)", options)
  e:render()
  local _, message = next(e.host.failures)
  return message or e:output().config:match("frontend f from haptic_none\n    (.-)\n")
end

describe("words", function()
  it("are quoted only when they must be", function()
    assert.equal("bind :80", line("'bind', ':80'"))
    assert.equal("use_backend %[var(txn.x)] if { path -m found }",
      line("'use_backend', '%[var(txn.x)]', 'if', '{', 'path', '-m', 'found', '}'"))
    assert.equal("x 'a b' 1 true 0.5", line("'x', 'a b', 1, true, 0.5"))
    assert.equal([[x 'it'\''s']], line([['x', "it's"]]))
  end)

  it("that cannot be are errors that say which", function()
    assert.matches("t.lua:1: x: word 2 is empty", line("'x', ''"))
    assert.matches("x: word 2 is nil, which is no word", line("'x', nil"))
    assert.matches("x: word 3 is a table", line("'x', 1, {}"))
    assert.matches('x: word 2 has a control character, which no word can have: "a\\x0ab"', line("'x', 'a\\nb'"))
    assert.matches("word 2 has a control character", line("'x', 'a\\0b'"))
    assert.matches("word 2 has a control character", line("'x', 'a\\rb'"))
    assert.matches("word 2 is 9000 bytes long, more than the 8192", line("'x', ('a'):rep(9000)"))
    assert.matches("more than 64 words", line("unpack({" .. ("'a',"):rep(65) .. "})"))
    assert.matches("no words", line(""))
    assert.matches("finite", line("'x', 0/0"))
  end)

  it("are understood by HAProxy as the bytes that were given", function()
    local lines = {}
    for i, s in ipairs(HOSTILE) do
      lines[i] = ("b:line('http-request', 'return', 'status', 200, 'content-type', 'text/plain', 'string', %q, 'if', '{', 'path', '/%d', '}')")
        :format(s, i):gsub("\\\n", "\\n")
      -- The same through a text template, in each state of a line.
    end
    local folder = haproxy.folder()
    finally(function() haproxy.remove(folder) end)
    local e = engine(("section('defaults base', function(b) b:line('mode', 'http') b:line('timeout', 'client', '5s') end)\n" ..
      "section('frontend f', function(b) b:line('bind', 'unix@%s/s')\n%s\nend)"):format(folder, table.concat(lines, "\n")))
    e:render()
    assert.same({}, e.host.failures)
    for _, binary in ipairs(haproxy.binaries()) do
      haproxy.write(folder, e:output())
      local pid = haproxy.start(binary, folder, folder .. "/s")
      for i, s in ipairs(HOSTILE) do
        local status, body = haproxy.get(folder .. "/s", "/" .. i)
        if status ~= 200 or body ~= s then
          haproxy.stop(pid)
          assert.equal(s, body, binary)
        end
      end
      haproxy.stop(pid)
      haproxy.sh("rm -f " .. folder .. "/s")
    end
  end)

  it("stay one word of a text template, whatever the quotes around", function()
    local rules = {}
    for i, s in ipairs(HOSTILE) do
      local shapes = { "{{ v(%d) }}", "x{{ v(%d) }}y", '"{{ v(%d) }}"', "'x{{ v(%d) }}'" }
      for j, shape in ipairs(shapes) do
        rules[#rules + 1] = ("http-request return status 200 content-type text/plain string %s if { path /%d/%d } # {{ v(%d) }} '")
          :format(shape:format(i), i, j, i)
      end
      rules[#rules + 1] = "# {{ v(" .. i .. ") }}"
      assert(s)
    end
    local folder = haproxy.folder()
    finally(function() haproxy.remove(folder) end)
    local text = "{% local t = context.hostile; local function v(i) return t[i] end %}\ndefaults base\n  mode http\n  timeout client 5s\n" ..
      "frontend f from base\n  bind unix@" .. folder .. "/s\n  " .. table.concat(rules, "\n  ") .. "\n"
    local values = {}
    for i, s in ipairs(HOSTILE) do values[i] = s end
    -- JSON cannot carry what is no UTF-8.
    for i, s in ipairs(values) do
      if s:find("\255") then values[i] = "\195\191" end
    end
    local e = engine("", { haproxyConfig = text, context = { hostile = values } })
    e:render()
    assert.same({}, e.host.failures)
    haproxy.write(folder, e:output())
    local pid = haproxy.start("haproxy", folder, folder .. "/s")
    finally(function()
      haproxy.stop(pid)
      haproxy.remove(folder)
    end)
    for i, s in ipairs(values) do
      for j, around in ipairs({ "%s", "x%sy", "%s", "x%s" }) do
        local _, body = haproxy.get(folder .. "/s", ("/%d/%d"):format(i, j))
        assert.equal((around:gsub("%%s", function() return s end)), body)
      end
    end
  end)

  it("know the state of a line", function()
    for _, case in ipairs({
      { "a b", "plain" }, { 'a "b', "weak" }, { 'a "b"', "plain" }, { "a 'b", "strong" }, { "a 'b\\", "strong" }, { "a # b", "comment" },
      { "a # b\n", "plain" }, { 'a \\" b', "plain" }, { '"\\"', "weak" }, { "\"'", "weak" }, { "'\"", "strong" }, { "a \\# b", "plain" },
    }) do
      assert.equal(case[2], word.advance("plain", case[1]), case[1])
    end
  end)
end)

describe("emitters", function()
  it("refuse names that are none", function()
    for _, name in ipairs({ "", "a b", "a\nb", "#x", "a'", "../x", "-x", ("x"):rep(300) }) do
      assert.matches("is no valid name", failure(("fragment('f', function(out) out:backend(%q, function() end) end)"):format(name)))
    end
    assert.matches("no valid file name", failure("fragment('f', function(out) out:map_entry('../m', 'a', 'b') end)"))
    assert.matches("no valid file name", failure("fragment('f', function(out) out:file('a/b', 'x') end)"))
    assert.matches("no valid header", failure("fragment('f', function(out) out:section('frontend a\\nb', function() end) end)"))
    assert.matches("has no name", failure("fragment('f', function(out) out:section('frontend', function() end) end)"))
  end)

  it("keep map entries whole", function()
    for _, case in ipairs({ { "a b", "v" }, { "a\tb", "v" }, { "a\nb", "v" }, { "#a", "v" }, { "", "v" }, { "a", "" }, { "a", "v\nw" }, { "a", " v" },
      { "a\0", "v" }, { ("a"):rep(9000), "v" } }) do
      assert.matches("t.lua:1: map_entry: ", failure((("fragment('f', function(out) out:map_entry('m', %q, %q) end)")
        :format(case[1], case[2]):gsub("\\\n", "\\n"))))
    end
  end)

  it("write servers", function()
    local e = engine([[fragment('f', function(out) out:backend('b', { from = false }, function(b)
      b:server({ name = 'a', address = '10.0.0.1', port = 80 })
      b:server({ name = 'b', address = 'fd00::1', port = '8080', weight = 5, 'check', 'inter', '2s' })
      b:server({ name = 'c', address = 'x.example', port = 80, drain = true, weight = 7 })
    end) end)]])
    e:render()
    assert.matches("server a 10.0.0.1:80\n    server b %[fd00::1%]:8080 weight 5 check inter 2s\n    server c x.example:80 weight 0\n", e:output().config)
    for _, server in ipairs({ "{ name = 'a b', address = '1.2.3.4', port = 1 }", "{ name = 'a', address = '1.2.3.4 x', port = 1 }",
      "{ name = 'a', address = '1.2.3.4', port = 0 }", "{ name = 'a', address = '1.2.3.4', port = 70000 }", "{ name = 'a', address = '/tmp/s', port = 1 }",
      "{ name = 'a', address = '1.2.3.4', port = 1, weight = 300 }", "{ name = 'a', address = '1.2.3.4', port = 1, 'a\\nb' }", "nil" }) do
      assert.is_string(failure("fragment('f', function(out) out:backend('b', function(b) b:server(" .. server .. ") end) end)"), server)
    end
  end)

  it("make patterns of a condition data", function()
    assert.equal("acl a hdr(host) -i -- -f x", (function()
      local e = engine("section('frontend f', {from=false}, function(b) b:acl('a', {'hdr(host)', '-i'}, '-f', 'x') end)")
      e:render()
      return e:output().config:match("\n    (acl.-)\n")
    end)())
  end)

  it("let comments quote anything", function()
    local e = engine("section('frontend f', {from=false}, function(b) b:comment('a\\nhttp-request deny\\r\\0') end)")
    e:render()
    assert.matches("    # a http%-request deny  \n", e:output().config)
  end)

  it("give raw text only where it is allowed", function()
    local source = "section('frontend f', {from=false}, function(b) b:raw('bind :80\\n  option httplog') end)"
    local e = engine(source)
    e:render()
    assert.matches("    bind :80\n    option httplog\n", e:output().config)
    assert.matches("t.lua:1: raw: raw text is switched off", failure(source, { allowRaw = false }))
  end)

  it("put into a profile what distinguishes a backend", function()
    local e = engine([[
      section('defaults base', function(b) b:line('mode', 'http') b:line('timeout', 'server', '1s') b:line('timeout', 'connect', '1s')
        b:line('timeout', 'client', '1s') end)
      section('frontend f', function(b) b:line('bind', 'unix@/tmp/never-bound') b:line('default_backend', 'a') end)
      local function backend(out, name, balance, address, more)
        out:backend(name, function(b)
          b:line('balance', balance)
          b:line('acl', 'x', 'path', '/x')
          b:line('http-request', 'deny', 'if', 'x')
          b:server({ name = 's', address = address, port = 80 })
          if more then b:line('use-server', 's', 'if', 'x') end
        end)
      end
      fragment('f', function(out)
        backend(out, 'a', 'leastconn', '10.0.0.1')
        backend(out, 'b', 'leastconn', '10.0.0.2')
        backend(out, 'c', 'source', '10.0.0.3')
        backend(out, 'd', 'leastconn', '10.0.0.4', true)
        out:backend('e', { profile = false }, function(b) b:line('balance', 'leastconn') end)
        out:backend('g', function(b) b:server({ name = 's', address = '10.0.0.5', port = 80 }) end)
      end)]])
    e:render()
    assert.same({}, e.host.failures)
    local config = e:output().config
    local profile = config:match("backend a from (p_%x+)\n    server s 10.0.0.1:80\n\n")
    assert.is_string(profile, config)
    assert.matches("backend b from " .. profile .. "\n    server s 10.0.0.2:80\n\n", config)
    assert.matches("defaults " .. profile .. " from base\n    balance leastconn\n    acl x path /x\n    http%-request deny if x\n", config)
    assert.not_matches("backend c from " .. profile, config)
    -- A line that may refer to the rules keeps them in the backend.
    assert.matches("backend d from p_%x+\n    acl x path /x\n    http%-request deny if x\n    server s 10.0.0.4:80\n    use%-server s if x\n", config)
    assert.matches("backend e from base\n    balance leastconn\n", config)
    assert.matches("backend g from base\n    server s 10.0.0.5:80\n", config)
    local folder = haproxy.folder()
    finally(function() haproxy.remove(folder) end)
    haproxy.write(folder, e:output())
    for _, binary in ipairs(haproxy.binaries()) do
      local ok, words = haproxy.check(binary, folder)
      assert.is_true(ok, words)
    end
  end)

  it("merge what is equal and refuse what is not", function()
    assert.is_nil(failure("fragment('f', function(out) for _ = 1, 2 do out:backend('b', function(b) b:line('balance', 'source') end) end end)"))
    assert.matches("t.lua:1: section \"backend b\": piece \"body\" is emitted twice",
      failure("fragment('f', function(out) for i = 1, 2 do out:backend('b', function(b) b:line('id', i) end) end end)"))
    local e = engine("fragment('f', function(out) for i = 1, 40 do out:map_entry('m', 'k' .. i, 'v') end " ..
      "if out:map_entry('m', 'k7', 'w') == false and out:map_entry('m', 'k7', 'v') then out:map_entry('m', 'good', 'v') end end)")
    e:render()
    assert.matches("good v\n", e:output().maps.m)
  end)

  it("gather warnings by reason", function()
    local e = engine("fragment('f', function(out) out:warn('Bad', 'one') warn(nil, 'Bad', 'two') out:warn('Bad', 'one') out:warn('Other', 'a\\nb') end)")
    e:render()
    assert.same({ Bad = "one; two", Other = "a b" }, e:output().warnings[""])
    assert.matches("a reason is one CamelCase word", failure("fragment('f', function(out) out:warn('not a reason', 'x') end)"))
    -- What has no room is not left out silently.
    e = engine("fragment('f', function(out) for i = 1, 2000 do out:warn('Many', 'number ' .. i) end out:warn('Long', ('x'):rep(9000)) end)")
    e:render()
    local told = e:output().warnings[""]
    assert.matches("^number 1; number 2; .*; number %d+; and more$", told.Many)
    assert.is_true(#told.Many <= 4096 and #told.Long <= 4096)
  end)
end)

describe("a map's declaration", function()
  it("says how the owner of a lost key is told", function()
    local e = engine("fragment('f', function(out) out:map('a') out:map('b', { duplicate = 'DuplicatePath', means = 'host and path' }) "
      .. "out:map('c', { means = 'host' }) out:map('b') end)")
    e:render()
    assert.same({}, e.host.failures)
    assert.equal("", e:output().maps.b)
  end)

  it("is refused with words that are none", function()
    for _, opts in ipairs({ "{ duplicate = 'two words' }", "{ duplicate = 7 }", "{ means = 'a\\nb' }", "{ means = '' }", "'x'" }) do
      assert.matches("^t.lua:1: map: ", failure("fragment('f', function(out) out:map('m', " .. opts .. ") end)"))
    end
  end)
end)
