# shellcheck shell=bash
# image.sh: container images, made by buildah from nothing but this machine's Debian mirror. Sourced by testenv.
#
# Images that are the same for all (the base, the HAProxy of a series) are made once and kept in the cache as archives;
# that of this working tree is kept until a file that it is made from changes. buildah's own storage is in the cache, too.

IMAGE_BASE=docker.io/library/debian:trixie-slim
IMAGE_HAPROXY_SERIES=3.4
# What Debian's build of HAProxy links with and the official image's does not.
IMAGE_HAPROXY_PACKAGES='libcrypt1 libjemalloc2 libopentracing-c-wrapper0 liblua5.4-0 libpcre2-8-0 libssl3t64'

# "haptic-arm64" is that image for arm64, made here by emulation and a cross compiler (image_arm64.sh).
#
# image NAME: prints the path of the archive (OCI) of that image.
image() {
  local tool
  [ "$(id -u)" = 0 ] || die "images are built as root."
  for tool in buildah debootstrap; do
    command -v "$tool" >/dev/null || die "$tool is missing: run 'tools/setup cluster' first."
  done
  case "$1" in
    base) image_base_path ;;
    haproxy) image_haproxy_path ;;
    haptic) image_haptic_path ;;
    pause) image_pause_path ;;
    coredns) image_coredns_path ;;
    haptic-arm64) image_arm64_path ;;
    *) die "no image '$1' here: the images are base, haproxy, haptic, haptic-arm64, pause and coredns." ;;
  esac
}

# image_tool ARGUMENT...: buildah, with a storage of its own.
image_tool() {
  BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs buildah --root "$CACHE/buildah/storage" --runroot "$CACHE/buildah/run" "$@"
}

# image_archive NAME FILE: what buildah has under that name, as an archive.
image_archive() {
  rm -f "$2.part"
  image_tool push -q --signature-policy "$HERE/images/policy.json" --disable-compression "$1" "oci-archive:$2.part:$1" >/dev/null &&
    mv "$2.part" "$2"
}

# image_stored NAME ARCHIVE: buildah knows that image; its storage may have been removed since.
image_stored() {
  image_tool inspect --type image "$1" >/dev/null 2>&1 && return
  image_tool pull -q --signature-policy "$HERE/images/policy.json" "oci-archive:$2" >/dev/null
}

# image_build TAG FOLDER ARGUMENT...: runs a Dockerfile; no layer of an earlier build is used.
image_build() {
  local tag=$1 folder=$2 log
  shift 2
  log=$(mktemp)
  image_tool bud --pull-never --no-cache --layers=false --format oci --signature-policy "$HERE/images/policy.json" \
    --timestamp "$(image_epoch)" --build-arg "SOURCE_DATE_EPOCH=$(image_epoch)" -t "$tag" "$@" "$folder" >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    rm -f "$log"
    die "the image $tag was not built."
  }
  rm -f "$log"
}

# image_commit FORMAT: of the last commit that changed what the image of HAPTIC is made from.
image_commit() { image_haptic_sources | (cd "$HERE/.." && xargs -0 git log -1 "--format=$1" --); }

# image_epoch: the time that everything in an image has.
image_epoch() { image_commit %ct; }

# ---- the base

image_base_path() {
  cache_make image-base-trixie image_base_make
  printf '%s\n' "$MADE/image.tar"
}

image_base_make() {
  say "making the base image: Debian 13 without manuals"
  image_base_build "$1" "$IMAGE_BASE"
}

