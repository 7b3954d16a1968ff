--- The firewall of lines from objects, asked about each keyword that HAProxy itself names (haproxy -dKall): what it lets
--- through is the list that stands here, and nothing of what a new version brings.
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")

local function set(text)
  local words = {}
  for w in text:gmatch("%S+") do words[w] = true end
  return words
end

--- What may stand in frontends, backends and the statistics: the first words of a line, with the second where it says what
--- is done; and in one section only.
local COMMON = [[compression|algo http-after-response|add-header http-after-response|del-header
    http-after-response|set-header http-after-response|set-status http-after-response|set-var
    http-after-response|unset-var http-request|add-header http-request|del-header http-request|deny
    http-request|disable-l7-retry http-request|redirect http-request|replace-path
    http-request|replace-pathq http-request|return http-request|set-header http-request|set-log-level
    http-request|set-path http-request|set-pathq http-request|set-query http-request|set-timeout
    http-request|set-var http-request|unset-var http-response|add-header http-response|del-header
    http-response|deny http-response|redirect http-response|return http-response|set-header
    http-response|set-log-level http-response|set-status http-response|set-var http-response|unset-var]]
local ONLY = {
  global = [[maxsslconn tune.bufsize tune.comp.maxlevel tune.h2.header-table-size tune.h2.initial-window-size
    tune.h2.max-concurrent-streams tune.http.cookielen tune.http.logurilen tune.http.maxhdr
    tune.idletimer tune.maxaccept tune.maxrewrite tune.pattern.cache-size tune.rcvbuf.client
    tune.rcvbuf.server tune.sndbuf.client tune.sndbuf.server tune.ssl.cachesize
    tune.ssl.default-dh-param tune.ssl.lifetime tune.ssl.maxrecord tune.vars.reqres-max-size
    tune.vars.txn-max-size]],
  backend = [[option|abortonclose option|allbackups option|checkcache option|http-buffer-request option|http-no-delay
    option|http-pretend-keepalive option|independent-streams option|log-health-checks
    option|prefer-last-server retry-on timeout|server]],
  stats = [[stats|hide-version stats|refresh]],
  fetch = [[always_false always_true base bool capture.req.method capture.req.uri capture.req.ver capture.res.ver
    cook cookie date dst dst_port fe_name hdr hdr_cnt hdr_ip hdr_val http_first_req int method path
    pathq query rand req.body_size req.cook req.fhdr req.fhdr_cnt req.hdr req.hdr_cnt req.hdr_ip
    req.hdr_names req.hdr_val req.ver res.cook res.fhdr res.hdr res.hdr_cnt res.hdr_names res.ver scook
    shdr src src_port ssl_c_i_dn ssl_c_s_dn ssl_c_used ssl_c_verify ssl_fc ssl_fc_alpn ssl_fc_cipher
    ssl_fc_is_resumed ssl_fc_protocol ssl_fc_sni status str url url_param urlp uuid var]],
  converter = [[add and b64dec base64 bool bytes crc32 div djb2 even field hex host_only iif ipmask length lower mod mul
    neg not odd or port_only sha1 sha2 sub upper url_dec url_enc word wt6 xor xxh32]],
}

local ALLOWED = {}
for _, section in ipairs({ "frontend", "backend", "stats" }) do
  for word in pairs(set(COMMON)) do ALLOWED[section .. "|" .. word] = true end
end
for kind, words in pairs(ONLY) do
  for word in pairs(set(words)) do ALLOWED[kind .. "|" .. word] = true end
end

