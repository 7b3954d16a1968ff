-- Building blocks for HTTP that need no other library: a part of the requests elsewhere, error pages.

local function is_name(s) return type(s) == "string" and s:find("^[%w_.-]+$") ~= nil end

local function check(ok, message) if not ok then error("http." .. message, 4) end end

--- The conditions under which a request of the first backend goes to the second one.
local function conditions(s)
  local words = { "{", "var(txn.backend)", "-m", "str", s.from, "}" }
  local function add(...) for _, word in ipairs({ ... }) do words[#words + 1] = word end end
  if s.header ~= nil then
    check(type(s.header) == "table" and is_name(s.header.name) and type(s.header.value) == "string",
      "split: header is {name=, value=}")
    add("{", "req.hdr(" .. s.header.name .. ")", "-m", "str", s.header.value, "}")
  end
  if s.cookie ~= nil then
    check(type(s.cookie) == "table" and is_name(s.cookie.name) and type(s.cookie.value) == "string",
      "split: cookie is {name=, value=}")
    add("{", "req.cook(" .. s.cookie.name .. ")", "-m", "str", s.cookie.value, "}")
  end
  if s.percent ~= nil then
    check(type(s.percent) == "number" and s.percent % 1 == 0 and s.percent >= 0 and s.percent <= 100,
      "split: percent is a whole number from 0 to 100")
    add("{", "rand(100)", "lt", s.percent, "}")
  end
  check(s.header ~= nil or s.cookie ~= nil or s.percent ~= nil, "split: say which requests: percent, header or cookie")
  return words
end

--- Sends some of the requests that routes lead to one backend to another one. Rules of one backend are sorted by their
--- keys; the first match decides.
local function split(out, s)
  check(type(s) == "table" and is_name(s.from) and is_name(s.to), "split: from and to are names of backends")
  check(s.key == nil or is_name(s.key), "split: key is a word")
  local words = conditions(s)
  out:section("frontend http", { order = 510, key = "split " .. s.from .. " " .. (s.key or s.to) }, function(b)
    b:line("http-request", "set-var(txn.backend)", "str(" .. s.to .. ")", "if", unpack(words))
  end)
end

--- The page that clients get instead of HAProxy's own page for a status.
local function error_page(out, status, text, content_type)
  check(type(status) == "number" and status % 1 == 0 and status >= 200 and status <= 599,
    "error_page: the status is a number such as 503")
  check(type(text) == "string", "error_page: the text is a string")
  local name = "error-" .. status .. ".html"
  out:file(name, text)
  out:section("frontend http", { order = 450, key = "error page " .. status }, function(b)
    b:line("http-error", "status", status, "content-type", content_type or "text/html", "file", path:file(name))
  end)
end

-- docs/templates.md says which parts are stable.
provide("http", { split = split, error_page = error_page })
