# shellcheck shell=bash
# kubernetes.sh: the programs of a node, built from Go modules (tools/kubernetes, tools/coredns), cert-manager, and what charts are tested with. Sourced by testenv.

KUBERNETES_MODULE=$HERE/kubernetes
COREDNS_MODULE=$HERE/coredns
CERT_MANAGER_MODULE=$HERE/cert-manager
HELM_UNITTEST_MODULE=$HERE/helm-unittest
HELM_VERSION=v3.21.4
KUBECONFORM_VERSION=v0.7.0
# The last four, for which the chart's objects are checked. Their API descriptions are in the sources.
KUBERNETES_CHECKED=(v1.34.4 v1.35.4 v1.36.3 v1.37.2)

# kubernetes_path: prints the folder of kubelet, kube-controller-manager, kube-scheduler and kube-proxy.
kubernetes_path() {
  local hash
  KUBERNETES_VERSION=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$KUBERNETES_MODULE/go.mod")
  hash=$(cat "$KUBERNETES_MODULE"/{go.mod,go.sum,cmd/*/main.go} | sha256sum)
  cache_make "kubernetes-$KUBERNETES_VERSION-${hash:0:8}" kubernetes_make
  printf '%s\n' "$MADE"
}

kubernetes_make() {
  local into=$1 version=$KUBERNETES_VERSION prefix=k8s.io/component-base/version minor
  minor=${version#v1.}
  go_find
  say "building the node's programs, $version: about 5 minutes on 2 cores, the first time"
  (
    cd "$KUBERNETES_MODULE"
    CGO_ENABLED=0 nice -n 10 "$GO" build -trimpath -buildvcs=false -o "$into/" -ldflags "-s -w \
      -X $prefix.gitVersion=$version -X $prefix.gitMajor=1 -X $prefix.gitMinor=${minor%%.*} \
      -X $prefix.gitTreeState=clean" ./cmd/... >"$into/build.log" 2>&1
  ) || go_failed "$into/build.log" "the node's programs"
}

# coredns_path: prints the path of CoreDNS.
coredns_path() {
  local hash
  hash=$(cat "$COREDNS_MODULE"/{go.mod,go.sum,main.go} | sha256sum)
  cache_make "coredns-${hash:0:8}" coredns_make
  printf '%s\n' "$MADE/coredns"
}

coredns_make() {
  local into=$1
  go_find
  say "building CoreDNS: some minutes on 2 cores, the first time"
  (
    cd "$COREDNS_MODULE"
    CGO_ENABLED=0 nice -n 10 "$GO" build -trimpath -buildvcs=false -o "$into/coredns" -ldflags "-s -w" . >"$into/build.log" 2>&1
  ) || go_failed "$into/build.log" CoreDNS
}

# cert_manager_path: prints the folder of cert-manager's program (tools/cert-manager) and of its definitions (crds/).
cert_manager_path() {
  local hash
  hash=$(cat "$CERT_MANAGER_MODULE"/{go.mod,go.sum,main.go} | sha256sum)
  cache_make "cert-manager-${hash:0:8}" cert_manager_make
  printf '%s\n' "$MADE"
}

cert_manager_make() {
  local into=$1
  go_find
  say "building cert-manager: some minutes on 2 cores, the first time"
  (
    cd "$CERT_MANAGER_MODULE"
    CGO_ENABLED=0 nice -n 10 "$GO" build -trimpath -buildvcs=false -o "$into/cert-manager" -ldflags "-s -w" . &&
      cp -r "$("$GO" list -m -f '{{.Dir}}' github.com/cert-manager/cert-manager)/deploy/crds" "$into/crds" && chmod -R u+w "$into/crds"
  ) >"$into/build.log" 2>&1 || go_failed "$into/build.log" cert-manager
}

# helm_path: prints the path of helm.
helm_path() {
  cache_make "helm-$HELM_VERSION" helm_make
  printf '%s\n' "$MADE/helm"
}

# Without these it takes every cluster that it cannot ask for Kubernetes 1.20.
helm_make() {
  local prefix=helm.sh/helm/v3/pkg minor
  minor=$(awk '$1 == "k8s.io/kubernetes" { split($2, part, "."); print part[2] }' "$KUBERNETES_MODULE/go.mod")
  go_install "$1" "helm.sh/helm/v3/cmd/helm@$HELM_VERSION" "-s -w \
    -X $prefix/chartutil.k8sVersionMajor=1 -X $prefix/chartutil.k8sVersionMinor=$minor \
    -X $prefix/lint/rules.k8sVersionMajor=1 -X $prefix/lint/rules.k8sVersionMinor=$minor"
}

# helm_unittest_path: prints the path of helm-unittest (tools/helm-unittest).
helm_unittest_path() {
  local hash
  hash=$(cat "$HELM_UNITTEST_MODULE"/{go.mod,go.sum} | sha256sum)
  cache_make "helm-unittest-${hash:0:8}" helm_unittest_make
  printf '%s\n' "$MADE/helm-unittest"
}

helm_unittest_make() {
  local into=$1
  go_find
  say "building helm-unittest: some minutes on 2 cores, the first time"
  (
    cd "$HELM_UNITTEST_MODULE"
    CGO_ENABLED=0 nice -n 10 "$GO" build -trimpath -buildvcs=false -o "$into/helm-unittest" -ldflags "-s -w" \
      github.com/helm-unittest/helm-unittest/cmd/helm-unittest >"$into/build.log" 2>&1
  ) || go_failed "$into/build.log" helm-unittest
}

# kubeconform_path: prints the path of kubeconform.
kubeconform_path() {
  cache_make "kubeconform-$KUBECONFORM_VERSION" kubeconform_make
  printf '%s\n' "$MADE/kubeconform"
}

kubeconform_make() { go_install "$1" "github.com/yannh/kubeconform/cmd/kubeconform@$KUBECONFORM_VERSION"; }

# schemas_path: prints a line "VERSION FILE" for each version of KUBERNETES_CHECKED: its API description.
schemas_path() {
  local version
  for version in "${KUBERNETES_CHECKED[@]}"; do
    cache_make "kubernetes-api-$version" kubernetes_api_make
    printf '%s %s\n' "$version" "$MADE/swagger.json"
  done
}

kubernetes_api_make() {
  local into=$1 version=${1##*-api-} folder
  go_find
  say "fetching the sources of Kubernetes $version, for the description of its API"
  folder=$(GOMODCACHE=$into/modules "$GO" mod download -json "k8s.io/kubernetes@$version" 2>"$into/build.log" | jq -r .Dir) &&
    cp "$folder/api/openapi-spec/swagger.json" "$into/swagger.json" || go_failed "$into/build.log" "the description"
  chmod -R u+w "$into/modules" && rm -rf "$into/modules"
}

# go_install FOLDER PACKAGE@VERSION [LINKER_FLAGS]
go_install() {
  go_find
  say "building ${2##*/}"
  CGO_ENABLED=0 GOBIN=$1 nice -n 10 "$GO" install -trimpath -ldflags "${3:--s -w}" "$2" >"$1/build.log" 2>&1 || go_failed "$1/build.log" "${2##*/}"
}

# go_failed LOG WHAT
go_failed() {
  tail -n 15 "$1" >&2
  die "$2 did not build. It needs Go 1.24 and Go's module proxy (go env GOPROXY)."
}
