--- annotations.lua — docs/annotations.md from the declarations.
--
--   luajit tools/annotations.lua [--check]      writes the page, or checks that it is up to date
package.path = "./?.lua;lua/?.lua;" .. package.path
local cjson = require("cjson")
local program = require("spec.support.program")

local PAGE, FAMILY, OWN = "docs/annotations.md", "haproxy.org", "haproxy-haptic.org"

local M = {}

--- The keys of families as the libraries declare them: a list for each prefix.
local function declared(prefixes)
  local kinds = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) }
  local e = program.engine({ kinds = kinds, context = { config_snippets = { "Ingress", "Service", "ConfigMap" } },
    capabilities = { version = "3.4", major = 3, minor = 4,
    default_certificate = "HapticSecret0123456789abcdef0123456789abcdefEnd" },
    scripts = { { name = "keys.lua", source = ([[fragment("keys", function(out)
      local all = {}
      for i, prefix in ipairs(%s) do all[i] = annotation_keys(prefix) end
      out:file("keys.json", json({ keys = all }))
    end)]]):format('{ "' .. table.concat(prefixes, '", "') .. '" }') } } })
  e:render()
  return unpack(cjson.decode(e:output().files["keys.json"]).keys)
end

--- The keys of a family as the libraries declare them.
function M.keys(family) return (declared({ family })) end

