#!/bin/sh
# Written by Hostwright; `hostwright undo` takes it away.
#
# Called when a kernel was removed: removes the modules of VMware that Hostwright had built for it. Never stops the
# removal.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
if [ -n "${1:-}" ] && command -v hostwright >/dev/null 2>&1; then
  hostwright vmware kernel-event removed "$1" </dev/null >/dev/null 2>&1 || :
fi
exit 0
