--- requests.lua — which keys, of the family and our own, had real requests, with which HAProxy, by HTTP and by HTTPS.
---
---   mkdir DIR; E2E_FULL=1 E2E_KEYS=DIR busted spec/e2e/…_spec.lua …; luajit tools/requests.lua [--all] DIR
---
--- Prints a line for each key that lacks some, at any of the kinds of objects that may have it. Each needs requests
--- over both with 3.4 and with one other series, whichever that is; with --all (after E2E_FULL=1), with each series
--- that has the feature. The exit code is 1 where one lacks any.
package.path = "./?.lua;" .. package.path
local page = require("tools.annotations")

local SERIES, NEWEST, SCHEMES = { "2.6", "3.0", "3.2", "3.4" }, "3.4", { "http", "https" }

--- Keys that have no effect over one of both, and why.
local NONE = {
  http = { ["client-ca"] = "clients show certificates in TLS only", ["client-crt-optional"] = "the same" },
  https = { ["prometheus-endpoint-auth-secret"] = "the port for status speaks HTTP" },
}

--- Keys that HAProxy has not in all series: those that do.
local ONLY = { acme = { ["3.4"] = true } }

local is_all = arg[1] == "--all"
local folder = assert(arg[is_all and 2 or 1], "usage: luajit tools/requests.lua [--all] DIR")

--- "SERIES SCHEME KIND KEY" → true.
local seen = {}
local pipe = assert(io.popen("cat '" .. folder:gsub("'", "") .. "'/*"))
for line in pipe:lines() do seen[line] = true end
pipe:close()

--- The series with requests for a key of a kind of object over a scheme: a set.
local function series_of(scheme, kind, key)
  local has = {}
  for _, series in ipairs(SERIES) do has[series] = seen[table.concat({ series, scheme, kind, key }, " ")] end
  return has
end

--- Has a key an effect over a scheme, at a kind of object? A family's and our own may be called the same.
local function has_effect(scheme, kind, key)
  return not (kind == "ConfigMap" and (NONE[scheme] or {})[key])
end

--- What a key lacks, in words.
local function lacks(k)
  local list = {}
  for _, scheme in ipairs(SCHEMES) do
    local any, is_due = {}, false
    for _, kind in ipairs(k.on) do
      local has = series_of(scheme, kind, k.short)
      local is_wanted = has_effect(scheme, kind, k.short)
      if next(has) == nil and is_wanted then list[#list + 1] = scheme .. " at " .. kind end
      for series in pairs(has) do any[series] = true end
      is_due = is_due or is_wanted
    end
    local missing, others, only = {}, 0, ONLY[k.short]
    for _, series in ipairs(SERIES) do
      if not any[series] and (not only or only[series]) then missing[#missing + 1] = series end
      if any[series] and series ~= NEWEST or only then others = others + 1 end
    end
    if is_due and (is_all and #missing > 0 or not any[NEWEST] or others == 0) then
      list[#list + 1] = scheme .. " on " .. table.concat(missing, ", ")
    end
  end
  return list
end

local complete, holes, without = 0, 0, 0
for _, keys in ipairs({ page.keys(page.FAMILY), page.own_keys() }) do
  for _, k in ipairs(keys) do
    local list = k.refused and {} or lacks(k)
    if #list > 0 then
      holes = holes + 1
      print(("%s has no request over %s"):format(k.key, table.concat(list, "; over ")))
    elseif k.refused then
      without = without + 1
    else
      complete = complete + 1
    end
  end
end
print(("%d keys have their requests, %d lack some; %d keys have no effect, which their owners are told")
  :format(complete, holes, without))
os.exit(holes == 0 and 0 or 1)
