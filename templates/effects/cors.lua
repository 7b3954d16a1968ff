--- cors.lua — pages of which other hosts may read the answers of a route.

local patterns = use("base.patterns")

local MAP, ORIGINS = "cors.map", "cors-origin.map"

--- The expression for a list of origins, such as "https://a.example, https://b.example:8443"; nil when it is none.
local function parse_origins(text)
  local list = {}
  for origin in text:gmatch("[^,%s]+") do
    local name = origin:match("^https?://([%w.-]+)$") or origin:match("^https?://([%w.-]+):%d+$")
    if not name then return nil end
    list[#list + 1] = origin:lower():gsub("%.", "\\.")
  end
  return #list > 1 and "^(?:" .. table.concat(list, "|") .. ")$" or nil
end

--- "*", a list of origins, or a regular expression for the header Origin. One that begins with the scheme is for the
--- whole of it: without that, "https://shop.example" would let in "https://shop.example.attacker.test".
local function parse_origin(text)
  if text == "*" then return "*" end
  text = parse_origins(text) or text
  local whole = text:match("^%^?(http.*)$")
  local expression = whole and "^(?:" .. whole .. ")$" or text
  local groups, problem = patterns.check(expression)
  if not groups then return nil, "*, a list of origins, or a regular expression: " .. problem end
  return expression
end

--- "*", or a list of words, as the value of a header.
local function parse_words(list)
  for _, word in ipairs(list) do
    if not word:find("^[%w!#$&'*+.^_`|~-]+$") then return nil, "* or a list of names" end
  end
  if #list == 0 then return nil, "* or a list of names" end
  return table.concat(list, ", ")
end

--- The case of methods has a meaning, and all standard methods are in upper case.
local function parse_methods(list)
  local text, problem = parse_words(list)
  return text and text:upper(), problem
end

use("effects").declare("cors", {
  place = "cors",
  annotations = { "cors_enable", "cors_allow_origin", "cors_allow_methods", "cors_allow_headers",
    "cors_allow_credentials", "cors_max_age", "cors_respond_to_options" },
  maps = { MAP, ORIGINS },
  rules = function(rule, has)
    local allowed = { "{", "var(txn.cors)", "-m", "found", "}" }
    rule("http-request", "set-var(txn.cors)", "str(*)", "if", has("cors-any"))
    rule("http-request", "set-var(txn.origin)", "req.fhdr(origin)", "if", has("cors-match"))
    rule("http-request", "set-var(txn.cors)", "var(txn.origin)", "if", has("cors-match"), "{", "var(txn.origin),length",
      "le", patterns.max_text, "}", "{",
      "var(txn.record),concat(:,txn.origin),map_reg(" .. path:map(ORIGINS) .. ")", "-m", "found", "}")
    rule("http-request", "return", "status", 204, "if", has("cors-options"), "METH_OPTIONS", allowed)
    local action = "http-after-response"
    rule(action, "set-header", "Access-Control-Allow-Origin", "%[var(txn.cors)]", "if", allowed)
    for name, field in pairs({ methods = "Methods", headers = "Headers" }) do
      rule(action, "set-header", "Access-Control-Allow-" .. field,
        "%[var(txn.record),concat(:" .. name .. "),map_str(" .. path:map(MAP) .. ")]", "if", allowed)
    end
    rule(action, "set-header", "Access-Control-Max-Age",
      "%[var(txn.record),concat(:age),map_str(" .. path:map(MAP) .. ")]", "if", allowed)
    rule(action, "set-header", "Access-Control-Allow-Credentials", "true", "if", has("cors-credentials"), allowed)
    -- With this header, caches do not give the answer for one origin to another one.
    rule(action, "add-header", "Vary", "Origin", "if", has("cors-match"))
  end,
  put = function(values, record)
    if not values.cors_enable then return nil end
    local words = { values.cors_allow_origin == "*" and "cors-any" or "cors-match" }
    if words[1] == "cors-match" then
      record.out:map_entry(ORIGINS, patterns.key(record.id .. ":", values.cors_allow_origin), "1")
    end
    record:entry(MAP, ":methods", values.cors_allow_methods)
    record:entry(MAP, ":headers", values.cors_allow_headers)
    record:entry(MAP, ":age", tostring(math.floor(values.cors_max_age / 1000)))
    if values.cors_allow_credentials then words[#words + 1] = "cors-credentials" end
    if values.cors_respond_to_options then words[#words + 1] = "cors-options" end
    return words
  end,
})

provide("effects.cors", { parse_origin = parse_origin, parse_words = parse_words, parse_methods = parse_methods })
