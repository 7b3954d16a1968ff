#!/bin/sh
# Before the controller starts: certificates that nobody else makes. Whoever comes first makes them; where they are there, nothing is done.
#
# CLIENT_SECRET, SERVER_SECRET   with which controllers and agents know each other, made at once, from an authority whose key is thrown
#                                away. The first Secret has everything, for the controllers; the second what the pods of HAProxy may have
# DEFAULT_SECRET                 what clients of HTTPS get who ask for no known host
set -eu
umask 077
account=/var/run/secrets/kubernetes.io/serviceaccount
host=$KUBERNETES_SERVICE_HOST
case "$host" in *:*) host="[$host]" ;; esac
secrets=https://$host:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$POD_NAMESPACE/secrets
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Not as arguments, which every process of the container could read.
printf 'header = Authorization: Bearer %s\nca_certificate = %s\n' "$(cat "$account/token")" "$account/ca.crt" >wgetrc
export WGETRC="$work/wgetrc"

# ask URL [WGET_ARGUMENT...]: sets code; the answer is in the file "answer".
ask() {
  wget --server-response --content-on-error --tries=1 --timeout=10 -O answer "$@" 2>log || true
  code=$(awk '/^ *HTTP\// { code = $2 } END { print code + 0 }' log)
}

# get NAME: is there that Secret?
get() {
  ask "$secrets/$1"
  case "$code" in
    200) return 0 ;;
    404) return 1 ;;
  esac
  echo "the Secret $1 cannot be read (HTTP $code): $(tail -n 1 log)" >&2
  exit 1
}

# field NAME: what the Secret in the file "answer" has under that name, still encoded.
field() { sed -n 's/^.*"'"$1"'": *"\([A-Za-z0-9+/=]*\)".*$/\1/p' answer | head -n 1; }

# create NAME TYPE KEY=VALUE...: 0 also when somebody else was faster.
create() {
  name=$1 type=$2
  shift 2
  {
    printf '{"apiVersion":"v1","kind":"Secret","type":"%s","metadata":{"name":"%s","labels":{"app.kubernetes.io/managed-by":"haptic"}},"data":{' \
      "$type" "$name"
    comma=''
    for pair in "$@"; do
      printf '%s"%s":"%s"' "$comma" "${pair%%=*}" "${pair#*=}"
      comma=,
    done
    printf '}}'
  } >request
  ask "$secrets" --header='Content-Type: application/json' --post-file=request
  case "$code" in
    201 | 409) ;;
    *)
      echo "the Secret $name cannot be made (HTTP $code): $(head -c 300 answer)" >&2
      exit 1
      ;;
  esac
}

# certificate NAME USAGE
certificate() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>>log
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=DNS:%s\n' "$2" "$1" >extensions
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -days 3650 -extfile extensions -out "$1.crt" 2>>log
}

encoded() { base64 -w0 "$1"; }

between_controllers_and_agents() {
  get "$CLIENT_SECRET" || {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=haptic $POD_NAMESPACE" \
      -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.crt 2>>log
    certificate "$SERVER_NAME" serverAuth
    certificate haptic-controller clientAuth
    create "$CLIENT_SECRET" Opaque "ca.crt=$(encoded ca.crt)" \
      "tls.crt=$(encoded haptic-controller.crt)" "tls.key=$(encoded haptic-controller.key)" \
      "server.crt=$(encoded "$SERVER_NAME.crt")" "server.key=$(encoded "$SERVER_NAME.key")"
    get "$CLIENT_SECRET"
  }
  ca=$(field 'ca\.crt') crt=$(field 'server\.crt') key=$(field 'server\.key')
  # The volume of a Secret that did not exist would have kept the pod from starting: the container beside this one has files.
  for name in ca.crt tls.crt tls.key; do
    field "$(printf '%s' "$name" | sed 's/\./\\./')" | base64 -d >"$CERTIFICATES/$name"
  done
  get "$SERVER_SECRET" || create "$SERVER_SECRET" Opaque "ca.crt=$ca" "tls.crt=$crt" "tls.key=$key"
}

default_of_https() {
  get "$DEFAULT_SECRET" && return
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=default.haptic.invalid \
    -addext subjectAltName=DNS:default.haptic.invalid -keyout default.key -out default.crt 2>>log
  create "$DEFAULT_SECRET" kubernetes.io/tls "tls.crt=$(encoded default.crt)" "tls.key=$(encoded default.key)"
}

[ -z "${CLIENT_SECRET:-}" ] || between_controllers_and_agents
[ -z "${DEFAULT_SECRET:-}" ] || default_of_https
