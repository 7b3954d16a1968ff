#!/usr/bin/env python3
"""many_ingresses SERVER FOLDER create FIRST LAST | change COUNT RATE SHIFT | delete COUNT

Ingresses many-00001 … of the class haptic in the namespace default, each with a host, a headless Service and an EndpointSlice of three addresses. change: EndpointSlices get
other addresses, RATE a second for 20 s; another SHIFT than before, or nothing changes; prints the number of seconds it took. FOLDER has ca.crt, admin.crt and admin.key. Requests are sent ahead of their answers."""

import asyncio
import json
import ssl
import sys
import time
import urllib.parse

CONNECTIONS = 4
AHEAD = 16
SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"


def endpoints(number, shift):
    return [{"addresses": [f"198.18.{number // 250 % 250}.{(number * 3 + i + shift) % 250 + 1}"], "conditions": {"ready": True}} for i in range(3)]


def created(number):
    name = f"many-{number:05}"
    meta = {"name": name, "labels": {"many": "yes"}}
    yield "POST", SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": meta,
                             "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}
    yield "POST", SLICES, {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                           "metadata": {"name": name, "labels": {"many": "yes", "kubernetes.io/service-name": name}},
                           "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints(number, 0)}
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    yield "POST", INGRESSES, {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta,
                              "spec": {"ingressClassName": "haptic", "rules": [{"host": f"{name}.example", "http": {
                                  "paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}}


async def status_of(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if "transfer-encoding: chunked" in head:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
    return int(head.split(" ", 2)[1])


async def talk(server, tls, requests, pause):
    """Sends them on one connection, PAUSE seconds apart."""
    if not requests:
        return
    reader, writer = await asyncio.open_connection(server.hostname, server.port, ssl=tls)
    room, begun = asyncio.Semaphore(AHEAD), time.monotonic()

    async def send():
        for number, (method, path, body) in enumerate(requests):
            await asyncio.sleep(max(0, begun + number * pause - time.monotonic()))
            await room.acquire()
            text = json.dumps(body).encode()
            kind = b"application/merge-patch+json" if method == "PATCH" else b"application/json"
            writer.write(b"%b %b HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
                method.encode(), path.encode(), kind, len(text), text))

    sending = asyncio.ensure_future(send())
    for method, path, body in requests:
        status = await status_of(reader)
        if status >= 300 and (method, status) != ("DELETE", 404):
            sys.exit(f"{method} {path} {body}: {status}")
        room.release()
    await sending
    writer.close()


async def main():
    url, folder, command, *numbers = sys.argv[1:]
    numbers = [int(number) for number in numbers]
    tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    tls.load_cert_chain(f"{folder}/admin.crt", f"{folder}/admin.key")
    pause = 0
    if command == "create":
        requests = [request for number in range(numbers[0], numbers[1] + 1) for request in created(number)]
    elif command == "change":
        pause = CONNECTIONS / numbers[1]
        requests = [("PATCH", f"{SLICES}/many-{1 + number % numbers[0]:05}", {"endpoints": endpoints(1 + number % numbers[0], numbers[2] + number // numbers[0])})
                    for number in range(numbers[1] * 20)]
    else:
        # What is gone already is no matter.
        requests = [("DELETE", f"{path}/many-{number:05}", {}) for number in range(1, numbers[0] + 1) for path in (INGRESSES, SLICES, SERVICES)]
    begun = time.monotonic()
    await asyncio.gather(*(talk(urllib.parse.urlsplit(url), tls, requests[first::CONNECTIONS], pause) for first in range(CONNECTIONS)))
    print(round(time.monotonic() - begun, 2))


asyncio.run(main())
