--- http3.lua — HTTP/3: the frontend http at the same ports by UDP, and clients are told so.

local binds, setting, everybody = use("base.binds"), use("base.configmap").setting, use("ssl.everybody")

settings({
  http3 = { type = "bool", default = false, doc = "HTTP/3, where HAProxy was built with QUIC" },
  http3_max_age = { type = "integer", min = 1, max = 31536000, default = 60,
    doc = "seconds for which clients remember that there is HTTP/3" },
})

--- Options of a bind line that mean something by UDP, and whether a word comes behind them.
local OPTIONS = { v6only = 0, v4v6 = 0, interface = 1, name = 1, id = 1 }

--- The address of a bind line, by UDP; nil when there is none: sockets, descriptors.
local function udp(address)
  local family, rest = address:match("^(%w+)@(.+)$")
  if family == "ipv4" or family == "ipv6" then return "quic" .. family:sub(4) .. "@" .. rest end
  if family or address:sub(1, 1) == "/" then return nil end
  local is_v6 = address:sub(1, 1) == "[" or select(2, address:gsub(":", "")) > 1
  return (is_v6 and "quic6@" or "quic4@") .. address
end

--- Write bind lines; list is the path of the crt-list.
local function write_binds(b, list)
  for _, words in ipairs(binds(context.https_bind, context.https_port)) do
    local address = udp(words[1])
    if address then
      local line, i = { address }, 2
      while words[i] do
        local count = OPTIONS[words[i]]
        for k = 0, count or -1 do line[#line + 1] = words[i + k] end
        i = i + 1 + (count or 0)
      end
      for _, w in ipairs({ "ssl", "crt-list", list, "alpn", "h3", "crt-ignore-err", "all", "ca-ignore-err", "all",
        setting("strict_sni") and "strict-sni" or nil }) do
        line[#line + 1] = w
      end
      for _, w in ipairs(everybody.words()) do line[#line + 1] = w end
      b:line("bind", unpack(line))
    end
  end
end

--- Clients that came by TCP learn of it (RFC 9114, 3.1.1).
local function write_alt_svc(b)
  b:line("http-after-response", "set-header", "Alt-Svc",
    ('h3=":%d"; ma=%d'):format(context.ssl_redirect_port, setting("http3_max_age")), "if", "{", "ssl_fc", "}")
end

--- The pieces of it. on: is there HTTPS? Only a frontend that is there is added to.
local function put(on, list)
  if not on or not context.http3 then return end
  if not capabilities.quic then
    fragment("http3", function(out)
      out:warn("Http3NotSupported", "http3: HAProxy was built without QUIC; there is no HTTP/3")
    end)
    return
  end
  -- OpenSSL before 3.5 has no QUIC: HAProxy brings a part of it, without 0-RTT.
  if capabilities.quic_limited then
    section("global", { name = "http3-global", order = 155 }, function(b) b:line("limited-quic") end)
  end
  section("frontend http", { name = "http3-bind", order = 115 }, function(b) write_binds(b, path:crt_list(list)) end)
  section("frontend http", { name = "http3-alt-svc", order = 425 }, write_alt_svc)
end

provide("ssl.http3", { put = put })
