--- capture.lua — parts of the request that are logged.
--
-- A capture is a rule with an expression, and needs space in every request's record. So only expressions about the
-- request are allowed. Each one is written at its first use, which needs a reload.

local effects, expressions = use("effects"), use("base.expressions")

local MAX_LINES, MAX_BYTES = 4, 200

local EXPECTS = "lines of hdr(NAME), req.fhdr(NAME), cookie(NAME), path, query, method, src, or another fetch of the "
  .. "request"

--- An expression in words that HAProxy accepts everywhere: "hdr(NAME)" is req.hdr(NAME), whose value ends at a comma;
--- req.fhdr(NAME) is the whole field.
local function canonical(line)
  local fetch, name, more = line:match("^([%w_.]+)%(([%w_-]+)(.*)$")
  if fetch == "hdr" or fetch == "req.hdr" then return "req.hdr(" .. name:lower() .. more end
  if fetch == "req.fhdr" then return "req.fhdr(" .. name:lower() .. more end
  if fetch == "cookie" or fetch == "req.cook" then return "req.cook(" .. name .. more end
  return line
end

--- Lines of expressions: a list of their canonical forms.
local function parse(lines)
  local list = {}
  for i, line in ipairs(lines) do
    -- Variables may contain data of other rules, so they are not allowed.
    if #line > MAX_BYTES or line:find("%f[%w_]var%(") or not expressions.check(line, "request") then
      return nil, EXPECTS
    end
    list[i] = canonical(line)
  end
  if #list == 0 then return nil, EXPECTS end
  return list
end

effects.declare("capture", {
  place = "capture",
  annotations = { "request_capture", "request_capture_len" },
  put = function(values, _, out)
    if not values.request_capture then return nil end
    local words = {}
    for i, expression in ipairs(values.request_capture) do
      local id = expression .. " " .. values.request_capture_len
      local word = "capture-" .. hash(id):sub(1, 12)
      words[i] = word
      out:section("frontend http", { order = effects.order.capture, key = "effect " .. id }, function(b)
        effects.write(b, "http-request", "capture", expression, "len", values.request_capture_len, "if",
          effects.has(word))
      end)
    end
    return words
  end,
})

provide("effects.capture", { parse = parse, max_lines = MAX_LINES })
