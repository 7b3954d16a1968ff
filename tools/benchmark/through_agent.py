"""haptic as in a fleet of one: a controller, and an agent that is the parent of HAProxy."""

import os
import shutil
import subprocess
import time

from processes import Failure, Ours, command_line, descendants, read, read_metrics

AGENT_PORT, AGENT_STATUS_PORT = 7005, 7006
AGENT_NAME = "haptic-agent"


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_key(path):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


class Identity:
    """An authority, and a certificate for either side."""

    def __init__(self, directory):
        os.mkdir(directory, 0o700)
        self.directory = directory
        make_key(self.key("authority"))
        openssl("req", "-x509", "-new", "-key", self.key("authority"), "-days", "2", "-subj", "/CN=bench", "-out",
                self.certificate("authority"))
        self.issue("agent", f"subjectAltName=DNS:{AGENT_NAME}\nextendedKeyUsage=serverAuth\n")
        self.issue("controller", "extendedKeyUsage=clientAuth\n")

    def key(self, name):
        return os.path.join(self.directory, name + ".key")

    def certificate(self, name):
        return os.path.join(self.directory, name + ".crt")

    def issue(self, name, extensions):
        request, file = (os.path.join(self.directory, name + suffix) for suffix in (".csr", ".ext"))
        with open(file, "w", encoding="utf-8") as out:
            out.write(extensions)
        make_key(self.key(name))
        openssl("req", "-new", "-key", self.key(name), "-subj", f"/CN={name}", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate("authority"), "-CAkey", self.key("authority"),
                "-set_serial", str(time.monotonic_ns()), "-days", "2", "-extfile", file, "-out",
                self.certificate(name))


class ThroughAgent(Ours):
    """Both are started and stopped together; HAProxy's directory is the agent's."""

    def __init__(self, setup):
        super().__init__(setup)
        self.identity = Identity(os.path.join(setup.work, "identity"))
        self.agent = None

    def start_agent(self):
        identity = self.identity
        os.makedirs(self.directory, 0o700)
        self.agent = self.spawn(
            [self.setup.binary, "agent", "--directory", self.directory, "--haproxy-binary", self.setup.haproxy,
             "--listen", f"127.0.0.1:{AGENT_PORT}", "--status-listen", f"127.0.0.1:{AGENT_STATUS_PORT}",
             "--tls-cert", identity.certificate("agent"), "--tls-key", identity.key("agent"), "--client-ca",
             identity.certificate("authority"), "--minimal-bind", "127.0.0.1:7007"], "agent.log")
        deadline = time.monotonic() + 30
        while subprocess.run(["curl", "-sf", "-m", "1", f"http://127.0.0.1:{AGENT_STATUS_PORT}/startz"], check=False,
                             stdout=subprocess.DEVNULL).returncode != 0:
            if self.agent.poll() is not None or time.monotonic() > deadline:
                raise Failure("the agent does not start:\n" + read(os.path.join(self.setup.work, "agent.log"))[-2000:])
            time.sleep(0.01)

    def arguments(self):
        identity = self.identity
        return ["--haproxy-dir", self.directory + "-controller", "--haproxy", "fleet", "--members",
                f"https://127.0.0.1:{AGENT_PORT}", "--agent-name", AGENT_NAME, "--fleet-ca",
                identity.certificate("authority"), "--fleet-cert", identity.certificate("controller"), "--fleet-key",
                identity.key("controller")]

    def make_room(self):
        """The agent is there first, with a HAProxy that is not configured: as when a controller is installed."""
        super().make_room()
        shutil.rmtree(self.directory + "-controller", ignore_errors=True)
        self.start_agent()

    def stop(self):
        super().stop()
        self.end(self.agent)
        self.agent = None

    def check_alive(self):
        super().check_alive()
        if self.agent.poll() is not None:
            raise Failure(f"the agent has ended with {self.agent.returncode}")

    def parts(self):
        parts = super().parts()
        parts["agent"] = [self.agent.pid]
        parts["haproxy"] = [pid for pid in descendants(self.agent.pid) if "-c" not in command_line(pid)]
        return parts

    def pausable(self):
        return super().pausable() + ([self.agent.pid] if self.agent is not None else [])

    def metrics(self):
        """The agent's, too: those of HAProxy as they are, all with "agent:" before them."""
        own = super().metrics()
        for series, value in read_metrics(AGENT_STATUS_PORT).items():
            own["agent:" + series] = value
            if series.startswith("haptic_reloads_total"):
                own[series] = value
        return own
