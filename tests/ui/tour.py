# SPDX-License-Identifier: GPL-3.0-or-later
"""The way through every page of the assistant, one after the other: for pictures, and for what must hold on each."""

import time

from desk import WORDS, held

PATIENT = 300

# A page of the guided assistant, and words that are on it.
ASSISTANT = [
    ("welcome", "Modules for VMware"),
    ("checks", "What is here"),
    ("kernels", "For which kernels"),
    ("hardware", "Hardware"),
    ("mode", "How to build them"),
    ("extras", "Extras"),
]


# A view beside it, its keys, and words that are on it.
VIEWS = [
    ("preferences", "ctrl+comma", "Appearance"),
    ("lab", "ctrl+l", "What to boot"),
    ("tuning", "ctrl+t", "What can be tuned"),
    ("bench", "ctrl+b", "What a change brings"),
]


def tour(app, far="all"):
    """Goes there, page by page, and yields the name of each. `far`: "pages" leaves out what takes a build."""
    app.wait_for("What would you like to do?")
    app.gone("Looking at this machine")
    yield "home"
    for name, key in [("shortcuts", "ctrl+question"), ("help", "F1")]:
        app.key(key)
        time.sleep(1)
        yield name
        app.key("Escape")
        time.sleep(0.5)
    app.key("ctrl+h")
    time.sleep(1)
    yield "history-empty"
    app.key("alt+Home")
    app.press("list item", "Profiles")
    app.wait_for("No profiles yet")
    yield "profiles-empty"
    app.key("alt+Home")
    for name, key, words in VIEWS:
        app.key(key)
        app.wait_for(words)
        time.sleep(0.7)
        yield name
        app.key("Escape" if name == "preferences" else "alt+Home")
        time.sleep(0.5)
    app.press("list item", "NVIDIA vGPU")
    app.wait_for("Not a Proxmox VE host")
    yield "vgpu"
    app.key("alt+Home")
    app.press("list item", "VMware Modules")
    for page, words in ASSISTANT:
        app.wait_for(words)
        time.sleep(0.3)
        yield page
        app.press("push button", "Continue")
    app.wait_for("What is done", PATIENT)
    yield "review"
    if far != "all":
        return
    with held() as hold:
        app.press("push button", "Apply")
        app.wait_for("Applying")
        hold.wait()
        app.wait_for(WORDS.ngettext("{n} line", "{n} lines", 100).replace("{n} ", ""))
        yield "progress"
        hold.release()
        app.wait_for("What was looked at", PATIENT)
    yield "result"
    app.press("push button", "Back")
    time.sleep(0.5)
    yield "log"
    app.key("alt+Right")
    app.press("push button", "Done")
    app.wait_for("What would you like to do?")
    time.sleep(1)
    yield "home-after"
    app.key("ctrl+h")
    app.find("push button", "Take Back…")
    yield "history"
    app.press("push button", "Take Back…", begins=True)
    app.wait_for("What comes back, in this order")
    yield "undo"
    app.key("Escape")
    time.sleep(0.5)
