# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold on every page, whatever it shows: each control has a name; it is large enough to be touched, and lies
inside the window; the keyboard reaches the controls in the order one reads, and one sees where it is.

The first argument says how far the tour goes, the second (optional) the width that the window may have.
"""

import gettext
import os
import subprocess
import sys
import time

from gi.repository import GLib

from desk import App, Atspi, Failed, run, shown, steady, usable, walk
from tour import tour

FAR, WIDTH = sys.argv.pop(1), int(sys.argv.pop(1)) if len(sys.argv) > 1 else 0
LEAST = 44
RIGHT_TO_LEFT = os.environ.get("LANGUAGE") == "ar"
TOUCHED = ["push button", "toggle button", "radio button", "check box", "switch", "combo box", "entry", "text", "link"]
# The desktop's own, at the top of the window: their size is the theme's, their names are GTK's.
GTKS = gettext.translation("gtk40", "/usr/share/locale", [os.environ.get("LANGUAGE") or "en"], fallback=True).gettext
THEIRS = {name for word in ("Minimize", "Maximize", "Close", "Restore") for name in (word, GTKS(word))}


def box(node):
    return node.get_extents(Atspi.CoordType.WINDOW)


def hit(node):
    """How high a control is with what the theme puts around it: its box is its contents' alone, and does not say."""
    place, component = box(node), node.get_component_iface()
    if place.height >= LEAST:
        return place.height
    x, above, below = place.x + place.width // 2, 0, 0
    while above < 20 and component.contains(x, place.y - above - 1, Atspi.CoordType.WINDOW):
        above += 1
    while below < 20 and component.contains(x, place.y + place.height + below, Atspi.CoordType.WINDOW):
        below += 1
    return place.height + above + below


