--- cert-manager beside the chart: the default certificate and that of an Ingress come from its issuer, and are served when it renews them.

local k8s = require("support.k8s")
local posix = require("support.posix")

if not k8s.wanted() then
  return
end

--- An authority that signs itself, and the issuer "company" that signs with it.
local ISSUERS = [[
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: default}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: company, namespace: default}
spec:
  isCA: true
  commonName: company
  secretName: company
  privateKey: {algorithm: ECDSA}
  issuerRef: {kind: Issuer, name: root}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: company, namespace: default}
spec: {ca: {secretName: company}}
]]

describe("certificates of cert-manager", function()
  local cluster, program, folder

  setup(function()
    cluster = k8s.up()
    folder = cluster:run("tools/testenv cert-manager 2>/dev/null")
    local definitions = folder .. "/crds"
    cluster:run("kubectl apply --server-side -f " .. definitions)
    cluster:run("kubectl wait --for=condition=Established --timeout=30s -f " .. definitions)
    program = posix.spawn({ name = "cert-manager", output = cluster.scratch .. "/cert-manager.log",
      argv = { folder .. "/cert-manager", cluster.kubeconfig } })
    cluster:apply(ISSUERS)
    cluster:run("kubectl wait --for=condition=Ready --timeout=60s issuer/company")
    cluster:run("kubectl get secret company -o jsonpath='{.data.tls\\.crt}' | base64 -d >" .. cluster.scratch .. "/ca.crt")
  end)
  teardown(function()
    cluster:uninstall()
    cluster:forget("web")
    if program then program:stop(10) end
    cluster:run("kubectl delete -f " .. folder .. "/crds --ignore-not-found --timeout=60s")
    cluster:run("kubectl delete secret company root haptic-default-certificate web-tls --ignore-not-found")
    cluster:down()
  end)

  --- A request for that host by a client that trusts nobody but the authority: what it answers, with the certificate's serial number before it.
  local function ask(host)
    local output = cluster:inside(("curl -sv -m 3 -w '\\n%%{http_code} %%{certs}' --cacert %s/ca.crt --resolve %s:443:%s https://%s/ 2>&1")
      :format(cluster.scratch, host, cluster:address(), host))
    return output:match("\n(%d+) Subject:"), output:match("Serial Number:(%x+)"), output
  end

  --- Waits until a host answers with that status, and a certificate of another serial number than `former`. Returns the number.
  local function served(host, wanted, former)
    return cluster:wait_for("a certificate of " .. host, 60, function()
      local status, serial, output = ask(host)
      return status == wanted and serial ~= former and serial, output
    end)
  end

  it("are the default one and an Ingress' own, and are exchanged under requests without a failure", function()
    cluster:install("--set replicaCount=2 --set defaultSSLCertificate.certManager.enabled=true --set defaultSSLCertificate.certManager.issuerRef.name=company "
      .. "--set 'defaultSSLCertificate.certManager.dnsNames={*.default.example}'")
    -- No host is known: the default certificate, and no route.
    local default = served("unknown.default.example", "404")

    cluster:application("web", 2)
    cluster:run("kubectl annotate ingress web cert-manager.io/issuer=company")
    cluster:run([[kubectl patch ingress web --type=merge -p '{"spec":{"tls":[{"hosts":["web.example"],"secretName":"web-tls"}]}}']])
    local own = served("web.example", "200")
    assert(own ~= default)

    -- Renewals, as cert-manager's own client asks for them: the reason "ManuallyTriggered" at the Certificate.
    local renew = [[kubectl patch certificate %s --subresource=status --type=json -p ]]
      .. [['[{"op":"add","path":"/status/conditions/-","value":{"type":"Issuing","status":"True","reason":"ManuallyTriggered",]]
      .. [["message":"renewed","lastTransitionTime":"2026-01-01T00:00:00Z"}}]']]
    cluster:under_traffic(function()
      cluster:run(renew:format("web-tls"))
      served("web.example", "200", own)
      cluster:run(renew:format("haptic-default-certificate"))
      served("unknown.default.example", "404", default)
    end, cluster.scratch .. "/ca.crt")
  end)
end)
