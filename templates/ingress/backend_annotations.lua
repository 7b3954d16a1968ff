--- backend_annotations.lua — annotations about a backend: how HAProxy chooses, checks and limits its servers.
--
-- Lines become part of a profile, which backends with the same lines share; words are added to each server. Families of
-- controllers have keys for these values (haproxy_org.lua).

settings({
  haproxy_pods = { type = "integer", min = 1, max = 10000,
    doc = "HAProxys that share the limits of pod-maxconn; without it, the pods of the kind haproxy_pods" },
})

--- The number of HAProxys that share the connections of a pod. One that stops keeps its connections, but accepts no new
--- ones.
local haproxies = shared("haproxies", function()
  if context.haproxy_pods or not watched("haproxy_pods") then return context.haproxy_pods or 1 end
  local count = 0
  for _, pod in ipairs(resources.haproxy_pods:list()) do
    local phase = dig(pod, "status", "phase")
    local is_over = phase == "Failed" or phase == "Succeeded" or dig(pod, "metadata", "deletionTimestamp") ~= nil
    if not is_over then count = count + 1 end
  end
  return math.max(count, 1)
end)

local ON = { "Ingress", "Service", "ConfigMap" }

local configmap, snippets = use("base.configmap"), use("base.snippets")
local firewall = use("base.snippet_firewall")

