"""A hostile script against the fence: each limit is seen in the engine, and tried."""

from __future__ import annotations

import errno
import logging
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import SandboxLimitError, SandboxUnavailableError, TransformError
from openreg_airflow.transform import handover, seccomp
from openreg_airflow.transform.ownership import EXPIRES, OURS, TASK
from tests.transform_bench import TRADES, Bench, on_line
from tests.waiting import wait_until

if TYPE_CHECKING:
    from docker import APIClient
    from docker.types import Mount

    from tests.services.docker_engine import DockerEngine

MIB = 1 << 20
RETURN_TRADES = "def transform(inputs, context): return inputs['trades']"
WAIT = """
    import time

    def transform(inputs, context):
        print("ready")
        time.sleep(600)
    """


@pytest.fixture
def bench(tmp_path: Path, docker_engine: DockerEngine, sandbox_image: str) -> Bench:
    bench = Bench(tmp_path, "container", docker_engine.client, sandbox_image)
    bench.source("trades", TRADES)
    return bench


@pytest.fixture
def client(docker_engine: DockerEngine) -> APIClient:
    return docker_engine.client


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "openreg_airflow")


@pytest.fixture(autouse=True)
def _nothing_stays(client: APIClient) -> Any:
    yield
    assert ours(client) == []
    assert not client.volumes(filters={"label": OURS})["Volumes"]


def ours(client: APIClient, state: str | None = None) -> list[dict[str, Any]]:
    found = client.containers(all=True, filters={"label": OURS})
    return [one for one in found if state is None or one["State"] == state]


