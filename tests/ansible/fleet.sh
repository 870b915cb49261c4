#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A profile on several machines by Ansible, for real: each machine is a copy-on-write view of this one with a bus, polkit
# and the helper of its own, in a network namespace of its own, and is reached by ssh. There modules are built, installed
# and verified. Nothing outside the views changes.
#
#   fleet.sh
#
# Needs root, and what `scripts/deps.sh ansible` installs. PROFILE says which build is used (default: dev).
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)

fail() {
  echo "fleet: $*" >&2
  exit 1
}

if [[ ${FLEET_INSIDE:-} != "$$" ]]; then
  [[ $(id -u) -eq 0 ]] || fail "only root can make the machines; try: sudo $0"
  for tool in ansible-playbook ansible-galaxy sshd ssh-keygen ip unshare; do
    command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null ||
      fail "$tool is missing; run \`scripts/deps.sh ansible\`"
  done
  # Its network, mounts and processes are its own, and end with it.
  # shellcheck disable=SC2016 # "$@" is for the inner shell
  exec env FLEET_INSIDE=1 unshare --mount --net --pid --fork --mount-proc --kill-child -- "$(readlink -f "$0")" "$@"
fi

machines=(one two broken)
started=$SECONDS
mkdir -p "${CARGO_TARGET_DIR:-$project/target}"
# Seen in the views, too: the project's folder is the real one there.
work=$(mktemp -d "${CARGO_TARGET_DIR:-$project/target}/fleet.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mount -t tmpfs -o mode=755 tmpfs /run

# --- the network: a switch, and a cable to each machine ---

ip link set lo up
ip link add switch type bridge
ip address add 10.213.7.1/24 dev switch
ip link set switch up
number=10
{
  echo '[machines]'
  for name in "${machines[@]}"; do
    number=$((number + 1))
    ip netns add "$name"
    ip link add "to-$name" type veth peer name wire netns "$name"
    ip link set "to-$name" master switch up
    ip -n "$name" link set lo up
    ip -n "$name" address add "10.213.7.$number/24" dev wire
    ip -n "$name" link set wire up
    echo "$name ansible_host=10.213.7.$number"
  done
  echo '[machines:vars]'
  echo "ansible_user=root"
  echo "ansible_python_interpreter=/usr/bin/python3"
  echo "ansible_ssh_private_key_file=$work/key"
  echo "ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'"
} >"$work/inventory"

# --- the machines ---

ssh-keygen -q -t ed25519 -N '' -f "$work/key"
ssh-keygen -q -t ed25519 -N '' -f "$work/host-key"
cat >"$work/sshd_config" <<END
HostKey $work/host-key
AuthorizedKeysFile $work/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
END
for name in "${machines[@]}"; do
  ip netns exec "$name" "$project/tests/bus/with-bus.sh" -- "$project/tests/ansible/host.sh" "$name" "$work" \
    >"$work/$name.out" 2>&1 &
done

# at NAME COMMAND...: a command on a machine.
at() {
  local name=$1 address
  shift
  address=$(sed -n "s/^$name ansible_host=//p" "$work/inventory")
  ssh -i "$work/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=2 \
    "root@$address" "$@"
}
for name in "${machines[@]}"; do
  for ((i = 0; i < 120; i++)); do
    if at "$name" true 2>/dev/null; then break; fi
    sleep 0.5
  done
  at "$name" hostwright --version >/dev/null || {
    cat "$work/$name.out" >&2
    fail "the machine $name did not come up"
  }
done
echo "fleet: ${#machines[@]} machines are up"

# --- the collection and the playbook ---

export HOME=$work ANSIBLE_COLLECTIONS_PATH=$work/collections ANSIBLE_NOCOWS=1 ANSIBLE_LOCAL_TEMP=$work/tmp
export ANSIBLE_FORKS=4 ANSIBLE_RETRY_FILES_ENABLED=false LC_ALL=C.UTF-8
ansible-galaxy collection build "$project/data/ansible" --output-path "$work" >/dev/null
ansible-galaxy collection install "$work"/hostwright-hostwright-*.tar.gz -p "$work/collections" >/dev/null
ansible-doc -t module hostwright.hostwright.profile >"$work/doc" || fail "the module's documentation cannot be read"
cat >"$work/fleet.json" <<END
{
  "version": 2,
  "name": "fleet",
  "flows": {
    "vmware": {
      "kernels": {"newest": 1}, "sign": "own", "load": "never", "rehearse": "never", "updates": "hook"
    },
    "wayland": {}
  }
}
END
mkdir "$work/reports"
cat >"$work/site.yml" <<END
- hosts: machines
  gather_facts: false
  roles:
    - role: hostwright.hostwright.profile
      vars:
        hostwright_profile: "{{ lookup('file', '$work/fleet.json') | from_json }}"
        hostwright_reports: "$work/reports"
END

# play WORDS...: the playbook; its output is kept, and its status is in \$status.
play() {
  local began=$SECONDS
  status=0
  ansible-playbook -i "$work/inventory" "$@" "$work/site.yml" >"$work/play" 2>&1 || status=$?
  sed -n '/^PLAY RECAP/,$p' "$work/play"
  echo "fleet: that took $((SECONDS - began)) s, with status $status"
}

# recap NAME WORD...: what the recap says of a machine.
recap() {
  local name=$1 word line
  shift
  line=$(sed -n '/^PLAY RECAP/,$p' "$work/play" | grep "^$name ")
  for word in "$@"; do
    [[ $line == *"$word "* ]] || {
      cat "$work/play" >&2
      fail "the recap of $name does not say $word: $line"
    }
  done
}

echo "== check mode: what would change"
play --check --diff
recap one changed=1 failed=0
recap two changed=1 failed=0
recap broken changed=0 failed=1
grep -q '^+vmmon' "$work/play" || fail "--diff showed no difference"
for name in one two; do
  if at "$name" test -e /etc/kernel/postinst.d/zz-hostwright; then fail "check mode changed $name"; fi
done

echo "== for real: one machine fails, the others go on"
play
[[ $status -ne 0 ]] || fail "the machine that failed was not told"
recap one changed=1 failed=0
recap two changed=1 failed=0
recap broken changed=0 failed=1
grep -q 'sources of vmnet' "$work/play" || fail "the reason was not told"
for name in one two; do
  release=$(at "$name" 'ls /lib/modules | sort -V | tail -n1')
  for module in vmmon vmnet; do
    magic=$(at "$name" "modinfo -k '$release' -F vermagic $module") || fail "$module is not there on $name"
    [[ ${magic%% *} == "$release" ]] || fail "$module on $name is for ${magic%% *}"
  done
  at "$name" test -x /etc/kernel/postinst.d/zz-hostwright || fail "$name has no hook"
  at "$name" grep -q XWayland /usr/bin/vmware || at "$name" grep -q GDK_BACKEND /usr/bin/vmware ||
    fail "the launcher of $name is as it was"
done
python3 - "$work/reports" <<'END'
import json, sys, pathlib
folder = pathlib.Path(sys.argv[1])
for name, wanted in [("one", "changed"), ("two", "changed"), ("broken", "failed")]:
    report = json.loads((folder / f"{name}.json").read_text())
    assert report["result"] == wanted, (name, report)
    if wanted == "changed":
        assert all(flow["run"] for flow in report["flows"]), report
    else:
        # A machine is made as the profile says or left alone.
        assert all(flow.get("run") is None for flow in report["flows"]), report
print("fleet: every machine's report is there")
END

echo "== again: nothing changes"
play
recap one changed=0 failed=0
recap two changed=0 failed=0

echo "== taken back on one machine"
at two hostwright undo --all --yes >/dev/null || fail "it cannot be taken back"
if at two modinfo -k "$release" vmmon >/dev/null 2>&1; then fail "vmmon is still there"; fi
play --limit two
recap two changed=1 failed=0
echo "fleet: passed in $((SECONDS - started)) s"