local function words_of(value)
  local words = {}
  for w in value:gmatch("%S+") do words[#words + 1] = w end
  return words
end

-- load-balance ----------------------------------------------------------------------------------------------

--- Algorithms without arguments. static-rr has no advantage over roundrobin here, and HAProxy can add no server to it
--- at runtime.
local PLAIN = { roundrobin = "roundrobin", ["static-rr"] = "roundrobin", leastconn = "leastconn", first = "first",
  source = "source", random = "random", uri = "uri" }
--- Algorithms that always lead a request to the same server.
local HASHES = { source = true, uri = true, url_param = true, hdr = true }
--- Words that may follow: word → whether a number follows; "perhaps": HAProxy does not use the number.
local ARGUMENTS = {
  uri = { len = true, depth = true, whole = false, ["path-only"] = false },
  url_param = { check_post = "perhaps" },
  hdr = { use_domain_only = false },
}
local EXPECTS = "roundrobin, static-rr, leastconn, first, source, random, random(N), uri [len N] [depth N] [whole] "
  .. "[path-only], url_param NAME [check_post [N]], hdr(NAME) [use_domain_only]"

--- The words of a balance line, or nil and the expected form.
local function parse_balance(value)
  local words = words_of(value)
  local first, name = words[1] or "", nil
  local result = {}
  if first:find("^random%(%d%d?%)$") and tonumber(first:match("%d+")) > 0 then
    result[1] = first
  elseif first == "url_param" and words[2] and words[2]:find("^[%w._-]+$") then
    result[1], result[2], name = "url_param", words[2], "url_param"
    table.remove(words, 2)
  elseif first:find("^hdr%([%w_-]+%)$") then
    result[1], name = first, "hdr"
  elseif PLAIN[first] then
    result[1], name = PLAIN[first], first
  else
    return nil, EXPECTS
  end
  local known, i = ARGUMENTS[name] or {}, 2
  while words[i] do
    local has_number = known[words[i]]
    if has_number == nil then return nil, EXPECTS end
    result[#result + 1] = words[i]
    if has_number == "perhaps" then
      if (words[i + 1] or ""):find("^%d%d?%d?%d?%d?$") then i = i + 1 end
    elseif has_number then
      i = i + 1
      if not (words[i] and words[i]:find("^%d%d?%d?%d?$")) then return nil, EXPECTS end
      result[#result + 1] = words[i]
    end
    i = i + 1
  end
  return { words = result, hashes = HASHES[name] == true }
end

-- checks ----------------------------------------------------------------------------------------------------

local METHODS = { GET = true, HEAD = true, OPTIONS = true, POST = true }
local CHECK_EXPECTS = "a path, or a method (GET, HEAD, OPTIONS, POST), a path and perhaps HTTP/1.0 or HTTP/1.1"

local function parse_check(value)
  local words = words_of(value)
  if #words == 0 then return nil, CHECK_EXPECTS end
  if #words == 1 then words = { "OPTIONS", words[1] } end
  local method, path, version = words[1]:upper(), words[2], words[3] or "HTTP/1.0"
  if #words > 3 or not METHODS[method] or #path > 1024 or not path:find("^/[%w%-._~!$&'()*+,;=:@%%/?]*$")
    or version ~= "HTTP/1.0" and version ~= "HTTP/1.1" then
    return nil, CHECK_EXPECTS
  end
  return { method = method, path = path, version = version }
end

local function parse_cookie(value)
  if #value <= 64 and value:find("^[%w_.-]+$") then return value end
  return nil, "a name of a cookie: up to 64 letters, digits, '_', '-' or '.'"
end

local PROXY = { proxy = "send-proxy", ["proxy-v1"] = "send-proxy", ["proxy-v2"] = "send-proxy-v2",
  ["proxy-v2-ssl"] = "send-proxy-v2-ssl", ["proxy-v2-ssl-cn"] = "send-proxy-v2-ssl-cn" }

local TESTED = "backend_annotations_spec: "
local PROFILE = "lines that no backend has had yet"

--- A line has space for 64 words, of which the rule itself uses some.
local MAX_CONDITION_WORDS = 45

local function parse_condition(text)
  local words, problem = firewall.check_test(text)
  if words and #words > MAX_CONDITION_WORDS then problem = "it has more than " .. MAX_CONDITION_WORDS .. " words" end
  if problem then return nil, "a condition, such as cookie(staging) -m found: " .. problem end
  return words
end

annotations({
  route_acl = { type = "text", parse = parse_condition, on = { "Service" }, effect = "backend", protects = true,
    reload = "each new condition",
    doc = "A condition: the Service gets only requests for which it holds, and none if the "
      .. "condition is wrong. Other requests go to the Service without a condition at the same "
      .. "host, path and type in the namespace; if there is none, they get 404. The condition is a "
      .. "sample fetch of the request with flags and patterns, as snippets may have it.",
    lines = "http-request set-var(txn.variant) … if { CONDITION }; http-request return status 404 … unless "
      .. "{ CONDITION }",
    tested = TESTED .. "leads requests of a path to a canary by its condition" },
  load_balance = { type = "text", parse = parse_balance, on = ON, effect = "backend", reload = PROFILE,
    doc = "The load-balancing algorithm.", lines = "balance …; hash-type consistent",
    tested = TESTED .. "chooses servers" },
  cookie_persistence = { type = "text", parse = parse_cookie, on = ON, effect = "backend", reload = PROFILE,
    doc = "A cookie of this name keeps clients at their server, also across reloads and while other "
      .. "servers are added and removed.",
    lines = "cookie NAME insert indirect nocache dynamic", tested = TESTED .. "keeps clients at their servers" },
  cookie_persistence_no_dynamic = { type = "text", parse = parse_cookie, on = ON, effect = "backend",
    reload = "lines that no backend has had yet; before 3.2, servers that are added and removed",
    doc = "The same with the pod's name as the value of the cookie.", lines = "cookie NAME insert indirect nocache",
    tested = TESTED .. "keeps clients at their servers" },
  check = { type = "switch", on = ON, effect = "backend",
    doc = "HAProxy itself checks that servers can be reached, at each check-interval.",
    lines = "server … check inter 2s", tested = TESTED .. "looks whether servers answer" },
  check_http = { type = "text", parse = parse_check, on = ON, effect = "backend", reload = PROFILE,
    doc = "Check with an HTTP request: a path, or method and path. A server is healthy if it "
      .. "answers 2xx or 3xx.",
    lines = "option httpchk; http-check send …", tested = TESTED .. "looks whether servers answer" },
  check_interval = { type = "duration", unit = "ms", min = "100ms", on = ON, effect = "backend",
    doc = "Time between two checks.", lines = "server … inter TIME",
    tested = TESTED .. "looks whether servers answer" },
  timeout_check = { type = "duration", unit = "ms", min = "1ms", on = ON, effect = "backend", reload = PROFILE,
    doc = "The time limit for the answer to a check.", lines = "timeout check TIME",
    tested = TESTED .. "looks whether servers answer" },
  pod_maxconn = { type = "integer", min = 1, max = 1000000, on = ON, effect = "backend",
    doc = "The maximum of concurrent requests that a pod gets from all HAProxys together "
      .. "(haproxy_pods).",
    lines = "server … maxconn N", tested = TESTED .. "limits what a pod gets at the same time" },
  abortonclose = { type = "switch", on = ON, effect = "backend", reload = PROFILE,
    doc = "Waiting requests are dropped when their clients have closed the connection.", lines = "option abortonclose",
    tested = TESTED .. "drops requests whose clients have gone" },
  send_proxy_protocol = { type = "enum", values = keys(PROXY), on = ON, effect = "backend",
    doc = "HAProxy sends the client's address to pods in a PROXY protocol header.", lines = "server … send-proxy-v2",
    tested = TESTED .. "tells pods the client's address" },
  forwarded_for = { type = "switch", on = ON, effect = "backend", reload = PROFILE,
    doc = "Pods get the header X-Forwarded-For.", lines = "http-request del-header X-Forwarded-For",
    tested = TESTED .. "tells pods the client's address" },
})

local NAMES = { "load_balance", "cookie_persistence", "cookie_persistence_no_dynamic", "check", "check_http",
  "check_interval", "timeout_check", "pod_maxconn", "abortonclose", "send_proxy_protocol", "forwarded_for",
  "route_acl" }
if snippets.on then NAMES[#NAMES + 1] = "backend_config_snippet" end
local IS_NAME = {}
for _, name in ipairs(NAMES) do IS_NAME[name] = true end

--- A client that knows the value can choose a pod, but learns only which pods exist.
local COOKIE_KEY = hash("cookies of haptic"):sub(1, 16)
local CHECK_INTERVAL = "2s"

--- True for the key of such a value, on an Ingress.
local function is_key(key)
  local known = annotation(key, "Ingress")
  return known ~= nil and known.is_honoured and IS_NAME[known.name] == true
end

--- The ConfigMap's values for all backends, as a level; false when there are none.
local below_all = shared("configmap-backends", function()
  local level = configmap.level()
  for key in pairs(level.values) do
    local known = annotation(level.family .. "/" .. key, "ConfigMap")
    if known and known.is_honoured and IS_NAME[known.name] then return level end
  end
  return false
end)

--- The values of a backend, and whether it must have no servers. objects: {kind=, object=}, the nearest to the route
--- first; tell(kind, key, message).
local function read(objects, tell)
  local levels = {}
  for _, o in ipairs(objects) do
    local values = dig(o.object, "metadata", "annotations")
    if values then levels[#levels + 1] = { kind = o.kind, values = values } end
  end
  local below = configmap.is_set and below_all() or nil
  if below then levels[#levels + 1] = below end
  if #levels == 0 then return {}, false end
  local v, wrong = annotated(NAMES, levels, tell)
  return v, wrong.backend_config_snippet ~= nil or wrong.route_acl ~= nil
end

--- The words of a Service's condition; nil when it has none, false when it is wrong.
local function condition_of(service)
  local values = dig(service, "metadata", "annotations")
  local has_one = false
  for key in pairs(values or {}) do
    local known = annotation(key, "Service")
    has_one = has_one or known ~= nil and known.name == "route_acl"
  end
  if not has_one then return nil end
  local v, wrong = annotated({ "route_acl" }, { { kind = "Service", values = values } }, function() end)
  if wrong.route_acl ~= nil then return false end
  return v.route_acl
end

--- Write the lines of a backend.
local function write(b, v)
  if v.route_acl then
    -- A request that a condition has led here is not checked again, because the condition may be random or may use
    -- rewritten data.
    local words = { "http-request", "return", "status", 404, "content-type", "text/plain", "string",
      context.not_found_text, "unless", "{", "var(txn.variant)", "-m", "found", "}", "or", "{" }
    for _, w in ipairs(v.route_acl) do words[#words + 1] = w end
    words[#words + 1] = "}"
    b:line(unpack(words))
  end
  if v.load_balance then
    b:line("balance", unpack(v.load_balance.words))
    -- With it, a new or removed server moves few clients of the other servers, and HAProxy can add servers at runtime
    -- only to this kind.
    if v.load_balance.hashes then b:line("hash-type", "consistent") end
  end
  if v.cookie_persistence then
    b:line("cookie", v.cookie_persistence, "insert", "indirect", "nocache", "dynamic")
    b:line("dynamic-cookie-key", COOKIE_KEY)
  elseif v.cookie_persistence_no_dynamic then
    b:line("cookie", v.cookie_persistence_no_dynamic, "insert", "indirect", "nocache")
  end
  if v.check_http then
    local c, host = v.check_http, {}
    if c.version == "HTTP/1.1" then host = { "hdr", "Host", "localhost" } end
    b:line("option", "httpchk")
    b:line("http-check", "send", "meth", c.method, "uri", c.path, "ver", c.version, unpack(host))
  end
  if v.timeout_check then b:line("timeout", "check", v.timeout_check) end
  if v.abortonclose ~= nil then
    if v.abortonclose then b:line("option", "abortonclose") else b:line("no", "option", "abortonclose") end
  end
  if v.forwarded_for == false then b:line("http-request", "del-header", "X-Forwarded-For") end
  snippets.write(b, v.backend_config_snippet)
end

local function add(words, ...)
  for _, w in ipairs({ ... }) do words[#words + 1] = w end
end

--- The additional words of a server.
local function add_words(words, v, server_name)
  local check = v.check
  if check == nil and (v.check_http or v.check_interval) then check = true end
  if check then add(words, "check", "inter", v.check_interval or CHECK_INTERVAL) end
  if check == false then add(words, "no-check") end
  if v.pod_maxconn then add(words, "maxconn", math.ceil(v.pod_maxconn / haproxies())) end
  if v.send_proxy_protocol then add(words, PROXY[v.send_proxy_protocol]) end
  if v.cookie_persistence_no_dynamic and not v.cookie_persistence then add(words, "cookie", server_name) end
end

provide("ingress.backend_annotations", { is_key = is_key, condition_of = condition_of, read = read, write = write,
  add_words = add_words })
