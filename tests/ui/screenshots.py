# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of every page, into the folder in SHOTS, with the prefix that is the first argument."""

import os
import sys
import time

from desk import App, picture

prefix = sys.argv.pop(1)
# How far: "pages" leaves out what takes a build.
far = sys.argv.pop(1) if len(sys.argv) > 1 else "all"


def shot(name):
    picture(f"{os.environ['SHOTS']}/{prefix}-{name}.png")
    for control in app.unnamed():
        print(f"without a name on {name}: {control}")


app = App()
app.find("push button", "Build Them")
shot("1-home")
app.key("ctrl+question")
time.sleep(1)
shot("1-shortcuts")
app.key("Escape")
app.key("alt+Right")
app.press("push button", "Build Them")
for n, (page, words) in enumerate(
    [
        ("welcome", "Modules for VMware"),
        ("checks", "What is here"),
        ("kernels", "For which kernels"),
        ("hardware", "Hardware"),
        ("mode", "How to build them"),
        ("extras", "Extras"),
    ],
    2,
):
    app.wait_for(words)
    time.sleep(0.3)
    shot(f"{n}-{page}")
    app.press("push button", "Continue")
app.wait_for("What is done", 120)
shot("8-review")
if far == "all":
    app.press("push button", "Apply")
    app.wait_for("Applying")
    time.sleep(1.5)
    shot("9-progress")
    app.wait_for("What was looked at", 180)
    shot("10-result")
    app.press("push button", "Back")
    time.sleep(0.5)
    shot("11-log")
    app.key("alt+Right")
    app.press("push button", "Done")
    app.find("push button", "History")
    shot("12-home-after")
    app.key("ctrl+h")
    app.press("push button", "Take Back\u2026: vmware: 6.1.0-56-amd64, vmmon, vmnet")
    app.wait_for("What comes back")
    shot("13-undo")
app.close()
