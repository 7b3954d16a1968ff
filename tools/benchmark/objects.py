"""The objects of a benchmark: per host one Ingress, one Service and one EndpointSlice of three pods."""

import itertools
import json

PODS = 3
ADDRESSES = 2 * 65536
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def address(number):
    """Of 198.18.0.0/15: every address there answers."""
    number %= ADDRESSES
    return f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}"


class Route:
    """What the API server has, or is to have, for one host."""

    numbers = itertools.count(1)

    def __init__(self, name, host, port):
        self.name, self.host, self.port = name, host, port
        self.pods = [next(self.numbers) for _ in range(PODS)]

    def replace_pod(self, index):
        """A pod goes, another comes. Returns the address of the new one."""
        self.pods[index] = next(self.numbers)
        return address(self.pods[index])

    def ingress(self):
        backend = {"service": {"name": self.name, "port": {"number": 80}}}
        return json.dumps({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": self.name},
            "spec": {"ingressClassName": "haptic", "rules": [
                {"host": self.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
        }, separators=(",", ":"))

    def service(self):
        # Without an address of its own: allocating one is the API server's work, and measures nothing of ours.
        return json.dumps({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name},
            "spec": {"clusterIP": "None", "selector": {"app": self.name},
                     "ports": [{"name": "http", "port": 80, "targetPort": self.port}]},
        }, separators=(",", ":"))

    def slice(self):
        def endpoint(number):
            return {
                "addresses": [address(number)], "nodeName": f"node-{number % 50}",
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": f"{self.name}-{number}"},
            }
        return json.dumps({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": self.name + "-slice", "labels": {"kubernetes.io/service-name": self.name}},
            "ports": [{"name": "http", "port": self.port, "protocol": "TCP"}],
            "endpoints": [endpoint(number) for number in self.pods],
        }, separators=(",", ":"))

    def creation(self):
        """(method, path, body) of the three objects, in the order in which an installer would write them."""
        return [("POST", SERVICES, self.service()), ("POST", SLICES, self.slice()), ("POST", INGRESSES, self.ingress())]

    def update(self):
        return ("PUT", f"{SLICES}/{self.name}-slice", self.slice())

    def deletion(self):
        return [("DELETE", f"{INGRESSES}/{self.name}", "-"), ("DELETE", f"{SERVICES}/{self.name}", "-"),
                ("DELETE", f"{SLICES}/{self.name}-slice", "-")]


INGRESS_CLASS = ("POST", "/apis/networking.k8s.io/v1/ingressclasses", json.dumps({
    "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "haptic"},
    "spec": {"controller": "haproxy-haptic.org/controller"}}, separators=(",", ":")))
