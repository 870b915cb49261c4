#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes a self-extracting .run file that behaves like NVIDIA's vGPU host driver:
#
#   make-run.sh VERSION FILE
#
# makeself's own header takes no options for what is inside, and knows no --apply-patch; NVIDIA's does, and so does
# the one that is written here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=${1:?usage: make-run.sh VERSION FILE}
out=${2:?usage: make-run.sh VERSION FILE}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

name=NVIDIA-Linux-x86_64-$version-vgpu-kvm
mkdir "$tree/$name"
cp "$here/nvidia.c" "$tree/$name/"
for file in nvidia-installer nvidia-uninstall; do
  sed "s/@VERSION@/$version/" "$here/$file" >"$tree/$name/$file"
  chmod 755 "$tree/$name/$file"
done
cat >"$tree/$name/Makefile" <<END
obj-m := nvidia.o
ccflags-y := -DDRIVER_VERSION='"$version"'
END
cat >"$tree/$name/dkms.conf" <<END
PACKAGE_NAME="nvidia"
PACKAGE_VERSION="$version"
BUILT_MODULE_NAME[0]="nvidia"
DEST_MODULE_LOCATION[0]="/updates/dkms"
MAKE[0]="make -C /lib/modules/\${kernelver}/build M=\${dkms_tree}/nvidia/$version/build modules"
CLEAN="true"
AUTOINSTALL="yes"
END
# The real one sets the card up and ends; the other stays.
printf '#!/bin/sh\nmodprobe nvidia\n' >"$tree/$name/nvidia-vgpud"
printf '#!/bin/sh\nexec sleep infinity\n' >"$tree/$name/nvidia-vgpu-mgr"
for service in nvidia-vgpud nvidia-vgpu-mgr; do
  type=simple
  [[ $service == nvidia-vgpud ]] && type=oneshot
  cat >"$tree/$name/$service.service" <<END
[Unit]
Description=Stands for $service
[Service]
Type=$type
ExecStart=/usr/bin/$service
[Install]
WantedBy=multi-user.target
END
done
tar -C "$tree" --sort=name --mtime=@0 --owner=0 --group=0 -czf "$tree/payload" "$name"
md5=$(md5sum <"$tree/payload" | cut -d' ' -f1)
size=$(stat -c %s "$tree/payload")
cat >"$tree/head" <<END
#!/bin/sh
skip="@SKIP@"
MD5="$md5"
label="NVIDIA Accelerated Graphics Driver for Linux-x86_64 $version"
script="./nvidia-installer"
targetdir="$name"
filesizes="$size"
set -eu
self=\$0
dir=\$(mktemp -d "\${TMPDIR:-/tmp}/selfgz.XXXXXX")
trap 'rm -rf "\$dir"' EXIT
tail -n "+\$skip" "\$self" | tar -xz -C "\$dir"
if [ "\${1:-}" = --apply-patch ]; then
  (cd "\$dir/\$targetdir" && patch -s -p1) <"\$2"
  tar -C "\$dir" -czf "\$dir/payload" "\$targetdir"
  new=\$(md5sum <"\$dir/payload" | cut -d' ' -f1)
  bytes=\$(wc -c <"\$dir/payload")
  head -n "\$((skip - 1))" "\$self" | sed -e "s/^MD5=.*/MD5=\"\$new\"/" -e "s/^filesizes=.*/filesizes=\"\$bytes\"/" \\
    >"\${self%.run}-custom.run"
  cat "\$dir/payload" >>"\${self%.run}-custom.run"
  exit 0
fi
cd "\$dir/\$targetdir"
\$script "\$@"
exit 0
END
lines=$(wc -l <"$tree/head")
sed "s/@SKIP@/$((lines + 1))/" "$tree/head" >"$out"
cat "$tree/payload" >>"$out"
