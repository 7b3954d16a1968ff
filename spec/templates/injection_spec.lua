local cjson = require("cjson")
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")

local HOSTILE = {
  "a\nb", "a\r\nhttp-request deny", "a\n    http-request return status 200", 'a"b', "a'b", "a b", "a#b", "#", "a\\", "\\", "a\\\nb", "${HOME}", '"${HOME}"',
  "%[src]", "%[env(HOME)]", "a\0b", "\255\254", "\195\40", "{ path / }", "a,b)", "..", "../../x", "-f /etc/passwd", "--", "a\tb", "unix@/tmp/s",
  "*", "0", " ", "", "\n", ("x"):rep(1024 * 1024), "web check-ssl", "haptic_unavailable", "haptic_notfound", "p_0123", "base",
  "127.0.0.1", "2130706433", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254", "<<", "<<eof", "@1", "a;b", "show env; help", "-x", "a]b", "%%[src]",
}

local function objects()
  local ing = program.ingress("i", { annotations = { ["example.com/note"] = "x" }, rules = { { host = "h.example", paths = { { "/p", "Prefix", "web", "http" } } } } })
  ing.spec.defaultBackend = { service = { name = "web", port = { name = "http" } } }
  ing.spec.tls = { { hosts = { "h.example" }, secretName = "s" } }
  ing.metadata.labels = { l = "v" }
  local svc = program.service("web", { { name = "http", port = 80 } }, { type = "ClusterIP", externalName = "e.example" })
  local external = program.service("ext", { { name = "http", port = 80 } }, { type = "ExternalName", externalName = "e.example" })
  local ingress_ext = program.ingress("e", { rules = { { host = "e.example", paths = { { "/p", "Prefix", "ext", "http" } } } } })
  local slice = program.slice("web-1", "web", 8080, { { "10.0.0.1", pod = "web-0" }, { "10.0.0.2" } }, { port_name = "http" })
  slice.endpoints[1].hostname, slice.endpoints[1].nodeName, slice.endpoints[1].zone = "h", "n", "z"
  return { { "ingresses", ing }, { "ingresses", ingress_ext }, { "services", svc }, { "services", external }, { "endpoints", slice } }
end

local function copy(v)
  if type(v) ~= "table" then return v end
  local t = {}
  for k, x in pairs(v) do t[k] = copy(x) end
  return t
end

