#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a machine as a Hostwright profile says."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: profile
short_description: Make a machine as a Hostwright profile says
description:
  - Calls C(hostwright apply --profile) on the machine. What is so already is left alone.
  - In check mode nothing is changed, and it is said what would be. With C(--diff) the differences of files are shown.
version_added: 0.1.0
options:
  profile:
    description: The profile, as C(hostwright profile export) writes it.
    type: dict
  path:
    description: A file with the profile, or the name of a saved one, on the machine itself.
    type: str
  executable:
    description: The command line of Hostwright.
    type: str
    default: hostwright
  root:
    description: Work on this directory tree of the machine instead of the machine itself.
    type: path
author:
  - The Hostwright project
"""

EXAMPLES = r"""
- name: Ready for virtual machines
  become: true
  hostwright.hostwright.profile:
    profile: "{{ lookup('file', 'fleet.json') | from_json }}"
  register: hostwright
"""

RETURN = r"""
report:
  description: What came of it, flow by flow; the schema is C(applied.json).
  returned: when Hostwright got so far
  type: dict
runs:
  description: Numbers of the runs that were carried out, for C(hostwright undo).
  returned: always
  type: list
  elements: int
needs_reboot:
  description: Whether the machine must be restarted for all of it to take effect.
  returned: always
  type: bool
"""

import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

# Exit status: done; with --check, something would change.
DONE = 0
WOULD_CHANGE = 10


def find(module, name):
    """The program's full path; also where a login shell alone would look."""
    if os.path.isabs(name):
        return name
    return module.get_bin_path(name, required=True, opt_dirs=["/usr/local/bin", "/usr/bin"])


def last_problem(stderr):
    """The problem that Hostwright wrote on standard error, as one sentence."""
    for line in reversed(stderr.splitlines()):
        try:
            error = json.loads(line)["error"]
        except (ValueError, KeyError, TypeError):
            continue
        return sentence(error), error
    return None, None


def sentence(error):
    """Title, reason and remedy of a problem."""
    parts = [error.get("title"), error.get("reason"), error.get("remedy")]
    return " ".join(part.rstrip(".") + "." for part in parts if part)


def differences(report):
    """How files change, as Ansible shows it with --diff."""
    texts = []
    for flow in report.get("flows", []):
        for change in flow.get("files", []):
            text = change.get("diff", "")
            header = "" if "+++ " in text else "{0}: ".format(change.get("path"))
            texts.append(header + text.rstrip("\n") + "\n")
    return [{"prepared": "".join(texts)}] if texts else []


def main():
    """Calls Hostwright and says what came of it."""
    module = AnsibleModule(
        argument_spec={
            "profile": {"type": "dict"},
            "path": {"type": "str"},
            "executable": {"type": "str", "default": "hostwright"},
            "root": {"type": "path"},
        },
        required_one_of=[("profile", "path")],
        mutually_exclusive=[("profile", "path")],
        supports_check_mode=True,
    )
    result = {"changed": False, "runs": [], "needs_reboot": False}

    where = module.params["path"]
    if module.params["profile"] is not None:
        # In the folder that Ansible made for this call and removes after it.
        handle, where = tempfile.mkstemp(suffix=".json", dir=module.tmpdir)
        with os.fdopen(handle, "w") as file:
            json.dump(module.params["profile"], file)

    command = [find(module, module.params["executable"])]
    if module.params["root"]:
        command += ["--root", module.params["root"]]
    command += ["apply", "--profile", where, "--json", "--check" if module.check_mode else "--yes"]
    status, out, err = module.run_command(command, handle_exceptions=True)

    try:
        report = json.loads(out)
    except ValueError:
        text, error = last_problem(err)
        if text is None:
            text = "Hostwright ended with status {0} and no report.".format(status)
        module.fail_json(msg=text, error=error, rc=status, stderr=err, **result)

    result["report"] = report
    result["changed"] = any(flow.get("result") == "changed" for flow in report["flows"])
    result["runs"] = [flow["run"] for flow in report["flows"] if flow.get("run") is not None]
    result["needs_reboot"] = bool(report.get("needs_reboot"))
    if module._diff:  # pylint: disable=protected-access
        result["diff"] = differences(report)
    for flow in report["flows"]:
        for warning in flow.get("warnings", []):
            module.warn("{0}: {1}".format(flow["flow"], warning["message"]))
    if report["result"] == "failed" or status not in (DONE, WOULD_CHANGE):
        failed = [flow for flow in report["flows"] if flow["result"] == "failed"]
        texts = [
            "{0}: {1}".format(flow["flow"], sentence(flow["error"]) if flow.get("error") else flow["message"])
            for flow in failed
        ]
        module.fail_json(msg=" ".join(texts) or "it ended with status {0}".format(status), rc=status, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
