# shellcheck shell=bash
# apiserver.sh: kube-apiserver, built from the Go module in tools/kube-apiserver, and its etcd. Sourced by testenv.

APISERVER_MODULE=$HERE/kube-apiserver

# apiserver_path: prints the path of the binary, which is built (some minutes) unless the cache has it.
apiserver_path() {
  local hash
  APISERVER_VERSION=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$APISERVER_MODULE/go.mod")
  hash=$(cat "$APISERVER_MODULE"/{go.mod,go.sum,main.go} | sha256sum)
  cache_make "kube-apiserver-$APISERVER_VERSION-${hash:0:8}" apiserver_make
  printf '%s\n' "$MADE/kube-apiserver"
}

# go_find: sets GO to a go command that is new enough: the machine's, or Debian 13's unpacked into the cache.
go_find() {
  local candidate minor
  for candidate in go /usr/local/go/bin/go; do
    minor=$("$candidate" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p') || true
    if [ "${minor:-0}" -ge 24 ]; then
      GO=$candidate
      return
    fi
  done
  say "no Go 1.24 or newer here: unpacking Debian 13's"
  cache_make go-1.24-debian go_make
  GO=$MADE/usr/lib/go-1.24/bin/go
}

go_make() {
  trixie_unpack "$1" golang-1.24-go golang-1.24-src
}

# etcd_path: prints the path of an etcd. Debian 13's, on Debian 12 too: the API server streams lists
# (sendInitialEvents) only from an etcd that reports watch progress on request: 3.4.31, 3.5.13 and later.
etcd_path() {
  cache_make etcd-trixie etcd_make
  printf '%s\n' "$MADE/usr/bin/etcd"
}

etcd_make() {
  say "fetching Debian 13's etcd"
  trixie_unpack "$1" etcd-server
  "$1/usr/bin/etcd" --version >"$1/version" || die "the etcd of Debian 13 does not run here."
}

# trixie_unpack FOLDER PACKAGE...: files of Debian 13's packages, for programs that bring nearly everything themselves.
trixie_unpack() {
  local into=$1 deb
  shift
  debian_release
  cache_scratch
  debian_apt_init "$SCRATCH" trixie
  debian_download_alone "$SCRATCH" "$@"
  for deb in "$SCRATCH"/*.deb; do
    dpkg-deb -x "$deb" "$into"
  done
}

# apiserver_make FOLDER: kubectl and charts look at the version, which only the linker can put in.
apiserver_make() {
  local into=$1 version=$APISERVER_VERSION prefix=k8s.io/component-base/version minor
  minor=${version#v1.}
  go_find
  say "building kube-apiserver $version: about 4 minutes on 2 cores, the first time"
  (
    cd "$APISERVER_MODULE"
    CGO_ENABLED=0 nice -n 5 "$GO" build -trimpath -buildvcs=false -o "$into/kube-apiserver" -ldflags "-s -w \
      -X $prefix.gitVersion=$version -X $prefix.gitMajor=1 -X $prefix.gitMinor=${minor%%.*} \
      -X $prefix.gitTreeState=clean" . >"$into/build.log" 2>&1
  ) || {
    tail -n 15 "$into/build.log" >&2
    die "kube-apiserver did not build. It needs Go 1.24 and Go's module proxy (go env GOPROXY)."
  }
}
