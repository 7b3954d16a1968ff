# shellcheck shell=bash
# build.sh: configure and build a preset. Sourced after say.sh; the working folder is the project's.

# build_preset PRESET [CMAKE ARGUMENT...]: into build/PRESET. On a terminal the compiler's progress is shown; elsewhere
# only what went wrong. Returns 1 when it does not build.
build_preset() {
  local preset=$1 log=build/$1.log start=$SECONDS
  shift
  mkdir -p build
  say "building the preset '$preset'"
  cmake --preset "$preset" "$@" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    bad "cmake could not configure the preset '$preset' (all of its output: $log)"
    return 1
  }
  if [ -t 2 ]; then
    cmake --build --preset "$preset" >&2
  else
    cmake --build --preset "$preset" >"$log" 2>&1 || {
      grep -E -A 12 'error|FAILED' "$log" | head -n 60 >&2 || tail -n 40 "$log" >&2
      bad "the preset '$preset' does not build (all of its output: $log)"
      return 1
    }
  fi
  good "preset '$preset' built in $(since "$start")"
}
