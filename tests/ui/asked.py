# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when polkit asks: a no, nobody to ask, the wrong and the right password. Run by a user of that name."""

import getpass
import os
import pty
import subprocess
import time

from desk import App, Failed, run

PATIENT = 240
PASSWORD = "correct horse 42"


class Agent:
    """polkit's own agent on a terminal, for one process."""

    def __init__(self, process):
        self.master, slave = pty.openpty()
        ready, told = os.pipe()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "pkttyagent", "--notify-fd", str(told), "--process", str(process)],
            stdin=slave, stdout=slave, stderr=slave, pass_fds=[told],
        )
        os.close(told)
        os.close(slave)
        os.read(ready, 1)
        self.said = b""

    def wait_for(self, words):
        end = time.monotonic() + 20
        while words not in self.said:
            if time.monotonic() > end:
                raise Failed(f"the agent does not say {words!r} but {self.said!r}")
            self.said += os.read(self.master, 4096)
        self.said = b""

    def type(self, text):
        os.write(self.master, text.encode() + b"\n")

    def close(self):
        self.process.terminate()
        self.process.wait()


def at_review():
    app = App("--flow", "vmware")
    app.wait_for("Modules for VMware")
    for words in ["What is here", "For which kernels", "What is there", "How to build them", "Sign with"]:
        time.sleep(0.4)
        app.key("alt+Right")
        app.wait_for(words)
    app.key("alt+Right")
    app.wait_for("What is done", PATIENT)
    return app


def unchanged():
    found = subprocess.run("find /lib/modules/ -name 'vmmon.ko*'", shell=True, capture_output=True, text=True)
    if found.stdout:
        raise Failed(f"something was installed: {found.stdout}")


def a_no_returns_to_the_plan_and_says_so():
    app = at_review()
    app.press("push button", "Apply")
    app.wait_for("Not authorized")
    app.wait_for("What is done")
    app.find("push button", "Apply")
    unchanged()
    app.close()


def without_an_agent_a_page_tells_how_to_get_one():
    app = at_review()
    app.press("push button", "Apply")
    app.wait_for("Nobody can ask for your password")
    app.wait_for("hostwright vmware apply --kernel")
    unchanged()
    app.close()


def a_wrong_password_changes_nothing_and_the_right_one_applies():
    app = at_review()
    agent = Agent(app.process.pid)
    app.press("push button", "Apply")
    agent.wait_for(b"Password:")
    app.wait_for("Waiting for permission")
    agent.type("no such horse")
    app.wait_for("Not authorized")
    unchanged()
    app.press("push button", "Apply")
    agent.wait_for(b"Password:")
    agent.type(PASSWORD)
    app.wait_for("Applying")
    app.wait_for("Done and checked", PATIENT)
    app.close()
    agent.close()


run({
    "maynot": [a_no_returns_to_the_plan_and_says_so],
    "asker": [without_an_agent_a_page_tells_how_to_get_one],
    "boss": [a_wrong_password_changes_nothing_and_the_right_one_applies],
}[getpass.getuser()])
