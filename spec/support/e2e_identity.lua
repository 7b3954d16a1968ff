--- Who is who for end-to-end specs: authorities and certificates made on the spot, an HTTP proxy on the way to the API
-- server, and the world as a pod or a machine with other authorities sees it.
-- Part of support.e2e: adds to the module and its scopes.

local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local function openssl(script, ...)
  local output, code = posix.run({ "sh", "-euc", script, "sh", ... })
  assert(code == 0, output)
end

local KEY = 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; '

local Authority = {}
Authority.__index = Authority

--- An authority of our own: `.crt` is its certificate's file.
function Scope:authority(name)
  local path = self:path(name)
  openssl(KEY .. 'openssl req -x509 -new -key "$1" -days 30 -subj "/CN=$3" -out "$2"', path .. ".key", path .. ".crt",
    name)
  return setmetatable({ scope = self, crt = path .. ".crt", key = path .. ".key" }, Authority)
end

--- The cluster's.
function Scope:cluster_authority(cluster)
  return setmetatable({ scope = self, crt = cluster.directory .. "/ca.crt", key = cluster.directory .. "/ca.key" },
    Authority)
end

--- Issues a certificate: the files of it and of its key.
---@param options table subject ("/CN=alice"); names ("IP:127.0.0.1,DNS:x"); expired (it ended yesterday)
function Authority:issue(options)
  local path = self.scope:path("issued")
  openssl(KEY .. [[
    printf 'extendedKeyUsage=serverAuth,clientAuth\n%s\n' "${7:+subjectAltName=$7}" >"$2.ext"
    openssl req -new -key "$1" -subj "$5" |
      openssl x509 -req -CA "$3" -CAkey "$4" -set_serial "0x$(openssl rand -hex 8)" -days "$6" -extfile "$2.ext" \
        -out "$2" 2>&1]],
    path .. ".key", path .. ".crt", self.crt, self.key, options.subject or "/CN=spec", options.expired and "-1" or "30",
    options.names or "")
  return path .. ".crt", path .. ".key"
end

--- A file in the base64 of a kubeconfig's *-data.
function M.base64_file(path)
  local output, code = posix.run({ "base64", "-w0", path })
  assert(code == 0, output)
  return output
end

--- A proxy for HTTPS: `.url`, and `:targets()` is what it was asked for.
---@param ... string its options
function Scope:connect_proxy(...)
  local port = M.port()
  local process = self:spawn({
    name = "proxy", argv = { "spec/support/e2e_connect_proxy", tostring(port), ... }, output = self:path("proxy.log"),
  })
  self:wait_for("the proxy", 10, function() return process:log():find("^ready") end)
  return {
    port = port, url = "http://127.0.0.1:" .. port,
    requests = function() return process:log():gsub("^ready\n", "") end,
  }
end

-- ---- what a program sees; words to put before it ----

--- The system's authorities are these certificates and no others.
function Scope:with_system_authorities(crt)
  local directory = self:path("certs")
  openssl('mkdir "$1"; cp "$2" "$1/ca-certificates.crt"; cp "$2" "$1/one.pem"; openssl rehash "$1" >/dev/null',
    directory, crt)
  return { "unshare", "--mount", "sh", "-euc", 'mount --bind "$0" /etc/ssl/certs; exec "$@"', directory }
end

local Pod = {}
Pod.__index = Pod

--- A pod's service account: token, ca.crt and namespace as a kubelet mounts them. `.through` shows it to a program.
function Scope:service_account(files)
  local pod = setmetatable({ directory = self:path("account"), versions = 0 }, Pod)
  openssl('mkdir "$1"; for f in token ca.crt namespace; do ln -s "..data/$f" "$1/$f"; done', pod.directory)
  pod:mount(files)
  pod.through = {
    "unshare", "--mount", "sh", "-euc",
    'mount -t tmpfs none /run; mkdir -p /run/secrets/kubernetes.io; '
      .. 'ln -s "$0" /run/secrets/kubernetes.io/serviceaccount; exec "$@"', pod.directory,
  }
  return pod
end

--- Replaces all files at once, by switching the link ..data.
function Pod:mount(files)
  self.versions = self.versions + 1
  local version = ("%s/..version-%d"):format(self.directory, self.versions)
  openssl('mkdir "$1"', version)
  for name, text in pairs(files) do
    posix.write_file(version .. "/" .. name, text)
  end
  openssl('ln -s "$2" "$1/..new"; mv -T "$1/..new" "$1/..data"', self.directory, version)
end
