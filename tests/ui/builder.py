# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes copies of the assistant's .ui files that gtk4-builder-tool can look at: it knows GTK's and libadwaita's
classes, and none of ours.

    builder.py FOLDER     writes the copies there, and prints their names

A class of ours stands for the one it is made from; properties that only ours has are left out.
"""

import pathlib
import sys
import xml.etree.ElementTree as ET

ui = sorted(pathlib.Path("resources").rglob("*.ui"))
out = pathlib.Path(sys.argv[1])
trees = {path: ET.parse(path) for path in ui}
templates = [t for tree in trees.values() for t in tree.iter("template")]
parents = {t.get("class"): t.get("parent") for t in templates}
# Layouts and such, which have no template.
parents.setdefault("HwSideBySide", "GtkBoxLayout")
parents.setdefault("HwLabLists", "GtkBox")
OWN = {"HwPageHead": {"title", "text"}}

for path, tree in trees.items():
    root = tree.getroot()
    for node in root.iter():
        if node.tag == "template":
            # The tool looks a template's parent up among classes that are in use already, an object's by its name.
            node.tag = "object"
            node.set("id", node.attrib["class"])
            node.set("class", node.attrib.pop("parent"))
        name = node.get("class", "")
        if node.tag == "object" and name.startswith("Hw"):
            if name not in parents:
                sys.exit(f"{path}: {name} has no template, and builder.py does not know what it is made from")
            node.set("class", parents[name])
            for child in list(node):
                if child.tag == "property" and child.get("name") in OWN.get(name, ()):
                    node.remove(child)
        for child in list(node):
            # What is bound to a property of ours has nothing to be bound to.
            bound = child.tag == "property" and child.get("bind-source", "") in OWN
            if bound and child.get("bind-property") in OWN[child.get("bind-source")]:
                node.remove(child)
    # Only classes of CSS are named the same way.
    copy = out / "-".join(path.parts[1:])
    tree.write(copy, encoding="unicode", xml_declaration=True)
    print(copy)
