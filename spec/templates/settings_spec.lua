-- Settings: types, defaults, what is said about those that are wrong or unknown.
local program = require("spec.support.program")

--- What a program with these settings says: reason and message, sorted; then its configuration.
local function said(context, scripts, options)
  options = options or {}
  options.context, options.scripts = context, scripts
  local e = program.engine(options)
  e:render()
  assert.same({}, e.host.failures)
  local list = {}
  for _, f in pairs(e.host.fragments) do
    for _, item in ipairs(f.items) do
      if item.kind == 8 then list[#list + 1] = item.key .. ": " .. item.text end
    end
  end
  table.sort(list)
  return list, e:output().config
end

describe("a setting that is wrong", function()
  it("has its default, and that is said", function()
    local list, config = said({ http_port = "eighty", timeout_client = 5, threads = 0, log_level = "loud",
      trusted_proxies = { "10.0.0.0/8", "office" }, default_backend = "web", access_log = "False", maxconn = {} })
    assert.same({
      'InvalidSetting: extraContext.access_log must be true or false, not "False"; the default, true, is used',
      'InvalidSetting: extraContext.default_backend must be namespace/service:port, not "web"; it is left out',
      'InvalidSetting: extraContext.http_port must be a whole number from 1 to 65535, not "eighty"; the default, 8080, is used',
      'InvalidSetting: extraContext.log_level must be one of emerg, alert, crit, err, warning, notice, info, debug, not "loud"; the default, "info", is used',
      "InvalidSetting: extraContext.maxconn must be a whole number from 1 to 100000000, not a table; it is left out",
      "InvalidSetting: extraContext.threads must be a whole number from 1 to 4096, not 0; it is left out",
      "InvalidSetting: extraContext.timeout_client must be a duration with its unit, such as 5s, not 5; the default, \"60s\", is used",
      'InvalidSetting: extraContext.trusted_proxies must be a list of addresses or networks, such as 10.0.0.0/8, not "10.0.0.0/8, office"; it is left out',
    }, list)
    assert.truthy(config:find("bind :8080\n", 1, true))
    assert.truthy(config:find("timeout client 60s\n", 1, true))
    assert.truthy(config:find("option httplog\n", 1, true))
    assert.falsy(config:find("from_trusted_proxy", 1, true))
  end)

  it("of records names the record and its field", function()
    for _, case in ipairs({
      { { { name = "a", status = "maybe" } },
        'needs another status in number 1: it must be one of never, handover, own, not "maybe"' },
      { { { name = "a" }, { nane = "b" } }, 'has no field "nane" in number 2; did you mean "name"?' },
      { { { name = "a", defaults = { "x" } } }, "needs another defaults in number 1: it must be a table of names and texts, not \"x\"" },
      { "name=a b", 'must be a list of records with controller, defaults, name, status, not "name=a b"' },
      { { "a" }, 'must be a list of records with controller, defaults, name, status, not "a"' },
      { { { status = "own" } }, "must be a list of records with name or controller, not a list of tables" },
    }) do
      assert.same({ "InvalidSetting: extraContext.ingress_classes " .. case[2] .. "; it is left out" },
        (said({ ingress_classes = case[1] })))
    end
    assert.same({}, (said({ ingress_classes = "name=a status=never; controller=b.example/c" })))
  end)

  it("means the same as text and as a value", function()
    local typed = { http_port = 81, access_log = false, prometheus = false, trusted_proxies = { "10.0.0.0/8", "fd00::/8" },
      watch_without_class = false, http_bind = { ":80", "[::]:80" }, timeout_server = "90s" }
    local text = { http_port = "81", access_log = "false", prometheus = "false", trusted_proxies = "10.0.0.0/8, fd00::/8",
      watch_without_class = "false", http_bind = ":80,[::]:80", timeout_server = "1m30s" }
    local list, config = said(typed)
    assert.same({}, list)
    local other, same = said(text)
    assert.same({}, other)
    assert.equal(config, same)
    assert.falsy(config:find("option httplog", 1, true))
    assert.falsy(config:find("prometheus-exporter", 1, true))
    assert.truthy(config:find("bind [::]:80\n", 1, true))
    assert.truthy(config:find("acl from_trusted_proxy src -- 10.0.0.0/8 fd00::/8\n", 1, true))
  end)

  it("is told one by one up to a number", function()
    local context = {}
    for i = 1, 30 do context["setting_" .. i] = 1 end
    local list = said(context)
    assert.equal(21, #list)
    assert.equal("InvalidSetting: 10 more settings are wrong or unknown", list[1])
  end)
end)

describe("a name that nobody knows", function()
  it("is said, with the nearest", function()
    assert.same({
      'UnknownSetting: extraContext.acces_log is no setting, and no template reads it; did you mean "access_log"?',
      'UnknownSetting: extraContext.watchWithoutClass is no setting, and no template reads it; did you mean "watch_without_class"?',
    }, (said({ acces_log = false, watchWithoutClass = true })))
  end)

  it("is fine where a script or a text template reads it", function()
    assert.same({}, (said({ mine = 1 }, { { name = "mine.lua", source = "local x = context.mine" } })))
    assert.same({}, (said({ mine = 1 }, nil, { snippets = { ["global-300-x"] = "# {{ context.mine }}" } })))
    assert.equal(1, #said({ slice = 1 })) -- a word of the libraries is none of their settings
  end)
end)

describe("a script", function()
  it("declares settings of its own", function()
    local source = [[
      settings({ zone = { type = "enum", values = { "a", "b" }, default = "a" }, limit = { type = "size", default = "64k" } })
      fragment("x", function(out) out:map_entry("zones.map", context.zone, context.limit) end)
    ]]
    local e = program.engine({ context = { zone = "b" }, scripts = { { name = "mine.lua", source = source } } })
    e:render()
    assert.equal("b 65536\n", e:output().maps["zones.map"])
    local list = said({ zone = "c" }, { { name = "mine.lua", source = source } })
    assert.same({ 'InvalidSetting: extraContext.zone must be one of a, b, not "c"; the default, "a", is used' }, list)
  end)

  it("is told what is wrong with a declaration, with its line", function()
    for source, message in pairs({
      ['settings({ x = { type = "boolean" } })'] = 'mine.lua:1: settings: x: unknown type "boolean"; did you mean "bool"?',
      ['\nsettings({ x = { type = "bool", defualt = true } })'] = 'mine.lua:2: settings: x: unknown field "defualt"; did you mean "default"?',
      ['settings({ x = { type = "integer", default = "y" } })'] = 'mine.lua:1: settings: x: the default must be a whole number, not "y"',
      ['settings({ http_port = { type = "bool" } })'] = "mine.lua:1: settings: http_port is declared in base.lua already",
      ['settings({ ["a b"] = { type = "bool" } })'] = 'mine.lua:1: settings: a name is letters, digits and "_", got "a b"',
      ['settings(1)'] = "mine.lua:1: settings: expected a table of names and types",
      ['fragment("x", function() settings({}) end)'] = false,
    }) do
      local ok, e = pcall(program.engine, { scripts = { { name = "mine.lua", source = source } } })
      if message then
        assert.is_false(ok, source)
        assert.equal(message, e)
      else
        assert.is_true(ok, e)
      end
    end
  end)
end)
