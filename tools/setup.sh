#!/usr/bin/env bash
# Installs what building and testing need, only what is missing; see `make help`.
#
#   tools/setup.sh           packages, Deno, npm dependencies
#   tools/setup.sh --tests   ... and, as root, the programs that are tested through the tunnel
#   tools/setup.sh --check   changes nothing: lists what is missing, exit code 1 if anything is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
source tools/lib.sh

LIBDIR=/usr/lib/$MACHINE-linux-gnu
STAMP=.toolchain/dependencies

# package | what shows that it is there: a command, or a path | why
REQUIREMENTS="
clang           | clang                       | compiles the BPF programs
llvm            | llvm-strip                  | drops DWARF from them, keeps BTF
gcc             | gcc                         | compiles libphantom.so, and its sanitised twin
make            | make                        | the Makefile
libc6-dev       | /usr/include/stdio.h        | headers of libc and the kernel
libbpf-dev      | /usr/include/bpf/libbpf.h   | headers for BPF programs, and libbpf.so.1 to ship
libelf-dev      | /usr/include/libelf.h       | libelf.so.1 to ship: libbpf needs it
zlib1g-dev      | /usr/include/zlib.h         | libz.so.1 to ship: libelf needs it
libssl-dev      | $LIBDIR/libcrypto.a         | AEAD and X25519, linked into libphantom.so
openssl         | openssl                     | hashes of what is fetched
bpftool         | bpftool                     | prints BTF, from which ffi/bpf/layout.gen.ts is made
iproute2        | ip                          | tests: network namespaces and veth pairs
ethtool         | ethtool                     | tests: offloads of a veth off, so that frames are real
ca-certificates | /etc/ssl/certs/ca-certificates.crt | TLS for the downloads
curl            | curl                        | Deno's download
unzip           | unzip                       | Deno's download is a zip
git             | git                         | version number of the build
"
# Only root runs the tests that need these. A browser is large: about 415 MB.
TEST_REQUIREMENTS="
iperf3          | iperf3                      | tests: traffic through a port forward
chromium        | chromium                    | tests: a browser's page load over SOCKS5
"

# bpftool and ip live in sbin, which is not on everyone's PATH.
PATH=$PATH:/usr/sbin:/sbin

missing_packages() {
  local package probe
  while IFS='| ' read -r package probe _; do
    [[ -n $package ]] || continue
    if [[ $probe == /* ]]; then
      [[ -e $probe ]] || printf '%s\n' "$package"
    else
      have "$probe" || printf '%s\n' "$package"
    fi
  done <<<"$REQUIREMENTS"
}

install_packages() {
  local packages
  mapfile -t packages < <(missing_packages)
  [[ ${#packages[@]} == 0 ]] || apt_install "${packages[@]}"
  mapfile -t packages < <(missing_packages)
  [[ ${#packages[@]} == 0 ]] || fail "installed, but still not found: ${packages[*]}"
}

is_pinned_deno() {
  local version
  [[ -x $1 ]] && version=$("$1" --version 2>/dev/null) && [[ $version == "deno $DENO_VERSION "* ]]
}

# Tries Deno's own release host. Its checksum file is used when it can be had.
deno_from_release() {
  local zip=deno-$MACHINE-unknown-linux-gnu.zip sum
  local url=$DENO_HOST/release/v$DENO_VERSION/$zip
  say "fetching Deno $DENO_VERSION from $DENO_HOST"
  if ! curl -fsSL --connect-timeout 8 --max-time 300 --retry 1 -o "$SCRATCH/$zip" "$url"; then
    return 1
  fi
  if sum=$(curl -fsSL --connect-timeout 8 --max-time 30 "$url.sha256sum"); then
    [[ $sum == "$(sha256sum "$SCRATCH/$zip" | cut -d' ' -f1)"* ]] ||
      fail "$url differs from the checksum beside it: $sum"
  else
    say "no checksum beside $url: checked by its version only"
  fi
  unzip -qo "$SCRATCH/$zip" -d "$SCRATCH"
}

deno_from_npm() {
  local name=DENO_NPM_${MACHINE^^}
  local package=${!name:-} sum_name=${name}_SHA512
  [[ -n $package ]] || fail "no Deno is known for $MACHINE: put deno $DENO_VERSION on PATH"
  [[ -n ${!sum_name} ]] ||
    fail "no hash is pinned for $package: put deno $DENO_VERSION on PATH, or reach $DENO_HOST"
  npm_fetch "$package" "${!sum_name}" "$SCRATCH"
  tar -xzf "$SCRATCH/package.tgz" -C "$SCRATCH" --strip-components=1 package/deno
}

install_deno() {
  is_pinned_deno "$DENO_BIN" && return
  mkdir -p "$(dirname "$DENO_BIN")"
  local on_path
  if on_path=$(command -v deno) && is_pinned_deno "$on_path"; then
    say "using $on_path"
    ln -sfn "$(readlink -f "$on_path")" "$DENO_BIN"
    return
  fi
  scratch_folder
  deno_from_release || deno_from_npm
  chmod +x "$SCRATCH/deno"
  is_pinned_deno "$SCRATCH/deno" ||
    fail "what was fetched does not run as deno $DENO_VERSION: $("$SCRATCH/deno" --version 2>&1)"
  mv -f "$SCRATCH/deno" "$DENO_BIN"
  say "installed Deno $DENO_VERSION"
}

# The stamp is worthless once the folder it speaks of is gone.
dependencies_cached() {
  local deno_version cache
  [[ -f $STAMP ]] && ! [[ deno.json -nt $STAMP || deno.lock -nt $STAMP ]] &&
    read -r deno_version cache <"$STAMP" &&
    [[ $deno_version == "$DENO_VERSION" && $cache == "$DENO_CACHE" ]] &&
    [[ -d $cache/npm && -d $cache/dl ]]
}

# npm packages of deno.json, and the bundler that `deno bundle` fetches at its first use.
cache_dependencies() {
  dependencies_cached && return
  say "fetching the npm dependencies"
  "$DENO_BIN" install --quiet
  scratch_folder
  printf 'export {};\n' >"$SCRATCH/empty.js"
  "$DENO_BIN" bundle --quiet --no-config --no-lock -o "$SCRATCH/bundle.js" "$SCRATCH/empty.js"
  printf '%s %s\n' "$DENO_VERSION" "$DENO_CACHE" >"$STAMP"
}

check_only() {
  local status=0 package
  for package in $(missing_packages); do
    say "missing: package $package"
    status=1
  done
  is_pinned_deno "$DENO_BIN" || { say "missing: $DENO_BIN" && status=1; }
  dependencies_cached || { say "missing: npm dependencies" && status=1; }
  [[ $status != 0 ]] || say "nothing is missing"
  return "$status"
}

main() {
  case "${1:-}" in
    --check) check_only ;;
    "" | --tests)
      [[ ${1:-} != --tests || $(id -u) != 0 ]] || REQUIREMENTS+=$TEST_REQUIREMENTS
      install_packages
      install_deno
      cache_dependencies
      ;;
    *) fail "usage: tools/setup.sh [--check | --tests]" ;;
  esac
}
main "$@"
