#!/usr/bin/env bash
# Builds the commit twice, in two folders, and compares the executables byte for byte.
#
#   tools/reproducible.sh [COMMIT]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
source tools/lib.sh

build_in() {
  local folder=$1 commit=$2
  git clone --quiet --no-checkout . "$folder"
  git -C "$folder" checkout --quiet --detach "$commit"
  ln -s "$(realpath .toolchain)" "$folder/.toolchain"
  say "building $commit in $folder"
  make -s -C "$folder" dist/phantom >/dev/null
}

main() {
  local commit first second
  commit=$(git rev-parse --verify "${1:-HEAD}^{commit}")
  # Not below this folder: its place is what must not be seen.
  SCRATCH=$(mktemp -d)
  trap 'rm -rf "$SCRATCH"' EXIT
  first=$SCRATCH/a second=$SCRATCH/another/folder
  mkdir -p "$SCRATCH/another"
  build_in "$first" "$commit"
  build_in "$second" "$commit"
  cmp "$first/dist/phantom" "$second/dist/phantom" ||
    fail "two builds of $commit differ: compare build/stage of two clones"
  say "two builds of $commit are equal: sha256 $(sha256sum "$first/dist/phantom" | cut -d' ' -f1)"
}
main "$@"
