# shellcheck shell=bash
# pebble.sh: Pebble, the certificate authority for tests of ACME clients, and its name server. Sourced by testenv.

PEBBLE_VERSION=v2.10.3

# pebble_path: prints the folder of pebble and pebble-challtestsrv.
pebble_path() {
  cache_make "pebble-$PEBBLE_VERSION" pebble_make
  printf '%s\n' "$MADE"
}

pebble_make() {
  go_install "$1" "github.com/letsencrypt/pebble/v2/cmd/pebble@$PEBBLE_VERSION"
  go_install "$1" "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@$PEBBLE_VERSION"
}
