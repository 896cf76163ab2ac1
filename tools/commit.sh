#!/usr/bin/env bash
# What is built, as JSON: the commit, its date, and whether files differ from it. `{}` outside git.
# The date is the commit's, and not today's: a commit gives the same executable whenever it is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The repository must be this one, and not one that this folder was unpacked in.
top=$(git rev-parse --show-toplevel 2>/dev/null || true)
if [[ -z $top || $(realpath "$top") != $(pwd -P) ]]; then
  echo '{}'
  exit
fi
modified=false
[[ -z $(git status --porcelain --untracked-files=no) ]] || modified=true
TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ \
  --format="{\"commit\":\"%H\",\"date\":\"%cd\",\"modified\":$modified}"
