--- requests.lua — which keys of the family had real requests, with which HAProxy, over HTTP and over HTTPS.
---
---   mkdir DIR; E2E_FULL=1 E2E_KEYS=DIR busted spec/e2e/…_spec.lua …; luajit tools/requests.lua DIR
---
--- Prints a line for each key that lacks a request, and how many are complete. The exit code is 1 where one lacks any.
package.path = "./?.lua;" .. package.path
local page = require("tools.annotations")

local SERIES, SCHEMES = { "2.6", "3.0", "3.2", "3.4" }, { "http", "https" }

--- Keys that a scheme or a series knows nothing of, and why.
local NONE = {
  https = { ["timeout-queue"] = "the limit is of the backend, which does not know how the client came",
    ["timeout-connect"] = "the same" },
}

local folder = assert(arg[1], "usage: luajit tools/requests.lua DIR")
local seen = {}
for line in io.popen("cat '" .. folder:gsub("'", "") .. "'/*"):lines() do
  local series, scheme, kind, key = line:match("^(%S+) (%S+) (%S+) (%S+)$")
  if series then seen[table.concat({ series, scheme, kind, key }, " ")] = true end
end

local complete, holes = 0, 0
for _, k in ipairs(page.keys(page.FAMILY)) do
  local missing, by_kind = {}, {}
  for _, series in ipairs(SERIES) do
    for _, scheme in ipairs(SCHEMES) do
      local any = false
      for _, kind in ipairs(k.on) do
        local has = seen[table.concat({ series, scheme, kind, k.short }, " ")]
        any = any or has
        by_kind[kind] = by_kind[kind] or has
      end
      if not any and not (NONE[scheme] and NONE[scheme][k.short]) then
        missing[#missing + 1] = series .. "/" .. scheme
      end
    end
  end
  local never = {}
  for _, kind in ipairs(k.on) do
    if not by_kind[kind] then never[#never + 1] = kind end
  end
  if not k.refused then
    if #missing == 0 then complete = complete + 1 else holes = holes + 1 end
    if #missing > 0 or #never > 0 then
      print(("%-32s %s%s"):format(k.short, #missing > 0 and "no request: " .. table.concat(missing, " ") or "",
        #never > 0 and "; never at " .. table.concat(never, ", ") or ""))
    end
  end
end
print(("%d keys with requests in each, %d with holes"):format(complete, holes))
os.exit(holes == 0 and 0 or 1)
