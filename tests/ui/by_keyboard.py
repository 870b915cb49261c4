# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole assistant for VMware's modules by keyboard alone, on the practice host, with the real helper and polkit:
from Home to a checked result, and back again; cancelled in the middle; left alone and found again."""

import os
import subprocess

from desk import App, Failed, held, run, until

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bus/tree.sh")
KEPT = ["/var/lib/hostwright", "/var/log", "/var/cache/hostwright", "/run"]
PATIENT = 240


def modules():
    """The installed modules, as the machine itself finds them."""
    found = subprocess.run("find /lib/modules/ -name 'vmmon.ko*' -o -name 'vmnet.ko*'", shell=True,
                           capture_output=True, text=True, check=True)
    return found.stdout.split()


def named(app, page):
    """Every control of a page has a name."""
    lost = app.unnamed()
    if lost:
        raise Failed(f"controls without a name on {page}: {lost}")


def to_review(app, mode):
    """From Home to the plan, with keys only."""
    app.find("push button", "Build Them")
    named(app, "Home")
    app.tab_to("push button", "Build Them")
    app.key("Return")
    app.wait_for("Modules for VMware")
    named(app, "Welcome")
    app.tab_to("push button", "Continue")
    app.key("Return")
    app.wait_for("What is here")
    named(app, "Checks")
    app.key("alt+Right")
    app.wait_for("For which kernels")
    named(app, "Kernels")
    tick = app.tab_to("check box", "6.")
    app.key("space")
    # With no kernel there is nothing to go on with.
    app.key("alt+Right")
    if "For which kernels" not in app.texts():
        raise Failed("the assistant goes on without a kernel")
    app.key("space")
    app.key("alt+Right")
    app.wait_for("What is there")
    named(app, "Hardware")
    app.key("alt+Right")
    app.wait_for("How to build them")
    named(app, "Mode")
    app.tab_to("push button", "Vanilla")
    app.key("2" if mode == "1" else "1")
    app.key(mode)
    app.key("alt+Right")
    app.wait_for("Sign with")
    named(app, "Extras")
    app.key("alt+Right")
    app.wait_for("What is done", PATIENT)
    named(app, "Review")
    # Back and forth again: what was picked stays, and the plan is made anew.
    app.key("alt+Left")
    app.wait_for("Sign with")
    app.key("alt+Right")
    app.wait_for("What is done", PATIENT)
    return tick


def apply(app):
    app.tab_to("push button", "Apply")
    app.key("Return")
    app.wait_for("Applying")


def save_trees():
    subprocess.run([TREE, "save", "/run/ui-before"], check=True)


def same_trees():
    compared = subprocess.run([TREE, "compare", "/run/ui-before", *KEPT, os.environ["HOME"]], capture_output=True, text=True)
    if compared.returncode != 0:
        raise Failed(f"not as it was before:\n{compared.stdout}{compared.stderr}")


def a_run_that_is_cancelled_leaves_nothing_behind():
    save_trees()
    app = App()
    to_review(app, "2")
    with held():
        apply(app)
        app.wait_for("lines", 60)
        app.key("ctrl+c")
        app.find("push button", "Cancel and Take Back")
        app.tab_to("push button", "Cancel and Take Back")
        app.key("Return")
        app.gone("Cancel and Take Back")
    app.wait_for("Cancelled, and taken back", PATIENT)
    named(app, "Result")
    app.close()
    if modules():
        raise Failed(f"modules are there: {modules()}")
    same_trees()


def a_run_goes_on_without_the_window_and_is_found_again():
    with held() as hold:
        app = App()
        to_review(app, "2")
        apply(app)
        app.wait_for("lines", 60)
        app.close()
        app = App()
        app.wait_for("Applying")
        hold.release()
        app.wait_for("Done and checked", PATIENT)
        app.close()
    undo()


def undo():
    """Takes the last run back in History, with keys only."""
    app = App()
    app.find("push button", "Main menu")
    app.key("ctrl+h")
    app.find("push button", "Take Back")
    named(app, "History")
    app.tab_to("push button", "Take Back")
    app.key("Return")
    app.wait_for("What comes back, in this order")
    until("the button has the focus", lambda: "Take Back" == (app.focused().get_name() or ""))
    app.key("Return")
    app.wait_for("Taken back", PATIENT)
    app.close()


def the_whole_way_from_home_to_a_checked_result_and_back():
    save_trees()
    app = App()
    to_review(app, "1")
    with held() as hold:
        apply(app)
        hold.release()
        app.wait_for("Done and checked", PATIENT)
    named(app, "Result")
    app.wait_for("has the kernel's vermagic")
    if len(modules()) != 2:
        raise Failed(f"these modules are there: {modules()}")
    app.key("alt+Left")
    app.wait_for("lines")
    named(app, "Progress")
    app.key("alt+Right")
    app.key("alt+Right")
    app.wait_for("Last change")
    app.close()
    undo()
    if modules():
        raise Failed(f"modules are there: {modules()}")
    same_trees()


run([
    a_run_that_is_cancelled_leaves_nothing_behind,
    a_run_goes_on_without_the_window_and_is_found_again,
    the_whole_way_from_home_to_a_checked_result_and_back,
])
