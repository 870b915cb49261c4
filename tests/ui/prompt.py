# SPDX-License-Identifier: GPL-3.0-or-later
"""A desktop's own agent asks for the password, in a session of logind's: what it shows, a cancelled question, and an
answered one. Runs inside the machine of prompt-vm.sh; the pictures go into the folder in SHOTS."""

import os
import subprocess
import time

from desk import App, Failed, picture, run, until

AGENT = "/usr/libexec/polkit-mate-authentication-agent-1"
PASSWORD = "correct horse 42"
# An emulated processor.
PATIENT = 900
SHOTS = os.environ["SHOTS"]


def windows(words):
    found = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", words], capture_output=True, text=True)
    return found.stdout.split()


def the_question_has_our_words_and_can_be_cancelled_and_answered():
    agent = subprocess.Popen(os.environ.get("AGENT", AGENT))
    time.sleep(10)
    app = App("--flow", "vmware")
    app.wait_for("Modules for VMware", PATIENT)
    for words in ["What is here", "For which kernels", "What is there", "How to build them", "Sign with"]:
        time.sleep(2)
        app.key("alt+Right")
        app.wait_for(words, PATIENT)
    app.key("alt+Right")
    app.wait_for("What is done", PATIENT)
    if windows("Authenticate"):
        raise Failed("a password is asked for before Apply")
    app.press("push button", "Apply")
    until("the agent's window", lambda: windows("Authenticate"), PATIENT)
    time.sleep(8)
    picture(f"{SHOTS}/prompt.png")
    subprocess.run(["xdotool", "key", "Escape"], check=True)
    app.wait_for("Not authorized", PATIENT)
    app.find("push button", "Apply")
    time.sleep(3)
    picture(f"{SHOTS}/dismissed.png")
    app.press("push button", "Apply")
    until("the agent's window again", lambda: windows("Authenticate"), PATIENT)
    time.sleep(8)
    subprocess.run(["xdotool", "type", "--delay", "200", PASSWORD], check=True)
    subprocess.run(["xdotool", "key", "Return"], check=True)
    app.wait_for("Applying", PATIENT)
    time.sleep(5)
    picture(f"{SHOTS}/applying.png")
    app.wait_for("Done and checked", PATIENT)
    time.sleep(3)
    picture(f"{SHOTS}/done.png")
    if windows("Authenticate"):
        raise Failed("a password is asked for twice")
    loaded = open("/proc/modules").read()
    if "vmmon " not in loaded or not os.path.exists("/dev/vmmon"):
        raise Failed(f"vmmon is not loaded: {loaded}")
    app.close()
    agent.terminate()


run([the_question_has_our_words_and_can_be_cancelled_and_answered])