--- The keys that only our own prefix has. That it has those of the family as well needs no line for each.
function M.own_keys()
  local family, ours = declared({ FAMILY, OWN })
  local shared, own = {}, {}
  for _, k in ipairs(family) do shared[k.short .. " " .. table.concat(k.on, " ")] = true end
  for _, k in ipairs(ours) do
    if not shared[k.short .. " " .. table.concat(k.on, " ")] then own[#own + 1] = k end
  end
  return own
end

local function cell(text) return (tostring(text or ""):gsub("|", "\\|"):gsub("\n", " ")) end

local function code(text) return text and text ~= "" and "`" .. cell(text) .. "`" or "" end

--- A type in words.
local function type_of(k)
  local range = k.min and k.max and (" %s to %s"):format(k.min, k.max) or k.min and " from " .. k.min
    or k.max and " up to " .. k.max or ""
  if k.values then return table.concat(k.values, ", ") end
  if k.type == "switch" then return "true, false" end
  if k.type == "duration" then return "duration" .. range .. (k.unit and "; a plain number is " .. k.unit or "") end
  if k.type == "lines" then return "lines" end
  if k.type == "addresses" then
    return "addresses, networks" .. (k.references and ", `" .. k.references .. "NAME`" or "")
  end
  return k.type .. range
end

local NAMES = { Ingress = "I", Service = "S", ConfigMap = "C" }

local function kinds_of(k)
  local list = {}
  for _, kind in ipairs({ "Ingress", "Service", "ConfigMap" }) do
    for _, on in ipairs(k.on) do
      if on == kind then list[#list + 1] = NAMES[kind] end
    end
  end
  return table.concat(list, " ")
end

--- What needs a reload, and why.
local RELOADS = {
  { 'settings of the ConfigMap ("each value")',
    "HAProxy reads `global`, `defaults` and frontends only when it starts" },
  { "lines that no backend has had yet",
    "they become a `defaults` section, which backends need when they are added at runtime" },
  { "another list of users of crypt(3), a new pair of Secret and realm", "a new `userlist`, and a rule that names it" },
  { "the first user with `$apr1$`", "a script computes these hashes, and HAProxy loads scripts only when it starts" },
  { "`request-capture`, `src-ip-header`: a new expression or name", "it is part of a rule" },
  { "`route-acl`: a new condition, or another order of the conditions of a path", "it is a rule" },
  { "`server-ca`: another Secret, or other authorities in it; `server-crt`: another Secret",
    "HAProxy reads files of authorities only when it starts" },
  { "a port of `tcp_services`, a page of `error_files`, a member of `rate_limit_peers`",
    "HAProxy reads listeners, pages and peers only when it starts" },
  { "before 3.4: a new backend; before 3.0: added or removed servers", "HAProxy cannot add them at runtime" },
}

--- What other objects than annotations have.
local OBJECTS = {
  { "a port in its ConfigMap of TCP services", "the same, in the ConfigMap that `tcp_services` names" },
  { "a status in its ConfigMap of error files", "the same, in the ConfigMap that `error_files` names" },
  { "a name in its ConfigMap of pattern files", "a list of addresses, in the ConfigMap that `pattern_lists` names" },
  { "`tls.crt` and `tls.key` of a Secret", "the same" },
  { "`rsa.crt` and `rsa.key`, `ecdsa.crt` and `ecdsa.key` of one Secret",
    "the same: clients get the one whose type of key they know" },
  { "`dsa.crt` and `dsa.key`", "no effect, because clients do not accept DSA keys; an Event says so" },
}

--- A table of keys that have an effect.
local function add_table(add, list)
  add("| key | where | type | default | effect | HAProxy | needs a reload | tested by |")
  add("| --- | --- | --- | --- | --- | --- | --- | --- |")
  for _, k in ipairs(list) do
    if k.old_for then
      add("| `%s` | %s | | | an older spelling of `%s` | | | |", k.short, kinds_of(k), k.old_for)
    elseif not k.refused then
      local default = k.default
      if type(default) == "table" then default = table.concat(default, ", ") end
      add("| `%s` | %s | %s | %s | %s%s%s | %s | %s | %s |", k.short, kinds_of(k), cell(type_of(k)),
        default ~= nil and code(tostring(default)) or "", cell(k.doc), k.protects and " **Protects.**" or "",
        k.note and " " .. cell(k.note) or "", code(k.lines), cell(k.reload or "no"), code(k.tested))
    end
  end
end

--- The whole page.
function M.page()
  local out = {}
  local function add(...) out[#out + 1] = (...):format(select(2, ...)) end
  add("# Annotations of %s", FAMILY)
  add("")
  add("This page lists all annotations of HAProxy Technologies' controller, and what each of them does here.")
  add("")
  add("- [Keys with an effect](#keys-with-an-effect)")
  add("- [What needs a reload](#what-needs-a-reload-and-why)")
  add("- [Keys without an effect](#keys-without-an-effect)")
  add("- [Other objects](#other-objects)")
  add("")
  add("The prefix `haproxy.com` means the same as `haproxy.org`.")
  add("")
  add("- [Writing templates](templates.md#annotations) says how values are read, how wrong values are handled, and")
  add("  how you declare your own annotations.")
  add("- With `haptic policy | kubectl apply -f -`, the API server refuses objects with wrong values, as far as it can")
  add("  check their types.")
  add("- `haptic annotations -o json` prints the same list for editors and scripts.")
  add("")
  add("This page is generated by `tools/annotations.lua` from the declarations in `templates/`; a test compares them.")
  add("")
  add("## Keys with an effect")
  add("")
  add("The column *where* lists the objects that may have the key: I an Ingress, S a Service, C the ConfigMap that the")
  add("setting `configmap` names (its keys have no prefix). The first of these with a valid value is used.")
  add("")
  add("If the value of a key that **protects** is wrong, and no other object has a valid one, the routes answer 503.")
  add("")
  local family = M.keys(FAMILY)
  add_table(add, family)
  add("")
  add("## Keys of our own")
  add("")
  add("The prefix `%s` has all keys above; its value is used before that of another prefix. It also has", OWN)
  add("these keys:")
  add("")
  add_table(add, M.own_keys())
  add("")
  add("## What needs a reload, and why")
  add("")
  add("With default settings, on HAProxy 3.4, a new Ingress needs no reload. New values of keys without an entry in")
  add("the column *needs a reload* need none either.")
  add("")
  add("| change | reason |")
  add("| --- | --- |")
  for _, row in ipairs(RELOADS) do add("| %s | %s |", row[1], row[2]) end
  add("")
  add("## Keys without an effect")
  add("")
  add("If an object has such a key, its owner gets an Event with this reason. If the key protects, the routes of")
  add("the Ingress or the Service are closed: they answer 503.")
  add("")
  add("| key | where | reason |")
  add("| --- | --- | --- |")
  for _, k in ipairs(family) do
    if k.refused then
      add("| `%s` | %s | %s%s |", k.short, kinds_of(k), cell(k.reason), k.protects and " **Protects.**" or "")
    end
  end
  add("| `backend.PREFIX/NAME`, `frontend.PREFIX/NAME` | I S | custom resources of that controller define them; "
    .. "[declare your own](templates.md#annotations) in a template |")
  add("")
  add("## Other objects")
  add("")
  add("| what that controller reads | here |")
  add("| --- | --- |")
  for _, row in ipairs(OBJECTS) do add("| %s | %s |", row[1], row[2]) end
  add("")
  return table.concat(out, "\n")
end

M.PAGE, M.FAMILY, M.OWN = PAGE, FAMILY, OWN

if arg and arg[0] and arg[0]:find("tools/annotations.lua", 1, true) then
  local text = M.page()
  local f = io.open(PAGE, "rb")
  local now = f and f:read("*a") or ""
  if f then f:close() end
  if arg[1] == "--check" then
    if now ~= text then
      io.stderr:write(PAGE .. " is not current: run luajit tools/annotations.lua\n")
      os.exit(1)
    end
  else
    local w = assert(io.open(PAGE, "wb"))
    w:write(text)
    w:close()
  end
end

return M
