#!/usr/bin/env bash
# Fetches what tests/kernels boots: an emulator, and Debian's kernels as .toolchain/kernels/VERSION/
# with vmlinuz and the modules that the tests need. They come from the Debian mirror of this
# machine's own apt, through a folder of package lists of its own: nothing of the system's changes,
# and no kernel is installed. A version that the mirror has no more is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/lib.sh
source tools/lib.sh

FOLDER=.toolchain/kernels
# version | where Debian has it
KERNELS="
5.10 | bullseye
6.1  | bookworm
6.12 | trixie
"
MODULES="veth sch_ingress cls_bpf"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The first of this machine's package sources that is Debian's own archive.
mirror() {
  # shellcheck disable=SC2016  # the words are apt's
  apt-get indextargets --format '$(ORIGIN)|$(RELEASE)|$(REPO_URI)' 'Created-By: Packages' |
    awk -F '|' '$1 == "Debian" && $2 !~ /-/ { print $3; exit }'
}

# apt's options for lists of one release alone.
apt_options() {
  local lists=$PWD/$SCRATCH/$1
  mkdir -p "$lists/state/partial" "$lists/cache/archives/partial"
  printf 'deb [signed-by=%s] %s %s main\n' "$KEYRING" "$MIRROR" "$1" >"$lists/sources.list"
  OPTIONS=(-qq -o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$lists/state" -o "Dir::Cache=$lists/cache" -o APT::Sandbox::User=root)
}

# The newest of a version's small kernels.
package_of() {
  apt-cache "${OPTIONS[@]}" pkgnames "linux-image-$1." |
    grep -E -- "-cloud-$ARCHITECTURE\$" | sort -V | tail -1
}

fetch_kernel() {
  local version=$1 release=$2 package root=$SCRATCH/$1 to=$SCRATCH/$1/kernel name file
  apt_options "$release"
  if ! apt-get "${OPTIONS[@]}" update 2>/dev/null || ! package=$(package_of "$version"); then
    say "Linux $version: this machine's Debian mirror has none"
    return 0
  fi
  say "fetching $package"
  mkdir -p "$to"
  (cd "$root" && apt-get "${OPTIONS[@]}" download "$package")
  dpkg-deb -x "$root"/*.deb "$root/files"
  cp "$root"/files/boot/vmlinuz-* "$to/vmlinuz"
  for name in $MODULES; do
    file=$(find "$root/files" -name "$name.ko*")
    case "$file" in
      *.xz) xz -dc "$file" >"$to/$name.ko" ;;
      *.ko) cp "$file" "$to/$name.ko" ;;
      *) fail "$package has no module $name" ;;
    esac
  done
  mkdir -p "$FOLDER"
  mv "$to" "$FOLDER/$version"
}

main() {
  local version release packages=()
  ARCHITECTURE=$(dpkg --print-architecture)
  [[ $ARCHITECTURE == amd64 ]] || fail "the kernel tests run on amd64 only"
  have qemu-system-x86_64 || packages+=(qemu-system-x86)
  have busybox || packages+=(busybox-static)
  have xz || packages+=(xz-utils)
  [[ ${#packages[@]} == 0 ]] || apt_install "${packages[@]}"
  MIRROR=$(mirror)
  [[ -n $MIRROR ]] || fail "none of this machine's package sources is Debian's own archive"
  scratch_folder
  while IFS='| ' read -r version release; do
    [[ -z $version || -d $FOLDER/$version ]] || fetch_kernel "$version" "$release"
  done <<<"$KERNELS"
}
main "$@"
