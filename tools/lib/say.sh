# shellcheck shell=bash
# say.sh: how the scripts in tools/ speak. Sourced, after the script set TOOL to its own name.
# Progress goes to stderr, so that a script's stdout stays the answer (a path, a report).

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
  SAY_STEP=$'\e[1;34m' SAY_BAD=$'\e[1;31m' SAY_GOOD=$'\e[1;32m' SAY_END=$'\e[0m'
else
  SAY_STEP='' SAY_BAD='' SAY_GOOD='' SAY_END=''
fi

# say TEXT...: one line of progress.
say() { printf '%s%s:%s %s\n' "$SAY_STEP" "$TOOL" "$SAY_END" "$*" >&2; }

# good TEXT...: something is ready.
good() { printf '%s%s:%s %s\n' "$SAY_GOOD" "$TOOL" "$SAY_END" "$*" >&2; }

# bad TEXT...: something failed, and the script goes on.
bad() { printf '%s%s:%s %s\n' "$SAY_BAD" "$TOOL" "$SAY_END" "$*" >&2; }

# die TEXT...: says why the script cannot go on, and ends it.
die() {
  bad "$*"
  exit 1
}

# since START: "12 s" since the moment START (a value of $SECONDS).
since() { printf '%d s' $((SECONDS - $1)); }
