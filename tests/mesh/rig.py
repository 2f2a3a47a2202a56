"""A real Redis, a compiled cutout-envoy, real Envoys and a vendor to call, all on loopback, for one run.

Flags are written as docs/redis.md says, so that what is tested is the public form and not a room's own types.
"""

import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 20
TOKEN = "a-token-of-this-run"
NAME = "bank-charge"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, found, patience_s=PATIENCE_S, every_s=0.02):
    """Waits for what `found` finds; a test that waits in vain ends with `what`."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            answer = found()
        except OSError:
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(every_s)


class Process:
    """A program; its output goes to a file in the run's folder."""

    def __init__(self, folder, name, command, env=None):
        self.log = folder / f"{name}.log"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, cwd=folder)

    def lines(self):
        return self.log.read_text(errors="replace").splitlines()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


class Redis:
    """A redis-server that loses nothing, and the least of a client."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = Process(self.folder, "redis", command)
        until("redis-server answers", lambda: self.ask(["PING"])[0] == "PONG")
        if not self.ask(["HGET", self.key("meta"), "epoch"])[0]:
            declared = {"revision": 0, "breakers": {NAME: {"key": ["bank_code"]}}}
            self.ask(["HSET", self.key("meta"), "epoch", "e1", "rev", "0", "revision", "0", "declared", json.dumps(declared)])

    def key(self, name):
        return "cutout:{default}:" + name

    def ask(self, *commands):
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            text = b""
            for command in commands:
                words = [str(word).encode() for word in command]
                text += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
            connection.sendall(text)
            answers = connection.makefile("rb")
            return [self._read(answers) for _ in commands]

    def _read(self, answers):
        kind, rest = (line := answers.readline())[:1], line[1:].strip()
        if line.startswith(b"-LOADING"):
            raise ConnectionError("Redis reads its file")
        assert kind and kind != b"-", f"Redis refuses: {line}"
        if kind == b"$":
            return None if rest == b"-1" else answers.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self._read(answers) for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest.decode()

    def now_ms(self):
        seconds, microseconds = map(int, self.ask(["TIME"])[0])
        return seconds * 1000 + microseconds // 1000

    def publish(self, key="0001", **flag):
        """Commits one flag as its service would; yields the time just before."""
        return self.publish_all([(key, flag)])

    def publish_all(self, flags, of_each=None):
        """One commit of all flags, or one after the other of so many each, as fast as Redis takes them."""
        rev, commands = int(self.ask(["HGET", self.key("meta"), "rev"])[0]), []
        for key, flag in flags:
            rev, name = rev + 1, f"{NAME}/{key}"
            full = {"v": 1, "epoch": "e1", "rev": rev, "state": "closed", "since_ms": 1, "mode": "enforce", "refuse": [], "probe_ppm": 0}
            text = json.dumps({**full, "ramp": None, "next": None, "stale_at_ms": None, "on_stale": "hold", "override": None, "would": None, "fault": None, **flag})
            commands.append(["HSET", self.key("flags"), name, text])
            commands.append(["XADD", self.key("changes"), "MAXLEN", "~", "10000", "*", "breaker", name, "rev", rev, "flag", text])
        count, begun = 2 * (of_each or len(flags)), []
        for start in range(0, len(commands), count):
            some = commands[start : start + count]
            begun += [["MULTI"], *some, ["HSET", self.key("meta"), "rev", some[-1][-3]], ["EXEC"]]
        began = time.monotonic()
        self.ask(*begun)
        return began


class Vendor(http.server.ThreadingHTTPServer):
    """An endpoint of the vendor; what it answers is set from outside."""

    daemon_threads, request_queue_size = True, 256

    def __init__(self, name):
        super().__init__(("127.0.0.1", 0), self._handler())
        self.name, self.port, self.lock = name, self.server_address[1], threading.Lock()
        self.status, self.healthy, self.delay_s, self.calls = 200, True, 0.0, 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _handler(vendor):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1

            def do_GET(self):
                if self.path == "/health":
                    return self.answer(200 if vendor.healthy else 503)
                with vendor.lock:
                    vendor.calls += 1
                if vendor.delay_s:
                    time.sleep(vendor.delay_s)
                self.answer(vendor.status)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.do_GET()

            def answer(self, status):
                body = vendor.name.encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def handle_error(self, *_):
        pass


class Answer:
    def __init__(self, response, took_s):
        self.status, self.body = response.status, response.read().decode()
        self.refused, self.took_s = response.getheader("x-cutout-refused"), took_s


class Caller:
    """One connection to an Envoy, kept."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def send(self, key=None, path="/", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            headers["x-bank-code"] = key
        self.began = time.monotonic()
        self.connection.request("GET", path, headers=headers)

    def receive(self):
        return Answer(self.connection.getresponse(), time.monotonic() - self.began)

    def call(self, *call, **named):
        try:
            self.send(*call, **named)
            return self.receive()
        except http.client.HTTPException as error:
            self.connection.close()
            raise OSError(str(error)) from error
        except OSError:
            self.connection.close()
            raise


