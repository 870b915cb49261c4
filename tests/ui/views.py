# SPDX-License-Identifier: GPL-3.0-or-later
"""The views beside the assistant for VMware's modules, on the practice host: the lab boots a real kernel, tuning is
picked up to its plan, profiles go to a file and come back, settings are kept."""

import json
import os
import pwd
import subprocess
import time

from desk import App, Atspi, Failed, picture, run, shown, steady, text_of, until, walk

PATIENT = 240


def named(app, page):
    """Every control of a page has a name."""
    lost = app.unnamed()
    if lost:
        raise Failed(f"controls without a name on {page}: {lost}")


def about(node, title, up=4):
    """Whether a widget, or one of the few around it, has this title."""
    for _ in range(up):
        if node is None:
            return False
        if title in (node.get_name() or ""):
            return True
        node = node.get_parent()
    return False


def write(app, title, text):
    """Writes into the field of that title."""

    def field():
        for node in app.all():
            if node.get_editable_text_iface() is not None and about(node, title):
                return node
        return None

    until(f"the field {title!r}", field).get_editable_text_iface().set_text_contents(text)
    time.sleep(0.2)


def running():
    """QEMU's that descend from us."""
    found = subprocess.run(["ps", "-eo", "pid,comm"], capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if "qemu-system" in line]


def answer(app, name):
    """Presses a button by keyboard."""
    app.find("push button", name)
    app.tab_to("push button", name)
    app.key("Return")


def boot(app, command):
    """Boots a kernel with nothing but this command in it."""
    app.wait_for("What to boot")
    app.key("4")
    write(app, "Command to run there", command)
    app.key("alt+Right")


def guest_works(app):
    """Until the guest has come to its command."""
    app.wait_for("Run by", PATIENT)
    # The name of the last stage, with its time behind it.
    app.wait_for("Command: ", PATIENT)
    if not running():
        raise Failed("no guest runs")


def the_lab_boots_a_kernel_and_tells_its_exit_status():
    app = App("--flow", "lab")
    app.wait_for("What to boot")
    named(app, "the lab")
    boot(app, "uname -r")
    app.wait_for("Run by", PATIENT)
    named(app, "the console")
    app.wait_for("Done in", PATIENT)
    app.wait_for("Exit status")
    app.wait_for("Timeline")
    named(app, "the report")
    # The console is still there, and the report behind it.
    answer(app, "Show")
    app.wait_for("Console of run")
    app.key("alt+Left")
    app.wait_for("Exit status")
    app.key("alt+Left")
    app.wait_for("Earlier runs")
    boot(app, "sh -c 'exit 7'")
    app.wait_for("The command ended with exit status 7", PATIENT)
    app.close()
    if running():
        raise Failed(f"guests are left: {running()}")


def a_guest_is_ended_when_that_is_wished():
    app = App("--flow", "lab")
    boot(app, "sleep 600")
    guest_works(app)
    app.key("ctrl+c")
    answer(app, "End the Guest")
    app.wait_for("Cancelled", PATIENT)
    if running():
        raise Failed(f"guests are left: {running()}")
    app.key("alt+Left")
    boot(app, "sleep 600")
    guest_works(app)
    # Closing asks first; and however the assistant ends, the guest ends with it.
    app.key("ctrl+q")
    app.wait_for("A guest of the lab is running")
    if not running():
        raise Failed("the guest ended before anybody said so")
    app.close()
    until("the end of the guest", lambda: not running())
    if running():
        raise Failed(f"guests are left: {running()}")


def tuning_is_picked_and_planned():
    app = App()
    app.find("push button", "Main menu")
    app.key("ctrl+t")
    app.wait_for("What can be tuned")
    named(app, "Tuning")
    # Nothing is picked that nothing speaks for.
    seen = json.loads(subprocess.run(["hostwright", "tuning", "list", "--json"], capture_output=True, text=True, check=True).stdout)
    wanted = sum(1 for t in seen if t["preselected"])
    app.wait_for(f"{wanted} picked" if wanted else "Nothing is picked")
    maps = next(t for t in seen if t["id"] == "max-map-count")
    if maps["standing"] != "can_be_set":
        raise Failed(f"the number of memory mappings cannot be set here: {maps}")
    app.tab_to("check box", maps["title"])
    if not maps["preselected"]:
        app.key("space")
    app.wait_for("picked")
    app.key("alt+Right")
    app.wait_for("What is done", PATIENT)
    named(app, "Review")
    app.wait_for("/etc/sysctl.d/90-hostwright-max-map-count.conf")
    # Back to what is picked, which stays.
    app.key("alt+Left")
    app.wait_for("What can be tuned")
    app.wait_for("picked")
    app.key("alt+Right")
    app.wait_for("What is done", PATIENT)
    app.close()


