# shellcheck shell=bash
# leaderelection.sh: the competitor with client-go's elector, from the Go module in tools/leaderelection-go. Sourced by testenv.

LEADERELECTION_MODULE=$HERE/leaderelection-go

# leaderelection_path: prints the path of the binary, which is built (half a minute) unless the cache has it.
leaderelection_path() {
  local hash
  hash=$(cat "$LEADERELECTION_MODULE"/{go.mod,go.sum,main.go} | sha256sum)
  cache_make "leaderelection-${hash:0:8}" leaderelection_make
  printf '%s\n' "$MADE/leaderelection"
}

leaderelection_make() {
  local into=$1
  go_find
  say "building the client-go competitor"
  (
    cd "$LEADERELECTION_MODULE"
    CGO_ENABLED=0 nice -n 5 "$GO" build -trimpath -buildvcs=false -o "$into/leaderelection" -ldflags "-s -w" . >"$into/build.log" 2>&1
  ) || {
    tail -n 15 "$into/build.log" >&2
    die "tools/leaderelection-go did not build. It needs Go 1.24 and Go's module proxy (go env GOPROXY)."
  }
}
