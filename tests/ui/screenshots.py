# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of every page, into the folder in SHOTS, with the prefix that is the first argument. The second argument
says how far: "pages" leaves out what takes a build."""

import os
import sys

from desk import App, picture
from tour import tour

prefix, far = sys.argv[1], (sys.argv + ["all"])[2]
app = App()
for n, name in enumerate(tour(app, far), 1):
    picture(f"{os.environ['SHOTS']}/{prefix}-{n:02}-{name}.png")
app.close()
