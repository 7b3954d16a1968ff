# shellcheck shell=bash
# pods.sh: whether this machine can have a node of Kubernetes, and which specs with pods run in CI. Sourced after say.sh.

# shellcheck disable=SC2034 # used by who sources this
# What CI runs, in about two minutes on a node that is built: the guide as it is written.
PODS_SHORT=(spec/cluster/guide_spec.lua)
# What one file of them may need on a busy machine, with a second attempt.
PODS_SECONDS=300

# pods_make: begins to make what a node consists of (programs, images), in the background and with low priority. Whoever needs a part of it
# before it is there waits for that part. To be called after "tools/testenv all": its API server is the largest part.
pods_make() {
  mkdir -p build
  setsid nice -n 10 tools/testenv k8s make </dev/null >build/node-parts.log 2>&1 &
  PODS_MAKER=$!
}

# pods_make_end: ends that, if it still runs. What is complete stays in the cache.
pods_make_end() {
  [ -z "${PODS_MAKER:-}" ] || kill -TERM -- "-$PODS_MAKER" 2>/dev/null || true
  PODS_MAKER=''
}

# pods_seconds_left: until the time at which specs with pods must have ended; much without one.
pods_seconds_left() {
  local left=86400
  [ -z "${E2E_CLUSTER_UNTIL:-}" ] || left=$((E2E_CLUSTER_UNTIL - $(date +%s)))
  printf '%d\n' "$left"
}

# pods_refusal: prints why there can be no node here, if so: what a node's first process does, tried.
pods_refusal() {
  local scratch reason=''
  if [ "$(id -u)" != 0 ]; then
    echo 'it needs root'
    return
  fi
  scratch=$(mktemp -d)
  if ! unshare --mount --net --pid --fork --propagation private true 2>/dev/null; then
    reason='root may not make namespaces'
  elif ! mknod "$scratch/null" c 1 3 2>/dev/null; then
    reason='root may not make devices'
  elif ! unshare --mount --propagation private mount -t tmpfs tmpfs "$scratch" 2>/dev/null; then
    reason='root may not mount'
  elif ! unshare --net ip link add eth0 type veth peer name eth1 2>/dev/null; then
    reason='the kernel has no pairs of network devices (veth)'
  elif ! unshare --mount --propagation private mount -t overlay -o "lowerdir=/usr:/etc" overlay "$scratch" 2>/dev/null; then
    reason='the kernel has no overlay of file systems'
  elif ! mkdir /sys/fs/cgroup/haptic-probe 2>/dev/null && ! mkdir /sys/fs/cgroup/memory/haptic-probe 2>/dev/null; then
    reason='root may not make control groups'
  fi
  rmdir /sys/fs/cgroup/haptic-probe /sys/fs/cgroup/memory/haptic-probe 2>/dev/null
  rm -rf "$scratch"
  [ -z "$reason" ] || printf '%s\n' "$reason"
}
