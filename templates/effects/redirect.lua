--- redirect.lua — a route that answers with the address of another host; path and query stay.

local is_host = use("effects.headers").is_host

local MAP = "route-redirect.map"
local CODES = { 301, 302, 303, 307, 308 }

--- "https://other.example:8443", or without the scheme: that of the request. The scheme is "any" without one.
local function parse(text)
  local scheme, host = text:match("^(https?)://(.+)$")
  host = host or text
  if not is_host(host) then
    return nil, "a host, with http:// or https:// and a port if needed"
  end
  return { scheme = scheme or "any", host = host:lower() }
end

use("effects").declare("redirect", {
  place = "redirect",
  annotations = { "request_redirect", "request_redirect_code" },
  maps = { MAP },
  rules = function(rule, has)
    -- "CODE SCHEME HOST"
    rule("http-request", "set-var(txn.to)", "var(txn.record),map_str(" .. path:map(MAP) .. ")", "if", has("redirect"))
    rule("http-request", "set-var(txn.to_scheme)", "var(txn.to),word(2,|)", "if", has("redirect"))
    rule("http-request", "set-var(txn.to_scheme)", "ssl_fc,iif(https,http)", "if", has("redirect"), "{",
      "var(txn.to_scheme)", "-m", "str", "any", "}")
    for _, code in ipairs(CODES) do
      rule("http-request", "redirect", "location", "%[var(txn.to_scheme)]://%[var(txn.to),word(3,|)]%[pathq]", "code",
        code, "if", has("redirect"), "{", "var(txn.to)", "-m", "beg", code .. "|", "}")
    end
  end,
  put = function(values, record)
    local to = values.request_redirect
    if not to then return nil end
    record:entry(MAP, "", ("%d|%s|%s"):format(values.request_redirect_code, to.scheme, to.host))
    return { "redirect" }
  end,
})

provide("effects.redirect", { parse = parse, codes = CODES })
