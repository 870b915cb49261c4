#!/bin/sh
# Written by Hostwright; `hostwright undo` takes it away.
#
# A plugin of kernel-install(8): builds VMware's modules for a kernel that was installed, and removes those of a kernel
# that was removed. Never stops either: whatever goes wrong is told by `hostwright status`.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
if [ -n "${2:-}" ] && command -v hostwright >/dev/null 2>&1; then
  case $1 in
    add) hostwright vmware kernel-event installed "$2" </dev/null >/dev/null 2>&1 || : ;;
    remove) hostwright vmware kernel-event removed "$2" </dev/null >/dev/null 2>&1 || : ;;
  esac
fi
exit 0
