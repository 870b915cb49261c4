# SPDX-License-Identifier: GPL-3.0-or-later
"""Another machine over ssh in the assistant: an sshd of the test's own on loopback, whose host key nobody knows and which
wants a password; ssh's questions in windows of their own, polkit's over there in a dialog."""

import os
import socket
import subprocess
import time

from gi.repository import GLib

from desk import App, Atspi, Failed, _, picture, run, until

HERE = "/run/desk/ssh"
PASSWORD = "correct horse 42"
RULES = """
polkit.addAdminRule(function(action, subject) { return ["unix-user:boss"]; });
polkit.addRule(function(action, subject) {
  if (action.id.indexOf("org.hostwright.") == 0 && subject.user == "boss") return polkit.Result.AUTH_ADMIN;
  return polkit.Result.NOT_HANDLED;
});
"""


def server():
    """Starts sshd; its port."""
    os.makedirs(HERE, exist_ok=True)
    os.makedirs("/run/sshd", exist_ok=True)
    subprocess.run(["useradd", "--create-home", "--user-group", "boss"], check=True)
    subprocess.run(["chpasswd"], input=f"boss:{PASSWORD}\n", text=True, check=True)
    with open("/etc/polkit-1/rules.d/00-ui-remote.rules", "w", encoding="utf-8") as rules:
        rules.write(RULES)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{HERE}/host"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(f"{HERE}/config", "w", encoding="utf-8") as config:
        config.write(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {HERE}/host\nPidFile none\nUsePAM yes\n"
                     "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nPubkeyAuthentication no\n")
    with open("/etc/ssh/ssh_config", "w", encoding="utf-8") as config:
        config.write(f"Host 127.0.0.1\n  UserKnownHostsFile {HERE}/known\n  GlobalKnownHostsFile /dev/null\n")
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", f"{HERE}/log", "-f", f"{HERE}/config"])
    until("sshd", lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None)
    time.sleep(1.5)  # polkit reads its rules
    return port


class Other(App):
    """A window of a process that ssh started, with these words in it."""

    def __init__(self, app, words):  # pylint: disable=super-init-not-called
        self.app = app
        self.words = _(words)
        self.root = until(f"a window of ssh's question with {self.words!r}", self._find)

    def _find(self):
        desktop = Atspi.get_desktop(0)
        for i in range(desktop.get_child_count()):
            try:
                self.root = desktop.get_child_at_index(i)
                if self.root.get_process_id() != self.app.process.pid and self.words in self.texts():
                    return self.root
            except GLib.Error:  # one that ends just now
                continue
        return None

    def press(self, *what, **how):
        """Its process ends with that, at times before it has said so to who pressed."""
        try:
            super().press(*what, **how)
        except GLib.Error as why:
            if "no longer exists" not in str(why):
                raise


def type_in(app, name, text):
    """Writes into the entry with this name."""
    entry = until(f"an entry called {name!r}", lambda: next(
        (n for n in app.all(["text", "entry", "password text"]) if n.get_editable_text_iface() is not None), None))
    Atspi.EditableText.set_text_contents(entry, text)


def another_machine_is_chosen_and_looked_at():
    port = server()
    machine = f"boss@127.0.0.1:{port}"
    app = App()
    app.press("push button", "Machine: {name}".replace("{name}", _("This Machine")), begins=True)
    app.wait_for("Which Machine?")
    type_in(app, "Another one: user@host", machine)
    shots = os.environ.get("SHOTS")
    if shots:
        picture(f"{shots}/remote-1-choose.png")
    app.press("push button", "Choose", begins=True)
    trust = Other(app, "Trust This Machine?")
    if shots:
        picture(f"{shots}/remote-2-trust.png")
    trust.press("push button", "Trust", begins=True)
    asked = Other(app, "Password for Another Machine")
    type_in(asked, "Password", PASSWORD)
    if shots:
        picture(f"{shots}/remote-3-password.png")
    asked.press("push button", "Log In", begins=True)
    # Polkit over there wants to know who looks.
    app.wait_for(_("Password for {machine}").replace("{machine}", machine), 60)
    if shots:
        picture(f"{shots}/remote-4-polkit.png")
    type_in(app, "Password", PASSWORD)
    app.press("push button", "Authenticate", begins=True)
    app.wait_for(_("This is about {machine}").replace("{machine}", machine), 60)
    app.find("push button", "Build Them", 60)
    if shots:
        picture(f"{shots}/remote-5-home.png")
    if machine not in app.texts():
        raise Failed("the first page does not say which machine it is about")
    app.close()


run([another_machine_is_chosen_and_looked_at])
