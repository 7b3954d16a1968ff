# shellcheck shell=bash
# cache.sh: things that are slow to make are made once per machine. Sourced after say.sh.
#
# Each thing is a folder of $CACHE named after its version. Its maker writes the file .complete last, so a run that was
# interrupted leaves nothing that looks finished; a lock per thing lets a second run wait for the first one's work.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/haptic-tools

# cache_make NAME FUNCTION: sets MADE to the folder of NAME; calls FUNCTION FOLDER to fill it if that never succeeded.
cache_make() {
  local start
  MADE=$CACHE/$1
  [ ! -e "$MADE/.complete" ] || return 0
  mkdir -p "$CACHE"
  exec {CACHE_LOCK}>"$CACHE/.$1.lock"
  flock -n "$CACHE_LOCK" || {
    say "waiting for another run that is making $1"
    flock "$CACHE_LOCK"
  }
  if [ ! -e "$MADE/.complete" ]; then
    start=$SECONDS
    rm -rf "$MADE"
    mkdir "$MADE"
    "$2" "$MADE"
    touch "$MADE/.complete"
    good "$1 made in $(since "$start")"
  fi
  exec {CACHE_LOCK}>&-
}

# cache_scratch: sets SCRATCH to a fresh folder of the cache; the next one's making or the end of the script removes it.
cache_scratch() {
  [ -z "${SCRATCH:-}" ] || rm -rf "$SCRATCH"
  mkdir -p "$CACHE"
  SCRATCH=$(mktemp -d "$CACHE/.scratch.XXXXXX")
}
