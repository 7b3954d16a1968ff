--- haproxy_org.lua — the keys of HAProxy Technologies' Ingress controller, haproxy.org/….
--
-- Names only: what a key does is declared in effects.lua and where its effect is written. That controller reads the
-- prefix haproxy.com as well.

local KEYS = {
  honoured = {
    -- The third spelling is that of another controller's libraries for this family.
    allow_list = { "allow-list", "whitelist", "allowlist" },
    deny_list = { "deny-list", "blacklist", "denylist" },
    request_redirect = "request-redirect",
    request_redirect_code = "request-redirect-code",
    request_set_header = "request-set-header",
    response_set_header = "response-set-header",
    set_host = "set-host",
    path_rewrite = "path-rewrite",
    load_balance = "load-balance",
    cookie_persistence = "cookie-persistence",
    cookie_persistence_no_dynamic = "cookie-persistence-no-dynamic",
    check = "check",
    check_http = "check-http",
    check_interval = "check-interval",
    timeout_check = "timeout-check",
    pod_maxconn = "pod-maxconn",
    abortonclose = "abortonclose",
    send_proxy_protocol = "send-proxy-protocol",
    forwarded_for = "forwarded-for",
  },
}

for _, prefix in ipairs({ "haproxy.org", "haproxy.com" }) do family(prefix, KEYS) end
