--- annotations.lua — docs/annotations.md from the declarations.
--
--   luajit tools/annotations.lua [--check]      writes the page, or says whether it is the current one
package.path = "./?.lua;lua/?.lua;" .. package.path
local cjson = require("cjson")
local program = require("spec.support.program")

local PAGE, FAMILY = "docs/annotations.md", "haproxy.org"

local M = {}

--- The keys of a family as the libraries declare them.
function M.keys(family)
  local kinds = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) }
  local e = program.engine({ kinds = kinds, context = { config_snippets = { "Ingress", "Service", "ConfigMap" } },
    capabilities = { version = "3.4", major = 3, minor = 4,
    default_certificate = "HapticSecret0123456789abcdef0123456789abcdefEnd" },
    scripts = { { name = "keys.lua", source = ([[fragment("keys", function(out)
      out:file("keys.json", json({ keys = annotation_keys(%q) }))
    end)]]):format(family) } } })
  e:render()
  return cjson.decode(e:output().files["keys.json"]).keys
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

--- What costs a reload, and why.
local RELOADS = {
  { 'settings of the ConfigMap ("each value")',
    "lines of `global`, `defaults` and frontends are read when HAProxy starts" },
  { "lines that no backend has had yet",
    "they are a `defaults` section, from which backends are derived while it runs" },
  { "another list of users of crypt(3), a new pair of Secret and realm", "a `userlist` and the rule that names it" },
  { "the first user with `$apr1$`", "the script that computes it" },
  { "`request-capture`, `src-ip-header`: an expression or a name that is new", "it is part of a rule" },
  { "`route-acl`: a condition that is new, or has another place among those of a path", "it is a rule" },
  { "`server-ca`: another Secret, or other authorities in it; `server-crt`: another Secret",
    "files of authorities are read when HAProxy starts" },
  { "a port of `tcp_services`, a page of `error_files`, a member of `rate_limit_peers`",
    "listeners, pages and peers are those that it started with" },
  { "before 3.4: a new backend; before 3.0: servers that come and go", "HAProxy cannot add them while it runs" },
}

--- What stands elsewhere than in annotations.
local OBJECTS = {
  { "a port in its ConfigMap of TCP services", "the same, in the ConfigMap that `tcp_services` names" },
  { "a status in its ConfigMap of error files", "the same, in the ConfigMap that `error_files` names" },
  { "a name in its ConfigMap of pattern files", "a list of addresses, in the ConfigMap that `pattern_lists` names" },
  { "`tls.crt` and `tls.key` of a Secret", "the same" },
  { "`rsa.crt` and `rsa.key`, `ecdsa.crt` and `ecdsa.key`, `dsa.crt` and `dsa.key` of one Secret",
    "a Secret with `tls.crt` and `tls.key` for each type, both with the host in `spec.tls`; the owner is told" },
}

--- The whole page.
function M.page()
  local out = {}
  local function add(...) out[#out + 1] = (...):format(select(2, ...)) end
  add("# Annotations of %s", FAMILY)
  add("")
  add("This page is written by `tools/annotations.lua` from the declarations in `templates/`; a test compares them.")
  add("[Writing templates](templates.md#annotations) says how values are read, what becomes of wrong ones, and how you")
  add("declare your own. With `haptic policy | kubectl apply -f -` the API server refuses objects with wrong values of")
  add("types that it can check; `haptic annotations -o json` has the same for editors and shells.")
  add("The prefix `haproxy.com` means the same.")
  add("")
  add("Where: I an Ingress, S a Service, C the ConfigMap that the setting `configmap` names (its keys have no prefix).")
  add("The first that has a right value counts, in this order.")
  add("")
  add("## Keys with an effect")
  add("")
  add("| key | where | type | default | effect | HAProxy | needs a reload | tested by |")
  add("| --- | --- | --- | --- | --- | --- | --- | --- |")
  local refused = {}
  for _, k in ipairs(M.keys(FAMILY)) do
    if k.refused then
      refused[#refused + 1] = k
    elseif k.old_for then
      add("| `%s` | %s | | | an older spelling of `%s` | | | |", k.short, kinds_of(k), k.old_for)
    else
      local default = k.default
      if type(default) == "table" then default = table.concat(default, ", ") end
      add("| `%s` | %s | %s | %s | %s%s%s | %s | %s | %s |", k.short, kinds_of(k), cell(type_of(k)),
        default ~= nil and code(tostring(default)) or "", cell(k.doc), k.protects and " **Protects.**" or "",
        k.note and " " .. cell(k.note) or "", code(k.lines), cell(k.reload or "no"), code(k.tested))
    end
  end
  add("")
  add("Where the value of a key that **protects** is wrong, and no other level has a right one, the routes answer 503.")
  add("")
  add("## What costs a reload, and why")
  add("")
  add("With default settings a new Ingress, and new values of keys without an entry in that column, need none on")
  add("HAProxy 3.4.")
  add("")
  add("| what | why |")
  add("| --- | --- |")
  for _, row in ipairs(RELOADS) do add("| %s | %s |", row[1], row[2]) end
  add("")
  add("## Other keys")
  add("")
  add("Where such a key is set, the owner is told, with this reason. At an Ingress or a Service, one that protects")
  add("closes the routes: 503.")
  add("")
  add("| key | where | |")
  add("| --- | --- | --- |")
  for _, k in ipairs(refused) do
    add("| `%s` | %s | %s%s |", k.short, kinds_of(k), cell(k.reason), k.protects and " **Protects.**" or "")
  end
  add("| `backend.PREFIX/NAME`, `frontend.PREFIX/NAME` | I S | what that controller's administrator defines by custom "
    .. "resources; [declare your own](templates.md#annotations) in a template |")
  add("")
  add("## Other objects")
  add("")
  add("| what that controller reads | here |")
  add("| --- | --- |")
  for _, row in ipairs(OBJECTS) do add("| %s | %s |", row[1], row[2]) end
  add("")
  return table.concat(out, "\n")
end

M.PAGE, M.FAMILY = PAGE, FAMILY

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
