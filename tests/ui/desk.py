# SPDX-License-Identifier: GPL-3.0-or-later
"""A desk for tests of the assistant: the program on a screen of its own, seen as assistive tools see it (AT-SPI),
moved by keys as a person moves it.

Runs inside desk.sh: a screen with a window manager, a session bus, the practice host around it.
"""

import contextlib
import functools
import gettext
import os
import re
import signal
import subprocess
import sys
import time
import traceback

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

# Seconds; an emulated machine needs more.
PATIENCE = int(os.environ.get("DESK_PATIENCE", "30"))
# Seconds between two looks. A look asks the assistant for every widget, which an emulated processor is busy with for long.
PAUSE = float(os.environ.get("DESK_PAUSE", "0.05"))

LANGUAGE = os.environ.get("LANGUAGE", "")
# The words of the language that the assistant speaks here, from the catalogue that was installed with it.
WORDS = gettext.translation("hostwright", "/usr/local/share/locale", [LANGUAGE] if LANGUAGE else [], fallback=True)
_ = WORDS.gettext


class Failed(Exception):
    """A test that does not hold."""


def until(what, look, patience=PATIENCE):
    """What look() returns as soon as that is true; fails when it does not become so, or when the assistant ends. `what`
    is words, or what makes them at the end."""
    end = time.monotonic() + patience
    while True:
        try:
            seen = look()
        except Exception:  # a widget that went away in the middle of a look: look again
            seen = None
        if seen:
            return seen
        for app in App.open:
            if app.process.poll() is not None:
                raise Failed(f"the assistant ended with status {app.process.returncode}")
        if time.monotonic() > end:
            try:
                what = what() if callable(what) else what
            except Exception as why:  # what was looked at is gone altogether
                what = f"{why}, while telling what is there instead"
            raise Failed(f"did not come within {patience} s: {what}")
        time.sleep(PAUSE)


def steady(look):
    """A look at the screen that begins again when a widget goes away in the middle of it."""

    @functools.wraps(look)
    def looks(*what, **how):
        for more in reversed(range(20)):
            try:
                return look(*what, **how)
            except GLib.Error:
                if not more:
                    raise
                time.sleep(0.05)

    return looks


def walk(node, hidden=True):
    """A widget and all that it holds; without `hidden` not what is in something hidden."""
    if node is None:
        return
    yield node
    if not hidden and node.get_component_iface() is not None and not shown(node):
        return
    for i in range(node.get_child_count()):
        yield from walk(node.get_child_at_index(i), hidden)


def shown(node):
    """Whether a widget is on the screen. GTK 4.8 says so of windows only, and gives what is hidden no size."""
    if node.get_component_iface() is None:
        return False
    box = node.get_extents(Atspi.CoordType.WINDOW)
    return box.width > 0 and box.height > 0


def role_of(node):
    """What kind of control it is; a button is a "push button" for AT-SPI before 2.53."""
    role = node.get_role_name()
    return "push button" if role == "button" else role


def usable(node):
    return node.get_state_set().contains(Atspi.StateType.SENSITIVE)


def text_of(node):
    """The text of a label or an entry, else its name."""
    text = node.get_text_iface()
    if text is not None:
        return Atspi.Text.get_text(text, 0, Atspi.Text.get_character_count(text))
    return node.get_name() or ""