# image_base_build FOLDER NAME [ARCHITECTURE]: Debian's own "slim" image is a minimal system without manuals and translations; so is this one.
image_base_build() {
  local into=$1 name=$2 container
  debian_release
  cache_scratch
  debootstrap ${3:+"--arch=$3"} --variant=minbase trixie "$SCRATCH/system" "$(debian_mirror)" >"$into/debootstrap.log" 2>&1 || {
    tail -n 5 "$into/debootstrap.log" >&2
    die "debootstrap could not make Debian 13 from this machine's mirror."
  }
  (
    cd "$SCRATCH/system"
    rm -rf var/cache/apt/* var/cache/ldconfig/aux-cache var/lib/apt/lists/* var/log/* var/lib/dpkg/*-old \
      var/cache/debconf/*-old usr/share/{doc,man,info,locale}/*
    mkdir -p etc/dpkg/dpkg.cfg.d
    printf 'path-exclude /usr/share/%s/*\n' doc man info locale >etc/dpkg/dpkg.cfg.d/slim
    # How this machine reaches its mirror (a proxy, for one) holds in the image's builds, too.
    proxies=$(apt-config dump | grep -E '^Acquire::https?::Proxy ' || true)
    [ -z "$proxies" ] || printf '%s\n' "$proxies" >etc/apt/apt.conf.d/90machine
  )
  container=$(image_tool from --signature-policy "$HERE/images/policy.json" scratch)
  image_tool add -q "$container" "$SCRATCH/system" / >/dev/null
  image_tool config --cmd bash ${3:+--arch "$3"} "$container"
  image_tool commit -q --signature-policy "$HERE/images/policy.json" --timestamp 0 "$container" "$name" >/dev/null
  image_tool rm "$container" >/dev/null
  image_archive "$name" "$into/image.tar"
}

# ---- HAProxy

image_haproxy_name() { printf 'localhost/haptic/haproxy:%s\n' "$IMAGE_HAPROXY_SERIES"; }

image_haproxy_path() {
  local hash
  hash=$(cat "$HERE"/images/haproxy/* | sha256sum)
  image_base_path >/dev/null
  haproxy_path "$IMAGE_HAPROXY_SERIES" >/dev/null
  cache_make "image-haproxy-$IMAGE_HAPROXY_SERIES-${hash:0:8}" image_haproxy_make
  printf '%s\n' "$MADE/image.tar"
}

image_haproxy_make() {
  say "making the image of HAProxy $IMAGE_HAPROXY_SERIES"
  image_stored "$IMAGE_BASE" "$CACHE/image-base-trixie/image.tar" || die "the base image cannot be read; remove $CACHE/image-base-trixie."
  cache_scratch
  cp "$HERE"/images/haproxy/* "$SCRATCH/"
  cp "$(haproxy_unpacked "$IMAGE_HAPROXY_SERIES")" "$SCRATCH/haproxy"
  image_build "$(image_haproxy_name)" "$SCRATCH" --build-arg "PACKAGES=$IMAGE_HAPROXY_PACKAGES"
  image_archive "$(image_haproxy_name)" "$1/image.tar"
}

# ---- what a node runs beside us

image_pause_path() {
  local hash
  hash=$(cat "$HERE"/images/pause/* | sha256sum)
  cache_make "image-pause-${hash:0:8}" image_pause_make
  printf '%s\n' "$MADE/image.tar"
}

image_pause_make() {
  cache_scratch
  cp "$HERE"/images/pause/* "$SCRATCH/"
  gcc -O2 -static -o "$SCRATCH/pause" "$SCRATCH/pause.c" || die "pause.c does not compile."
  image_build localhost/haptic/pause:test "$SCRATCH"
  image_archive localhost/haptic/pause:test "$1/image.tar"
}

image_coredns_path() {
  local hash
  coredns_path >/dev/null
  COREDNS=$MADE/coredns
  hash=$(cat "$HERE"/images/coredns/* "$COREDNS" | sha256sum)
  cache_make "image-coredns-${hash:0:8}" image_coredns_make
  printf '%s\n' "$MADE/image.tar"
}

image_coredns_make() {
  cache_scratch
  cp "$HERE"/images/coredns/* "$COREDNS" "$SCRATCH/"
  image_build localhost/haptic/coredns:test "$SCRATCH"
  image_archive localhost/haptic/coredns:test "$1/image.tar"
}

# ---- HAPTIC

image_haptic_name() { printf 'localhost/haptic/haptic:test\n'; }

# image_haptic_sources: what the image is made from.
image_haptic_sources() { git -C "$HERE/.." ls-files -z -- Dockerfile .dockerignore CMakeLists.txt CMakePresets.json core lua templates; }

image_haptic_path() {
  local hash old
  hash=$(cd "$HERE/.." && { image_haptic_sources | xargs -0 sha256sum && image_commit %H; } | sha256sum)
  image_haproxy_path >/dev/null
  cache_make "image-haptic-${hash:0:8}" image_haptic_make
  for old in "$CACHE"/image-haptic-*; do
    [ "$old" = "$MADE" ] || rm -rf "$old"
  done
  printf '%s\n' "$MADE/image.tar"
}

image_haptic_make() {
  say "making the image of HAPTIC"
  image_haptic_build "$(image_haptic_name)"
  image_archive "$(image_haptic_name)" "$1/image.tar"
}

# image_haptic_build TAG: the project's Dockerfile, on the images made here.
image_haptic_build() {
  image_stored "$IMAGE_BASE" "$CACHE/image-base-trixie/image.tar" || die "the base image cannot be read; remove $CACHE/image-base-trixie."
  image_stored "$(image_haproxy_name)" "$(image_haproxy_path)" || die "the image of HAProxy cannot be read."
  image_build "$1" "$HERE/.." --build-arg "HAPROXY_IMAGE=$(image_haproxy_name)" \
    --build-arg "HAPROXY_PACKAGES=$IMAGE_HAPROXY_PACKAGES" --build-arg "REVISION=$(image_commit %H)"
}
