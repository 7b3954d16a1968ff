# shellcheck shell=bash
# haproxy.sh: HAProxy of several series side by side, from Debian's packages. Sourced by testenv.
#
# A series that is not this machine's own is unpacked, with the libraries and the C library it was built for, into the
# cache, and its ELF header is pointed at them. So it is one executable with a plain path: it re-executes itself in
# master-worker mode, and is run, traced and killed like any other.

# haproxy_suites SERIES: the Debian suites to try for that series, the likeliest first.
haproxy_suites() {
  case "$1" in
    2.6) echo bookworm ;;
    3.0) echo trixie ;;
    3.2) echo sid testing trixie-backports ;;
    3.4) echo experimental sid testing ;;
    *) die "no HAProxy $1 here: the series are ${HAPROXY_SERIES[*]}" ;;
  esac
}

# haproxy_path SERIES: prints the path of an executable HAProxy of that series.
haproxy_path() {
  haproxy_suites "$1" >/dev/null
  if [[ "$(haproxy -v 2>/dev/null)" == "HAProxy version $1."* ]]; then
    command -v haproxy
    return
  fi
  SERIES=$1
  cache_make "haproxy-$1" haproxy_make
  printf '%s\n' "$MADE/haproxy"
}

# haproxy_make FOLDER: unpacks $SERIES from the first suite that has it.
haproxy_make() {
  local suite version
  debian_release
  command -v patchelf >/dev/null || die "patchelf is missing: run 'tools/setup test' first."
  cache_scratch
  for suite in $(haproxy_suites "$SERIES"); do
    say "looking for HAProxy $SERIES in Debian's suite $suite"
    mkdir "$SCRATCH/$suite"
    case "$suite" in
      experimental) debian_apt_init "$SCRATCH/$suite" sid experimental ;;
      trixie-backports) debian_apt_init "$SCRATCH/$suite" trixie trixie-backports ;;
      *) debian_apt_init "$SCRATCH/$suite" "$suite" ;;
    esac
    debian_download "$SCRATCH/$suite" -t "$suite" haproxy
    version=$(basename "$SCRATCH/$suite"/cache/archives/haproxy_*.deb)
    version=${version#haproxy_}
    if [[ "$version" == "$SERIES".* ]]; then
      haproxy_unpack "$SCRATCH/$suite/cache/archives" "$1"
      haproxy_try "$1/haproxy"
      return
    fi
  done
  die "this machine's Debian mirror has no HAProxy $SERIES (its newest found: ${version%%-*})."
}

# haproxy_unpacked SERIES: prints where the program lies as Debian built it, for a system that has its libraries.
haproxy_unpacked() { find "$CACHE/haproxy-$1" -path '*/usr/sbin/haproxy' -type f; }

# haproxy_unpack ARCHIVES FOLDER: FOLDER/root is the packages' files, FOLDER/haproxy the program that runs with them.
haproxy_unpack() {
  local into=$2 deb dirs interpreter
  mkdir "$into/root"
  for deb in "$1"/*.deb; do
    dpkg-deb -x "$deb" "$into/root"
  done
  dirs=$(find "$into/root" -type f -name 'lib*.so*' -printf '%h\n' | sort -u | grep -E '/lib/[^/]+$|/lib$' | paste -sd:)
  interpreter=$(find "$into/root" -type f -name 'ld-linux*.so*' | head -n 1)
  [ -n "$dirs" ] && [ -n "$interpreter" ] || die "the packages of HAProxy $SERIES have no C library in them."
  cp "$into/root/usr/sbin/haproxy" "$into/haproxy"
  # An rpath, not a runpath: it must also hold for the libraries that the libraries need.
  patchelf --set-interpreter "$interpreter" --force-rpath --set-rpath "$dirs" "$into/haproxy"
}

# haproxy_try BINARY: it must check a configuration, serve, and reload, or no test with it would mean anything.
haproxy_try() {
  local binary=$1 dir pid end
  dir=$(mktemp -d)
  cat >"$dir/cfg" <<CFG
global
    stats socket $dir/stats level admin
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend f
    bind unix@$dir/http
    http-request return status 200 content-type text/plain string ok
CFG
  "$binary" -vv >"$dir/vv" 2>&1 && "$binary" -c -f "$dir/cfg" >"$dir/log" 2>&1 || {
    cat "$dir/vv" "$dir/log" >&2
    die "HAProxy $SERIES does not run here."
  }
  "$binary" -W -S "$dir/master" -f "$dir/cfg" >"$dir/log" 2>&1 </dev/null &
  pid=$!
  end=$((SECONDS + 10))
  until haproxy_answers "$dir" && [ -e "$dir/reloaded" ]; do
    if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
      cat "$dir/log" >&2
      kill -KILL "$pid" 2>/dev/null || true
      die "HAProxy $SERIES starts, but does not serve and reload."
    fi
    if [ ! -e "$dir/reloading" ] && haproxy_answers "$dir"; then
      touch "$dir/reloading"
      echo reload | socat - "UNIX-CONNECT:$dir/master" >/dev/null 2>&1 || true
    fi
    if [ -e "$dir/reloading" ] && echo 'show proc' | socat - "UNIX-CONNECT:$dir/master" 2>/dev/null |
      awk '$2 == "master" && $3 >= 1 { found = 1 } END { exit !found }'; then
      touch "$dir/reloaded"
    fi
    sleep 0.1
  done
  kill -TERM "$pid"
  wait "$pid" || true
  say "$(head -n 1 "$dir/vv")"
  rm -rf "$dir"
}

haproxy_answers() { [ "$(curl -s -m 2 --unix-socket "$1/http" http://localhost/)" = ok ]; }
