# shellcheck shell=bash
# cross.sh: a system of Debian 13 for arm64, to build for and to run by emulation on another machine. Sourced after debian.sh.

CROSS_PACKAGES=(
  haproxy libc6-dev libcmocka-dev libcurl4-openssl-dev libedit-dev libgnutls28-dev liblz4-dev libluajit-5.1-dev libmicrohttpd-dev libpcre2-dev
  libseccomp-dev libssl-dev libuv1-dev libyaml-dev libyyjson-dev lua-cjson lua-cjson-dev
)

# cross_root_path: prints the folder of that system. Nothing is installed in it: the packages' files are laid out.
cross_root_path() {
  local hash
  hash=$(printf '%s\n' "${CROSS_PACKAGES[@]}" | sha256sum)
  cache_make "arm64-trixie-${hash:0:8}" cross_root_make
  printf '%s\n' "$MADE"
}

cross_root_make() {
  local into=$1 package
  debian_release
  cache_scratch
  say "fetching a system of Debian 13 for arm64"
  # For apt, which asks a configuration file before its command line.
  printf 'APT::Architecture "arm64";\nAPT::Architectures {"arm64";};\n' >"$SCRATCH/arm64.conf"
  export APT_CONFIG=$SCRATCH/arm64.conf
  debian_apt_init "$SCRATCH" trixie
  debian_download "$SCRATCH" "${CROSS_PACKAGES[@]}"
  unset APT_CONFIG
  # As every Debian has them before its first package.
  mkdir -p "$into"/usr/{lib,bin,sbin} "$into"/{dev,proc,tmp,etc}
  touch "$into"/etc/{ld.so.preload,resolv.conf}
  ln -s usr/lib usr/bin usr/sbin "$into/"
  for package in "$SCRATCH"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$into" --keep-directory-symlink --no-same-owner || die "$package cannot be unpacked."
  done
}
