--- error_files.lua — HAProxy's own error pages, replaced by those of a ConfigMap: status → page.
--
-- A page is a whole response in the form of HAProxy's errorfile, or only its body.

local configmap = use("base.configmap")

settings({
  error_files = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9][a-z0-9.-]*$",
    expects = "namespace/name of a ConfigMap",
    doc = "pages of HAProxy's own errors" },
})

--- Statuses for which HAProxy has messages.
local STATUSES = {}
for code in ("200 400 401 403 404 405 407 408 410 413 425 429 500 501 502 503 504"):gmatch("%d+") do
  STATUSES[code] = true
end
--- HAProxy keeps a page in one buffer (16 KiB), with room for header fields.
local MAX_BYTES = 14000
--- Fields that delimit messages.
local LENGTHS = { ["content-length"] = true, ["transfer-encoding"] = true, connection = true }

--- The header fields of a response as lines; nil and what is wrong.
local function fields_of(head)
  local lines = {}
  for line in (head .. "\n"):gmatch("(.-)\r?\n") do
    if line ~= "" then
      local name, value = line:match("^([%w!#$&'*+.^_`|~-]+):(.*)$")
      value = value and value:trim()
      if not name or value:find("[%c\127]") then return nil, "a line of its header is not NAME: VALUE" end
      if not LENGTHS[name:lower()] then lines[#lines + 1] = name .. ": " .. value end
    end
  end
  return lines
end

--- A page in the form that HAProxy reads; nil and what is wrong.
local function page_of(code, text)
  if not STATUSES[code] then return nil, "is not a status for which HAProxy has a page" end
  if type(text) ~= "string" or text:find("%z") then return nil, "has a NUL byte" end
  if #text > MAX_BYTES then return nil, ("is longer than %d bytes"):format(MAX_BYTES) end
  local status, reason, rest = text:match("^HTTP/1%.[01] (%d%d%d) ?([^\r\n]*)\r?\n(.*)$")
  if text:find("^HTTP/") and not status then return nil, "does not begin with HTTP/1.1 STATUS" end
  if not status then
    return "HTTP/1.1 " .. code .. " Error\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-cache\r\n\r\n"
      .. text
  end
  if status ~= code then return nil, "has the status " .. status end
  if reason:find("[%c\127]") then return nil, "has a control character in its first line" end
  local head, body = rest:match("^(.-\r?\n)\r?\n(.*)$")
  if not head then head, body = rest:match("^()\r?\n(.*)$") end
  if not body then return nil, "has no empty line behind its header" end
  local lines, problem = fields_of(type(head) == "string" and head or "")
  if not lines then return nil, problem end
  table.insert(lines, 1, ("HTTP/1.1 %s %s"):format(code, reason))
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

local pages = configmap.named(context.error_files, "error-files")

pages.each(function(data, out)
  local names = {}
  for _, code in ipairs(keys(data)) do
    local page, problem = page_of(code, data[code])
    if page then
      out:file("error-" .. code .. ".http", page)
      names[#names + 1] = code
    else
      out:warn("InvalidErrorFile", code .. " " .. problem .. "; it has no effect")
    end
  end
  if #names == 0 then return end
  out:section("defaults base", { order = 150, key = "error-files" }, function(b)
    for _, code in ipairs(names) do b:line("errorfile", code, path:file("error-" .. code .. ".http")) end
  end)
end)

--- True when there is a page for this status.
provide("base.error_files", function(code)
  local text = pages.data()[code]
  return text ~= nil and page_of(code, text) ~= nil
end)
