# shellcheck shell=bash
# image_arm64.sh: the image of HAPTIC for arm64, made on another machine. Sourced after image.sh and cross.sh.
#
# The program comes from the cross compiler, and HAProxy from Debian's package for arm64. Everything else is as the Dockerfile says: its last
# stage runs, and what runs in it are programs of arm64, by QEMU's user emulation. The kernel must know who runs such programs: for that time
# there is an entry in its list (binfmt_misc), which holds for the whole machine.

IMAGE_ARM64_BASE=localhost/haptic/base:arm64
IMAGE_ARM64_HAPROXY=localhost/haptic/haproxy:$IMAGE_HAPROXY_SERIES-arm64
IMAGE_ARM64_NAME=localhost/haptic/haptic:arm64
KNOWN_PROGRAMS=/proc/sys/fs/binfmt_misc
EMULATION='' # our entry, while there is one

# emulation_begin: from now on programs of arm64 run here, until emulation_end.
emulation_begin() {
  local program
  [ -z "$EMULATION" ] && [ "$(uname -m)" != aarch64 ] || return 0
  program=$(command -v qemu-aarch64-static) || die "qemu-aarch64-static is missing: run 'tools/setup cross' first."
  [ -e "$KNOWN_PROGRAMS/register" ] || mount -t binfmt_misc binfmt_misc "$KNOWN_PROGRAMS" || die "the kernel's list of foreign programs cannot be mounted."
  # An ELF file of 64 bits, little endian, for AArch64. F: the emulator is opened now, so that it need not be in a container.
  printf '%s' ":haptic-$$:M::"'\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$program:F" \
    >"$KNOWN_PROGRAMS/register" || die "the kernel does not take an entry for programs of arm64."
  EMULATION=$KNOWN_PROGRAMS/haptic-$$
}

emulation_end() {
  [ -z "$EMULATION" ] || echo -1 >"$EMULATION"
  EMULATION=''
}

image_arm64_path() {
  local hash old
  hash=$(cd "$HERE/.." && { image_haptic_sources | xargs -0 sha256sum && image_commit %H && cat tools/lib/image_arm64.sh; } | sha256sum)
  if [ ! -e "$CACHE/image-arm64-haptic-${hash:0:8}/.complete" ]; then
    image_arm64_parts
  fi
  cache_make "image-arm64-haptic-${hash:0:8}" image_arm64_make
  emulation_end
  for old in "$CACHE"/image-arm64-haptic-*; do
    [ "$old" = "$MADE" ] || rm -rf "$old"
  done
  printf '%s\n' "$MADE/image.tar"
}

# image_arm64_parts: what the image is made from.
image_arm64_parts() {
  command -v aarch64-linux-gnu-gcc >/dev/null || die "aarch64-linux-gnu-gcc is missing: run 'tools/setup cross' first."
  emulation_begin
  cross_root_path >/dev/null
  CROSS_ROOT=$MADE
  cache_make image-arm64-base-trixie image_arm64_base_make
  image_stored "$IMAGE_ARM64_BASE" "$MADE/image.tar" || die "the base image for arm64 cannot be read; remove $MADE."
  cache_make "image-arm64-haproxy-$IMAGE_HAPROXY_SERIES" image_arm64_haproxy_make
  image_stored "$IMAGE_ARM64_HAPROXY" "$MADE/image.tar" || die "the image of HAProxy for arm64 cannot be read; remove $MADE."
}

image_arm64_make() {
  cache_scratch
  image_arm64_program "$CROSS_ROOT" "$SCRATCH"
  say "making the image of HAPTIC for arm64"
  # The Dockerfile with the program in the place of the stage that makes it.
  awk '/ AS build$/ { print "FROM scratch AS build\nCOPY haptic /haptic"; skip = 1; next } /^FROM / { skip = 0 } !skip' \
    "$HERE/../Dockerfile" >"$SCRATCH/Dockerfile"
  image_build "$IMAGE_ARM64_NAME" "$SCRATCH" --arch arm64 --build-arg "BASE_IMAGE=$IMAGE_ARM64_BASE" \
    --build-arg "HAPROXY_IMAGE=$IMAGE_ARM64_HAPROXY" --build-arg "HAPROXY_PACKAGES=$IMAGE_HAPROXY_PACKAGES" \
    --build-arg "REVISION=$(image_commit %H)"
  image_archive "$IMAGE_ARM64_NAME" "$1/image.tar"
}

image_arm64_base_make() {
  say "making the base image for arm64, by emulation: some minutes, the first time"
  image_base_build "$1" "$IMAGE_ARM64_BASE" arm64
}

# Of the stand-in for the official image there is only the program here: the image of HAPTIC takes nothing else from it.
image_arm64_haproxy_make() {
  local suite
  say "fetching HAProxy $IMAGE_HAPROXY_SERIES for arm64"
  debian_release
  cache_scratch
  suite=$(haproxy_suites "$IMAGE_HAPROXY_SERIES" | cut -d' ' -f1)
  printf 'APT::Architecture "arm64";\nAPT::Architectures {"arm64";};\n' >"$SCRATCH/arm64.conf"
  (
    export APT_CONFIG=$SCRATCH/arm64.conf
    debian_apt_init "$SCRATCH" sid "$suite"
    debian_download_alone "$SCRATCH" -t "$suite" haproxy
  )
  dpkg-deb -x "$SCRATCH"/haproxy_*.deb "$SCRATCH/unpacked"
  printf 'FROM scratch\nCOPY haproxy /usr/local/sbin/haproxy\n' >"$SCRATCH/Dockerfile"
  cp "$SCRATCH/unpacked/usr/sbin/haproxy" "$SCRATCH/haproxy"
  image_build "$IMAGE_ARM64_HAPROXY" "$SCRATCH" --arch arm64
  image_archive "$IMAGE_ARM64_HAPROXY" "$1/image.tar"
}

# image_arm64_program ROOT FOLDER: the program, with the Dockerfile's flags, by the cross compiler.
image_arm64_program() {
  local build=$HERE/../build/arm64-image
  say "building the program for arm64"
  mkdir -p "$build"
  (
    cd "$HERE/.."
    cmake --preset release -B "$build" -DHAPTIC_TESTS=OFF -DHAPTIC_WERROR=OFF -DCMAKE_C_FLAGS=-frandom-seed=haptic \
      -DCMAKE_TOOLCHAIN_FILE="$PWD/tools/cross/aarch64.cmake" -DSYSROOT="$1" && cmake --build "$build" --target haptic
  ) >"$build.log" 2>&1 || {
    tail -n 20 "$build.log" >&2
    die "the program does not build for arm64; the log is $build.log"
  }
  aarch64-linux-gnu-strip -o "$2/haptic" "$build/core/haptic"
}
