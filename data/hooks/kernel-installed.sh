#!/bin/sh
# Written by Hostwright; `hostwright undo` takes it away.
#
# Called when a kernel or its headers were installed: builds VMware's modules for it. Never stops the installation:
# whatever goes wrong is told by `hostwright status`.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
if [ -n "${1:-}" ] && command -v hostwright >/dev/null 2>&1; then
  hostwright vmware kernel-event installed "$1" </dev/null >/dev/null 2>&1 || :
fi
exit 0
