# shellcheck shell=bash
# leaderelection.sh: client-go's leader elector as a program, to compete with. Sourced by testenv after apiserver.sh.

LEADERELECTION_MODULE=$HERE/leaderelection-go

# leaderelection_path: prints the path of the binary, which is built unless the cache has it.
leaderelection_path() {
  local hash
  hash=$(cat "$LEADERELECTION_MODULE"/{go.mod,go.sum,main.go} | sha256sum)
  cache_make "leaderelection-go-${hash:0:8}" leaderelection_make
  printf '%s\n' "$MADE/leaderelection-go"
}

leaderelection_make() {
  local into=$1
  go_find
  say "building leaderelection-go: about 20 seconds, the first time"
  (
    cd "$LEADERELECTION_MODULE"
    CGO_ENABLED=0 "$GO" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$into/leaderelection-go" . >"$into/build.log" 2>&1
  ) || {
    tail -n 15 "$into/build.log" >&2
    die "leaderelection-go did not build. It needs Go 1.24 and Go's module proxy (go env GOPROXY)."
  }
}
