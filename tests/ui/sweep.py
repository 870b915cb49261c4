# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold on every page, whatever it shows: each control has a name; it is large enough to be touched, and lies
inside the window; the keyboard reaches the controls in the order one reads, and one sees where it is.

The first argument says how far the tour goes, the second (optional) the width that the window may have.
"""

import os
import re
import subprocess
import sys
import time

from gi.repository import GLib

from desk import App, Atspi, Failed, run, shown, usable, walk
from tour import tour

FAR, WIDTH = sys.argv.pop(1), int(sys.argv.pop(1)) if len(sys.argv) > 1 else 0
LEAST = 44
RIGHT_TO_LEFT = os.environ.get("LANGUAGE") == "ar"
TOUCHED = ["push button", "toggle button", "radio button", "check box", "switch", "combo box", "entry", "text", "link"]
# The desktop's own, at the top of the window: their size is the theme's.
THEIRS = {"Minimize", "Maximize", "Close", "Restore"}


def box(node):
    return node.get_extents(Atspi.CoordType.WINDOW)


def top(node):
    """The window that a widget is in."""
    while node.get_parent() is not None and node.get_parent().get_role_name() not in ("application", "desktop frame"):
        node = node.get_parent()
    return node


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
        if node.get_role_name() in TOUCHED and shown(node) and node.get_name() not in THEIRS:
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


def before(a, b):
    """Whether a is read before b: above it, or beside it on the side where lines begin."""
    one, other = box(a), box(b)
    overlap = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if overlap > min(one.height, other.height) / 2:
        return one.x > other.x if RIGHT_TO_LEFT else one.x < other.x
    return one.y < other.y


def around(b):
    """The pixels of a widget, and a little of what is around it."""
    x, y = max(b.x - 8, 0), max(b.y - 8, 0)
    crop = f"{b.width + 16}x{b.height + 16}+{x}+{y}"
    return subprocess.run(["import", "-window", "root", "-crop", crop, "rgb:-"], capture_output=True, check=True).stdout


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
            inside = now.get_parent() == last or last.get_parent() == now
            if not inside and not before(last, now):
                backwards += 1
                # Round the end, once.
                if backwards > 1:
                    yield f"after {said(last)} comes {said(now)}"
            if look:
                with_focus = around(box(now))
                place = box(now)
                after = focus.after("Tab")
                moved = after is not None and box(now).y != place.y
                if after is not None and after != now and not moved and around(place) == with_focus:
                    # The screen may be late.
                    time.sleep(0.5)
                    if around(place) == with_focus:
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
    wrong, known = [], set()
    app = App()
    look = os.environ.get("LOOK") == "1"
    for name in tour(app, FAR):
        found, began = [], time.monotonic()
        # What is there already counts for the pages after this one, good or not.
        seen_there = {f"lower than {LEAST} px: {said(c)}" for c in controls(window_of(app))}
        # GTK's own window of shortcuts is its own business.
        if name != "shortcuts":
            found += [f"without a name: {c}" for c in app.unnamed()]
            found += too_small(app)
            found += outside(app)
        # While it works, things move.
        if name not in ("shortcuts", "progress") and not WIDTH:
            found += wrong_ways(app, look)
        # A view that is left keeps its sizes in GTK 4.8, and is seen on the pages after it, too: said once.
        wrong += [f"{name}: {w}" for w in found if re.sub(r" \(\d+\)", "", w) not in known]
        known.update(seen_there)
        print(f"        {name}: {time.monotonic() - began:.1f} s", flush=True)
    app.close()
    if wrong:
        raise Failed("\n  ".join(["", *wrong]))


run([every_page_can_be_used_by_everybody])
