#!/bin/sh
# As in the official image: options alone are haproxy's, and haproxy runs as master and workers in the foreground.
set -e
case "${1:-}" in
  -*) set -- haproxy "$@" ;;
esac
if [ "${1:-}" = haproxy ]; then
  shift
  set -- haproxy -W -db "$@"
fi
exec "$@"