def printed(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(r.getMessage() for r in caplog.records if r.name.endswith(".script"))


def inspect_while_running(bench: Bench, **spec: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def look() -> None:
        fence: Any = bench.fences[-1]
        seen.update(bench.client.inspect_container(fence.id))  # type: ignore[union-attr]
        fence.kill()

    with on_line("ready", look), pytest.raises(SandboxUnavailableError, match="task was killed"):
        bench.run(WAIT, **spec)
    return seen


def test_engine_shows_every_limit(bench: Bench) -> None:
    seen = inspect_while_running(
        bench,
        limits={"memory_mb": 300, "cpus": 0.5, "processes": 50, "tmp_mb": 7, "seconds": 60},
    )

    host, config = seen["HostConfig"], seen["Config"]
    assert config["User"] == "65534:65534"
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true", f"seccomp={seccomp.profile()}"]
    assert host["Memory"] == 300 * MIB
    assert host["MemorySwap"] == 300 * MIB
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 50
    assert list(host["Tmpfs"].items()) == [
        ("/tmp", f"rw,noexec,nosuid,nodev,mode=1777,size={7 * MIB}")  # noqa: S108
    ]
    assert host["ShmSize"] == 16 * MIB
    assert host["IpcMode"] == "private"
    assert host["PidMode"] == ""
    assert host["LogConfig"]["Type"] == "none"
    assert host["RestartPolicy"]["Name"] == "no"
    assert not host["Devices"]
    assert not host["Binds"]
    limits = {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]}
    assert limits == {
        "nofile": (1024, 1024),
        "core": (0, 0),
        "fsize": (7 * MIB, 7 * MIB),
        "msgqueue": (0, 0),
    }
    assert [(m["Type"], m["Destination"], m["RW"]) for m in seen["Mounts"]] == [
        ("bind", "/openreg/trades.parquet", False)
    ]
    assert config["Labels"]["org.openreg.sandbox.report"] == "demo_report"


def test_kernel_shows_that_the_script_has_no_rights(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(
        """
        import ctypes, os

        def transform(inputs, context):
            print(open("/proc/self/status").read())
            print("groups", os.getgroups())
            print("unshare", ctypes.CDLL(None, use_errno=True).unshare(0x10000000))
            print("devices", sorted(os.listdir("/sys/class/net")))
            return inputs["trades"]
        """
    )

    lines = {" ".join(line.split()) for line in printed(caplog).splitlines()}
    nobody = "65534 65534 65534 65534"
    zero = "0000000000000000"
    assert lines >= {
        f"Uid: {nobody}", f"Gid: {nobody}", "NoNewPrivs: 1", "Seccomp: 2",
        f"CapEff: {zero}", f"CapPrm: {zero}", f"CapBnd: {zero}", f"CapAmb: {zero}",
        "unshare -1", "devices ['lo']",
    }  # fmt: skip


ATTEMPTS = (
    'socket.create_connection(("169.254.169.254", 80), 3)',
    'socket.create_connection(("10.0.0.1", 22), 3)',
    'socket.getaddrinfo("localhost.example", 80)',
    'socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)',
    'open("/etc/passwd", "a")',
    'open("/openreg/trades.parquet", "r+b")',
    'open("/openreg/more.parquet", "wb")',
    'os.unlink("/openreg/trades.parquet")',
    'os.symlink("/etc/passwd", "/openreg/link")',
    'open("/opt/openreg-runner/openreg_runner/worker.py", "a")',
    'open("/proc/sys/kernel/core_pattern", "w")',
    'open("/sys/fs/cgroup/memory/memory.limit_in_bytes", "w")',
    'open("/proc/1/environ")',
    'open("/proc/1/mem", "rb")',
    'os.listdir("/proc/1/fd")',
    'open("/dev/sda")',
    'os.setuid(0)',
    'os.chroot("/tmp")',
    'os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0))',
    'os.sethostname("x") if hasattr(os, "sethostname") else socket.sethostname("x")',
    'run_copy_of_true()',
    'open("/var/run/docker.sock")',
)  # fmt: skip


def test_every_attempt_is_refused_by_the_kernel(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(
        """
        import os, shutil, socket, subprocess

        def run_copy_of_true():
            shutil.copy("/bin/true", "/tmp/true")
            subprocess.run(["/tmp/true"], check=True)

        def transform(inputs, context):
            for attempt in context.parameters["attempts"].split(chr(10)):
                try:
                    exec(attempt)
                    print("ALLOWED", attempt)
                except OSError as error:
                    print("refused", attempt, error)
            return inputs["trades"]
        """,
        parameters={"attempts": "\n".join(ATTEMPTS)},
    )

    lines = printed(caplog).splitlines()
    assert [line for line in lines if line.startswith("ALLOWED")] == []
    assert len([line for line in lines if line.startswith("refused")]) == len(ATTEMPTS)


def test_calls_that_no_computation_needs_are_not_there(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the numbers of the calls are those of x86-64")
    calls = {
        "socket": (41, 1, 1, 0),
        "ptrace": (101, 0, 0, 0),
        "unshare": (272, 0x10000000),
        "clone": (56, 0x10000000 | signal.SIGCHLD, 0, 0, 0),
        "clone3": (435, 0, 0),
        "keyctl": (250, 0, 0xFFFFFFFD, 0),
        "bpf": (321, 0, 0, 0),
        "userfaultfd": (323, 0),
        "io_uring_setup": (425, 1, 0),
        "perf_event_open": (298, 0, 0, 0, 0),
        "process_vm_readv": (310, 1, 0, 0, 0, 0),
        "personality": (135, 0xFFFFFFFF),
        "mount": (165, 0, 0, 0, 0, 0),
    }

    bench.run(
        f"""
        import ctypes, multiprocessing.pool, socket, subprocess

        def transform(inputs, context):
            libc = ctypes.CDLL(None, use_errno=True)
            for name, call in {calls}.items():
                print(name, libc.syscall(*call), ctypes.get_errno())
            left, right = socket.socketpair()
            left.send(b"pair")
            print(right.recv(9), subprocess.run(["echo"], check=True).returncode)
            with multiprocessing.pool.ThreadPool(2) as pool:
                print(sum(pool.map(abs, [-1, -2])))
            return inputs["trades"]
        """
    )

    lines = printed(caplog).splitlines()
    refused = [{f"{name} -1 {errno.ENOSYS}", f"{name} -1 {errno.EPERM}"} for name in calls]
    assert all(line in either for line, either in zip(lines, refused, strict=False))
    assert lines[-2:] == ["b'pair' 0", "3"]


def test_only_the_report_s_own_inputs_are_visible(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.folder / "another_report.parquet").write_bytes(b"secret")

    bench.run(
        """
        import os

        def transform(inputs, context):
            print("inputs", os.listdir("/openreg"))
            return inputs["trades"]
        """
    )

    assert "inputs ['trades.parquet']" in printed(caplog)


def test_fork_bomb_meets_its_limit(bench: Bench) -> None:
    with pytest.raises(TransformError, match="met its limit of 64 processes and threads"):
        bench.run(
            "import os\ndef transform(inputs, context):\n  while True: os.fork()",
            limits={"processes": 64, "seconds": 60},
        )


def test_stubborn_fork_bomb_is_gone_at_the_time_limit(bench: Bench) -> None:
    with pytest.raises(SandboxLimitError, match="time limit of 3 s"):
        bench.run(
            """
            import os, signal

            def transform(inputs, context):
                for number in range(1, 32):
                    if number not in (signal.SIGKILL, signal.SIGSTOP):
                        signal.signal(number, signal.SIG_IGN)
                while True:
                    try:
                        os.fork()
                    except OSError:
                        pass
            """,
            limits={"seconds": 3},
        )


def test_memory_hog_is_stopped_at_its_limit_and_told_so(bench: Bench) -> None:
    with pytest.raises(SandboxLimitError, match="memory limit of 256 MiB; see"):
        bench.run(
            """
            def transform(inputs, context):
                hog = []
                while True:
                    hog.append(b"x" * (8 << 20))
            """,
            limits={"memory_mb": 256},
        )


def test_memory_cannot_be_had_in_tmp_either(bench: Bench) -> None:
    with pytest.raises(SandboxLimitError, match="memory limit of 256 MiB"):
        bench.run(
            """
            def transform(inputs, context):
                for number in range(100):
                    with open(f"/tmp/{number}", "wb") as file:
                        file.write(b"x" * (10 << 20))
            """,
            limits={"memory_mb": 256, "tmp_mb": 2048},
        )


@pytest.mark.parametrize("size", [1, 100])
def test_tmp_has_a_size(bench: Bench, size: int) -> None:
    with pytest.raises(TransformError, match=r"No space left|File too large") as caught:
        bench.run(
            f"""
            def transform(inputs, context):
                for number in range(10_000):
                    with open(f"/tmp/{{number}}", "wb") as file:
                        file.write(b"x" * ({size} << 20))
            """,
            limits={"tmp_mb": 20},
        )

    assert "transform.limits.tmp_mb" in (caught.value.hint or "")


def test_open_files_meet_their_limit(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.run(
        """
        import errno, resource

        def transform(inputs, context):
            held = []
            try:
                while len(held) < 2000:
                    held.append(open("/dev/null"))
            except OSError as error:
                print(errno.errorcode[error.errno], len(held) < 1024)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            except ValueError:
                print("not raised")
            held.clear()
            return inputs["trades"]
        """
    )

    assert printed(caplog).splitlines()[-2:] == ["EMFILE True", "not raised"]


def test_engine_that_refuses_is_quoted(bench: Bench) -> None:
    with pytest.raises(SandboxUnavailableError, match="Range of CPUs"):
        bench.run(WAIT, limits={"cpus": 4096})

    assert bench.stored == []


def test_processor_quota_holds(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.run(
        """
        import time

        def transform(inputs, context):
            started, used = time.monotonic(), time.process_time()
            while time.monotonic() - started < 2:
                pass
            print("share", (time.process_time() - used) / (time.monotonic() - started))
            return inputs["trades"]
        """,
        limits={"cpus": 0.25},
    )

    share = float(printed(caplog).split("share ")[1].split()[0])
    assert share < 0.4


def test_output_has_a_size(bench: Bench) -> None:
    with pytest.raises(SandboxLimitError, match="output limit of 1 MiB; see"):
        bench.run(
            """
            import os
            import pyarrow as pa

            def transform(inputs, context):
                return pa.table({"noise": [os.urandom(1000) for _ in range(5000)]})
            """,
            limits={"output_mb": 1},
        )

    assert bench.stored == []


def test_log_flood_is_cut_and_said_to_be(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.run(
        """
        def transform(inputs, context):
            for _ in range(40):
                print("x" * (1 << 20))
            return inputs["trades"]
        """
    )

    assert len(printed(caplog)) < 5 * MIB
    assert "printed more than 4194304 bytes; the rest is left out here" in caplog.text
    assert "bytes of the script's output were left out" in caplog.text


def test_first_process_cannot_be_killed_from_inside(bench: Bench) -> None:
    tables = bench.run(
        """
        import os, signal
        from pathlib import Path

        def pending():
            lines = Path("/proc/1/status").read_text().splitlines()
            return [x for x in lines if x[:6] in ("SigPnd", "ShdPnd") and int(x.split()[1], 16)]

        def transform(inputs, context):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
                os.kill(1, number)
            while pending():
                os.sched_yield()
            return inputs["trades"]
        """
    )

    assert tables["trades"].rows == 3


FORGE = """
    import json, os, struct

    def reply():
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                return int(name)

    def event(**fields):
        text = json.dumps(fields).encode()
        os.write(reply(), struct.pack(">cI", b"E", len(text)) + text)

    def data(payload):
        os.write(reply(), struct.pack(">cI", b"D", len(payload)) + payload)

    def transform(inputs, context):
        FORGED
        os._exit(0)
    """


@pytest.mark.parametrize(
    ("forged", "expected"),
    [
        ("event(event='table', name='../../../evil')", "disturbed the sandbox's reply: a table"),
        ("event(event='table', name='/tmp/evil')", "disturbed"),
        ("event(event='table', name='a\\n')", "disturbed the sandbox's reply: a table"),
        ("event(event='table', name='a'); event(event='table', name='a')", "disturbed"),
        ("event(event='nonsense')", "disturbed the sandbox's reply: an event 'nonsense'"),
        ("event(event=['table'])", "an event without a name"),
        ("event(event='done')", "disturbed"),
        ("data(b'x')", "data outside a table"),
        ("os.write(reply(), struct.pack('>cI', b'D', 0xffffffff))", "a frame of kind"),
        ("os.write(reply(), struct.pack('>cI', b'E', 100000) + b'[' * 100000)", "not JSON"),
        ("os.write(reply(), b'PAR1' * 1000)", "a frame of kind"),
        (
            "event(event='table', name='a'); data(b'PAR1 garbage PAR1'); "
            "event(event='end', name='a'); event(event='done')",
            "table a did not come back as Parquet",
        ),
        ("event(event='table', name='a'); data(b'x'); event(event='done')", "disturbed"),
        ("event(event='error', message=[{}], line='x', traceback=5, kind=None)", r"\[\{\}\]"),
        ("event(event='error', message='\\x1b[2J\\rfine')", r"\\x1b\[2J\\x0dfine"),
        ("event(event='exit', status='x')", "ended its process with status 0"),
        ("print('silent')", "ended its process with status 0"),
    ],
)
def test_forged_reply_is_refused(bench: Bench, forged: str, expected: str) -> None:
    with pytest.raises(TransformError, match=expected):
        bench.run(FORGE.replace("FORGED", forged))

    assert bench.stored == []
    assert not list(bench.folder.parent.glob("evil*"))


def test_forged_complaint_about_inputs_ends_after_the_second_way(bench: Bench) -> None:
    with pytest.raises(SandboxUnavailableError, match="does not see its inputs"):
        bench.run(FORGE.replace("FORGED", "event(event='invisible')"))

    assert len(bench.fences) == 2


def test_undeclared_columns_cannot_be_forged(bench: Bench) -> None:
    forged = (
        "import io, pyarrow as pa, pyarrow.parquet as pq; sink = io.BytesIO(); "
        "pq.write_table(pa.table({'a': [1]}), sink); event(event='table', name='out'); "
        "data(sink.getvalue()); event(event='end', name='out'); event(event='done')"
    )

    with pytest.raises(TransformError, match="other columns than declared"):
        bench.run(FORGE.replace("FORGED", forged), tables={"out": {"columns": {"a": "string"}}})


def test_parquet_bomb_is_refused_before_the_task_opens_it(bench: Bench) -> None:
    bomb = (
        "import io, pyarrow as pa, pyarrow.parquet as pq; sink = io.BytesIO(); "
        "texts = pa.DictionaryArray.from_arrays(pa.array([0] * 500_000), ['x' * (1 << 20)]); "
        "pq.write_table(pa.table({'a': texts}), sink, store_schema=False); "
        "assert sink.tell() < 1 << 20; event(event='table', name='out'); "
        "data(sink.getvalue()); event(event='end', name='out'); event(event='done')"
    )

    with pytest.raises(SandboxLimitError, match="table out needs more than 1024 MiB of memory"):
        bench.run(FORGE.replace("FORGED", bomb))

    assert bench.stored == []


def test_killed_worker_leaves_nothing_running(bench: Bench, docker_engine: DockerEngine) -> None:
    client = docker_engine.client
    code = (
        "import sys; from pathlib import Path; from tests.transform_bench import *; "
        "from openreg_airflow.transform.engine import *; "
        "url, image, folder = sys.argv[1:]; "
        "bench = Bench(Path(folder), 'container', connect(EngineAddress(url)), image); "
        "bench.source('trades', TRADES); "
        "bench.run('def transform(inputs, context):\\n  while True: pass', key='victim')"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, docker_engine.url, bench.image, str(bench.folder)],
        cwd=Path(__file__).parents[2],
    )
    try:
        wait_until(lambda: bool(ours(client, "running")))
        # Into the loop: the runner has read its request and the script runs.
        wait_until(lambda: cpu_seconds(client, ours(client)[0]["Id"]) > 1)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    wait_until(lambda: not ours(client, "running"))

    assert [one["Labels"][TASK] for one in ours(client)] == ["victim"]
    bench.run(RETURN_TRADES, key="victim")
    assert ours(client) == []


def cpu_seconds(client: APIClient, container_id: str) -> float:
    stats: Any = client.stats(container_id, stream=False, one_shot=True)
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def test_remains_of_others_are_reaped_only_when_expired(bench: Bench, client: APIClient) -> None:
    made = {}
    for name, expires in (("old", time.time() - 1), ("live", time.time() + 600)):
        labels = {OURS: "1", TASK: name, EXPIRES: str(int(expires))}
        made[name] = client.create_container(bench.image, labels=labels)["Id"]
        client.create_volume(f"openreg-test-{name}", labels=labels)
    try:
        bench.run(RETURN_TRADES)
        left = ours(client)
        volumes = client.volumes(filters={"label": OURS})["Volumes"]
    finally:
        client.remove_container(made["live"], force=True)
        client.remove_volume("openreg-test-live")

    assert [one["Id"] for one in left] == [made["live"]]
    assert [one["Name"] for one in volumes] == ["openreg-test-live"]


def test_kill_from_another_thread_ends_the_run_within_seconds(
    bench: Bench, client: APIClient
) -> None:
    def kill_soon() -> None:
        threading.Timer(0.2, bench.fences[-1].kill).start()

    started = time.monotonic()
    with on_line("ready", kill_soon), pytest.raises(SandboxUnavailableError, match="was killed"):
        bench.run(WAIT)

    assert time.monotonic() - started < 10
    # The other thread may still wait for the engine.
    wait_until(lambda: not ours(client))


def test_container_removed_from_outside_is_a_transient_error(
    bench: Bench, client: APIClient
) -> None:
    def remove() -> None:
        fence: Any = bench.fences[-1]
        client.kill(fence.id)

    with on_line("ready", remove), pytest.raises(SandboxUnavailableError, match="from outside"):
        bench.run(WAIT)


def test_inputs_that_nobody_may_read_are_copied_in(bench: Bench) -> None:
    bench.source("trades", TRADES, mode=0o600)

    assert bench.run(RETURN_TRADES)["trades"].rows == 3


def test_inputs_are_copied_when_the_engine_sees_other_files(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twin = tmp_path / "twin"
    twin.write_bytes(bytes(bench.inputs["trades"].stat().st_size))
    bound = handover.bound

    def as_another_machine_sees_it(inputs: dict[str, Path]) -> list[Mount]:
        return bound(dict.fromkeys(inputs, twin))

    monkeypatch.setattr(handover, "bound", as_another_machine_sees_it)

    assert bench.run(RETURN_TRADES)["trades"].rows == 3
    assert "does not see this machine's files: copying them" in caplog.text


def test_inputs_are_copied_when_the_engine_has_no_such_path(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bound = handover.bound

    def as_another_machine_sees_it(inputs: dict[str, Path]) -> list[Mount]:
        mounts = bound(inputs)
        for mount in mounts:
            mount["Source"] += ".not-there"
        return mounts

    monkeypatch.setattr(handover, "bound", as_another_machine_sees_it)

    assert bench.run(RETURN_TRADES)["trades"].rows == 3
    assert "does not see this machine's files: copying them" in caplog.text


def test_missing_image_is_named_with_the_way_to_build_it(bench: Bench) -> None:
    bench.image = "openreg-sandbox:nobody-built-this"

    with pytest.raises(SandboxUnavailableError, match="there is no sandbox image") as caught:
        bench.run(RETURN_TRADES)

    assert "openreg sandbox build" in (caught.value.hint or "")


def test_image_of_another_version_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openreg_airflow.transform.image_contract.runner_digest", lambda: "another")

    with pytest.raises(SandboxUnavailableError, match="was not built by this version"):
        bench.run(RETURN_TRADES)


def test_image_holds_neither_airflow_nor_setuid_programs(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.run(
        """
        import importlib.util, os, stat

        def transform(inputs, context):
            names = ("airflow", "openreg_airflow", "pip", "sqlalchemy", "requests")
            print("found", [name for name in names if importlib.util.find_spec(name)])
            marked = []
            for folder, _, files in os.walk("/"):
                if folder.startswith(("/proc", "/sys", "/dev")):
                    continue
                for name in files:
                    mode = os.lstat(os.path.join(folder, name)).st_mode
                    if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                        marked.append(name)
            print("setuid", marked)
            return inputs["trades"]
        """
    )

    assert "found []" in printed(caplog)
    assert "setuid []" in printed(caplog)