--- Keywords that HAProxy names: lines of configuration, fetches, converters.
local function keywords_of(binary)
  local part, lines, fetches, converters = nil, {}, {}, {}
  for line in haproxy.sh(binary .. " -dKall -c -f /dev/null 2>&1"):gmatch("[^\n]+") do
    if line:find("^# List") then
      part = line:match("registered (.-):?$")
    elseif part == "configuration keywords" and line:find("^\t") then
      -- "http-request set-map* [ … ]", "option x [ … ]", "bind <addr> ssl +1"
      lines[#lines + 1] = line:gsub("%s*%[[^%]]*%]", ""):gsub("%s*%+%d+$", ""):gsub("<[^>]*>", "x"):gsub("%*", "(txn.a)"):match("^%s*(.-)%s*$")
    elseif part and part:find("converter") and line:find("^[%w_]") then
      converters[#converters + 1] = line:match("^[%w_.-]+")
    elseif part and part:find("sample fetch") and line:find("^%[") then
      fetches[#fetches + 1] = line:match("%] ([%w_.+-]+)")
    end
  end
  return lines, fetches, converters
end

--- What stands behind a keyword, for those that need something.
local BEHIND = { "", " x", " 1", " 100", " 10000", " 1s", " x y", " X-A b", " /a /b", " 429", " server 1s", " str(a)", " location /a",
  " status 200 string x", " algo gzip", " silent", " 503", " hide-version", " refresh 1s", " path /a", " if TRUE" }

local PROBE = [==[
local firewall = use("base.snippet_firewall")
local function each(list, fn) for text in list:gmatch("[^\n]+") do fn(text) end end
fragment("probe", function(out)
  out:map("probe.map")
  local seen = {}
  local function note(word)
    if not seen[word] then seen[word] = out:map_entry("probe.map", word, "1") end
  end
  each(LINES, function(keyword)
    for _, behind in ipairs(BEHIND) do
      for _, section in ipairs({ "global", "frontend", "backend", "stats" }) do
        local lines = firewall.check(section, keyword .. behind)
        if lines then
          local first, second = lines[1][1], lines[1][2] or ""
          local is_group = first:find("^http%-") or first == "option" or first == "timeout" or first == "stats" or first == "compression"
          note(section .. "|" .. first .. (is_group and "|" .. second:gsub("%(.*", "") or ""))
        end
      end
    end
  end)
  local function try(kind, name, expression)
    for _, rule in ipairs({ "http-request set-header X-A %[", "http-response set-header X-A %[" }) do
      if firewall.check("backend", rule .. expression .. "]") then note(kind .. "|" .. name) end
    end
    if firewall.check("backend", "http-request deny if { " .. expression .. " -m found }") then note(kind .. "|" .. name) end
  end
  each(FETCHES, function(name)
    for _, argument in ipairs({ "", "()", "(a)", "(1)", "(txn.a)", "(true)", "(a,1)", "(default)" }) do try("fetch", name, name .. argument) end
  end)
  each(CONVERTERS, function(name)
    for _, argument in ipairs({ "", "()", "(a)", "(1)", "(txn.a)", "(1,.)", "(a,b)", "(8,0)" }) do try("converter", name, "str(a)," .. name .. argument) end
  end)
end)
]==]

local function script(keywords)
  local behind = {}
  for i, text in ipairs(BEHIND) do behind[i] = ("%q"):format(text) end
  local function text_of(list) return ("[==[\n%s\n]==]"):format(table.concat(list, "\n")) end
  return ("local LINES, FETCHES, CONVERTERS, BEHIND = %s, %s, %s, { %s }\n"):format(text_of(keywords[1]), text_of(keywords[2]),
    text_of(keywords[3]), table.concat(behind, ", ")) .. PROBE
end

describe("The firewall of lines from objects", function()
  local count = 0
  for _, binary in ipairs(haproxy.binaries()) do
    local version = haproxy.sh(binary .. " -v"):match("version (%d+%.%d+)")
    it("lets through what stands here of all that HAProxy " .. version .. " knows", function()
      local keywords = { keywords_of(binary) }
      for i, least in ipairs({ 400, 200, 80 }) do assert.truthy(#keywords[i] > least, ("%d of %d"):format(#keywords[i], i)) end
      local e = program.engine({ checked = false, context = { https = false }, scripts = { { name = "probe.lua", source = script(keywords) } } })
      e:render()
      assert.same({}, e.host.failures)
      local seen = {}
      for word in e:output().maps["probe.map"]:gmatch("([^\n]+) 1\n") do
        seen[#seen + 1] = word
        assert.truthy(ALLOWED[word], "is let through: " .. word)
      end
      -- Nothing of the list is only a name.
      if version == "3.4" then
        local of = {}
        for _, word in ipairs(seen) do of[word] = true end
        for word in pairs(ALLOWED) do assert.truthy(of[word], "is not let through, or HAProxy does not know it: " .. word) end
      end
    end)
    count = count + 1
  end
  if count == 0 then pending("there is no HAProxy to ask") end
end)
