#!/usr/bin/env python3
"""Pages to be fetched, for specs: serves the files of a folder, with ETags, and misbehaves where a path says so.

    pages.py PORT FOLDER [CERTIFICATE KEY]

/slow answers after three seconds; /huge has three million bytes; /away/URL leads to URL; /guarded/NAME wants the bearer
token that stands in the file "token". The file "requests" gets a line for each request: path, status, If-None-Match,
Authorization.
"""
import hashlib
import http.server
import os
import ssl
import sys
import time

FOLDER = sys.argv[2]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        with open(os.path.join(FOLDER, "requests"), "a") as log:
            log.write("%s %d %s %s\n" % (self.path, status, self.headers.get("If-None-Match", "-"),
                                         self.headers.get("Authorization", "-")))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/slow":
            time.sleep(3)
        if path == "/huge":
            return self.answer(200, b"0123456789\n" * 300000)
        if path.startswith("/away/"):
            return self.answer(302, Location=path[len("/away/"):])
        if path.startswith("/guarded/"):
            with open(os.path.join(FOLDER, "token")) as f:
                if self.headers.get("Authorization") != "Bearer " + f.read():
                    return self.answer(401)
        try:
            with open(os.path.join(FOLDER, os.path.basename(path)), "rb") as f:
                body = f.read()
        except OSError:
            return self.answer(404)
        etag = '"%s"' % hashlib.sha256(body).hexdigest()[:16]
        if self.headers.get("If-None-Match") == etag:
            return self.answer(304, ETag=etag)
        return self.answer(200, body, ETag=etag)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