class Envoy:
    """An Envoy on infra/envoy/envoy.yaml: that file with this run's ports and names, and nothing else."""

    def __init__(self, rig, name, token=TOKEN, config=None):
        self.rig, self.name, self.port, self.admin = rig, name, free_port(), free_port()
        text = config(self) if config else self.configured(token)
        self.path = rig.folder / f"{name}.yaml"
        self.path.write_text(text)
        command = [rig.envoy, "-c", str(self.path), "--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "100", "-l", "warning"]
        self.process = Process(rig.folder, name, command)
        rig.started.append(self.process)

    def configured(self, token):
        ports = {10000: self.port, 9901: self.admin, 18000: self.rig.xds_port}
        ports |= {9101 + place: vendor.port for place, vendor in enumerate(self.rig.vendors)}
        text = (ROOT / "infra/envoy/envoy.yaml").read_text()
        text = re.sub(r"port_value: (\d+)", lambda found: f"port_value: {ports[int(found[1])]}", text)
        text = re.sub(r"address: [a-z0-9-]+\.example\.internal", "address: 127.0.0.1", text).replace("id: payments-1", f"id: {self.name}")
        # The lines of the file for a token, without their comment marks.
        return text.replace("# initial_metadata", "initial_metadata").replace("<token>", token)

    def ready(self):
        until(f"{self.name} is ready", lambda: self.ask_admin("/ready").strip() == "LIVE")
        return self

    def ask_admin(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def stat(self, name):
        found = re.search(rf"^{re.escape(name)}: (\d+)$", self.ask_admin("/stats"), re.M)
        return int(found[1]) if found else 0

    def counted(self, **tags):
        """Calls by Envoy's own count, with these tags."""
        total = 0
        for line in self.ask_admin("/stats/prometheus").splitlines():
            if line.startswith("envoy_cutout_calls{") and all(f'{tag}="{value}"' in line for tag, value in tags.items()):
                total += int(line.rsplit(" ", 1)[1])
        return total

    def caller(self):
        return Caller(self.port)

    def access_lines(self):
        return [json.loads(line) for line in self.process.lines() if line.startswith("{")]


class Rig:
    def __init__(self, cutout_envoy, envoy):
        self.cutout_envoy, self.envoy = str(pathlib.Path(cutout_envoy).resolve()), str(pathlib.Path(envoy).resolve())
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cutout-mesh-"))
        self.started, self.xds_port, self.http_port = [], free_port(), free_port()
        self.redis = Redis(self.folder)
        self.vendors = [Vendor(name) for name in ("vendor-1", "vendor-2", "standby", "canary")]
        self.plane = None

    def start_plane(self, hooks=None, ports=None, **more):
        """Starts cutout-envoy, or with `ports` a second one beside it."""
        xds_port, http_port = ports or (self.xds_port, self.http_port)
        hooks_path = self.folder / "hooks.toml"
        hooks_path.write_text(hooks or (ROOT / "infra/envoy/hooks.toml").read_text())
        env = {
            "CUTOUT_ENVOY_LISTEN": f"127.0.0.1:{xds_port}",
            "CUTOUT_ENVOY_HTTP_LISTEN": f"127.0.0.1:{http_port}",
            "CUTOUT_ENVOY_HOOKS": str(hooks_path),
            "CUTOUT_ENVOY_TOKEN_HASHES": hashlib.sha256(TOKEN.encode()).hexdigest(),
            "CUTOUT_REDIS_URL": f"redis://127.0.0.1:{self.redis.port}",
            **more,
        }
        plane = Process(self.folder, "cutout-envoy", [self.cutout_envoy], env)
        self.started.append(plane)
        self.plane = self.plane if ports else plane
        until("cutout-envoy lives and has read the flags", lambda: self.ask_plane("/readyz", http_port)[0] == 200)
        return plane

    def certificates(self):
        """A certificate authority of this run, and what it signed for cutout-envoy and for an Envoy."""

        def openssl(*words):
            subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
        openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
        for name in ("server", "client"):
            openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            (self.folder / "names").write_text("subjectAltName=DNS:cutout-envoy.example.internal\nbasicConstraints=CA:FALSE\n")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "names")
        return {f"CUTOUT_ENVOY_TLS_{kind}": str(self.folder / name) for kind, name in (("CERT", "server.pem"), ("KEY", "server.key"), ("CLIENT_CA", "ca.pem"))}

    def ask_plane(self, path, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http_port, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def metric(self, name):
        return int(re.search(rf"^cutout_envoy_{name} (\d+)$", self.ask_plane("/metrics")[1], re.M)[1])

    def close(self, failed):
        for process in [*self.started, self.redis.process]:
            process.kill()
        logs = os.environ.get("TEST_LOGS")
        for log in self.folder.glob("*.log"):
            if logs:
                shutil.copy(log, pathlib.Path(logs) / f"mesh-{log.name}")
            if failed:
                print(f"--- the end of {log.name}")
                print("\n".join(line[:400] for line in log.read_text(errors="replace").splitlines()[-15:]))
        shutil.rmtree(self.folder)
