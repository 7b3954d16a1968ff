# shellcheck shell=bash
# answers.sh: where a haptic that was started with some arguments answers. Sourced.

# flag_value NAME DEFAULT ARGUMENT...: the last value of --NAME VALUE or --NAME=VALUE.
flag_value() {
    local name=$1 value=$2
    shift 2
    while [ $# -gt 0 ]; do
        case $1 in
        "--$name=") ;;
        "--$name="*) value=${1#*=} ;;
        "--$name")
            if [ $# -gt 1 ]; then
                value=$2
                shift
            fi
            ;;
        esac
        shift
    done
    printf '%s\n' "$value"
}

# default_directory: where "haptic run" keeps HAProxy's files when nothing is said.
default_directory() {
    if [ "$(id -u)" = 0 ]; then
        echo /run/haptic
    elif [[ ${XDG_RUNTIME_DIR:-} == /* ]]; then
        echo "$XDG_RUNTIME_DIR/haptic"
    else
        echo "/tmp/haptic-$(id -u)"
    fi
}

# http_port_of FILE: the port of the first "bind" in the frontend "http" of a haproxy.cfg.
http_port_of() {
    sed -n '/^frontend http\( \|$\)/,/^[^ ]/ s/^ *bind [^ ]*:\([0-9][0-9]*\).*/\1/p' "$1" | head -n 1
}

# https_port_of FILE: the port of the first "bind" with TLS there.
https_port_of() {
    sed -n '/^frontend http\( \|$\)/,/^[^ ]/ s/^ *bind [^ ]*:\([0-9][0-9]*\) .*ssl.*/\1/p' "$1" | head -n 1
}

# recipes_of DIR HTTP_PORT HTTPS_PORT: what the manifests in DIR say that can be tried ("# try:"), and what is seen then ("# see:"), with these
# ports in the place of 8080 and 8443. Nothing when they say nothing.
recipes_of() {
    local file
    for file in "$1"/*.yaml; do
        [ -f "$file" ] || continue
        grep -q '^# try: ' "$file" || continue
        printf '  %s\n' "$(sed -n '1 s/^# //p' "$file")"
        sed -n -e "/^# try: /{s/localhost:8080/localhost:${2:-8080}/g; s/localhost:8443/localhost:${3:-8443}/g; s/^# try: /    /p}" \
            -e 's/^# see: /        # /p' "$file"
    done
}
