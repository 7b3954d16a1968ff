--- effects.lua — annotations that change what happens to a route: types, defaults, and what protects.
--
-- Families of controllers have keys for them (haproxy_org.lua). How they become rules and entries of maps is in the
-- parts of this library, effects/NAME.lua. docs/annotations.md is made of these declarations.

local headers, redirect, rewrite = use("effects.headers"), use("effects.redirect"), use("effects.rewrite")
local auth, capture, cors = use("effects.auth"), use("effects.capture"), use("effects.cors")
local named = use("effects.addresses_named")
local limit, source, milliseconds = use("effects.limit"), use("effects.source"), use("effects.timeouts").milliseconds

annotations({
  allow_list = {
    type = "addresses", references = named.BEGINNING, parse = named.parse, on = { "Ingress", "ConfigMap" },
    effect = "access", protects = true,
    doc = "Clients with other addresses than these get 403. patterns/NAME is a list of the ConfigMap that the setting "
      .. "pattern_lists names.",
    lines = "http-request deny if … !{ var(txn.record),concat(:allow:,txn.ip_key),map_beg(…) -m found }",
    tested = "annotations_spec: lets in by lists of addresses",
  },
  deny_list = {
    type = "addresses", references = named.BEGINNING, parse = named.parse, on = { "Ingress", "ConfigMap" },
    effect = "access", protects = true,
    doc = "Clients with these addresses get 403, also where allow-list has them.",
    lines = "http-request deny if … { var(txn.record),concat(:deny:,txn.ip_key),map_beg(…) -m found }",
    tested = "annotations_spec: lets in by lists of addresses",
  },
  request_redirect = {
    type = "text", parse = redirect.parse, on = { "Ingress", "ConfigMap" }, effect = "redirect",
    shape = "^(https?://)?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$",
    expects = "a host, with http:// or https:// in front and a port behind it where they are needed",
    doc = "Requests are answered with the same path and query at another host.",
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
    doc = "Status of the answer of request-redirect.",
    lines = "http-request redirect … code CODE", tested = "annotations_spec: redirects to another host",
  },
  request_set_header = {
    type = "lines", max = 40, parse = headers.parse, on = { "Ingress", "ConfigMap" }, effect = "request-headers",
    reload = "a name that no route has had yet, where HAProxy is older than 3.4",
    doc = "Sets fields of the request's header; a line for each: name, blank, value. A value is text, no expression.",
    lines = "http-request set-headers-bin var(txn.record),map_str(maps/request-headers.map),b64dec",
    tested = "annotations_spec: sets headers of requests and answers",
  },
  response_set_header = {
    type = "lines", max = 40, parse = headers.parse, on = { "Ingress", "ConfigMap" }, effect = "response-headers",
    reload = "a name that no route has had yet, where HAProxy is older than 3.4",
    doc = "Sets fields of the header of the pods' answers, as request-set-header does.",
    lines = "http-response set-headers-bin var(txn.record),map_str(maps/response-headers.map),b64dec",
    tested = "annotations_spec: sets headers of requests and answers",
  },
  set_host = {
    type = "text", parse = headers.parse_host, on = { "Ingress", "ConfigMap" }, effect = "host",
    shape = "^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$", expects = "a host, and a port behind it where it is needed",
    doc = "The Host that the pods get.",
    lines = "http-request set-header Host %[var(txn.record),map_str(maps/host.map)]",
    tested = "annotations_spec: changes host and path of what the pod gets",
  },
  path_rewrite = {
    type = "lines", max = rewrite.max_lines, parse = rewrite.parse, on = { "Ingress", "ConfigMap" }, effect = "rewrite",
    doc = "The path that the pods get; or a regular expression and the path that takes the place of one that it "
      .. "matches, with \\1 to \\9 for its groups. Up to four lines, each for what the one before made. Expressions "
      .. "that can take long are refused, and paths of more than 4096 bytes get 414 where there is one.",
    lines = "http-request set-path %[var(txn.path_new)]",
    tested = "annotations_spec: changes host and path of what the pod gets",
  },
  auth_type = {
    type = "enum", values = { "basic-auth" }, on = { "Ingress", "ConfigMap" }, effect = "auth", protects = true,
    reload = "the first route with a Secret and a realm",
    doc = "Who asks needs a name and a password of the Secret that auth-secret names; others get 401.",
    lines = "http-request auth realm REALM if … !{ http_auth(users_NAMESPACE_NAME) }",
    tested = "annotations_spec: asks for a name and a password",
  },
  auth_secret = {
    type = "text", parse = auth.parse_secret, on = { "Ingress", "ConfigMap" }, effect = "auth", protects = true,
    shape = "^([a-z0-9-]+/)?[a-z0-9][a-z0-9.-]*$",
    expects = "the name of a Secret, with its namespace and a / in front of it or without",
    reload = "another list of users of crypt(3); the first with $apr1$",
    doc = "A Secret of the Ingress' namespace; the ConfigMap may name one of another, NAMESPACE/NAME. Its keys are "
      .. "names, its values are hashes as htpasswd and openssl make them: {SHA}, $apr1$ (where HAProxy has Lua), and "
      .. "those of crypt(3) ($5$, $6$, bcrypt, …). Who cannot log in, and hashes that take long, are told. Where the "
      .. "Secret is missing, or has nobody who can log in, the route answers 503.",
    lines = "userlist users_NAMESPACE_NAME; user NAME password HASH; or an entry of auth-hashes.map",
    tested = "annotations_spec: asks for a name and a password",
  },
  auth_realm = {
    type = "text", default = "Protected Content", parse = auth.parse_realm, on = { "Ingress", "ConfigMap" },
    effect = "auth", reload = "a new pair of Secret and realm", doc = "The realm of the question.",
    lines = "http-request auth realm REALM", tested = "annotations_spec: asks for a name and a password",
  },
  cors_enable = {
    type = "switch", default = false, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "Pages of other hosts may read the answers: the headers Access-Control-… are set.",
    lines = "http-after-response set-header Access-Control-Allow-Origin %[var(txn.cors)]",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_allow_origin = {
    type = "text", default = "*", parse = cors.parse_origin, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "Of which hosts: *, or a regular expression for the header Origin. One that begins with http or "
      .. "^http is for the whole of it.",
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
    doc = "How long a browser remembers the answer.", lines = "http-after-response set-header …",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  cors_respond_to_options = {
    type = "switch", default = false, on = { "Ingress", "ConfigMap" }, effect = "cors",
    doc = "OPTIONS of an allowed origin is answered with 204, without the pod and without a password.",
    lines = "http-request return status 204 if … METH_OPTIONS",
    tested = "annotations_spec: lets pages of other hosts read answers",
  },
  rate_limit_requests = {
    type = "integer", min = 1, max = 1000000, on = { "Ingress", "ConfigMap" }, effect = "limit", protects = true,
    doc = "So many requests of one client address in a period, then one for each part of the period. Refused ones do "
      .. "not count.",
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
    doc = "Status of a refused request.", lines = "http-request deny deny_status CODE",
    tested = "annotations_spec: refuses who asks too often",
  },
  rate_limit_whitelist = {
    type = "addresses", references = named.BEGINNING, parse = named.parse, on = { "Ingress", "ConfigMap" },
    effect = "limit", doc = "Clients that are never refused.",
    lines = "http-request unset-var(txn.limit) if … map_beg(maps/addresses.map) -m found",
    tested = "annotations_spec: refuses who asks too often",
  },
  request_capture = {
    type = "lines", max = capture.max_lines, parse = capture.parse, on = { "Ingress", "ConfigMap" }, effect = "capture",
    reload = "an expression or a length that no route has had yet",
    doc = "Up to four of hdr(NAME), req.fhdr(NAME) (with commas), cookie(NAME), path, query, method, src, and other "
      .. "fetches of the request, which the log shows between braces, in the order of their texts.",
    lines = "http-request capture req.hdr(NAME) len N",
    tested = "annotations_spec: shows what was asked for in the log",
  },
  request_capture_len = {
    type = "integer", default = 128, min = 1, max = 1024, on = { "Ingress", "ConfigMap" }, effect = "capture",
    reload = "with request-capture", doc = "Longest text of each.", lines = "http-request capture … len N",
    tested = "annotations_spec: shows what was asked for in the log",
  },
  src_ip_header = {
    type = "text", parse = source.parse, on = { "Ingress", "ConfigMap" }, effect = "source",
    reload = "a name that no route has had yet",
    doc = "The header in which a trusted proxy (trusted_proxies) names the client. Those of others do not count.",
    lines = "http-request set-src req.hdr(NAME) if from_trusted_proxy …",
    tested = "annotations_spec: takes the client from a trusted proxy's header",
  },
  timeout_server = {
    type = "duration", unit = "ms", min = "1ms", max = "24d", parse = milliseconds,
    on = { "Ingress", "Service", "ConfigMap" }, effect = "timeouts",
    doc = "How long a pod may be silent. In the ConfigMap: for all backends.",
    lines = "http-request set-timeout server var(txn.timeout_server)",
    tested = "annotations_spec: ends what takes too long",
  },
})
