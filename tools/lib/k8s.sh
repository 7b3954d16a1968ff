# shellcheck shell=bash
# k8s.sh: a whole Kubernetes of one node, on this machine and apart from it. Sourced by testenv after cluster.sh.
#
#   DIR/kubeconfig           cluster administrator
#   DIR/log/                 a log of each daemon
#   DIR/init.pid             the first process of the node (tools/node/init)
#
# The node is one set of private namespaces: mounts, network, processes, users of control groups. What runs in it sees neither
# this machine's network nor its mounts, and ends with the node's first process. etcd's data is in the node's memory; images
# and logs are in DIR. Only the API server's port is open on this machine, on 127.0.0.1.
# There is no volume provisioner, no load balancer, no metrics server, and NetworkPolicies are not enforced.

K8S_IMAGES=(pause coredns haproxy haptic)

k8s() {
  local command=$1 dir=${2:-}
  if [ "$command" = make ]; then
    [ $# = 1 ] || usage
    k8s_make
    return
  fi
  [ $# -ge 2 ] || usage
  shift 2
  case "$dir" in /*) ;; *) dir=$PWD/$dir ;; esac
  case "$command" in
    up) k8s_up "$dir" "$@" ;;
    down) k8s_down "$dir" ;;
    exec)
      k8s_known "$dir"
      k8s_exec "$dir" "$@"
      ;;
    load)
      k8s_known "$dir"
      [ $# = 1 ] || usage
      k8s_exec "$dir" ctr -n k8s.io images import "$1" >/dev/null
      ;;
    *) usage ;;
  esac
}

k8s_known() { [ -e "$1/node.env" ] || die "$1 is no cluster of 'testenv k8s up'."; }

# k8s_make: all that a node is made of, into the cache: programs first, because they take longest.
k8s_make() {
  local name
  apiserver_path >/dev/null
  etcd_path >/dev/null
  kubernetes_path >/dev/null
  for name in "${K8S_IMAGES[@]}"; do
    image "$name" >/dev/null
  done
}

# k8s_exec DIR COMMAND...: in the node, where Services and pods can be reached.
k8s_exec() {
  local dir=$1
  shift
  nsenter -t "$(<"$dir/init.pid")" -m -n -p -u -i -C --wd="$PWD" -- "$@"
}

k8s_up() {
  local dir=$1 owner='' name
  shift
  if [ "${1:-}" = --owner ] && [ $# = 2 ]; then
    owner=$2
    shift 2
  fi
  [ $# = 0 ] || usage
  if [ -e "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
    die "$dir is not empty: a cluster needs a folder of its own."
  fi
  [ "$(id -u)" = 0 ] || die "a node runs as root."
  for name in containerd runc ctr nft iptables conntrack; do
    command -v "$name" >/dev/null || die "$name is missing: run 'tools/setup cluster' first."
  done
  mkdir -p "$dir"/{pki,log,run,images,containerd,kubelet,cni}
  chmod 0700 "$dir"
  UNFINISHED_NODE=$dir
  # What it is made of; each is in the cache after the first time.
  {
    apiserver_path >/dev/null
    printf 'APISERVER=%s\n' "$MADE/kube-apiserver"
    etcd_path >/dev/null
    printf 'ETCD=%s\n' "$MADE/usr/bin/etcd"
    kubernetes_path >/dev/null
    printf 'BIN=%s\n' "$MADE"
    printf 'DIR=%s\nAPI_PORT=%s\n' "$dir" "$(free_port)"
    cat "$HERE/node/settings"
  } >"$dir/node.env"
  for name in "${K8S_IMAGES[@]}"; do
    image "$name" >"$dir/run/image"
    ln -s "$(<"$dir/run/image")" "$dir/images/$name.tar"
  done
  printf '%s %s\n' "$(image_haproxy_name)" "docker.io/library/haproxy:$IMAGE_HAPROXY_SERIES" \
    "$(image_haptic_name)" "docker.io/library/haptic:$(sed -n 's/^appVersion: *//p' "$HERE/../charts/haptic/Chart.yaml")" >"$dir/images/names"
  # shellcheck source=tools/node/settings
  . "$dir/node.env"
  k8s_credentials "$dir" || die "openssl failed: $(tail -n 2 "$dir/log/openssl.log")"
  "$HERE/node/configure" "$dir"
  k8s_start "$dir"
  k8s_wait "$dir"
  UNFINISHED_NODE=''
  if [ -n "$owner" ]; then
    setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" k8s down "$3"' watch "$owner" "$HERE/testenv" "$dir" \
      </dev/null >/dev/null 2>&1 &
    disown
  fi
  printf '%s\n' "$dir/kubeconfig"
}

# k8s_credentials DIR: an authority, and a certificate and kubeconfig for each daemon and for the administrator.
k8s_credentials() {
  local dir=$1 name subject
  (
    cd "$dir/pki"
    key_new ca && key_new service-account
    openssl pkey -in service-account.key -pubout -out service-account.pub
    openssl req -x509 -new -key ca.key -days 30 -subj /CN=test-ca -out ca.crt
    key_new apiserver
    certificate_new apiserver /CN=kube-apiserver serverAuth "subjectAltName=IP:127.0.0.1,IP:$NODE_IP,IP:$SERVICE_FIRST,\
DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
    while read -r name subject; do
      key_new "$name" && certificate_new "$name" "$subject" clientAuth
    done <<LIST
admin /O=system:masters/CN=admin
kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
front-proxy /CN=front-proxy-client
controller-manager /CN=system:kube-controller-manager
scheduler /CN=system:kube-scheduler
proxy /CN=system:kube-proxy
kubelet /O=system:nodes/CN=system:node:$NODE_NAME
LIST
    cp ca.crt ../ca.crt
    printf 'https://127.0.0.1:%s\n' "$API_PORT" >../server
    for name in admin controller-manager scheduler proxy kubelet; do
      ln -sf "pki/$name.crt" ../admin.crt && ln -sf "pki/$name.key" ../admin.key
      cluster_kubeconfig .. && mv ../kubeconfig "$name.kubeconfig"
    done
    mv admin.kubeconfig ../kubeconfig
    rm ../admin.crt ../admin.key
  ) >"$dir/log/openssl.log" 2>&1
}

# k8s_groups: the control group that this process is in, of each hierarchy, as "CONTROLLERS FOLDER".
k8s_groups() {
  local controllers path root
  while IFS=: read -r _ controllers path; do
    case "$controllers" in
      '')
        root=/sys/fs/cgroup
        [ "$(stat -fc %T "$root")" = cgroup2fs ] || root=/sys/fs/cgroup/unified
        controllers=unified
        ;;
      name=*) root=/sys/fs/cgroup/${controllers#name=} ;;
      *) root=/sys/fs/cgroup/$controllers ;;
    esac
    [ ! -d "$root" ] || printf '%s %s\n' "$controllers" "$root${path%/}"
  done </proc/self/cgroup
}

