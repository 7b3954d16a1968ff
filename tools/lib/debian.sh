# shellcheck shell=bash
# debian.sh: packages of another Debian suite, while this machine's own package sources stay as they are. Sourced after
# say.sh.
#
# An apt configuration of its own (sources, lists, an empty package database) lives in a scratch folder, so no root is
# needed, nothing is pinned, and the machine's apt never learns of the other suite. The mirror is the machine's own.

# debian_release: sets DEBIAN_VERSION (12, 13) and DEBIAN_CODENAME, or ends the script on another system.
debian_release() {
  local id
  id=$(os_release ID)
  DEBIAN_VERSION=$(os_release VERSION_ID)
  DEBIAN_CODENAME=$(os_release VERSION_CODENAME)
  case "$id-$DEBIAN_VERSION" in
    debian-12 | debian-13) ;;
    *) die "Debian 12 or 13 is needed; here is '${id:-unknown} $DEBIAN_VERSION'. tools/setup lists the packages." ;;
  esac
}

# os_release KEY: prints that value of the system's description of itself.
os_release() { sed -n "s/^$1=//p" /etc/os-release 2>/dev/null | tr -d \"\'; }

# debian_mirror: prints the URI of the Debian archive this machine's apt uses.
debian_mirror() {
  local uri
  # With package lists, apt knows which source is Debian's own; another vendor's may have a suite of the same name.
  uri=$(apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -v release="$DEBIAN_CODENAME" '$1 == "Debian" && $2 == release { print $3; exit }')
  # Without them (an image whose lists were removed): the source that also has Debian's updates, or the first one.
  [ -n "$uri" ] || uri=$(apt-get update --print-uris -o Debug::NoLocking=true 2>/dev/null |
    awk -F "'" -v release="$DEBIAN_CODENAME" '
      match($2, "/dists/" release "(-updates)?/InRelease$") {
        uri = substr($2, 1, RSTART)
        if ($2 ~ /-updates\/InRelease$/) updates = uri
        else if (first == "") first = uri
      }
      END { print updates != "" ? updates : first }')
  [ -n "$uri" ] || die "apt's sources name no mirror of Debian $DEBIAN_CODENAME; add one, then run this again."
  printf '%s\n' "$uri"
}

# debian_apt_init DIR SUITE...: prepares DIR as the private apt of these suites and fetches their package lists.
debian_apt_init() {
  local dir=$1 mirror suite
  shift
  mirror=$(debian_mirror)
  mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/parts"
  : >"$dir/status"
  : >"$dir/sources.list"
  for suite in "$@"; do
    printf 'deb [signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg "$mirror" "$suite" \
      >>"$dir/sources.list"
  done
  # A mirror may serve an experimental suite whose Release file has expired; its signature is still checked.
  debian_apt "$dir" -o Acquire::Check-Valid-Until=false -o APT::Update::Error-Mode=any update \
    >"$dir/update.log" 2>&1 || {
    tail -n 5 "$dir/update.log" >&2
    die "the package lists of Debian $* could not be fetched from this machine's mirror: is there a network?"
  }
}

# debian_apt DIR ARGUMENT...: apt-get on that private apt.
debian_apt() {
  local dir=$1
  shift
  apt-get -qq -y \
    -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts="$dir/parts" \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$dir/parts" \
    -o Dir::State="$dir/state" -o Dir::State::Status="$dir/status" -o Dir::Cache="$dir/cache" \
    -o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Debug::NoLocking=true \
    -o Acquire::Retries=3 "$@"
}

# debian_download DIR ARGUMENT...: the packages named, with all they depend on, as DIR/cache/archives/*.deb.
debian_download() {
  local dir=$1
  shift
  debian_apt "$dir" --download-only install "$@" >"$dir/download.log" 2>&1 || {
    tail -n 5 "$dir/download.log" >&2
    die "packages could not be fetched from this machine's Debian mirror: $*"
  }
}

# debian_download_alone DIR PACKAGE...: these packages without what they depend on, as DIR/*.deb.
debian_download_alone() {
  local dir=$1
  shift
  (cd "$dir" && debian_apt "$dir" download "$@" >download.log 2>&1) || {
    tail -n 5 "$dir/download.log" >&2
    die "packages could not be fetched from this machine's Debian mirror: $*"
  }
}
