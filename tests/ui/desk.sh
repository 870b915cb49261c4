#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A screen with a window manager, a session bus and a home of its own for one command, on the practice host:
#
#   desk.sh [--size WIDTHxHEIGHT] [--dark] [--contrast] [--text PERCENT] [--language LANGUAGE] [--user NAME] COMMAND...
#
# --text PERCENT makes all text larger, as the setting for large text does.
# --user NAME makes a user of that name in the view, who sits at the desk; without it that is root.
#
# Root only: the practice host is a view of this machine that only root can make. What is seen there is drawn in
# software, the same on every machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  exec "$here/../../scripts/practice-host.sh" --run "$0" "$@"
fi

size=920x760 dark=0 contrast=0 text=100 language='' user=''
while [[ ${1:-} == --* ]]; do
  case $1 in
    --size) size=$2 && shift ;;
    --dark) dark=1 ;;
    --contrast) contrast=1 ;;
    --text) text=$2 && shift ;;
    --language) language=$2 && shift ;;
    --user) user=$2 && shift ;;
    *) echo "desk: unknown option $1" >&2 && exit 2 ;;
  esac
  shift
done
[[ $# -gt 0 ]] || { echo "desk: say which command" >&2 && exit 2; }

export HOME=/run/desk/home XDG_RUNTIME_DIR=/run/desk/runtime
mkdir -p "$HOME/.config/gtk-4.0" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
cat >"$HOME/.config/gtk-4.0/settings.ini" <<END
[Settings]
gtk-font-name=Cantarell 11
gtk-enable-animations=0
END
# On X11 GTK takes the size of text from here alone, where nothing tells settings.
echo "Xft.dpi: $((96 * text / 100))" >"$HOME/.Xdefaults"
unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME
export LC_ALL=C.UTF-8 LANGUAGE=$language GSK_RENDERER=cairo GDK_BACKEND=x11
# Neither comes from a desktop's settings here.
if [[ $dark == 1 ]]; then export ADW_DEBUG_COLOR_SCHEME=prefer-dark; fi
if [[ $contrast == 1 ]]; then export ADW_DEBUG_HIGH_CONTRAST=1; fi
export DESK_SIZE=$size PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
as_user=()
if [[ -n $user ]]; then
  getent passwd "$user" >/dev/null || useradd --no-create-home --user-group "$user"
  # The project's folder may be out of a user's reach.
  mkdir -p /run/desk/tests && cp "$here"/*.py /run/desk/tests/
  export PYTHONPATH=/run/desk/tests
  cd /run/desk/tests
  chown -R "$user:" /run/desk
  as_user=(setpriv --reuid "$user" --regid "$user" --init-groups --)
fi
# It finds a number that is free, also of the screens of other views of this machine: abstract sockets know no mounts.
[[ -d /tmp/.X11-unix ]] || install -d -m 1777 /tmp/.X11-unix
mkfifo -m 666 "$HOME/number"
exec 3<>"$HOME/number"
${as_user[@]+"${as_user[@]}"} Xvfb -displayfd 3 -screen 0 "${size}x24" -nolisten tcp -ac -noreset >"$HOME/screen" 2>&1 &
screen=$!
read -r -t 60 number <&3 || { cat "$HOME/screen" >&2 && exit 1; }
export DISPLAY=:$number
# Windows without frames, in the middle; the one that comes last has the keys, and gives them back when it goes.
cat >"$HOME/openbox.xml" <<'END'
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <focus><focusNew>yes</focusNew><focusLast>yes</focusLast></focus>
  <placement><policy>Smart</policy><center>yes</center></placement>
  <applications><application class="*"><decor>no</decor><focus>yes</focus></application></applications>
</openbox_config>
END
${as_user[@]+"${as_user[@]}"} openbox --config-file "$HOME/openbox.xml" --sm-disable \
  --startup "sh -c 'echo manages >$HOME/number'" >"$HOME/windows" 2>&1 &
manager=$!
read -r -t 60 <&3 || { cat "$HOME/windows" >&2 && exit 1; }
status=0
${as_user[@]+"${as_user[@]}"} dbus-run-session -- "$@" 2>"$HOME/said" || status=$?
kill "$manager" "$screen" 2>/dev/null || true
# What the session bus says of itself is not about us.
grep -v '^dbus-daemon\|fd limit\|^SpiRegistry\|dbind-WARNING\|^X connection\|^$' "$HOME/said" >&2 || true
exit "$status"