--- Call visit(set) for each string in a table: set(value) gives a copy of the whole with that string replaced.
local function each_string(whole, visit)
  local function walk(node, path)
    for k, v in pairs(node) do
      local here = {}
      for i, p in ipairs(path) do here[i] = p end
      here[#here + 1] = k
      if type(v) == "string" then
        visit(table.concat(here, "."), function(value)
          local changed = copy(whole)
          local at = changed
          for i = 1, #here - 1 do at = at[here[i]] end
          at[here[#here]] = value
          return changed
        end)
      elseif type(v) == "table" then
        walk(v, here)
      end
    end
  end
  walk(whole, {})
end

--- HAProxy's words of a line, by its own rules and not by the code under test.
local function words_of(line)
  local words, word, quote, i = {}, nil, nil, 1
  while i <= #line do
    local c = line:sub(i, i)
    if quote then
      if c == quote then quote = nil
      elseif c == "\\" and quote == '"' then
        i = i + 1
        word = word .. line:sub(i, i)
      else word = word .. c end
    elseif c == "'" or c == '"' then
      quote, word = c, word or ""
    elseif c == "\\" then
      i = i + 1
      word = (word or "") .. line:sub(i, i)
    elseif c == "#" then
      break
    elseif c == " " or c == "\t" then
      if word then words[#words + 1] = word end
      word = nil
    else
      word = (word or "") .. c
    end
    i = i + 1
  end
  assert(not quote, "a quote is not closed: " .. line:sub(1, 200))
  if word then words[#words + 1] = word end
  return words
end

local static
do
  local e = program.engine()
  e:render()
  static = {}
  for line in e:output().config:gmatch("[^\n]+") do static[line] = true end
end

--- All that the library may write for any Ingress, Service and EndpointSlice; backends: names that were declared.
local function check_structure(o, what)
  local backends = {}
  for line in o.config:gmatch("([^\n]*)\n") do
    assert.is_nil(line:find("[%z\1-\31\127]"), what)
    assert.is_true(#line < 1000, what)
    if line ~= "" and not static[line] then
      local w = words_of(line)
      local text = table.concat(w, " ")
      if w[1] == "backend" then
        assert.equal(4, #w, what .. ": " .. line)
        assert.equal("from base", w[3] .. " " .. w[4], what)
        assert.matches("^[%w_.:-]+$", w[2], nil, nil, what)
        backends[w[2]] = true
      else
        assert.equal("server", w[1], what .. ": " .. line)
        assert.matches("^[%w_.:-]+$", w[2], nil, nil, what)
        assert.is_true(text:find("^server %S+ [%w.-]+:%d+$") ~= nil or text:find("^server %S+ %[[%x:]+%]:%d+$") ~= nil
          or text:find("^server %S+ [%w.-]+:%d+ weight 0$") ~= nil
          or text:find("^server external [%w.-]+:%d+ resolvers default resolve%-prefer ipv4 init%-addr last,none$") ~= nil, what .. ": " .. line)
      end
    end
  end
  for name, text in pairs(o.maps) do
    for line in text:gmatch("([^\n]*)\n") do
      local key, value = line:match("^([^%s#]%S*) (%S+)$")
      assert.is_string(key, what .. ": " .. name .. ": " .. line:sub(1, 100))
      assert.is_nil(key:find("[%z\1-\31\127-\255]"), what)
      assert.is_true(backends[value] or static["backend " .. value .. " from base"] or false, what .. ": no backend " .. value)
    end
  end
end

describe("hostile strings", function()
  it("in any field of Ingress, Service and EndpointSlice stay in their place and harm nobody else", function()
    local neighbour = program.ingress("neighbour", { namespace = "other", rules = { { host = "n.example", paths = { { "/" } } } } })
    local e = program.engine({ checked = false })
    e:put("ingresses", neighbour)
    for _, o in ipairs(objects()) do e:put(o[1], o[2]) end
    e:render()
    local fields = 0
    for _, o in ipairs(objects()) do
      local id = program.id_of(o[2])
      each_string(o[2], function(path, set)
        fields = fields + 1
        for i, value in ipairs(HOSTILE) do
          local what = ("%s %s %s = hostile %d"):format(o[1], id, path, i)
          -- Identity and index are what the API server says they are; the document is what is hostile.
          local _, label = nil, "web"
          e.E.put(o[1], id, "default", o[2].metadata.name, 1000, cjson.encode(set(value)), "default", o[1] == "endpoints" and label or o[2].metadata.name)
          e:render()
          assert.is_nil(e.host.failures["ingress.lua:routes/ingresses/other/neighbour"], what)
          check_structure(e:output(), what)
          assert.matches("n.example/ other_web_80\n", e:output().maps["path-prefix.map"], nil, nil, what)
        end
        e:put(o[1], o[2])
      end)
    end
    assert.is_true(fields > 40, "only " .. fields .. " fields")
  end)

  it("all at once load into HAProxy", function()
    local e = program.engine({ checked = false })
    for i, value in ipairs(HOSTILE) do
      local n = 0
      for _, o in ipairs(objects()) do
        if o[1] == "ingresses" then
          each_string(o[2], function(_, set)
            n = n + 1
            local id = ("default/h-%d-%d"):format(i, n)
            e.E.put("ingresses", id, "default", id:sub(9), 1000, cjson.encode(set(value)), "default", id:sub(9))
          end)
        end
      end
    end
    e:render()
    local folder = haproxy.folder()
    finally(function() haproxy.remove(folder) end)
    haproxy.write(folder, e:output())
    for _, binary in ipairs(haproxy.binaries()) do
      local ok, words = haproxy.check(binary, folder)
      assert.is_true(ok, words)
    end
  end)
end)
