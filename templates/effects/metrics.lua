--- metrics.lua — the ConfigMap's setting for access to HAProxy's metrics at the status port.
--
-- The rule for authentication and the list of users are one fragment: HAProxy refuses a hash that its system does not
-- support, and then neither is in force. Another rule closes the metrics unless the first one has allowed the request.

local auth, configmap = use("effects.auth"), use("base.configmap")

local LIST, KEY = "haptic_metrics", "prometheus-endpoint-auth-secret"

annotations({
  metrics_auth_secret = {
    type = "text", parse = auth.parse_secret, shape = "^([a-z0-9-]+/)?[a-z0-9][a-z0-9.-]*$",
    expects = "the name of a Secret, or NAMESPACE/NAME", on = { "ConfigMap" },
    families = { ["haproxy.org"] = KEY, ["haproxy.com"] = KEY },
    effect = "settings", protects = true, reload = "each value, and a changed Secret",
    doc = "A Secret with users and password hashes of crypt(3) ($5$, $6$, bcrypt, …). /metrics at "
      .. "the status port then needs one of these users. Without a namespace, the Secret is in the "
      .. "ConfigMap's namespace. If the value or the Secret is wrong, /metrics answers 503.",
    lines = "http-request auth realm metrics if … !{ http_auth(" .. LIST .. ") }",
    tested = "configmap_spec: ask who reads the metrics for a password, and what is wrong closes them",
  },
})

--- True when the key is set. Then its users: {secret=, names=}, or nil and what is wrong.
local found = shared("metrics-users", function()
  local values, wrong = annotated({ "metrics_auth_secret" }, { configmap.level() })
  local ref = values.metrics_auth_secret
  if configmap.is_missing() then return { is_set = true, problem = "there is no ConfigMap" } end
  if not ref then return { is_set = wrong.metrics_auth_secret ~= nil, problem = "it is no name of a Secret" } end
  if not watched("secrets") then return { is_set = true, problem = "it needs secrets among watchedResources" } end
  local namespace = ref.namespace or configmap.namespace
  local secret = resources.secrets:get(namespace, ref.name)
  local id = namespace .. "/" .. ref.name
  if not secret then return { is_set = true, problem = "there is no Secret " .. id } end
  local names = auth.sort_users(secret, function() end).crypt
  if #names == 0 then return { is_set = true, problem = "nobody of the Secret " .. id .. " can log in" } end
  local users = {}
  for i, name in ipairs(names) do users[i] = { name = name, hash = secret.data[name] } end
  return { is_set = true, users = users }
end)

fragment("metrics-users", function(out)
  local users = found().users
  if not users or not context.prometheus then return end
  out:section("userlist " .. LIST, { order = 100, key = "users" }, function(b)
    for _, user in ipairs(users) do b:line("user", user.name, "password", user.hash) end
  end)
  out:section("frontend status", { order = 120, key = "metrics" }, function(b)
    b:line("http-request", "auth", "realm", "metrics", "if", "{", "path", "/metrics", "}", "!{",
      "http_auth(" .. LIST .. ")", "}")
    b:line("http-request", "set-var(txn.metrics)", "bool(true)")
  end)
end)

section("frontend status", { name = "metrics-closed", order = 125 }, function(b)
  if not found().is_set or not context.prometheus then return end
  b:line("http-request", "deny", "deny_status", 503, "if", "{", "path", "/metrics", "}", "!{", "var(txn.metrics)", "-m",
    "found", "}")
end)

configmap.each("metrics-users", function(out)
  local is = found()
  if is.is_set and is.problem then
    out:warn("InvalidProtection", "prometheus-endpoint-auth-secret: " .. is.problem .. "; /metrics answers 503")
  end
end)
