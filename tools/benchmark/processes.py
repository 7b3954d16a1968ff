"""The processes of a benchmark: what helps to measure, and what is measured."""

import os
import re
import shutil
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
BACKEND_PORT = 8080
HTTPS = 8   # behind the port of HTTP
# Of a route with TLS, only this path is answered by the pods over HTTP: it is not redirected.
TLS_PATH = "/.well-known/acme-challenge/bench"
WATCH_SECRETS = ("watchedResources: {secrets: {apiVersion: v1, resources: secrets, indexBy: [metadata.namespace, "
                 "metadata.name], fieldSelector: type=kubernetes.io/tls}}\n")


class Failure(Exception):
    """The benchmark cannot go on."""


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Talker:
    """A helper that takes lines and answers with lines."""

    def __init__(self, name, argv):
        self.name = name
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.name} has ended with {self.process.wait()}")
        return line.split()

    def end(self):
        self.process.terminate()
        self.process.communicate()


# ---- what /proc tells of a process ----


def children(pid):
    try:
        return [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]
    except OSError:
        return []


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def command_line(pid):
    try:
        return read(f"/proc/{pid}/cmdline").split("\0")
    except OSError:
        return []


def cpu_seconds(pid, waited_for=False):
    """User and system time of a process, or of the children that it has waited for."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return 0.0
    first = 13 if waited_for else 11
    return (int(fields[first]) + int(fields[first + 1])) / TICKS


def memory(pid):
    """Resident, proportional and peak memory in MB."""
    numbers = {}
    for path in (f"/proc/{pid}/smaps_rollup", f"/proc/{pid}/status"):
        for name, kilobytes in re.findall(r"^(Rss|Pss|VmHWM):\s+(\d+) kB", read(path), re.MULTILINE):
            numbers[name] = int(kilobytes) / 1024
    return {"rss": numbers["Rss"], "pss": numbers["Pss"], "peak": numbers["VmHWM"]}


def read_metrics(port):
    """{series: value}."""
    text = subprocess.run(["curl", "-sf", "-m", "10", f"http://127.0.0.1:{port}/metrics"], check=True,
                          capture_output=True, text=True).stdout
    return {name: float(value) for name, value in re.findall(r"^([^#\s]\S*(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


# ---- the two that are compared ----


class Subject:
    """A program that brings objects into a HAProxy of its own."""

    def __init__(self, setup, name, port):
        self.setup, self.name, self.port = setup, name, port
        self.directory = os.path.join(setup.work, name)
        self.prober = Talker("prober", [setup.program("prober"), str(port)] + setup.path())
        self.process = None

    def spawn(self, argv, output, **options):
        with open(os.path.join(self.setup.work, output), "ab") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} has ended with {self.process.returncode}; its last words:\n{self.last_words()}")

    def last_words(self):
        return "\n".join(read(os.path.join(self.setup.work, self.name + ".log")).splitlines()[-15:])

    def pause(self):
        for pid in self.pausable():
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        self.check_alive()
        for pid in self.pausable():
            os.kill(pid, signal.SIGCONT)

    def first(self, host, wanted="*", timeout_ms=10000):
        """Begins to ask; the answer is for found()."""
        self.prober.say(f"first {host} {wanted} {timeout_ms}")
        if self.prober.hear() != ["started"]:
            raise Failure("the prober did not start")

    def found(self):
        """CLOCK_MONOTONIC in ns, or None when time ran out."""
        answer = self.prober.hear()
        return int(answer[1]) if answer[0] == "found" else None

    def redirected(self, host, timeout_ms=10000):
        """When the host leads to HTTPS; CLOCK_MONOTONIC in ns, or None when time ran out."""
        self.prober.say(f"redirected {host} {timeout_ms}")
        return self.found()

    def all_answer(self, hosts, timeout_ms):
        self.prober.say(f"all {hosts} {timeout_ms}")
        answer = self.prober.hear()
        if answer[0] != "found":
            raise Failure(f"{self.name}: not all of {hosts} hosts answer, but with {answer[1]};\n{self.last_words()}")
        return int(answer[1])

    def close(self):
        self.stop()
        self.prober.end()


class Ours(Subject):
    METRICS_PORT = 7003

    def __init__(self, setup):
        super().__init__(setup, "haptic", 7001)
        self.config = os.path.join(setup.work, "config.yaml")
        with open(self.config, "w", encoding="utf-8") as file:
            # A paused leader would lose its Lease; logs of requests would measure the disk.
            file.write("controller: {leader_election: {enabled: false}}\n"
                       "templatingSettings: {extraContext: {access_log: false}}\n" +
                       (WATCH_SECRETS if setup.options.tls else ""))

    def start(self):
        """Returns when it was begun (CLOCK_MONOTONIC, ns)."""
        self.make_room()
        begun = time.monotonic_ns()
        self.process = self.spawn(
            [self.setup.binary, "run", "--config", self.config, "--kubeconfig", f"{self.setup.cluster}/kubeconfig",
             "--haproxy-binary", self.setup.haproxy, "--namespace", "default", "--metrics-address", "127.0.0.1",
             "--metrics-port", str(self.METRICS_PORT), "--set", f"http_port={self.port}", "--set", f"https_port={self.port + HTTPS}", "--set",
             f"status_port={self.port + 1}"] + self.arguments(), "haptic.log")
        return begun

    def arguments(self):
        return ["--haproxy-dir", self.directory]

    def make_room(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def wait_live(self, begun, hosts, timeout_ms):
        return (self.all_answer(hosts, timeout_ms) - begun) / 1e9

    def stop(self):
        if self.process is None:
            return
        for pid in self.pausable():
            os.kill(pid, signal.SIGCONT)
        self.end(self.process)
        self.process = None

    @staticmethod
    def end(process):
        if process is None:
            return
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def parts(self):
        """Process ids by what they are."""
        parts = {"core": [self.process.pid], "renderer": [], "haproxy": []}
        for pid in descendants(self.process.pid):
            argv = command_line(pid)
            if "renderer" in argv:
                parts["renderer"].append(pid)
            elif "-W" in argv or "-sf" in argv or "-x" in argv:
                parts["haproxy"].append(pid)
        return parts

    def pausable(self):
        parts = self.parts()
        return parts["core"] + parts["renderer"]

    def cpu(self):
        seconds = {name: sum(map(cpu_seconds, pids)) for name, pids in self.parts().items()}
        seconds["checks"] = cpu_seconds(self.process.pid, waited_for=True)
        return seconds

    def memory(self):
        return {name: memory(pids[0]) for name, pids in self.parts().items() if name != "haproxy" and pids}

    def metrics(self):
        return read_metrics(self.METRICS_PORT)

    def version(self):
        return next((re.findall(r'version="([^"]*)"', series)[0] for series in self.metrics()
                     if series.startswith("haptic_build_info{")), "?")


class Floor(Subject):
    """bench_floor beside a HAProxy that has what ours had rendered when it started."""

    def __init__(self, setup, ours):
        super().__init__(setup, "floor", 7011)
        self.ours, self.master = ours, None
        self.socket = os.path.join(self.directory, "runtime.sock")

    def prepare(self):
        """Copies the configuration and the maps. Hidden files are the controller's records, which it replaces while it runs."""
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.ours.directory, self.directory, ignore=shutil.ignore_patterns("*.sock*", "*.log", ".*"))
        path = os.path.join(self.directory, "haproxy.cfg")
        text = read(path).replace(self.ours.directory, self.directory)
        for offset in (0, 1, HTTPS):
            text = re.sub(rf"bind :{self.ours.port + offset}(?=\s)", f"bind :{self.port + offset}", text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self):
        begun = time.monotonic_ns()
        self.master = self.spawn([self.setup.haproxy, "-W", "-dr", "-S", f"{self.directory}/master.sock", "-f",
                                  "haproxy.cfg"], "floor-haproxy.log", cwd=self.directory,
                                 env={**os.environ, "HAPTIC_DIR": self.directory})
        deadline = time.monotonic() + 60
        while not os.path.exists(self.socket):
            if time.monotonic() > deadline or self.master.poll() is not None:
                raise Failure("the floor's HAProxy does not start:\n" +
                              read(os.path.join(self.setup.work, "floor-haproxy.log"))[-2000:])
            time.sleep(0.002)
        self.start_floor()
        return begun

    def start_floor(self):
        with open(os.path.join(self.setup.work, "floor.log"), "ab") as log:
            self.process = subprocess.Popen([self.setup.program("floor"), self.setup.cluster, self.socket],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)

    def wait_synced(self):
        if self.process.stdout.readline().strip() != "synced":
            raise Failure("the floor has ended: " + self.last_words())
        return time.monotonic_ns()

    def restart_floor(self):
        """What it missed is more than a paused watch can hold."""
        self.process.kill()
        self.process.wait()
        self.start_floor()
        self.wait_synced()

    def wait_live(self, begun, hosts, timeout_ms):
        synced = self.wait_synced()
        return (max(synced, self.all_answer(hosts, timeout_ms)) - begun) / 1e9

    def stop(self):
        for process in (self.process, self.master):
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.process = self.master = None

    def pausable(self):
        return [self.process.pid]

    def cpu(self):
        haproxy = [self.master.pid] + descendants(self.master.pid)
        return {"core": cpu_seconds(self.process.pid), "haproxy": sum(map(cpu_seconds, haproxy))}

    def memory(self):
        return {"core": memory(self.process.pid)}

    def metrics(self):
        return {}