class App:
    """The assistant while it runs."""

    open = []

    def __init__(self, *arguments):
        self.process = subprocess.Popen(["hostwright-assistant", *arguments])
        App.open.append(self)
        self.root = until("the assistant on the accessibility bus", self._find)

    def _find(self):
        desktop = Atspi.get_desktop(0)
        for i in range(desktop.get_child_count()):
            app = desktop.get_child_at_index(i)
            if app and app.get_process_id() == self.process.pid:
                return app
        return None

    def close(self):
        App.open.remove(self)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    # --- what is seen ---

    def all(self, role=None, name=None):
        for node in walk(self.root, hidden=False):
            try:
                fits = (role is None or role_of(node) in ([role] if isinstance(role, str) else role))
                if fits and (name is None or name in (node.get_name() or "")) and shown(node):
                    yield node
            except Exception:
                continue

    def find(self, role=None, name=None, patience=PATIENCE):
        name = name and _(name)
        return until(f"a {role} called {name!r}", lambda: next(self.all(role, name), None), patience)

    @steady
    def texts(self):
        """All words on the screen."""
        return "\n".join(text_of(n) for n in self.all() if n.get_role_name() in ("label", "text", "heading"))

    def wait_for(self, words, patience=PATIENCE):
        words = _(words)
        until(lambda: f"the words {words!r}; the screen says:\n{self.texts()}", lambda: words in self.texts(), patience)

    def gone(self, words, patience=PATIENCE):
        words = _(words)
        until(f"the end of the words {words!r}", lambda: words not in self.texts(), patience)

    @steady
    def focused(self):
        for node in walk(self.root, hidden=False):
            try:
                if node.get_state_set().contains(Atspi.StateType.FOCUSED) and shown(node):
                    return node
            except Exception:
                continue
        return None

    # --- what is done ---

    def press(self, role, name, patience=PATIENCE, begins=False):
        """Presses a button, or opens a row, as an assistive tool does. An ellipsis at the end of its name need not be
        written. `begins`: the name only begins with these words."""
        name = _(name)

        def called(node):
            whole = (node.get_name() or "").rstrip("\u2026")
            return usable(node) and (whole.startswith(name) if begins else whole == name.rstrip("\u2026"))

        node = until(
            f"a {role} called {name!r} that can be pressed",
            lambda: next((n for n in self.all(role, name.rstrip("\u2026")) if called(n)), None),
            patience,
        )
        action = node.get_action_iface()
        if action is not None and action.get_n_actions() > 0:
            if not action.do_action(0):
                raise Failed(f"the {role} {name!r} cannot be pressed")
        else:
            # A row has no action of its own in GTK 4.8, nor takes it the focus but by keys.
            self.to_row(name)
            self.key("Return")

    def key(self, *keys):
        """Presses keys, one after the other ("Tab", "alt+Right")."""
        subprocess.run(["xdotool", "key", "--clearmodifiers", "--delay", "60", *keys], check=True)
        time.sleep(0.1)

    def tab_to(self, role, name, most=80):
        """Goes there with Tab alone."""
        for _ in range(most):
            node = self.focused()
            if node is not None and role_of(node) == role and name in (node.get_name() or ""):
                return node
            self.key("Tab")
        at = self.focused()
        where = f"{at.get_role_name()} {at.get_name()!r}" if at else "nothing"
        raise Failed(f"Tab does not lead to the {role} {name!r}; it is at {where}")

    def to_row(self, name, most=60):
        """Goes to the row of a list, with Tab to the list and arrows in it."""
        before = None
        for _turn in range(most):
            node = self.focused()
            if node is not None and node.get_role_name() == "list item":
                if name in (node.get_name() or ""):
                    return
                self.key("Tab" if node == before else "Down")
                before = node
            else:
                self.key("Tab")
        raise Failed(f"keys do not lead to the row {name!r}")

    @steady
    def unnamed(self):
        """Controls on the screen that have no name."""
        controls = {
            "push button", "button", "toggle button", "check box", "radio button", "switch", "text", "entry",
            "combo box", "slider", "spin button", "progress bar", "level bar", "link",
        }
        lost = []
        for node in self.all():
            role = role_of(node)
            inner = node.get_parent() and node.get_parent().get_role_name() in ("combo box", "text", "entry")
            # GTK falls back to the name of the class.
            name = re.sub(r"^(Gtk|Adw|Hw)[A-Z]\w+$", "", (node.get_name() or "").strip())
            if role in controls and not name and not inner:
                box = node.get_extents(Atspi.CoordType.WINDOW)
                lost.append(f"{role} at {box.x},{box.y} {box.width}x{box.height}")
        return lost


class Hold:
    """Where the runs of the helper are held."""

    def __init__(self, path):
        self.path = path
        with open(path, "w", encoding="utf-8"):
            pass

    def wait(self, patience=240):
        """Until a run has come there."""
        until("the place where the run is held", lambda: os.path.exists(self.path + ".reached"), patience)

    def release(self):
        """Lets it go on."""
        for path in (self.path, self.path + ".reached"):
            if os.path.exists(path):
                os.remove(path)


@contextlib.contextmanager
def held(program="/sbin/depmod", hold="/run/ui-hold"):
    """Holds every run of the helper where it calls this program, however fast the machine is. Root only."""
    aside = program + ".held"
    os.rename(program, aside)
    with open(program, "w", encoding="utf-8") as script:
        script.write(f'#!/bin/bash\n[[ ! -e {hold} ]] || : >{hold}.reached\n'
                     f'while [[ -e {hold} ]]; do sleep 0.1; done\n'
                     f'exec -a {os.path.basename(program)} {aside} "$@"\n')
    os.chmod(program, 0o755)
    here = Hold(hold)
    try:
        yield here
    finally:
        here.release()
        os.rename(aside, program)


def picture(path):
    """A picture of the screen."""
    time.sleep(0.4)
    subprocess.run(["import", "-window", "root", path], check=True)


def run(cases):
    """Runs test functions; exits with 1 when one does not hold."""
    wanted, failed = sys.argv[1:], 0
    for case in cases:
        if wanted and case.__name__ not in wanted:
            continue
        began = time.monotonic()
        try:
            case()
            print(f"ok      {case.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as why:
            failed += 1
            folder = os.environ.get("SHOTS")
            if folder:
                picture(f"{folder}/failed-{case.__name__}.png")
            print(f"FAILED  {case.__name__} ({time.monotonic() - began:.1f} s): {why}", flush=True)
            traceback.print_exc()
            # The next case begins with a window of its own.
            for app in list(App.open):
                app.close()
    sys.exit(1 if failed else 0)
