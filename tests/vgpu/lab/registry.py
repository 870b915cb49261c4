#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image registry with one image, for tests.

    registry.py make FOLDER ROOT NAME    make the image from a root file system whose /serve is what it runs; prints NAME@DIGEST
    registry.py serve FOLDER             serve it on 127.0.0.1:5000

The parts of the OCI image and distribution specifications that a `docker pull` by digest needs.
"""

import gzip
import hashlib
import http.server
import json
import pathlib
import subprocess
import sys

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def make(folder, root, name):
    blobs = pathlib.Path(folder) / "blobs"
    blobs.mkdir(parents=True)

    def put(data):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    tar = subprocess.run(
        ["tar", "--create", "--directory", root, "--numeric-owner", "--exclude=./dev/*", "."], check=True, stdout=subprocess.PIPE
    ).stdout
    layer = put(gzip.compress(tar, 1))
    config = put(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/serve"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
            }
        ).encode()
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **layer}],
    }
    print(f"{name}@{put(json.dumps(manifest).encode())['digest']}")


class Registry(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def translate_path(self, path):
        # /v2/NAME/manifests/sha256:HEX and /v2/NAME/blobs/sha256:HEX
        return f"{sys.argv[2]}/blobs/{path.rpartition(':')[2].replace('/', '_')}"

    def guess_type(self, path):
        return MANIFEST if "/manifests/" in self.path else "application/octet-stream"

    def end_headers(self):
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if "sha256:" in self.path:
            self.send_header("Docker-Content-Digest", f"sha256:{self.path.rpartition(':')[2]}")
        super().end_headers()

    def do_GET(self):
        if self.path == "/v2/":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()


if sys.argv[1] == "make":
    make(*sys.argv[2:])
else:
    http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Registry).serve_forever()
