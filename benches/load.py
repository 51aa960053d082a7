"""Load by wrk, and what a server used up for it."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from servers import SCOPE
from stores import psql

CONNECTIONS = 32
WARM_UP_SECONDS = 2
BODY = "grant_type=client_credentials&scope=orders%3Aread"


def progress(*words):
    print(*words, file=sys.stderr, flush=True)


def check_answer(server):
    """One answer must be a token. Waits for a server that is still starting."""
    headers = {"Authorization": server.authorization, "Content-Type": "application/x-www-form-urlencoded"}
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/oauth2/token", BODY.encode(), headers)
    for _ in range(600):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, body = answer.status, json.load(answer)
            break
        except urllib.error.URLError as error:
            starting = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
            if not starting or server.process.poll() is not None:
                raise
            time.sleep(0.05)
    else:
        raise SystemExit("the server does not start")
    header = json.loads(base64.urlsafe_b64decode(body["access_token"].split(".")[0] + "=="))
    if status != 200 or header["alg"] != "ES256" or body["scope"] != SCOPE:
        raise SystemExit(f"not the expected token: {status} {header} {body['scope']}")


# --- wrk ----------------------------------------------------------------------------------------------


@contextmanager
def wrk_running(server, seconds, authorizations=None, connections=CONNECTIONS, path="/oauth2/token", body=BODY,
                tls=None, **how):
    """A started wrk. `how` is for benches/token.lua: delay_ms, once, refused, keep, tokens. `tls` is wrk's environment
    where TLS is spoken, with its certificate if it is to have one."""
    scheme = "http" if tls is None else "https"
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--latency", "--timeout", "10s", "--script", str(Path(__file__).with_name("token.lua"))]
    command += [f"{scheme}://127.0.0.1:{server.port}{path}"]
    with tempfile.NamedTemporaryFile("w", prefix="jeton-bench-") as lines:
        lines.write("".join(f"{line}\n" for line in authorizations or [server.authorization]))
        lines.flush()
        environment = {"PATH": os.environ["PATH"], "BENCH_BODY": body, "BENCH_AUTHORIZATIONS": lines.name}
        environment |= tls or {}
        environment |= {f"BENCH_{name.upper()}": str(value) for name, value in how.items()}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def result_of(process):
    """What wrk reports, as soon as it does."""
    output = []
    for line in process.stdout:
        if line.startswith("RESULT "):
            result = json.loads(line.removeprefix("RESULT "))
            if result["broken"] or not result["answers"]:
                raise SystemExit(f"not every request was answered:\n{''.join(output)}{line}")
            return result
        output.append(line)
    raise SystemExit(f"wrk reported nothing:\n{''.join(output)}")


def wrk(server, seconds, **how):
    """Tokens only: any other answer ends everything."""
    with wrk_running(server, seconds, **how) as process:
        result = result_of(process)
    if result["non_2xx"]:
        raise SystemExit(f"not every answer was a token: {result}")
    if result.get("exhausted"):
        raise SystemExit(f"more requests than tokens: {result}")
    result["rate"] = result["answers"] / (result["us"] / 1e6)
    return result


# --- what it cost -------------------------------------------------------------------------------------


def full_speed(server, seconds, **request):
    """One measurement at the highest throughput."""
    checkpoint(server)  # what earlier writes left behind is not this measurement's
    calibration = calibrate()
    before = cpu_seconds(server)
    load = wrk(server, seconds, **request)
    checkpoint(server)  # and what this one leaves behind is
    used = cpu_seconds(server) - before
    if used <= 0:
        raise SystemExit("no CPU time used, so another process must have served")
    return {
        "requests/s": load["rate"],
        "p50 ms": load["p50"] / 1e3,
        "p99 ms": load["p99"] / 1e3,
        "peak RSS MiB": peak_rss_mib(server),
        "non-2xx": load["non_2xx"],
        "tokens per CPU-second": load["answers"] / used,
        **calibration,
    }, load["answers"]


def checkpoint(server):
    if server.postmaster:
        psql("CHECKPOINT")


def calibrate():
    """Milliseconds of a fixed work, by the wall clock and by this process's CPU time."""
    wall, cpu, value = time.perf_counter(), time.process_time(), b""
    for _ in range(400_000):
        value = hashlib.sha256(value).digest()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"calibration ms": wall * 1e3, "of it CPU ms": cpu * 1e3}


def cpu_seconds(server):
    """What the server's process and all of PostgreSQL's have used, those included that have ended."""
    ticks = 0
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int(directory.name)
            # After the name, which may hold anything: state, ppid, …; then utime, stime, cutime, cstime.
            fields = (directory / "stat").read_text().rsplit(")", 1)[1].split()
            if pid in (server.process.pid, server.postmaster):
                ticks += sum(int(field) for field in fields[11:15])
            elif server.postmaster and int(fields[1]) == server.postmaster:
                ticks += sum(int(field) for field in fields[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_rss_mib(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:", 1)[1].split()[0]) / 1024
