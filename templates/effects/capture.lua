--- capture.lua — what of a request is in the log.
--
-- A capture is a rule with an expression, and takes room in every request's record. So the expressions are those of a
-- short list; each comes with its first use, which costs a reload, and with the number that an administrator allows.

local effects = use("effects")

local MAX_LINES = 4

--- Lines of expressions: a list of their canonical forms.
local function parse(lines)
  local list = {}
  for i, line in ipairs(lines) do
    local fetch, name = line:match("^([%w_.]+)%(([%w_-]+)%)$")
    if name and #name <= 64 and (fetch == "hdr" or fetch == "req.hdr" or fetch == "req.fhdr") then
      list[i] = "req.hdr(" .. name:lower() .. ")"
    elseif name and #name <= 64 and (fetch == "cookie" or fetch == "req.cook") then
      list[i] = "req.cook(" .. name .. ")"
    elseif line == "path" or line == "method" or line == "query" or line == "src" then
      list[i] = line
    else
      return nil, "lines of hdr(NAME), cookie(NAME), path, query, method or src"
    end
  end
  if #list == 0 then return nil, "lines of hdr(NAME), cookie(NAME), path, query, method or src" end
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
