"""Runs inside the network that tools/bench has made: measures haptic and the floor, and prints what it found."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import objects
import processes
import report
import through_agent
from processes import Failure, Talker

WARM_UP = 3
SAMPLES = {"endpoint": 20, "ingress": 8}   # of one round
PAUSE_S = 0.02                             # after each sample, plus as much at random
CHURN_RATE = 50
LOAD_RATE = 400
COLD_TIMEOUT_MS = 120000                   # and as much again for each 20 000 ingresses


def progress(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Setup:
    """Where everything is, and the helpers that both subjects share."""

    def __init__(self, options, work):
        self.options, self.work = options, work
        self.binary, self.haproxy, self.programs = options.binary, options.haproxy_binary, options.programs
        self.cluster = os.path.join(work, "cluster")
        self.testenv = os.path.join(os.path.dirname(__file__), "../testenv")
        subprocess.run([self.testenv, "cluster", "up", self.cluster], check=True, stdout=subprocess.DEVNULL)
        self.backends = subprocess.Popen([self.program("backends"), str(processes.BACKEND_PORT)],
                                         stdout=subprocess.PIPE, text=True)
        if self.backends.stdout.readline() != "ready\n":
            raise Failure("the backends do not start")
        self.writer = Talker("writer", [self.program("writer"), self.cluster])
        self.write([objects.INGRESS_CLASS])
        self.certificates = objects.Certificates(work) if options.tls else None

    def path(self):
        """What helpers are told of the path that they ask for."""
        return [processes.TLS_PATH] if self.options.tls else []

    def program(self, name):
        return os.path.join(self.programs, "bench_" + name)

    def begin_write(self, requests):
        for number, (method, path, body) in enumerate(requests):
            self.writer.say(f"{number} {method} {path} {body}")

    def end_write(self, count):
        """Returns (begun, answered) of the first and the last of them, in ns."""
        begun, answered = None, 0
        for _ in range(count):
            _, status, start, end = self.writer.hear()
            if not 200 <= int(status) < 300:
                raise Failure(f"the API server answered {status}")
            begun, answered = min(begun or int(start), int(start)), max(answered, int(end))
        return begun, answered

    def write(self, requests):
        self.begin_write(requests)
        return self.end_write(len(requests))

    def write_many(self, requests):
        """As write(), for more than the pipe holds."""
        requests, under_way = iter(requests), 0
        for request in requests:
            self.begin_write([request])
            under_way += 1
            if under_way == 96:
                self.end_write(1)
                under_way -= 1
        self.end_write(under_way)

    def close(self):
        self.writer.end()
        self.backends.terminate()
        self.backends.wait()
        subprocess.run([self.testenv, "cluster", "down", self.cluster], check=False)


class Benchmark:
    def __init__(self, setup, options):
        self.setup, self.options = setup, options
        self.routes = []
        self.added = 0
        self.secrets = set()
        self.version = None
        self.random = random.Random(1)
        self.ours = through_agent.ThroughAgent(setup) if options.agent else processes.Ours(setup)
        self.floor = processes.Floor(setup, self.ours)
        self.subjects = {"ours": self.ours, "floor": self.floor}

    def close(self):
        for subject in self.subjects.values():
            subject.close()

    # ---- one size ----

    def measure(self, size):
        figures = {"size": size, "load_average": [os.getloadavg()[0]], "ours": {}, "floor": {}}
        self.grow(size)
        self.cold_starts(figures, size)
        samples = {name: {kind: [] for kind in SAMPLES} for name in self.subjects}
        cpu = {name: {kind: {} for kind in SAMPLES} for name in self.subjects}
        shares = {"endpoint": {}, "ingress": {}, "churn": {}}
        reloads = self.reloads()
        self.version = self.ours.version()
        for number in range(self.options.rounds):
            names = list(self.subjects) if number % 2 == 0 else list(self.subjects)[::-1]
            for name in names:
                self.choose(name)
                for kind in SAMPLES:
                    self.round(name, kind, samples[name][kind], shares[kind], cpu[name][kind])
            if (number + 1) % 5 == 0 or number + 1 == self.options.rounds:
                progress(f"{size} ingresses: round {number + 1} of {self.options.rounds}: " + ", ".join(
                    f"{kind} p50 {report.percentile([s[0] for s in samples[name][kind]], 50):.1f} ms ({name})"
                    for kind in SAMPLES for name in self.subjects))
        for name in self.subjects:
            for kind in SAMPLES:
                figures[name][kind] = report.summary(samples[name][kind], cpu[name][kind])
        for name, subject in self.subjects.items():
            self.choose(name)
            figures[name]["churn"] = self.churn(name, size, shares["churn"])
            figures[name]["memory"] = subject.memory()
        figures["ours"]["share"] = {kind: report.share(share) for kind, share in shares.items()}
        self.choose("ours")
        figures["ours"]["reloads"] = self.reloads() - reloads
        figures["load_average"].append(os.getloadavg()[0])
        for subject in self.subjects.values():
            subject.resume()
            subject.stop()
        return figures

    def grow(self, size):
        begun = time.monotonic()
        numbers = range(len(self.routes), size)
        new = [self.route(f"app-{i:05d}", f"h{i}.bench", i) for i in numbers]
        if self.options.tls:
            secrets = {objects.secret_of(i): i for i in numbers if objects.secret_of(i) not in self.secrets}
            self.setup.write_many(self.setup.certificates.secret(i) for i in secrets.values())
            self.secrets.update(secrets)
        self.setup.write_many(request for route in new for request in route.creation())
        self.routes += new
        progress(f"{size} ingresses: {3 * len(new)} objects created in {time.monotonic() - begun:.1f} s")

    def route(self, name, host, number):
        return objects.Route(name, host, processes.BACKEND_PORT,
                             objects.secret_of(number) if self.options.tls else None)

    def cold_starts(self, figures, size):
        times = {name: [] for name in self.subjects}
        timeout_ms = COLD_TIMEOUT_MS * (1 + size // 20000)
        for number in range(self.options.cold_starts):
            if number > 0:
                for subject in self.subjects.values():
                    subject.stop()
            times["ours"].append(self.ours.wait_live(self.ours.start(), size, timeout_ms))
            self.floor.prepare()
            times["floor"].append(self.floor.wait_live(self.floor.start(), size, timeout_ms))
            progress(f"{size} ingresses: cold start {times['ours'][-1]:.2f} s, floor {times['floor'][-1]:.2f} s, "
                     f"load average {os.getloadavg()[0]:.1f}")
        for name in self.subjects:
            figures[name]["cold_start_s"] = {"median": report.percentile(times[name], 50), "all": times[name]}
        # What follows a start (a check of what is on disk) is not what the next figures are about.
        time.sleep(1 if self.options.quick else 3)

    def choose(self, name):
        """Only that one runs, and has caught up."""
        for other, subject in self.subjects.items():
            if other != name:
                subject.pause()
        self.subjects[name].resume()
        for _ in range(WARM_UP):
            self.sample_endpoint(self.subjects[name])
        time.sleep(0.2)

    # ---- samples ----

    def sample(self, subject, host, wanted, requests):
        """(total, API server) in ms: from just before the write to the first answer, and to the API server's."""
        subject.first(host, wanted)
        time.sleep(self.random.uniform(0.002, 0.004))
        begun, answered = self.setup.write(requests)
        found = subject.found()
        if found is None:
            subject.check_alive()
            raise Failure(f"{subject.name}: {host} is not answered by {wanted} within 10 s")
        if self.options.tls and wanted == "*" and subject is self.ours:
            redirected = subject.redirected(host)
            if redirected is None:
                raise Failure(f"{subject.name}: {host} does not lead to HTTPS within 10 s")
            found = redirected
        return (found - begun) / 1e6, (answered - begun) / 1e6

    def sample_endpoint(self, subject):
        route = self.random.choice(self.routes)
        wanted = route.replace_pod(self.random.randrange(objects.PODS))
        return self.sample(subject, route.host, wanted, [route.update()])

    def round(self, name, kind, samples, share, cpu):
        subject, added = self.subjects[name], []
        before, cpu_before = subject.metrics(), subject.cpu()
        for _ in range(SAMPLES[kind]):
            if kind == "endpoint":
                samples.append(self.sample_endpoint(subject))
            else:
                self.added += 1
                route = self.route(f"new-{self.added}", f"new-{self.added}.bench", 0)
                added.append(route)
                samples.append(self.sample(subject, route.host, "*", route.creation()))
            time.sleep(PAUSE_S + self.random.uniform(0, PAUSE_S))
        report.add_difference(share, before, subject.metrics())
        self.setup.write_many(request for route in added for request in route.deletion())
        if added:
            time.sleep(0.3)
        report.add_difference(cpu, cpu_before, subject.cpu())

    # ---- a phase of many changes ----

    def churn(self, name, size, share):
        subject = self.subjects[name]
        seconds = 3 if self.options.quick else 30
        changes = CHURN_RATE * seconds
        changed = []
        load = subprocess.Popen([self.setup.program("load"), str(subject.port), str(size), str(LOAD_RATE)] + self.setup.path(),
                                stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        cpu, before = subject.cpu(), subject.metrics()
        begun = time.monotonic()
        for number in range(changes):
            time.sleep(max(0, begun + number / CHURN_RATE - time.monotonic()))
            route = self.random.choice(self.routes)
            route.replace_pod(self.random.randrange(objects.PODS))
            changed.append(route)
            self.setup.begin_write([route.update()])
            if number >= 10:
                self.setup.end_write(1)
        self.setup.end_write(10)
        took = time.monotonic() - begun
        self.sample_endpoint(subject)
        after, cpu_after = subject.metrics(), subject.cpu()
        report.add_difference(share, before, after)
        load.terminate()
        words = load.communicate()[0].split()
        result = {key: int(value) for key, value in zip(words[::2], words[1::2])}
        result["stale"] = sum(not self.is_current(subject, route) for route in changed[-30:])
        result.update(changes=changes, seconds=took, load_average=os.getloadavg()[0],
                      cpu_ms_per_change={part: 1000 * (cpu_after[part] - cpu[part]) / (changes + 1) for part in cpu})
        progress(f"{size} ingresses: {changes} changes in {took:.1f} s ({name}): {result['failed']} of "
                 f"{result['asked']} requests failed, {result['stale']} stale")
        if name == "ours":
            # So many events are more than the floor's watches can hold while it is paused.
            self.floor.restart_floor()
        return result

    def is_current(self, subject, route):
        """Does each of the route's pods answer?"""
        for number in route.pods:
            subject.first(route.host, objects.address(number))
            if subject.found() is None:
                return False
        return True

    def reloads(self):
        return sum(value for series, value in self.ours.metrics().items() if series.startswith("haptic_reloads_total"))


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", required=True, type=lambda text: [int(size) for size in text.split(",")])
    parser.add_argument("--rounds", required=True, type=int)
    parser.add_argument("--cold-starts", required=True, type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--agent", action="store_true")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--haproxy-binary", required=True)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def give_up(number, _):
    raise Failure("it took too long" if number == signal.SIGALRM else "stopped by a signal")


def main():
    options = parse_arguments()
    # Nothing here waits longer than some seconds, as long as nothing is wrong.
    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGTERM, give_up)
    signal.alarm(100 if options.quick else sum(200 + 8 * options.rounds + size // 20 for size in options.sizes))
    work = tempfile.mkdtemp(prefix="bench.")
    setup = benchmark = None
    begun = time.monotonic()
    try:
        setup = Setup(options, work)
        benchmark = Benchmark(setup, options)
        results = {"machine": report.machine(options), "sizes": []}
        for size in sorted(set(options.sizes)):
            results["sizes"].append(benchmark.measure(size))
            results["machine"]["haptic"] = benchmark.version
            results["seconds"] = time.monotonic() - begun
            with open(options.output, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=1)
        report.print_tables(results)
        return report.exit_code(results)
    except Failure as failure:
        progress(str(failure))
        return 1
    finally:
        for thing in (benchmark, setup):
            if thing is not None:
                thing.close()
        if options.keep:
            progress(f"files are kept in {work}")
        else:
            subprocess.run(["rm", "-rf", work], check=False)


if __name__ == "__main__":
    sys.exit(main())
