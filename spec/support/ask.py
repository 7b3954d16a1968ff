#!/usr/bin/env python3
"""A client for specs that sends what no well-behaved client sends, on HTTP/1.1 and HTTP/2.

    ask.py SOCKET <REQUESTS >ANSWERS

SOCKET: a Unix socket's path, or ADDRESS:PORT ("[::1]:80"). REQUESTS: a JSON list of {"raw": text of HTTP/1.1} or
{"h2": [[name, value], …]}, or {"cli": a command of HAProxy's runtime socket}; "then": bytes that are sent once an answer's head is there ("101", 200 to CONNECT).
ANSWERS: a JSON list of {"status": number or 0 when there is none, "head": text, "body": text}.
"""
import json
import socket
import struct
import sys

SECONDS = 5
STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}  # RFC 7541, appendix A


def connect(where):
    if where.startswith("/"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(SECONDS)
        s.connect(where)
        return s
    host, _, port = where.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), SECONDS)


def receive(s):
    try:
        return s.recv(65536)
    except OSError:
        return b""


def ask_1(where, request):
    s = connect(where)
    s.sendall(request["raw"].encode("latin1"))
    text = b""
    while b"\r\n\r\n" not in text:
        more = receive(s)
        if not more:
            return {"status": 0, "head": text.decode("latin1"), "body": ""}
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    length = None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if "then" in request:
        try:
            s.sendall(request["then"].encode("latin1"))
            if length is None:
                while b"\n" not in body:
                    more = receive(s)
                    if not more:
                        break
                    body += more
        except OSError:
            pass
    while length is not None and len(body) < length:
        more = receive(s)
        if not more:
            break
        body += more
    s.close()
    return {"status": status, "head": head.decode("latin1"), "body": body.decode("latin1")}


def ask_cli(where, request):
    s = connect(where)
    s.sendall(request["cli"].encode() + b"\n")
    text = b"".join(iter(lambda: receive(s), b""))
    s.close()
    return {"status": 0, "head": "", "body": text.decode("latin1")}


def literal(text):
    data = text.encode("latin1")
    length = len(data)
    if length < 127:
        return bytes([length]) + data
    length -= 127
    out = bytearray([127])
    while length >= 128:
        out.append(length % 128 + 128)
        length //= 128
    out.append(length)
    return bytes(out) + data


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def status_of(block):
    """The first field of a response's block is its status; HAProxy compresses no text."""
    i = 0
    while i < len(block) and block[i] & 0xE0 == 0x20:  # a new size of the dynamic table
        i += 1
    first = block[i]
    if first & 0x80:
        return STATUS.get(first & 0x7F, 0)
    length = block[i + 1] & 0x7F
    return int(block[i + 2 : i + 2 + length])


def ask_2(where, request):
    s = connect(where)
    fields = b"".join(b"\x00" + literal(name) + literal(value) for name, value in request["h2"])
    end = 0 if "then" in request else 1
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4 | end, 1, fields))
    answer, data = {"status": 0, "head": "", "body": ""}, b""
    while True:
        more = receive(s)
        if not more:
            break
        data += more
        done = False
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            size = int.from_bytes(data[:3], "big")
            kind, flags, payload = data[3], data[4], data[9 : 9 + size]
            data = data[9 + size :]
            if kind == 4 and not flags & 1:
                s.sendall(frame(4, 1, 0, b""))
            elif kind == 1:
                answer["status"] = status_of(payload)
                if "then" in request:
                    s.sendall(frame(0, 0, 1, request["then"].encode("latin1")))
            elif kind == 0:
                answer["body"] += payload.decode("latin1")
                done = done or "then" in request and "\n" in answer["body"]
            elif kind in (3, 7):
                answer["head"] = "reset" if kind == 3 else "goaway"
                done = True
            done = done or kind in (0, 1) and flags & 1 == 1
        if done:
            break
    s.close()
    return answer


def main():
    answers = []
    for request in json.load(sys.stdin):
        ask = ask_2 if "h2" in request else ask_cli if "cli" in request else ask_1
        answers.append(ask(sys.argv[1], request))
    json.dump(answers, sys.stdout)


main()