# k8s_start DIR: the node's namespaces, below control groups of their own, with tools/node/init as their first process.
k8s_start() {
  local dir=$1 controllers parent group outer inner='' end
  : >"$dir/cgroups"
  while read -r controllers parent; do
    group=$parent/haptic-node-$API_PORT
    mkdir "$group" || continue
    if [ "$controllers" = cpuset ]; then
      cat "$parent/cpuset.cpus" >"$group/cpuset.cpus"
      cat "$parent/cpuset.mems" >"$group/cpuset.mems"
    fi
    # A group counts as one process beside those outside of it: too little for a node beside other tests. (8 times the default.)
    [ ! -e "$group/cpu.shares" ] || echo 8192 >"$group/cpu.shares"
    [ ! -e "$group/cpu.weight" ] || echo 800 >"$group/cpu.weight"
    printf '%s\n' "$group" >>"$dir/cgroups"
  done < <(k8s_groups)
  (
    while read -r group; do echo "$BASHPID" >"$group/cgroup.procs"; done <"$dir/cgroups"
    exec setsid unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child --mount-proc --propagation slave \
      "$HERE/node/init" "$dir"
  ) </dev/null >"$dir/log/init.log" 2>&1 &
  outer=$!
  disown
  end=$((SECONDS + 10))
  until [ -n "$inner" ]; do
    kill -0 "$outer" 2>/dev/null && [ "$SECONDS" -lt "$end" ] || die "no namespaces for a node: $(tail -n 3 "$dir/log/init.log")"
    sleep 0.05
    inner=$(tr -d ' ' <"/proc/$outer/task/$outer/children") || true
  done
  printf '%s\n' "$inner" >"$dir/init.pid"
  setsid socat "TCP-LISTEN:$API_PORT,bind=127.0.0.1,reuseaddr,fork" "UNIX-CONNECT:$dir/run/api.sock" \
    </dev/null >"$dir/log/socat.log" 2>&1 &
  printf '%s\n' $! >"$dir/socat.pid"
  disown
}

