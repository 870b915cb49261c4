#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for FastAPI-DLS in tests: the same files, variables, port and two of its addresses; it gives out no licences."""

import base64
import http.server
import json
import os
import pathlib
import signal
import ssl
import sys
import time

CERTS = pathlib.Path("/app/cert")


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/-/health":
            body = b'{"status":"up"}'
        elif self.path == "/-/client-token":
            node = {"idx": 0, "url": os.environ["DLS_URL"], "svc_port_map": [{"port_map": [int(os.environ["DLS_PORT"])]}]}
            says = {"exp": int(time.time()) + 86400, "service_instance_configuration": {"node_url_list": [node]}}
            body = f"{part({'alg': 'RS256'})}.{part(says)}.c2ln".encode()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        if self.path.endswith("token"):
            name = time.strftime("client_configuration_token_%d-%m-%Y-%H-%M-%S.tok")
            self.send_header("Content-Disposition", f"attachment; filename={name}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# The first process of a container is ended by no signal that it does not take.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
# What the real one does with them: reads its keys, and keeps a database and more keys beside them.
for key in ("instance.private.pem", "instance.public.pem"):
    (CERTS / key).read_text()
for kept in ("/app/database/db.sqlite", CERTS / "more.pem"):
    pathlib.Path(kept).write_text("kept\n")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTS / "webserver.crt", CERTS / "webserver.key")
server = http.server.ThreadingHTTPServer(("0.0.0.0", 443), Server)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