def saved():
    """The folder of the profiles."""
    return os.path.join(os.environ["HOME"], ".config/hostwright/profiles")


def a_profile_goes_to_a_file_and_comes_back():
    subprocess.run(["hostwright", "profile", "save", "desk", "--kernel", "all", "--mode", "optimized"], check=True)
    app = App()
    app.find("push button", "Main menu")
    app.key("ctrl+p")
    app.wait_for("desk")
    named(app, "Profiles")
    until("the menu of the profile", lambda: next((n for n in app.all(name="More: desk") if acts(n)), None)).get_action_iface().do_action(0)
    app.press("menu item", "Export")
    place = os.path.join(os.environ["HOME"], "out.hostwright-profile")
    type_path(app, "Export the Profile", place, saves=True)
    until("the file", lambda: os.path.exists(place))
    app.wait_for("Exported")
    before = json.load(open(place))
    app.close()
    subprocess.run(["hostwright", "profile", "remove", "desk"], check=True)
    bring(place)
    until("the profile", lambda: os.path.exists(os.path.join(saved(), "desk.json")))
    after = json.load(open(os.path.join(saved(), "desk.json")))
    if before != after:
        raise Failed(f"another profile came back: {before} {after}")
    # A broken one is told by the field that is wrong, and nothing is saved.
    broken = os.path.join(os.environ["HOME"], "broken.hostwright-profile")
    with open(broken, "w", encoding="utf-8") as to:
        json.dump({**before, "name": "broken", "flows": {"vmware": {"kernel": "all"}}}, to)
    bring(broken, says=["nknown field", "kernel"])
    if os.path.exists(os.path.join(saved(), "broken.json")):
        raise Failed("a broken profile was saved")
    # A file that is opened leads to the assistant with its choices.
    app = App("--profile", place)
    app.wait_for("Modules for VMware")
    app.wait_for("desk")
    app.close()


def bring(path, says=("Saved as",)):
    """Imports a file in a window of its own."""
    app = App()
    app.find("push button", "Main menu")
    app.key("ctrl+p")
    app.find("push button", "Import a profile")
    app.press("push button", "Import a profile\u2026")
    type_path(app, "Import a Profile", path)
    for words in says:
        app.wait_for(words)
    app.close()


def acts(node):
    """Whether a widget can be pressed: a button with a menu has a part that is, and a frame that is not."""
    action = node.get_action_iface()
    return action is not None and action.get_n_actions() > 0


def type_path(app, title, path, saves=False):
    """Answers the file dialog of this title with a path; one that opens files takes it in its field for places."""

    def dialog():
        windows = (app.root.get_child_at_index(i) for i in range(app.root.get_child_count()))
        return next((w for w in windows if w and w.get_name() == title and shown(w)), None)

    def field():
        return next((n for n in walk(dialog()) if n.get_editable_text_iface() is not None and shown(n)
                     and n.get_state_set().contains(Atspi.StateType.FOCUSED)), None)

    def asks():
        # Keys that come before the dialog has them are lost.
        if not saves and field() is None:
            app.key("ctrl+l")
        return field()

    def typed():
        app.key("ctrl+a")
        subprocess.run(["xdotool", "type", "--delay", "20", path], check=True)
        time.sleep(0.2)
        return text_of(field()) == path

    until(f"the dialog {title!r}", dialog)
    until("the field for the path", asks)
    until("the path in its field", typed)
    app.key("Return")
    until(f"the end of the dialog {title!r}", lambda: dialog() is None)


def settings_are_kept():
    app = App()
    app.find("push button", "Main menu")
    app.key("ctrl+comma")
    app.wait_for("Appearance")
    named(app, "Preferences")
    switch = app.find(["switch", "toggle button", "check box"], "Keep all runs")
    switch.get_action_iface().do_action(0)
    path = os.path.join(os.environ["HOME"], ".config/hostwright/assistant.json")
    until("the file of the settings", lambda: json.load(open(path))["keep_lab_runs"])
    app.key("Escape")
    app.close()


