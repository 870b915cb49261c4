# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when polkit asks: a no, nobody to ask, the wrong and the right password. Run by a user of that name."""

import getpass
import os
import pty
import subprocess
import threading
import time

from gi.repository import Gio, GLib

from desk import App, Failed, run, until

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


class Dismisser:
    """An agent whose person always closes the question; it keeps what it was asked."""

    FACE = """<node><interface name="org.freedesktop.PolicyKit1.AuthenticationAgent">
      <method name="BeginAuthentication">
        <arg type="s"/><arg type="s"/><arg type="s"/><arg type="a{ss}"/><arg type="s"/><arg type="a(sa{sv})"/>
      </method>
      <method name="CancelAuthentication"><arg type="s"/></method>
    </interface></node>"""
    PLACE = "/org/hostwright/Test/Agent"

    def __init__(self, process):
        self.asked = []
        context, ready = GLib.MainContext.new(), threading.Event()

        def serve():
            context.push_thread_default()
            self.bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
            face = Gio.DBusNodeInfo.new_for_xml(self.FACE).interfaces[0]
            self.bus.register_object(self.PLACE, face, self.call, None, None)
            # The 22nd word of stat, counted from behind the name in brackets.
            start = int(open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[19])
            subject = ("unix-process", {"pid": GLib.Variant("u", process), "start-time": GLib.Variant("t", start),
                                        "uid": GLib.Variant("i", os.getuid())})
            self.bus.call_sync(
                "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
                "org.freedesktop.PolicyKit1.Authority", "RegisterAuthenticationAgent",
                GLib.Variant("((sa{sv})ss)", (subject, "C", self.PLACE)), None, 0, -1, None)
            ready.set()
            GLib.MainLoop.new(context, False).run()

        threading.Thread(target=serve, daemon=True).start()
        if not ready.wait(20):
            raise Failed("polkit takes no agent")

    def call(self, _bus, _sender, _path, _face, method, arguments, invocation):
        if method == "BeginAuthentication":
            action, message, icon, _details, _cookie, _who = arguments.unpack()
            self.asked.append((action, message, icon))
            invocation.return_dbus_error("org.freedesktop.PolicyKit1.Error.Cancelled", "closed")
        else:
            invocation.return_value(None)


def at_review():
    app = App("--flow", "vmware")
    app.wait_for("Modules for VMware")
    for words in ["What is here", "For which kernels", "What is there", "How to build them", "Sign with"]:
        app.press("push button", "Continue")
        app.wait_for(words)
    app.press("push button", "Continue")
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


def a_closed_question_returns_to_the_plan_and_was_asked_once_with_our_words():
    app = at_review()
    agent = Dismisser(app.process.pid)
    time.sleep(1)
    if agent.asked:
        raise Failed(f"a password is asked for before Apply: {agent.asked}")
    app.press("push button", "Apply")
    until("the question", lambda: agent.asked)
    app.wait_for("Not authorized")
    app.wait_for("What is done")
    app.find("push button", "Apply")
    unchanged()
    if len(agent.asked) != 1:
        raise Failed(f"not asked once but {len(agent.asked)} times: {agent.asked}")
    action, message, icon = agent.asked[0]
    if action != "org.hostwright.modules.install" or "kernel modules for 6." not in message or icon != "org.hostwright.Hostwright":
        raise Failed(f"not our words and our icon: {agent.asked[0]}")
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
    app.wait_for("Done and checked", PATIENT)
    app.close()
    agent.close()


run({
    "maynot": [a_no_returns_to_the_plan_and_says_so],
    "asker": [without_an_agent_a_page_tells_how_to_get_one],
    "boss": [a_closed_question_returns_to_the_plan_and_was_asked_once_with_our_words, a_wrong_password_changes_nothing_and_the_right_one_applies],
}[getpass.getuser()])