def mapped(node):
    """Whether a widget can be seen now, or scrolled to: a view that is left keeps its sizes in GTK 4.8, and what it
    holds is nowhere."""
    place = box(node)
    middle = (place.x + place.width // 2, place.y + place.height // 2)
    return node.get_component_iface().contains(*middle, Atspi.CoordType.WINDOW)


def height(node):
    """How high is what a finger may hit: a switch in a row that does the same is as high as the row."""
    most, inner = hit(node), node
    for _level in range(6):
        inner = inner.get_parent()
        if inner is None or most >= LEAST:
            break
        if inner.get_role_name() in ("list item", "combo box", "entry", "text", "toggle button", "push button"):
            most = max(most, hit(inner))
    return most


def said(node):
    b = box(node)
    return f"{node.get_role_name()} {node.get_name()!r} at {b.x},{b.y} {b.width}x{b.height}"


def window_of(app):
    """The window in front: a dialog over the main window is the last."""
    windows = [w for w in (app.root.get_child_at_index(i) for i in range(app.root.get_child_count())) if w and shown(w)]
    return windows[-1]


def controls(window):
    for node in walk(window, hidden=False):
        if node.get_role_name() in TOUCHED and shown(node) and node.get_name() not in THEIRS and mapped(node):
            yield node


def too_small(app):
    for node in controls(window_of(app)):
        # Text that can be selected is read, not hit.
        if node.get_role_name() in ("text", "link") and not node.get_state_set().contains(Atspi.StateType.EDITABLE):
            continue
        if height(node) < LEAST:
            yield f"lower than {LEAST} px ({height(node)}): {said(node)}"


def outside(app):
    window = window_of(app)
    frame = box(window)
    if WIDTH and frame.width > WIDTH:
        yield f"the window is {frame.width} px wide"
    for node in controls(window):
        b = box(node)
        # Above and below it may be scrolled to.
        if b.x < frame.x or b.x + b.width > frame.x + frame.width:
            yield f"not inside the window, which is {frame.width} px wide: {said(node)}"


def holds(outer, inner):
    """Whether a widget is somewhere within another."""
    while inner is not None and inner != outer:
        inner = inner.get_parent()
    return inner is not None


def before(a, b):
    """Whether a is read before b: above it, or beside it on the side where lines begin."""
    one, other = box(a), box(b)
    overlap = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if overlap > min(one.height, other.height) / 2:
        return one.x > other.x if RIGHT_TO_LEFT else one.x < other.x
    return one.y < other.y


def whole(node):
    """Left, top, right and bottom of a widget with what the theme puts around its contents, and of what it may draw
    around itself."""
    place, component = box(node), node.get_component_iface()
    x, y = place.x + place.width // 2, place.y + place.height // 2

    def beyond(at):
        """How far it goes beyond its box on a side, in pixels."""
        least, most = 0, 32
        while least < most:
            n = (least + most + 1) // 2
            if component.contains(*at(n), Atspi.CoordType.WINDOW):
                least = n
            else:
                most = n - 1
        return least + 6

    return (max(place.x - beyond(lambda n: (place.x - n, y)), 0), max(place.y - beyond(lambda n: (x, place.y - n)), 0),
            place.x + place.width + beyond(lambda n: (place.x + place.width - 1 + n, y)),
            place.y + place.height + beyond(lambda n: (x, place.y + place.height - 1 + n)))


def around(edges):
    """The pixels there, in the window that has the keys."""
    left, top, right, bottom = edges
    crop = f"{right - left}x{bottom - top}+{left}+{top}"
    window = subprocess.run(["xdotool", "getactivewindow"], capture_output=True, check=True, text=True).stdout.strip()
    return subprocess.run(["import", "-window", window, "-crop", crop, "rgb:-"], capture_output=True, check=True).stdout


class Focus:
    """Where the focus is, as the assistant tells it: looking for it in all widgets takes a second each time."""

    def __init__(self, app):
        self.app, self.at = app, None
        self.listener = Atspi.EventListener.new(self.heard)
        self.listener.register("object:state-changed:focused")

    def heard(self, event):
        if event.detail1 and event.source.get_process_id() == self.app.process.pid:
            self.at = event.source

    def after(self, keys):
        """The widget that has it after these keys; None when it is told of none."""
        self.at = None
        self.app.key(keys)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            while GLib.MainContext.default().iteration(False):
                pass
            if self.at is not None and shown(self.at):
                return self.at
            time.sleep(0.02)
        return self.app.focused()

    def close(self):
        self.listener.deregister("object:state-changed:focused")


def wrong_ways(app, look):
    """Goes round the page with Tab."""
    focus = Focus(app)
    try:
        yield from round_the_page(app, focus, look)
    finally:
        focus.close()


def round_the_page(app, focus, look):
    stops, backwards = [], 0
    for _turn in range(60):
        now = focus.after("Tab")
        if now is None:
            # A row to type in has the focus in 4.8 and does not say so.
            continue
        if stops and now == stops[0]:
            break
        if stops:
            last = stops[-1]
            inside = holds(last, now) or holds(now, last)
            if not inside and not before(last, now):
                backwards += 1
                # Round the end, once.
                if backwards > 1:
                    yield f"after {said(last)} comes {said(now)}"
            if look:
                place, edges = box(now), whole(now)
                with_focus = around(edges)
                after = focus.after("Tab")
                moved = after is not None and box(now).y != place.y
                if after is not None and after != now and not moved and around(edges) == with_focus:
                    # The screen may be late.
                    time.sleep(0.5)
                    if around(edges) == with_focus:
                        yield f"one does not see the focus on {said(now)}"
                focus.after("shift+Tab")
        stops.append(now)
    else:
        yield f"Tab does not come round: {[said(s) for s in stops[:5]]}"
    if not stops:
        yield "nothing can be reached with Tab"
    reached = len([s for s in stops if s.get_role_name() in TOUCHED or s.get_role_name() == "list item"])
    wanted = len([c for c in controls(window_of(app)) if c.get_role_name() == "push button" and usable(c)])
    if reached == 0 and wanted > 0:
        yield "no button can be reached with Tab"


def every_page_can_be_used_by_everybody():
    wrong = []
    app = App()
    look = os.environ.get("LOOK") == "1"
    for name in tour(app, FAR):
        found, began = [], time.monotonic()
        # GTK's own window of shortcuts is its own business.
        if name != "shortcuts":
            found += [f"without a name: {c}" for c in app.unnamed()]
            found += steady(lambda: [*too_small(app), *outside(app)])()
        # While it works, things move.
        if name not in ("shortcuts", "progress") and not WIDTH:
            found += wrong_ways(app, look)
        wrong += [f"{name}: {w}" for w in found]
        print(f"        {name}: {time.monotonic() - began:.1f} s", flush=True)
    app.close()
    if wrong:
        raise Failed("\n  ".join(["", *wrong]))


run([every_page_can_be_used_by_everybody])
