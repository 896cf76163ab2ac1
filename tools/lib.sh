# shellcheck shell=bash disable=SC2034  # variables are for the scripts that source this
# What tools/setup.sh and tools/compile.sh share: messages, pins, apt and npm.

# shellcheck source=tools/pins.env
source tools/pins.env

MACHINE=$(uname -m)
DENO_BIN=.toolchain/deno-$DENO_VERSION/deno
DENO_CACHE=${DENO_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/deno} # where Deno keeps what it fetched
DENO_HOST=https://dl.deno.land
export DENO_TLS_CA_STORE=${DENO_TLS_CA_STORE:-system,mozilla}
export DENO_NO_UPDATE_CHECK=1

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages, or says which command does when it may not.
apt_install() {
  local update=(apt-get update) install=(apt-get install -y --no-install-recommends "$@")
  if ! have apt-get; then
    fail "this machine has no apt-get. Install what these Debian packages hold: $*"
  fi
  if [[ $(id -u) != 0 ]]; then
    say "These packages are missing, and installing them needs root. Run:"
    say ""
    say "    sudo ${update[*]}"
    say "    sudo ${install[*]}"
    say ""
    fail "then run this again"
  fi
  say "installing packages: $*"
  export DEBIAN_FRONTEND=noninteractive
  if [[ -z ${APT_UPDATED:-} ]]; then
    "${update[@]}" >&2
    APT_UPDATED=1
  fi
  "${install[@]}" >&2
}

# npm_fetch PACKAGE SHA512 FOLDER: the package's tarball as FOLDER/package.tgz, checked.
npm_fetch() {
  local package=$1 want=$2 folder=$3 got
  have npm || apt_install npm
  say "fetching the npm package $package"
  npm pack "$package" --ignore-scripts --silent --pack-destination "$folder" >/dev/null
  mv "$folder"/*.tgz "$folder/package.tgz"
  got=$(openssl dgst -sha512 -binary "$folder/package.tgz" | base64 -w0)
  [[ $got == "$want" ]] ||
    fail "$package is not what was pinned: its sha512 is $got, pinned is ${want:-none}"
}

# A folder below .toolchain (same file system, so that mv is atomic), gone when the script ends.
scratch_folder() {
  [[ -z ${SCRATCH:-} ]] || return 0
  mkdir -p .toolchain
  SCRATCH=$(mktemp -d .toolchain/scratch.XXXXXX)
  trap 'rm -rf "$SCRATCH"' EXIT
}
