--- source.lua — the client's address, when a proxy before HAProxy sends it in a header.
--
-- A client could write such a header, too, so only headers from trusted proxies count. A rule is added at the first use
-- of a header's name.

local effects = use("effects")

local function parse(text)
  if #text > 64 or not text:find("^[%w_-]+$") then return nil, "the name of a header" end
  return text:lower()
end

effects.declare("source", {
  place = "source",
  annotations = { "src_ip_header" },
  put = function(values, _, out)
    local name = values.src_ip_header
    if not name then return nil end
    if #context.trusted_proxies == 0 then
      out:warn("AnnotationIgnored", "src-ip-header: the administrator trusts no proxy (trusted_proxies)")
      return nil
    end
    local word = "source-" .. name
    -- The last address in X-Forwarded-For is the proxy's own.
    local fetch = name == "x-forwarded-for" and "req.hdr(x-forwarded-for,-2)" or "req.hdr(" .. name .. ")"
    out:section("frontend http", { order = effects.order.source, key = "effect " .. word }, function(b)
      effects.write(b, "http-request", "set-src", fetch, "if", "from_trusted_proxy", effects.has(word))
    end)
    return { word }
  end,
})

provide("effects.source", { parse = parse })
