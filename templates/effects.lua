--- effects.lua — annotations that affect a route: types, defaults, and which of them protect.
--
-- Families of controllers have keys for them (haproxy_org.lua). The parts of this library, effects/NAME.lua, turn them
-- into rules and entries of maps. docs/annotations.md is generated from these declarations.

local headers, redirect, rewrite = use("effects.headers"), use("effects.redirect"), use("effects.rewrite")
local auth, capture, cors = use("effects.auth"), use("effects.capture"), use("effects.cors")
local named = use("effects.addresses_named")
local limit, source, milliseconds = use("effects.limit"), use("effects.source"), use("effects.timeouts").milliseconds

annotations({
  allow_list = {
    type = "addresses", references = named.BEGINNING, parse = named.parse, on = { "Ingress", "ConfigMap" },
    effect = "access", protects = true,
    doc = "Only clients with these addresses are allowed; others get 403. patterns/NAME is a list "
      .. "in the ConfigMap that the setting pattern_lists names.",
    lines = "http-request deny if … !{ var(txn.record),concat(:allow:,txn.ip_key),map_beg(…) -m found }",
    tested = "annotations_spec: lets in by lists of addresses",
  },
  deny_list = {
    type = "addresses", references = named.BEGINNING, parse = named.parse, on = { "Ingress", "ConfigMap" },
    effect = "access", protects = true,
    doc = "Clients with these addresses get 403, even if allow-list has them.",
    lines = "http-request deny if … { var(txn.record),concat(:deny:,txn.ip_key),map_beg(…) -m found }",
    tested = "annotations_spec: lets in by lists of addresses",
  },
  request_redirect = {
    type = "text", parse = redirect.parse, on = { "Ingress", "ConfigMap" }, effect = "redirect",
    shape = "^(https?://)?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$",
    expects = "a host, with http:// or https:// and a port if needed",
    doc = "Requests are redirected to this host, with the same path and query.",
    lines = "http-request redirect location %[var(txn.to_scheme)]://%[var(txn.to),word(3,|)]%[pathq] code …",
    tested = "annotations_spec: redirects to another host",
  },
  request_redirect_code = {
    type = "integer", default = 302, on = { "Ingress", "ConfigMap" }, effect = "redirect",
    parse = function(code)
      for _, known in ipairs(redirect.codes) do
        if code == known then return code end
      end
      return nil, "one of " .. table.concat(redirect.codes, ", ")
    end,
    doc = "The status of the redirect of request-redirect.",
    lines = "http-request redirect … code CODE", tested = "annotations_spec: redirects to another host",
  },
  request_set_header = {
    type = "lines", max = 40, parse = headers.parse, on = { "Ingress", "ConfigMap" }, effect = "request-headers",
    reload = "a name that no route has had yet, where HAProxy is older than 3.4",
    doc = "Sets request headers, one in each line: name, blank, value. A value is plain text, not "
      .. "an expression.",
    lines = "http-request set-headers-bin var(txn.record),map_str(maps/request-headers.map),b64dec",
    tested = "annotations_spec: sets headers of requests and answers",
  },
  response_set_header = {
    type = "lines", max = 40, parse = headers.parse, on = { "Ingress", "ConfigMap" }, effect = "response-headers",
    reload = "a name that no route has had yet, where HAProxy is older than 3.4",
    doc = "Sets headers of the pods' answers, as request-set-header does for requests.",
    lines = "http-response set-headers-bin var(txn.record),map_str(maps/response-headers.map),b64dec",
    tested = "annotations_spec: sets headers of requests and answers",
  },
  set_host = {
    type = "text", parse = headers.parse_host, on = { "Ingress", "ConfigMap" }, effect = "host",
    shape = "^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$", expects = "a host, and a port if needed",
    doc = "The Host header that pods receive.",
    lines = "http-request set-header Host %[var(txn.record),map_str(maps/host.map)]",
    tested = "annotations_spec: changes host and path of what the pod gets",
  },
  path_rewrite = {
    type = "lines", max = rewrite.max_lines, parse = rewrite.parse, on = { "Ingress", "ConfigMap" }, effect = "rewrite",
    doc = "The path that pods receive; or a regular expression and the replacement of a matching "
      .. "path, with \\1 to \\9 for its groups. Up to four lines; each line works on the result of "
      .. "the line before. Expressions that can take long are refused. Where there is an "
      .. "expression, paths of more than 4096 bytes get 414.",
    lines = "http-request set-path %[var(txn.path_new)]",
    tested = "annotations_spec: changes host and path of what the pod gets",
  },
  auth_type = {
    type = "enum", values = { "basic-auth" }, on = { "Ingress", "ConfigMap" }, effect = "auth", protects = true,
    reload = "the first route with a Secret and a realm",
    doc = "Clients need a name and a password from the Secret of auth-secret; others get 401.",
    lines = "http-request auth realm REALM if … !{ http_auth(users_NAMESPACE_NAME) }",
    tested = "annotations_spec: asks for a name and a password",
  },
  auth_secret = {
    type = "text", parse = auth.parse_secret, on = { "Ingress", "ConfigMap" }, effect = "auth", protects = true,
    shape = "^([a-z0-9-]+/)?[a-z0-9][a-z0-9.-]*$",
    expects = "the name of a Secret, or NAMESPACE/NAME",
    reload = "another list of users of crypt(3); the first with $apr1$",
    doc = "The Secret with the users, in the namespace of the Ingress. In the ConfigMap also "
      .. "NAMESPACE/NAME. Each key is a user name, each value a password hash as htpasswd and "
      .. "openssl make it: {SHA}, $apr1$ (if HAProxy has Lua), and those of crypt(3) ($5$, $6$, "
      .. "bcrypt, …). An Event lists users who cannot log in and hashes that take too long. If the "
      .. "Secret is missing, or no user in it can log in, the route answers 503.",
    lines = "userlist users_NAMESPACE_NAME; user NAME password HASH; or an entry of auth-hashes.map",
    tested = "annotations_spec: asks for a name and a password",
  },
  auth_realm = {
    type = "text", default = "Protected Content", parse = auth.parse_realm, on = { "Ingress", "ConfigMap" },
    effect = "auth", reload = "a new pair of Secret and realm",
    doc = "The realm that the client sees in the login dialog.",
    lines = "http-request auth realm REALM", tested = "annotations_spec: asks for a name and a password",
  },
  cors_enable = {
    type = "switch", default = false, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "Web pages of other origins may read the answers: the headers Access-Control-… are set.",
    lines = "http-after-response set-header Access-Control-Allow-Origin %[var(txn.cors)]",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_allow_origin = {
    type = "text", default = "*", parse = cors.parse_origin, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "The allowed origins: *, a list such as https://a.example, https://b.example, or a regular "
      .. "expression for the header Origin. An expression that begins with http or ^http must match "
      .. "the whole header.",
    lines = "http-request set-var(txn.cors) var(txn.origin) if … map_reg(maps/cors-origin.map) -m found",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_allow_methods = {
    type = "list", default = "*", parse = cors.parse_methods, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "Value of Access-Control-Allow-Methods.", lines = "http-after-response set-header …",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_allow_headers = {
    type = "list", default = "*", parse = cors.parse_words, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "Value of Access-Control-Allow-Headers.", lines = "http-after-response set-header …",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_allow_credentials = {
    type = "switch", default = false, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "Access-Control-Allow-Credentials: true.", lines = "http-after-response set-header …",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_max_age = {
    type = "duration", default = "5s", unit = "ms", max = "24d", parse = milliseconds, on = { "Ingress", "ConfigMap" },
    effect = "cors",
    doc = "How long a browser may cache the answer to a preflight request.", lines = "http-after-response set-header …",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_respond_to_options = {
    type = "switch", default = false, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "HAProxy answers OPTIONS of an allowed origin with 204. The pod is not asked, and no "
      .. "password is needed.",
    lines = "http-request return status 204 if … METH_OPTIONS",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  rate_limit_requests = {
    type = "integer", min = 1, max = 1000000, on = { "Ingress", "ConfigMap" }, effect = "limit", protects = true,
    doc = "The number of requests that one client address may send in a period. Above it, one "
      .. "request is allowed for each part of the period. Refused requests do not count.",
    lines = "http-request deny if { var(txn.limit_ahead),sub(txn.limit_tolerance) -m int gt 0 }",
    tested = "annotations_spec: refuses who asks too often",
  },
  rate_limit_period = {
    type = "duration", default = "1s", unit = "ms", min = "10ms", max = "1h", parse = milliseconds,
    on = { "Ingress", "ConfigMap" }, effect = "limit", doc = "The period.", lines = "a value of limit.map",
    tested = "annotations_spec: refuses who asks too often",
  },
  rate_limit_status_code = {
    type = "integer", default = 403, parse = limit.parse_status, on = { "Ingress", "ConfigMap" }, effect = "limit",
    doc = "The status of the answer to a refused request.", lines = "http-request deny deny_status CODE",
    tested = "annotations_spec: refuses who asks too often",
  },
  rate_limit_whitelist = {
    type = "addresses", references = named.BEGINNING, parse = named.parse, on = { "Ingress", "ConfigMap" },
    effect = "limit", doc = "Clients without a limit.",
    lines = "http-request unset-var(txn.limit) if … map_beg(maps/addresses.map) -m found",
    tested = "annotations_spec: refuses who asks too often",
  },
  request_capture = {
    type = "lines", max = capture.max_lines, parse = capture.parse, on = { "Ingress", "ConfigMap" }, effect = "capture",
    reload = "an expression or a length that no route has had yet",
    doc = "Up to four sample fetches of the request, which the log shows between braces, in "
      .. "alphabetical order: hdr(NAME), req.fhdr(NAME) (with commas), cookie(NAME), path, query, "
      .. "method, src, and others.",
    lines = "http-request capture req.hdr(NAME) len N",
    tested = "annotations_spec: shows what was asked for in the log",
  },
  request_capture_len = {
    type = "integer", default = 128, min = 1, max = 1024, on = { "Ingress", "ConfigMap" }, effect = "capture",
    reload = "with request-capture",
    doc = "The maximum length of each captured text.", lines = "http-request capture … len N",
    tested = "annotations_spec: shows what was asked for in the log",
  },
  src_ip_header = {
    type = "text", parse = source.parse, on = { "Ingress", "ConfigMap" }, effect = "source",
    reload = "a name that no route has had yet",
    doc = "The header in which a trusted proxy (trusted_proxies) names the client. It is ignored "
      .. "from all others.",
    lines = "http-request set-src req.hdr(NAME) if from_trusted_proxy …",
    tested = "annotations_spec: takes the client from a trusted proxy's header",
  },
  timeout_server = {
    type = "duration", unit = "ms", min = "1ms", max = "24d", parse = milliseconds,
    on = { "Ingress", "Service", "ConfigMap" }, effect = "timeouts",
    doc = "The time limit for an inactive pod. In the ConfigMap: for all backends.",
    lines = "http-request set-timeout server var(txn.timeout_server)",
    tested = "annotations_spec: ends what takes too long",
  },
})
