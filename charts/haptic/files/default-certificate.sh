#!/bin/sh
# Before the controller starts: the certificate for clients of HTTPS that ask for no known host, in the Secret DEFAULT_SECRET, so that all
# replicas have the same one. Whoever comes first makes it; where it is there, nothing is done.
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

encoded() { base64 -w0 "$1"; }

get "$DEFAULT_SECRET" || {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=default.haptic.invalid \
    -addext subjectAltName=DNS:default.haptic.invalid -keyout default.key -out default.crt 2>>log
  create "$DEFAULT_SECRET" kubernetes.io/tls "tls.crt=$(encoded default.crt)" "tls.key=$(encoded default.key)"
}
