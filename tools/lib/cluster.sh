# shellcheck shell=bash
# cluster.sh: etcd and kube-apiserver of one test, in one folder. Sourced by testenv.
#
#   DIR/kubeconfig           cluster administrator, by client certificate (also DIR/admin.crt, DIR/admin.key)
#   DIR/server               the API server's URL
#   DIR/ca.crt, DIR/ca.key   the authority of the server's and the clients' certificates
#   DIR/tokens/USER          bearer tokens of the static users: admin (group system:masters), and alice, bob and carol,
#                            who may do only what a test grants them; DIR/tokens.csv is read at each start
#   DIR/etcd-url             for tests that compact or defragment
#   DIR/saved                what save keeps of etcd's data, and restore brings back
#   DIR/pids                 "etcd PID", "apiserver PID" and, with --owner, "watch PID"
#   DIR/etcd.log, DIR/apiserver.log
#
# There is no controller manager and no kubelet: nothing makes EndpointSlices or service accounts' tokens in Secrets, no
# pod starts, the ClusterRoles view, edit and admin are empty, and a deleted namespace stays Terminating. Pods need no
# service account, since nothing would make "default".

cluster() {
  local command=$1 dir=$2
  shift 2
  case "$dir" in /*) ;; *) dir=$PWD/$dir ;; esac
  case "$command" in
    up) cluster_up "$dir" "$@" ;;
    down) cluster_down "$dir" ;;
    kill-apiserver)
      cluster_known "$dir"
      cluster_end "$dir" apiserver
      ;;
    restart-apiserver)
      cluster_known "$dir"
      cluster_end "$dir" apiserver
      cluster_start_apiserver "$dir" || {
        tail -n 5 "$dir/apiserver.log" >&2
        die "the API server of $dir did not start again."
      }
      ;;
    save)
      cluster_known "$dir"
      cluster_end "$dir" apiserver
      cluster_end "$dir" etcd
      rm -rf "$dir/saved"
      cp -a "$dir/etcd" "$dir/saved"
      cluster_start "$dir"
      ;;
    restore)
      cluster_known "$dir"
      [ -d "$dir/saved" ] || die "$dir: nothing was saved."
      cluster_end "$dir" apiserver
      cluster_end "$dir" etcd
      rm -rf "$dir/etcd"
      cp -a "$dir/saved" "$dir/etcd"
      cluster_start "$dir"
      ;;
    *) usage ;;
  esac
}

# cluster_start DIR: both daemons of a cluster that is known, on their former ports.
cluster_start() {
  cluster_start_etcd "$1"
  cluster_start_apiserver "$1" || {
    tail -n 5 "$1/etcd.log" "$1/apiserver.log" >&2
    die "the cluster in $1 did not start again."
  }
}

cluster_known() { [ -e "$1/cluster" ] || die "$1 is no cluster of 'testenv cluster up'."; }

cluster_up() {
  local dir=$1 port='' owner='' tries=0 apiserver
  shift
  while [ $# -ge 2 ]; do
    case "$1" in
      --port) port=$2 ;;
      --owner) owner=$2 ;;
      *) usage ;;
    esac
    shift 2
  done
  [ $# = 0 ] || usage
  if [ -e "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
    die "$dir is not empty: a cluster needs a folder of its own."
  fi
  apiserver_path >/dev/null
  apiserver=$MADE/kube-apiserver
  etcd_path >/dev/null
  mkdir -p "$dir/tokens"
  chmod 0700 "$dir"
  printf '%s\n' "$apiserver" "$MADE/usr/bin/etcd" >"$dir/cluster"
  # Another process may take a port between our look and the daemon's bind; then everything is tried again.
  UNFINISHED_CLUSTER=$dir
  until cluster_try "$dir" "${port:-$(free_port)}"; do
    tries=$((tries + 1))
    [ "$tries" -lt 3 ] || {
      tail -n 5 "$dir/etcd.log" "$dir/apiserver.log" >&2
      die "the cluster in $dir did not start."
    }
    cluster_end "$dir" apiserver
    cluster_end "$dir" etcd
    rm -rf "$dir/etcd" "$dir/pids"
  done
  UNFINISHED_CLUSTER=''
  if [ -n "$owner" ]; then
    setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" cluster down "$3"' watch "$owner" "$HERE/testenv" "$dir" \
      </dev/null >/dev/null 2>&1 &
    disown
    printf 'watch %s\n' $! >>"$dir/pids"
  fi
  printf '%s\n' "$dir/kubeconfig"
}

free_port() { python3 "$HERE/lib/free_port.py"; }

# cluster_try DIR PORT: one attempt to start both daemons.
cluster_try() {
  local dir=$1 port=$2
  rm -f "$dir/pids"
  printf 'http://127.0.0.1:%s\n' "$(free_port)" >"$dir/etcd-url"
  printf 'http://127.0.0.1:%s\n' "$(free_port)" >"$dir/etcd-peer-url"
  printf 'https://127.0.0.1:%s\n' "$port" >"$dir/server"
  cluster_start_etcd "$dir"
  [ -e "$dir/admin.crt" ] || cluster_credentials "$dir"
  cluster_kubeconfig "$dir"
  cluster_start_apiserver "$dir"
}

# cluster_start_etcd DIR: it elects itself at once when its timers are short; nobody else votes.
cluster_start_etcd() {
  local dir=$1 client peer
  client=$(<"$dir/etcd-url")
  peer=$(<"$dir/etcd-peer-url")
  setsid "$(sed -n 2p "$dir/cluster")" --name test --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
    --heartbeat-interval 10 --election-timeout 100 \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
    --initial-cluster "test=$peer" </dev/null >>"$dir/etcd.log" 2>&1 &
  disown
  cluster_note "$dir" etcd $!
}

# cluster_note DIR NAME PID: writes it into DIR/pids.
cluster_note() {
  [ ! -e "$1/pids" ] || sed -i "/^$2 /d" "$1/pids"
  printf '%s %s\n' "$2" "$3" >>"$1/pids"
}

# cluster_credentials DIR: an authority, the server's and the administrator's certificates, the key that signs service
# accounts' tokens, and the static users.
cluster_credentials() {
  local dir=$1 user group n=0
  (
    cd "$dir"
    key_new ca && key_new server && key_new admin && key_new service-account
    openssl pkey -in service-account.key -pubout -out service-account.pub
    openssl req -x509 -new -key ca.key -days 30 -subj /CN=test-ca -out ca.crt
    certificate_new server /CN=kube-apiserver serverAuth \
      'subjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc'
    certificate_new admin /O=system:masters/CN=admin clientAuth
    for user in admin alice bob carol; do
      openssl rand -hex 16 >"tokens/$user"
      group=''
      [ "$user" != admin ] || group=system:masters
      n=$((n + 1))
      printf '%s,%s,%s,"%s"\n' "$(<"tokens/$user")" "$user" "$n" "$group" >>tokens.csv
    done
  ) >"$dir/openssl.log" 2>&1 || die "openssl failed: $(tail -n 2 "$dir/openssl.log")"
}

key_new() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

# certificate_new NAME SUBJECT USAGE [EXTENSION]: NAME.crt for NAME.key, by the authority in this folder.
certificate_new() {
  openssl req -new -key "$1.key" -subj "$2" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
      -extfile <(printf 'extendedKeyUsage=%s\n%s\n' "$3" "${4:-}")
}

cluster_kubeconfig() {
  local dir=$1
  cat >"$dir/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {server: "$(<"$dir/server")", certificate-authority-data: $(base64 -w0 "$dir/ca.crt")}
users:
- name: admin
  user: {client-certificate-data: $(base64 -w0 "$dir/admin.crt"), client-key-data: $(base64 -w0 "$dir/admin.key")}
contexts:
- name: test
  context: {cluster: test, user: admin}
current-context: test
YAML
}

# cluster_start_apiserver DIR: returns when the server is ready; 1 if it died or took more than a minute.
cluster_start_apiserver() {
  local dir=$1 port pid end
  port=$(<"$dir/server")
  port=${port##*:}
  # The advertised address is one that documents use: loopback is refused, and nobody is meant to connect to it.
  setsid "$(sed -n 1p "$dir/cluster")" --etcd-servers="$(<"$dir/etcd-url")" \
    --bind-address=127.0.0.1 --secure-port="$port" --advertise-address=192.0.2.1 --endpoint-reconciler-type=none \
    --tls-cert-file="$dir/server.crt" --tls-private-key-file="$dir/server.key" --client-ca-file="$dir/ca.crt" \
    --authorization-mode=RBAC --token-auth-file="$dir/tokens.csv" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$dir/service-account.pub" \
    --service-account-signing-key-file="$dir/service-account.key" --service-cluster-ip-range=10.96.0.0/16 \
    --disable-admission-plugins=ServiceAccount --allow-privileged --feature-gates=WatchList=true \
    --profiling=false --shutdown-delay-duration=0s </dev/null >>"$dir/apiserver.log" 2>&1 &
  disown
  pid=$!
  cluster_note "$dir" apiserver "$pid"
  end=$((SECONDS + 60))
  # Ready, and with the namespace that every test uses.
  until cluster_get "$dir" /readyz && cluster_get "$dir" /api/v1/namespaces/default; do
    kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

cluster_get() {
  curl -sf -m 5 -o /dev/null --cacert "$1/ca.crt" --cert "$1/admin.crt" --key "$1/admin.key" "$(<"$1/server")$2"
}

# cluster_end DIR NAME: kills that process of the cluster and waits until it is gone.
cluster_end() {
  local dir=$1 pid
  pid=$(awk -v name="$2" '$1 == name { print $2 }' "$dir/pids" 2>/dev/null || true)
  # A number may have passed on to another process: ours has the folder in its command line.
  if [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$dir"; then
    kill -KILL "$pid" 2>/dev/null || true
    while process_lives "$pid"; do sleep 0.01; done
  fi
}

# process_lives PID: it, or one of its threads, still holds its files and sockets: the first thread is a zombie before the
# others have ended.
process_lives() {
  kill -0 "$1" 2>/dev/null || return 1
  ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null ||
    [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -gt 1 ]
}

cluster_down() {
  local dir=$1
  [ -e "$dir" ] || return 0
  cluster_known "$dir"
  cluster_end "$dir" apiserver
  cluster_end "$dir" etcd
  # Last, since this may be the process that runs us: it has become "testenv cluster down DIR".
  if ! grep -qx "watch $$" "$dir/pids"; then
    cluster_end "$dir" watch
  fi
  rm -rf "$dir"
}
