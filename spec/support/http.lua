--- HTTP/1.1 requests from specs: one connection each, so that the answer is the server's state of this moment.

local json = require("cjson")
local posix = require("support.posix")

local M = {}

--- Stands for [] in data to be sent: cjson writes an empty table as {}.
M.EMPTY_LIST = "@empty list@"

--- JSON text of Lua data.
function M.encode(data)
  -- cjson writes "\\/" for "/", which YAML parsers of Kubernetes refuse.
  local text = json.encode(data):gsub("\\(.)", { ["/"] = "/" })
  return (text:gsub('"' .. M.EMPTY_LIST .. '"', "[]"))
end

--- Is this all of an answer whose end can be told before the connection is closed?
local function is_whole(text, method)
  local head_end = select(2, text:find("\r\n\r\n", 1, true))
  if not head_end then
    return false
  end
  local head = text:sub(1, head_end):lower()
  local length = head:match("\r\ncontent%-length: *(%d+)")
  if method == "HEAD" or head:find("^http/1%.%d 304") then
    return true
  elseif length then
    return #text >= head_end + tonumber(length)
  end
  return head:find("\r\ntransfer%-encoding: *chunked") ~= nil and text:sub(-5) == "0\r\n\r\n"
end

local function dechunk(body)
  local parts, at = {}, 1
  while true do
    local size, after = body:match("^(%x+)[^\r]*\r\n()", at)
    size = size and tonumber(size, 16)
    if not size then
      return nil, "bad chunk"
    end
    if size == 0 then
      return table.concat(parts)
    end
    parts[#parts + 1] = body:sub(after, after + size - 1)
    at = after + size + 2
  end
end

--- Returns {status, headers (lower-case names), body}, or nil and the reason.
---@param options table port; address ("127.0.0.1", or the path of a socket); method; path; host; headers; body;
--- timeout (s)
function M.request(options)
  local deadline = posix.now() + (options.timeout or 5)
  local method = options.method or "GET"
  local lines = { method .. " " .. (options.path or "/") .. " HTTP/1.1" }
  lines[#lines + 1] = "Host: " .. (options.host or "localhost")
  lines[#lines + 1] = "Connection: close"
  for name, value in pairs(options.headers or {}) do
    lines[#lines + 1] = name .. ": " .. value
  end
  if options.body or method ~= "GET" then
    lines[#lines + 1] = "Content-Length: " .. #(options.body or "")
  end
  local socket, reason = posix.connect(options.address or "127.0.0.1", options.port, deadline)
  if not socket then
    return nil, reason
  end
  local ok, text
  ok, reason = socket:send(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (options.body or ""), deadline)
  if ok then
    text, reason = socket:receive_all(deadline, function(so_far) return is_whole(so_far, method) end)
  end
  socket:close()
  if not text then
    return nil, reason
  end
  local status, head, body = text:match("^HTTP/1%.%d (%d%d%d)[^\r]*\r\n(.-)\r\n\r\n(.*)$")
  if not status then
    status, body = text:match("^HTTP/1%.%d (%d%d%d)[^\r]*\r\n\r\n(.*)$")
    head = ""
  end
  if not status then
    return nil, text == "" and "closed without an answer" or "not an HTTP answer"
  end
  local headers = {}
  for name, value in (head .. "\r\n"):gmatch("([^:\r\n]+):%s*([^\r]*)\r\n") do
    headers[name:lower()] = value
  end
  if (headers["transfer-encoding"] or ""):lower() == "chunked" then
    body, reason = dechunk(body)
    if not body then
      return nil, reason
    end
  elseif headers["content-length"] and tonumber(headers["content-length"]) ~= #body and method ~= "HEAD" then
    return nil, "the body is cut short"
  end
  return { status = tonumber(status), headers = headers, body = body }
end

--- The same with JSON in and out: returns the status and the decoded answer, or nil and the reason.
function M.json(options, data)
  options.headers = options.headers or {}
  if data ~= nil then
    options.body = M.encode(data)
    options.headers["Content-Type"] = options.headers["Content-Type"] or "application/json"
  end
  local answer, reason = M.request(options)
  if not answer then
    return nil, reason
  end
  local ok, decoded = pcall(json.decode, answer.body)
  return answer.status, ok and decoded or answer.body
end

return M