# k8s_wait DIR: until pods can be made, and names are answered.
k8s_wait() {
  local dir=$1
  k8s_until "$dir" 'the API server' 120 k8s_kubectl "$dir" get --raw /readyz
  k8s_until "$dir" 'the node' 120 k8s_kubectl "$dir" wait --for=condition=Ready "node/$NODE_NAME" --timeout=1s
  k8s_until "$dir" 'the default service account' 60 k8s_kubectl "$dir" get serviceaccount default
  k8s_kubectl "$dir" apply -f "$HERE/node/coredns.yaml" >/dev/null
  k8s_until "$dir" 'CoreDNS' 90 k8s_kubectl "$dir" -n kube-system wait --for=condition=Available deployment/coredns --timeout=1s
}

k8s_kubectl() { kubectl --kubeconfig "$1/kubeconfig" "${@:2}"; }

# k8s_until DIR WHAT SECONDS COMMAND...
k8s_until() {
  local dir=$1 what=$2 end=$((SECONDS + $3))
  shift 3
  until "$@" >/dev/null 2>"$dir/run/last"; do
    [ ! -e "$dir/failed" ] || die "the node did not start: $(<"$dir/failed")"
    [ "$SECONDS" -lt "$end" ] || die "$what did not become ready: $(tail -n 2 "$dir/run/last"); the logs are in $dir/log"
    sleep 0.2
  done
}

# k8s_kill PIDFILE WORD: ends that process, if it is still the one whose command line has WORD.
k8s_kill() {
  local pid
  [ -s "$1" ] || return 0
  pid=$(<"$1")
  if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$2"; then
    kill -KILL "$pid" 2>/dev/null || true
    while process_lives "$pid"; do sleep 0.02; done
  fi
}

# k8s_abandon DIR: ends a node that did not start; its logs stay.
k8s_abandon() {
  local logs
  logs=$(mktemp -d)
  cp "$1"/log/*.log "$logs/" 2>/dev/null || true
  k8s_down "$1"
  bad "the logs of the node that did not start are in $logs"
}

k8s_down() {
  local dir=$1 group end
  [ -e "$dir" ] || return 0
  k8s_known "$dir"
  k8s_kill "$dir/socat.pid" "$dir"
  k8s_kill "$dir/init.pid" "$dir" # the kernel ends every process and mount of the node with it
  end=$((SECONDS + 10))
  [ ! -e "$dir/cgroups" ] || while read -r group; do
    # Busy for a moment, while the last processes end.
    while [ -d "$group" ] && [ "$SECONDS" -lt "$end" ]; do
      find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || sleep 0.1
    done
  done <"$dir/cgroups"
  rm -rf "$dir"
}
