#!/usr/bin/env python3
"""Connections that a browser would not make, and pods that answer them, for specs.

    probe.py pod PORT                     a pod; prints "ready", and "ended PATH" when a tunnel's connection ends
    probe.py ask HTTP_PORT HTTPS_PORT PROBE...
                                          runs probes at the same time; prints "PROBE: OUTCOME" for each

A probe is SCHEME:NAME. Its outcome begins with "open" when HAProxy has not ended the connection within 8 seconds.
Paths of the pod: /count tells how many requests came by its connection, /drip takes 1.5 s between two bytes, /slow
takes 1.5 s, /tunnel accepts an upgrade and says nothing more, /deaf does not even hear its end, /half accepts one, ends
its own direction, and prints whether the other one ended within three seconds ("early").
"""
import socket
import ssl
import sys
import threading
import time

PATIENCE = 8
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def serve(connection):
    reader, count = connection.makefile("rb"), 0
    while True:
        line = reader.readline(65536)
        if not line.strip():
            return connection.close()
        size = 0
        for header in iter(lambda: reader.readline(65536), b"\r\n"):
            if not header:
                return connection.close()
            if header.lower().startswith(b"content-length:"):
                size = int(header.split(b":")[1])
        reader.read(size)
        path = line.split()[1].decode()
        count += 1
        if path == "/tunnel":
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                               b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            try:
                reader.read()
            except OSError:
                pass
            print("ended", path, flush=True)
            return connection.close()
        if path in ("/deaf", "/half"):
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                               b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            if path == "/deaf":
                time.sleep(20)
                return connection.close()
            connection.shutdown(socket.SHUT_WR)
            begun = time.monotonic()
            try:
                reader.read()
            except OSError:
                pass
            print("ended", path, "early" if time.monotonic() - begun < 3 else "late", flush=True)
            return connection.close()
        if path == "/drip":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
            time.sleep(1.5)
            connection.sendall(b"b")
            continue
        if path == "/slow":
            time.sleep(1.5)
        text = str(count).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)


def pod(port):
    server = socket.create_server(("0.0.0.0", port), backlog=64)
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=run_quietly, args=(serve, connection), daemon=True).start()


def run_quietly(fn, *arguments):
    try:
        fn(*arguments)
    except (OSError, ValueError, IndexError):
        pass


def receive(connection):
    """One read: bytes, b"" at the end or after a reset, None when there is nothing for so long."""
    try:
        return connection.recv(65536)
    except (TimeoutError, socket.timeout):
        return None
    except OSError:
        return b""


def answer(connection):
    """The status and the body of an answer with a length."""
    text = b""
    while b"\r\n\r\n" not in text:
        more = receive(connection)
        if not more:
            return "none", ""
        text += more
    head, body = text.split(b"\r\n\r\n", 1)
    size = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    while len(body) < size:
        more = receive(connection)
        if not more:
            break
        body += more
    return head.split()[1].decode(), body.decode()


def until_end(connection):
    """ "ended" and the status that was told, or "open"."""
    text = b""
    while True:
        more = receive(connection)
        if more is None:
            return "open"
        if not more:
            return " ".join(["ended"] + [word.decode() for word in text.split(b" ")[1:2]])
        text += more


def request(path, more=b"", host="web"):
    return b"GET %s HTTP/1.1\r\nHost: %s.example\r\n%s\r\n" % (path.encode(), host.encode(), more)


def partial(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: web")
    return until_end(connection)


def idle(connection):
    connection.sendall(request("/count"))
    return answer(connection)[0] + " " + until_end(connection)


def body(connection):
    connection.sendall(b"POST /count HTTP/1.1\r\nHost: web.example\r\nContent-Length: 10\r\n\r\nx")
    return until_end(connection).split()[0]  # the status is 400 or 408, by the version of HAProxy


def tunnel(connection):
    connection.sendall(request("/tunnel", UPGRADE))
    return answer(connection)[0] + " " + until_end(connection)


def half(connection):
    """The pod has ended its direction; this end stays open."""
    connection.sendall(request("/half", UPGRADE))
    status = answer(connection)[0]
    until_end(connection)
    time.sleep(5)
    return status


def deaf(connection):
    """This end has ended its direction; the pod stays open."""
    connection.sendall(request("/deaf", UPGRADE))
    status = answer(connection)[0]
    connection.shutdown(socket.SHUT_WR)
    more = b"x"
    while more:
        more = receive(connection)
    return status + (" open" if more is None else " ended")


def dead(connection):
    connection.sendall(request("/", host="dead"))
    return answer(connection)[0]


def queue(connection):
    connection.sendall(request("/slow", host="busy"))
    other = socket.create_connection(connection.getpeername()[:2], PATIENCE)
    time.sleep(0.2)
    other.sendall(request("/count", host="busy"))
    return answer(other)[0] + " " + answer(connection)[0]


def two(connection):
    """Does the second request come by a connection of the pod's that had one before, by a new one, or not at all?"""
    connection.sendall(request("/count"))
    if not answer(connection)[1]:
        return "none"
    try:
        connection.sendall(request("/count"))
    except OSError:
        return "closed"
    return {"": "closed", "1": "new"}.get(answer(connection)[1], "again")


def drip(connection):
    connection.sendall(request("/drip"))
    return answer(connection)[0]


def nothing(connection):
    connection.close()
    return "done"


def connect(scheme, port):
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    if scheme == "http":
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname="web.example")


def run(probe, ports, outcomes):
    """HAProxy ends a connection on which nothing is asked in time, and a busy machine may be late: it is asked again."""
    scheme, name = probe.split(":")
    for _ in range(5):
        try:
            outcomes[probe] = globals()[name](connect(scheme, ports[scheme]))
            return
        except OSError as error:
            outcomes[probe] = f"failed: {error}"


def ask(http_port, https_port, probes):
    ports, outcomes = {"http": http_port, "https": https_port}, {}
    threads = [threading.Thread(target=run, args=(probe, ports, outcomes)) for probe in probes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for probe in probes:
        print(f"{probe}: {outcomes.get(probe, 'no outcome')}")


if sys.argv[1] == "pod":
    pod(int(sys.argv[2]))
else:
    ask(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
