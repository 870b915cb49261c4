#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Has docker-compose read the compose files of the licence server (tests/vgpu/compose, which a test of the library keeps
# true), and looks at what it understood. The docker-compose of Debian 12 and 13, taken out of their packages; no Docker is
# needed, and nothing is installed.
#
# DEBIAN_MIRROR    default: the mirror this machine's own apt uses
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2016 # apt's placeholder, not the shell's
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
  sort -u | head -n1)}
[[ -n $mirror ]] || { echo "compose.sh: this machine's apt has no Debian archive; set DEBIAN_MIRROR to one" >&2; exit 1; }

# A package of a release, unpacked, with all that it needs of Python.
unpack() {
  local release=$1 apt=$work/$1/apt
  shift
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc" "$work/$release/debs"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" \
    >"$apt/etc/sources.list"
  local options=(-qq -o "Dir::Etc::sourcelist=$apt/etc/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt" -o Acquire::Languages=none -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  (cd "$work/$release/debs" && apt-get "${options[@]}" download "$@")
  for deb in "$work/$release/debs"/*.deb; do dpkg-deb -x "$deb" "$work/$release/root"; done
}

look() {
  local what=$1 text=$2 part
  shift 2
  for part in "$@"; do
    [[ $text == *"$part"* ]] || {
      echo "$what: '$part' is not in what docker-compose understood:" >&2
      echo "$text" >&2
      exit 1
    }
  done
}

digest=sha256:$(printf '0f%.0s' {1..32})
expect=("docker.io/who/fastapi-dls@$digest" "no-new-privileges" NET_BIND_SERVICE ALL "LEASE_EXPIRE_DAYS: '30'"
  https://localhost/-/health /etc/hostwright/dls/webserver.key start_period)

unpack bookworm docker-compose python3-docker python3-dockerpty python3-docopt python3-dotenv python3-jsonschema \
  python3-texttable python3-websocket python3-distro python3-yaml python3-attr python3-pyrsistent python3-requests \
  python3-urllib3 python3-chardet python3-charset-normalizer python3-idna python3-certifi python3-six python3-setuptools \
  python3-pkg-resources python3-distutils python3-lib2to3
unpack trixie docker-compose

for file in named address; do
  path=$here/compose/$file.yaml
  text=$(PYTHONPATH=$work/bookworm/root/usr/lib/python3/dist-packages /usr/bin/python3 -W ignore \
    "$work/bookworm/root/usr/bin/docker-compose" -p hostwright-dls -f "$path" config)
  look "Debian 12, $file" "$text" "${expect[@]}"
  text=$("$work/trixie/root/usr/libexec/docker/cli-plugins/docker-compose" -p hostwright-dls -f "$path" config 2>"$work/said" |
    tr '"' "'") || {
    cat "$work/said" >&2
    exit 1
  }
  look "Debian 13, $file" "$text" "${expect[@]}"
  [[ $(grep -c "host_ip" <<<"$text") == 1 ]] || { echo "Debian 13, $file: more than one port" >&2; exit 1; }
done
look "the address" "$text" "host_ip: 2001:db8::7"

# It can say no.
sed 's/cap_drop:/cap_drops:/' "$here/compose/named.yaml" >"$work/wrong.yaml"
! "$work/trixie/root/usr/libexec/docker/cli-plugins/docker-compose" -f "$work/wrong.yaml" config >/dev/null 2>&1 || {
  echo "a wrong file was taken" >&2
  exit 1
}
echo "docker-compose of Debian 12 and 13 understand the licence server's file"
