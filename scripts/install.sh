#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Installs or removes Hostwright; called by the Makefile, which builds first.
#
#   install.sh install|uninstall
#
# PREFIX    where programs go (default /usr/local)
# DESTDIR   a folder to install into for a package; then nothing on this machine is told about it
# TARGET    the folder with the built programs
#
# What other programs look for goes where they look, whatever PREFIX is: polkit reads its actions below
# /usr/share only, and the bus its policies below /usr/share and /etc only.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

fail() {
  echo "install: $*" >&2
  exit 1
}

mode=${1:-}
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
DESTDIR=${DESTDIR%/}
TARGET=${TARGET:-target/release}
[[ $mode == install || $mode == uninstall ]] || fail "say install or uninstall"
[[ $PREFIX == /* && $PREFIX != / ]] || fail "PREFIX must be a folder's full name, not '$PREFIX'"
PREFIX=${PREFIX%/}
[[ $PREFIX$DESTDIR != *[[:space:]\|]* ]] || fail "PREFIX and DESTDIR cannot hold spaces"

bindir=$PREFIX/bin
libexecdir=$PREFIX/libexec
datadir=$PREFIX/share
case $PREFIX in
  /usr) # a package of the distribution
    policydir=/usr/share/dbus-1/system.d
    servicedir=/usr/share/dbus-1/system-services
    libdir=/usr/lib
    ;;
  /usr/local) # searched by all of them, but for the bus's policies
    policydir=/etc/dbus-1/system.d
    servicedir=/usr/local/share/dbus-1/system-services
    libdir=/usr/local/lib
    ;;
  *) # searched by none of them
    policydir=/etc/dbus-1/system.d
    servicedir=/usr/share/dbus-1/system-services
    libdir=/etc
    ;;
esac
polkitdir=/usr/share/polkit-1/actions
app=org.hostwright.Hostwright

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# put MODE FILE DESTINATION: one installed file, or its removal.
put() {
  local destination=$DESTDIR$3
  if [[ $mode == install ]]; then
    install -D -m "$1" "$2" "$destination" || fail "cannot write $destination; as root, or with DESTDIR?"
  else
    rm -f "$destination" || fail "cannot remove $destination; as root?"
    # Folders of our own that are empty now.
    [[ $3 != */hostwright/* ]] || rmdir --ignore-fail-on-non-empty -p "$(dirname "$destination")" 2>/dev/null || true
  fi
}

# The same from a template.
put_from() {
  sed "s|@libexecdir@|$libexecdir|g; s|@bindir@|$bindir|g" "$1" >"$made/file"
  put 644 "$made/file" "$2"
}

# The same with its words in every language, as far as gettext is here to put them in; --desktop or --xml.
put_translated() {
  cp "$2" "$made/template"
  if [[ $mode == install ]] && command -v msgfmt >/dev/null; then
    # What it is, msgfmt knows by its name.
    cp "$2" "$made/$(basename "$3")"
    if ! msgfmt "$1" --template="$made/$(basename "$3")" -d po --output-file="$made/template" 2>"$made/why"; then
      # Which words of a kind of file are for people, the package of that kind tells; it is not on every machine.
      grep -q "cannot locate ITS rules" "$made/why" || { cat "$made/why" >&2 && fail "$2 cannot be translated"; }
      echo "install: $(basename "$3") stays English: gettext's rules for such files are not installed here" >&2
      cp "$2" "$made/template"
    fi
  fi
  put_from "$made/template" "$3"
}

# What was done to this machine is taken back by the program itself, so before it goes. UNDO=yes or UNDO=no says so
# without being asked.
if [[ $mode == uninstall && -z $DESTDIR && -x $bindir/hostwright && -d /var/lib/hostwright ]]; then
  if ! standing=$("$bindir/hostwright" --json undo --all --preview 2>/dev/null); then
    echo "install: whether something is left to take back could not be looked at" >&2
    left_standing=yes
  elif [[ $standing != "[]" ]]; then
    answer=${UNDO:-}
    if [[ -z $answer && -t 0 && -t 1 ]]; then
      "$bindir/hostwright" runs || true
      read -r -p "Take all of it back before Hostwright is removed? [y/N] " answer || true
    fi
    case $answer in
      [yY] | yes)
        "$bindir/hostwright" undo --all --yes ||
          fail "not everything could be taken back, so that nothing was removed; look at it with \`hostwright runs\`, or remove with UNDO=no"
        ;;
      *) left_standing=yes ;;
    esac
  fi
fi

# What the program says of itself: pages and completions cannot differ from it.
shopt -s nullglob
if [[ $mode == install ]]; then
  for program in hostwright hostwright-helper; do
    [[ -x $TARGET/$program ]] || fail "$TARGET/$program is not built yet; run \`make\` first"
  done
  mkdir "$made/man"
  "$TARGET/hostwright" man --out "$made/man"
  for shell in bash zsh fish; do
    "$TARGET/hostwright" completions "$shell" >"$made/$shell"
  done
  pages=("$made"/man/*.1)
  [[ ${#pages[@]} -gt 0 ]] || fail "$TARGET/hostwright wrote no manual pages"
else
  pages=("$DESTDIR$datadir"/man/man1/hostwright.1 "$DESTDIR$datadir"/man/man1/hostwright-*.1)
  # Before its files go; it takes back what it has not finished.
  if [[ -z $DESTDIR && -d /run/systemd/system ]]; then
    systemctl stop hostwright-helper.service 2>/dev/null || true
  fi
fi

put 755 "$TARGET/hostwright" "$bindir/hostwright"
put 755 "$TARGET/hostwright-helper" "$libexecdir/hostwright-helper"
# A headless build has no assistant.
if [[ $mode == uninstall || -x $TARGET/hostwright-assistant ]]; then
  put 755 "$TARGET/hostwright-assistant" "$bindir/hostwright-assistant"
  put_translated --desktop data/desktop/$app.desktop.in "$datadir/applications/$app.desktop"
  put_from data/desktop/org.hostwright.Hostwright.service.in "$datadir/dbus-1/services/$app.service"
  put_translated --xml data/desktop/$app.metainfo.xml "$datadir/metainfo/$app.metainfo.xml"
  put_translated --xml data/desktop/$app.mime.xml "$datadir/mime/packages/$app.xml"
  put 644 resources/icons/$app.svg "$datadir/icons/hicolor/scalable/apps/$app.svg"
  put 644 resources/icons/$app-symbolic.svg "$datadir/icons/hicolor/symbolic/apps/$app-symbolic.svg"
  for catalogue in po/*.po; do
    language=$(basename "$catalogue" .po)
    [[ $mode == uninstall ]] || msgfmt --output-file="$made/catalogue" "$catalogue" || fail "$catalogue is not valid"
    put 644 "$made/catalogue" "$datadir/locale/$language/LC_MESSAGES/hostwright.mo"
  done
fi
put_from data/desktop/org.hostwright.Hostwright.Notify.desktop.in "/etc/xdg/autostart/$app.Notify.desktop"
put 644 data/dbus/org.hostwright.Helper1.conf "$policydir/org.hostwright.Helper1.conf"
put_from data/dbus/org.hostwright.Helper1.service.in "$servicedir/org.hostwright.Helper1.service"
put_translated --xml data/polkit/org.hostwright.policy "$polkitdir/org.hostwright.policy"
put_from data/systemd/hostwright-helper.service.in "$libdir/systemd/system/hostwright-helper.service"
put 644 data/sysusers.d/hostwright.conf "$libdir/sysusers.d/hostwright.conf"
for page in "${pages[@]}"; do put 644 "$page" "$datadir/man/man1/$(basename "$page")"; done
put 644 "$made/bash" "$datadir/bash-completion/completions/hostwright"
put 644 "$made/zsh" "$datadir/zsh/site-functions/_hostwright"
put 644 "$made/fish" "$datadir/fish/vendor_completions.d/hostwright.fish"
# What benchmarks of modules build where no product of VMware's is.
while IFS= read -r file; do
  put 644 "data/practice/$file" "$datadir/hostwright/practice/$file"
done < <(cd data/practice && find . -type f -printf '%P\n')
for schema in data/schemas/*.json; do put 644 "$schema" "$datadir/hostwright/schemas/$(basename "$schema")"; done
for text in README.md CHANGELOG.md LICENSE; do put 644 "$text" "$datadir/doc/hostwright/$text"; done

# A package tells the machine by its own scripts.
[[ -z $DESTDIR ]] || exit 0

if [[ $mode == install ]]; then
  # Without the user, foreign code is built as 65534, who may own files of others.
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers "$libdir/sysusers.d/hostwright.conf"
  elif ! getent passwd hostwright-build >/dev/null; then
    useradd --system --no-create-home --home-dir / --shell /usr/sbin/nologin \
      --comment "Builds foreign code for Hostwright" hostwright-build ||
      fail "the user hostwright-build could not be made; make it by hand"
  fi
fi
if [[ -d /run/systemd/system ]]; then
  systemctl daemon-reload
fi
# The bus reads new policies when it is told to; polkit looks by itself.
if [[ -S /run/dbus/system_bus_socket ]]; then
  dbus-send --system --type=method_call --print-reply --dest=org.freedesktop.DBus / \
    org.freedesktop.DBus.ReloadConfig >/dev/null ||
    echo "install: the system bus could not be told of the change; restart the machine, or reload it by hand" >&2
fi
# What desktops keep a list of: file types, what opens them, and icons where such a list was made (without one they look).
told() { # FOLDER COMMAND...
  if [[ -d $1 ]] && command -v "$2" >/dev/null; then
    "${@:2}" >/dev/null 2>&1 || echo "install: $2 failed; what is new may not be seen by desktops" >&2
  fi
}
if [[ $mode == uninstall || -x $TARGET/hostwright-assistant ]]; then
  told "$datadir/applications" update-desktop-database "$datadir/applications"
  told "$datadir/mime" update-mime-database "$datadir/mime"
  if [[ -e $datadir/icons/hicolor/icon-theme.cache ]]; then
    told "$datadir/icons/hicolor" gtk-update-icon-cache --quiet --force --ignore-theme-index "$datadir/icons/hicolor"
  fi
fi
if [[ $mode == uninstall ]]; then
  if [[ ${left_standing:-} == yes ]]; then
    echo "What Hostwright changed on this machine stays as it is. To take it back, install it again and run"
    echo "\`hostwright undo --all\`, or \`make uninstall UNDO=yes\`."
  fi
  echo "Its history (/var/lib/hostwright) and the user hostwright-build stay."
fi
