--- effects.lua — annotations that change what happens to a route: types, defaults, and what protects.
--
-- Families of controllers have keys for them (haproxy_org.lua). How they become rules and entries of maps is in the
-- parts of this library, effects/NAME.lua. docs/annotations.md is made of these declarations.

local headers, redirect, rewrite = use("effects.headers"), use("effects.redirect"), use("effects.rewrite")

annotations({
  allow_list = {
    type = "addresses", on = { "Ingress", "ConfigMap" }, effect = "access", protects = true,
    doc = "Clients with other addresses than these get 403.",
    lines = "http-request deny if … !{ var(txn.record),concat(:allow:,txn.ip_key),map_beg(…) -m found }",
    tested = "annotations_spec: lets in by lists of addresses",
  },
  deny_list = {
    type = "addresses", on = { "Ingress", "ConfigMap" }, effect = "access", protects = true,
    doc = "Clients with these addresses get 403, also where allow-list has them.",
    lines = "http-request deny if … { var(txn.record),concat(:deny:,txn.ip_key),map_beg(…) -m found }",
    tested = "annotations_spec: lets in by lists of addresses",
  },
  request_redirect = {
    type = "text", parse = redirect.parse, on = { "Ingress", "ConfigMap" }, effect = "redirect",
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
    doc = "The Host that the pods get.",
    lines = "http-request set-header Host %[var(txn.record),map_str(maps/host.map)]",
    tested = "annotations_spec: changes host and path of what the pod gets",
  },
  path_rewrite = {
    type = "lines", max = rewrite.max_lines, parse = rewrite.parse, on = { "Ingress", "ConfigMap" }, effect = "rewrite",
    doc = "The path that the pods get; or a regular expression and the path that takes the place of one that it "
      .. "matches, with \\1 to \\9 for its groups. Up to four lines, each for what the one before made.",
    lines = "http-request set-path %[var(txn.path_new)]",
    tested = "annotations_spec: changes host and path of what the pod gets",
  },
})
