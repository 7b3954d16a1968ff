--- snippets.lua — lines of configuration in annotations and in the ConfigMap. They are off by default.
-- The firewall checks all lines (snippet_firewall.lua). A backend with refused lines has no servers, because the lines
-- may protect it.
-- protect it.

local firewall, configmap = use("base.snippet_firewall"), use("base.configmap")

settings({
  config_snippets = { type = "list", pattern = "^%a+$", expects = "Ingress, Service, ConfigMap", default = {},
    doc = "kinds of objects whose lines of configuration count" },
})

local allowed, kinds = {}, {}
for _, kind in ipairs(context.config_snippets) do allowed[kind] = true end
for _, kind in ipairs({ "Ingress", "Service", "ConfigMap" }) do
  if allowed[kind] then kinds[#kinds + 1] = kind end
end

local OFF = "switched off: the setting config_snippets must list the kind of object"
local KEYS = { global = "global_config_snippet", frontend = "frontend_config_snippet", stats = "stats_config_snippet" }
local PREFIXES = { "haproxy.org", "haproxy.com", "haproxy-haptic.org" }
local NOTE = " Off, unless the setting config_snippets lists the kind of object."

local function parse_for(section_name)
  return function(lines)
    local checked, problem = firewall.check(section_name, table.concat(lines, "\n"))
    if not checked then return nil, "lines that the firewall accepts: " .. problem end
    return checked
  end
end

local declared, honoured, refused = {}, {}, {}

if #kinds > 0 then
  declared.backend_config_snippet = {
    type = "lines", max = 100, parse = parse_for("backend"), on = kinds, effect = "backend", protects = true,
    reload = "lines that no backend has had yet",
    doc = "Lines for the backend. Only harmless directives are accepted." .. NOTE,
    lines = "http-request, http-response, acl, timeout, option, …",
    tested = "snippets_spec: count where they are allowed, and the firewall lets them through",
  }
  honoured.backend_config_snippet = { keys = "backend-config-snippet", reason = OFF }
else
  refused[1] = { keys = "backend-config-snippet", on = { "Ingress", "Service", "ConfigMap" }, reason = OFF }
end
for section_name, name in pairs(KEYS) do
  local key = name:gsub("_", "-")
  if allowed.ConfigMap then
    declared[name] = {
      type = "lines", max = 100, parse = parse_for(section_name), on = { "ConfigMap" }, effect = "settings",
      reload = "each value",
      doc = "Lines for the section " .. section_name .. ". Only harmless directives are accepted." .. NOTE,
      lines = section_name == "global" and "tune.…, maxconnrate, …" or "http-request, http-response, acl, timeout, …",
      tested = "snippets_spec: count where they are allowed, and the firewall lets them through",
    }
    honoured[name] = key
  else
    refused[#refused + 1] = { keys = key, on = { "ConfigMap" }, reason = OFF }
  end
end

annotations(declared)
for _, prefix in ipairs(PREFIXES) do family(prefix, { honoured = honoured, refused = refused }) end

--- Write checked lines.
local function write(b, lines)
  for _, words in ipairs(lines or {}) do b:line(unpack(words)) end
end

--- True when a text seems to refuse some clients. When such a text is refused, ignoring it is not enough.
local PROTECTS = { "deny", "reject", "auth", "tarpit", "silent%-drop", "src" }
local function is_protecting(text)
  for _, word in ipairs(PROTECTS) do
    if tostring(text):lower():find(word) then return true end
  end
  return false
end

--- The ConfigMap's lines for a section, or nil; true when they are refused and seem to protect.
local function lines_of(section_name)
  local name, level = KEYS[section_name], configmap.level()
  local values, wrong = annotated({ name }, { level })
  local is_closing = values[name] == nil and wrong[name] ~= nil and is_protecting(level.values[(name:gsub("_", "-"))])
  return values[name], is_closing
end

if allowed.ConfigMap then
  -- When lines are refused, the last good ones stay. When there were none, all requests are answered with 503, because
  -- the ConfigMap contains lines.
  for section_name, place in pairs({ frontend = { "frontend http", 871 }, stats = { "frontend stats", 951 } }) do
    section(place[1], { name = "snippet-" .. section_name .. "-closed", order = place[2] }, function(b)
      local _, is_closing = lines_of(section_name)
      if is_closing then
        b:line("http-request", "return", "status", 503, "content-type", "text/plain", "string",
          "the configuration is refused", "unless", "{", "var(txn.snippet)", "-m", "found", "}")
      end
    end)
  end
  -- After the lines of the libraries, and before the effects of routes. They belong to the ConfigMap: when HAProxy
  -- refuses one of them, the ConfigMap's last lines stay, and nothing else is delayed.
  for section_name, place in pairs({ global = { "global", 950 }, frontend = { "frontend http", 870 },
    stats = { "frontend stats", 950 } }) do
    configmap.named(context.configmap, "snippet-" .. section_name).each(function(_, out)
      local lines, is_closing = lines_of(section_name)
      if is_closing then
        fail(section_name .. "-config-snippet is refused: the previous lines stay in use; "
          .. "if there are none, requests get 503")
      end
      if lines then
        out:section(place[1], { order = place[2], key = "snippet" }, function(b)
          if section_name ~= "global" then b:line("http-request", "set-var(txn.snippet)", "bool(true)") end
          write(b, lines)
        end)
      end
    end)
  end
end

provide("base.snippets", { on = #kinds > 0, write = write })