def shot(name):
    """A picture, where somebody asked for them."""
    if os.environ.get("SHOTS"):
        picture(f"{os.environ['SHOTS']}/{os.environ.get('LOOK', 'bench')}-{name}.png")


def pick(app, wanted):
    """Picks these workloads and no others."""
    for node in steady(lambda: list(app.all("check box")))():
        name = node.get_name() or ""
        on = node.get_state_set().contains(Atspi.StateType.CHECKED)
        if on != (name in wanted):
            app.tab_to("check box", name)
            app.key("space")


def measure(app, name, workloads=("Memory", "Scheduler"), rounds="5"):
    """Begins to measure."""
    app.wait_for("What a change brings")
    pick(app, workloads)
    write(app, "Rounds", rounds)
    write(app, "Time in milliseconds", "50")
    write(app, "Name of the results", name)
    app.key("alt+Right")


def a_benchmark_is_run_twice_and_compared():
    app = App()
    app.find("push button", "Main menu")
    app.key("ctrl+b")
    app.wait_for("What a change brings")
    named(app, "Benchmarks")
    shot("setup")
    folder = os.path.join(os.environ["HOME"], ".local/share/hostwright/bench")
    for name in ("before", "after"):
        measure(app, name)
        app.wait_for("Leave the machine alone meanwhile")
        until(f"the results {name}", lambda: os.path.exists(f"{folder}/{name}.json"), PATIENT)
        app.find("image", f"{name}: Memory")
        named(app, "results")
        kept = json.load(open(f"{folder}/{name}.json"))
        if {s["workload"] for s in kept["series"]} != {"memory", "scheduler"} or kept["rounds"] != 5:
            raise Failed(f"something else was measured: {kept}")
        first = kept["series"][0]["title"]
        app.find("list item", first)
        if name == "before":
            shot("results")
        app.key("alt+Left")
        app.wait_for("What a change brings")
    # A name that there is already is refused, with the reason.
    measure(app, "before")
    app.wait_for("There are results `before` already")
    # The latest is what one wants to know about, the one before it what it is compared with.
    app.press("push button", "Compare")
    app.wait_for("before \u2192 after")
    named(app, "a comparison")
    compared = json.loads(
        subprocess.run(["hostwright", "bench", "compare", "before", "after", "--json"], capture_output=True, text=True, check=True).stdout
    )
    words = {"better": "better", "worse": "worse", "no_difference": "no difference beyond the noise", "too_few": "too few"}
    for row in compared["compared"]:
        if words[row["verdict"]] not in app.find("list item", row["title"]).get_description() + app.texts():
            raise Failed(f"{row['title']} is not called {row['verdict']}")
    app.find("image", "after compared with before")
    shot("compared")
    app.key("alt+Left")
    # What is cancelled leaves nothing behind.
    measure(app, "never", rounds="150")
    app.wait_for("Round 1 of 150")
    shot("running")
    app.key("ctrl+c")
    app.wait_for("Nothing was kept, and nothing was changed.")
    if os.path.exists(f"{folder}/never.json"):
        raise Failed("results that are not whole were kept")
    # Closing asks first.
    measure(app, "never", rounds="150")
    app.wait_for("Round 1 of 150")
    app.key("ctrl+q")
    app.wait_for("Something is being measured")
    answer(app, "End It and Close")
    until("the end of the assistant", lambda: app.process.wait(0.01) == 0 and App.open.remove(app) is None)
    # Caches are with the home folder of the list of users, whatever HOME says.
    cache = os.path.join(pwd.getpwuid(os.geteuid()).pw_dir, ".cache/hostwright/lab")
    left = [name for name in os.listdir(cache) if name.startswith("bench-")]
    if left:
        raise Failed(f"folders are left: {left}")


def what_vgpu_comes_to_is_said_and_help_opens():
    app = App("--flow", "vgpu")
    app.wait_for("Not a Proxmox VE host")
    named(app, "vGPU")
    app.key("F1")
    app.wait_for("NVIDIA vGPU on Proxmox VE")
    app.key("Escape")
    app.close()


run([
    the_lab_boots_a_kernel_and_tells_its_exit_status,
    a_guest_is_ended_when_that_is_wished,
    tuning_is_picked_and_planned,
    a_profile_goes_to_a_file_and_comes_back,
    settings_are_kept,
    a_benchmark_is_run_twice_and_compared,
    what_vgpu_comes_to_is_said_and_help_opens,
])
