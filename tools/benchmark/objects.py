"""The objects of a benchmark: per host one Ingress, one Service and one EndpointSlice of three pods."""

import base64
import itertools
import json
import os
import subprocess

PODS = 3
ADDRESSES = 2 * 65536
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
SERVICES = "/api/v1/namespaces/default/services"
SECRETS = "/api/v1/namespaces/default/secrets"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def address(number):
    """Of 198.18.0.0/15: every address there answers."""
    number %= ADDRESSES
    return f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}"


class Route:
    """What the API server has, or is to have, for one host."""

    numbers = itertools.count(1)

    def __init__(self, name, host, port, secret=None):
        """secret: the Ingress has TLS, with this one's certificate, and three annotations."""
        self.name, self.host, self.port, self.secret = name, host, port, secret
        self.pods = [next(self.numbers) for _ in range(PODS)]

    def replace_pod(self, index):
        """A pod goes, another comes. Returns the address of the new one."""
        self.pods[index] = next(self.numbers)
        return address(self.pods[index])

    def ingress(self):
        backend = {"service": {"name": self.name, "port": {"number": 80}}}
        metadata, spec = {"name": self.name}, {"ingressClassName": "haptic", "rules": [
            {"host": self.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}
        if self.secret:
            metadata["annotations"] = {
                "haproxy.org/ssl-redirect-code": "301", "haproxy.org/allow-list": "127.0.0.0/8, 10.0.0.0/8",
                "haproxy.org/request-set-header": f"X-Route {self.name}"}
            spec["tls"] = [{"hosts": [self.host], "secretName": self.secret}]
        return json.dumps({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata,
                           "spec": spec}, separators=(",", ":"))

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


HOSTS_OF_SECRET = 10


def secret_of(number):
    """Ten routes have one certificate."""
    return f"cert-{number // HOSTS_OF_SECRET:05d}"


class Certificates:
    """Self-signed ones for the hosts of the benchmark, all with one key."""

    def __init__(self, directory):
        self.key, self.file = (os.path.join(directory, "tls" + end) for end in (".key", ".crt"))
        self.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.key)

    @staticmethod
    def run(*words):
        subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def encoded(path):
        with open(path, "rb") as file:
            return base64.b64encode(file.read()).decode()

    def secret(self, number):
        """The request for the Secret that secret_of() names for this route."""
        first = number // HOSTS_OF_SECRET * HOSTS_OF_SECRET
        names = [f"h{i}.bench" for i in range(first, first + HOSTS_OF_SECRET)] + ["*.bench"]
        self.run("req", "-x509", "-new", "-key", self.key, "-days", "30", "-subj", f"/CN=h{first}.bench", "-addext",
                 "subjectAltName=" + ",".join("DNS:" + name for name in names), "-out", self.file)
        return ("POST", SECRETS, json.dumps({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": secret_of(number)},
            "data": {"tls.crt": self.encoded(self.file), "tls.key": self.encoded(self.key)},
        }, separators=(",", ":")))


INGRESS_CLASS = ("POST", "/apis/networking.k8s.io/v1/ingressclasses", json.dumps({
    "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "haptic"},
    "spec": {"controller": "haproxy-haptic.org/controller"}}, separators=(",", ":")))
