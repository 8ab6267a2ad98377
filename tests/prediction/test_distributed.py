"""Runs on a cluster of a fake in this process, whose workers end as the test wants, against those without one."""

import contextlib
import itertools
import json
import sys
import time
from types import SimpleNamespace

import pytest
import ray

import kseg
from kseg import engines
from kseg.cli import _ray
from kseg.engines import keras_engines
from kseg.prediction import Place, Pool, Progress, Worker, plan
from kseg.prediction.cluster import Plan
from kseg.prediction.distributed import ATTEMPTS
from kseg.prediction.pool import RemoteWorker
from tests.cli.command import kseg_command, refused
from tests.prediction.conftest import PIXELS, TILE, files

pytestmark = pytest.mark.usefixtures("numpy_initializers", "loaded_once")

FORMATS = "png,npy,coco,parquet"


@pytest.fixture(scope="module")
def weights(save):
    return save(3, ["background", "leaf", "spot"])


class Cluster:
    """Stands for `kseg.prediction.Pool`: does tasks in this process, the last one first; `ends` says which end it."""

    def __init__(self, ends=lambda task: False):
        self.ends, self.tasks, self.labeled = ends, [], []

    def __call__(self, ray, job, plan, environment, version):
        self.worker = Worker(job)
        return self

    @property
    def is_busy(self):
        return bool(self.tasks)

    def fill(self, next_task):
        while len(self.tasks) < 4 and not any(task.alone for task in self.tasks):
            if (task := next_task(not self.tasks)) is None:
                return
            self.tasks.append(task)

    def wait(self, seconds):
        if not self.tasks:
            time.sleep(0.01)
            return []
        task = self.tasks.pop()
        self.labeled += [item.name for item in task.items] if task.place is None else [task.number]
        ended = self.ends(task)
        if task.place is None:
            done = self.worker.label(task.items[: len(task.items) // 2] if ended else task.items)
        else:
            done = self.worker.tile(task.items[0], task.place)
        return [(task, None if ended else done)]

    def close(self):
        self.tasks = []


@pytest.fixture
def run(weights, photos, monkeypatch):
    """Runs the command without or on a cluster, and returns what it prints and the files that it writes."""
    monkeypatch.setattr(_ray, "SPREAD", PIXELS)
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2}}])
    monkeypatch.setattr(_ray, "connected", lambda address: contextlib.nullcontext(ray))

    def run(out, cluster=None, *options, places=(photos, photos / "other/03.png")):
        monkeypatch.setattr(_ray, "Pool", cluster)
        told = ("--weights", weights, "-o", out, "--format", FORMATS, "--tile", TILE, *options)
        done = kseg_command("predict", *places, *told, *["--ray"] * (cluster is not None))
        return done, files(out)

    return run


def same(done, other):
    """Checks that two runs, with their files, gave the same."""
    assert done[0].exit_code == other[0].exit_code == 1, done[0].output + other[0].output
    assert done[0].stderr == other[0].stderr and "broken.png: not an image" in done[0].stderr
    assert "doubtful.tif: band 4 of 4 is dropped as opacity" in done[0].stderr
    assert done[0].stdout.splitlines()[1:] == other[0].stdout.splitlines()[1:]
    assert done[1] == other[1] and len(done[1]) > 60


def test_workers_that_end_lose_and_double_nothing(run, tmp_path):
    plain = run(tmp_path / "plain")
    seen = set()

    def ends(task):
        """Every second task and every second tile, the first time."""
        key = task.items[0].name, task.number, task.place is not None
        is_first = key not in seen and not task.alone
        seen.add(key)
        return is_first and len(seen) % 2 == 0

    cluster = Cluster(ends)
    same(run(tmp_path / "ray", cluster), plain)
    assert {0, 1, 2, 3, 4, 5} < set(cluster.labeled)  # tiles
    again = Cluster()
    done = run(tmp_path / "ray", again)
    same(done, plain)
    assert again.labeled == ["broken"] and "27 before" in done[0].stdout


def test_an_image_that_ends_every_worker_is_reported_and_the_others_are_done(run, tmp_path):
    cluster = Cluster(lambda task: "05" in [item.name for item in task.items])
    done, written = run(tmp_path / "out", cluster)
    assert done.exit_code == 1 and "26 of 28 labeled" in done.stdout
    assert f"05.png: {ATTEMPTS} workers ended while they labeled it, probably because memory ran out" in done.stderr
    plain = run(tmp_path / "plain")[1]
    assert {name for name in plain if name not in written} == {f"{kind}/05.{suffix}" for kind, suffix in
            (("masks", "png"), ("labels", "npy"), ("overlays", "jpg"))}  # fmt: skip
    assert all(written[name] == content for name, content in plain.items() if name.count("/") and name in written)
    same(run(tmp_path / "out", Cluster()), run(tmp_path / "plain"))


def test_a_tile_that_ends_every_worker_is_an_error_of_its_image(run, photos, tmp_path):
    cluster = Cluster(lambda task: task.place is not None and task.number == 2)
    done, written = run(tmp_path / "out", cluster, places=[photos / "large.png", photos / "00.png"])
    assert f"large.png: {ATTEMPTS} workers ended while they labeled it" in done.stderr
    assert "masks/00.png" in written and "masks/large.png" not in written


def test_a_stopped_run_is_continued_by_the_same_command_only(run, weights, photos, tmp_path):
    def stop(task):
        if "12" in [item.name for item in task.items]:
            raise KeyboardInterrupt
        return False

    out = tmp_path / "out"
    done, _ = run(out, Cluster(stop))
    assert done.exit_code == 130 and done.stderr == "interrupted: the same command does what is left\n"
    before = {path: path.stat().st_mtime_ns for path in out.glob("masks/*")}
    records = [json.loads(path.read_text()) for path in out.glob(".kseg-predict/*/*.json")]
    assert len(records) == len(before) > 0
    told = ("--weights", weights, "-o", out, "--ray")
    text = refused("predict", photos, *told, "--format", FORMATS, "--tile", 64)
    place = out / ".kseg-predict"
    assert text == (
        f"error: {out} has results of a run with another --tile: name another folder with -o, or remove {place} to "
        "begin anew\n"
    )
    text = refused("predict", photos, "--weights", weights, "-o", out)
    assert text == f"error: {out} has an unfinished run with --ray: add --ray to continue it, or remove {place}\n"
    same(run(out, Cluster()), run(tmp_path / "plain"))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    run(out)  # without Ray: its results replace those of the other run
    cluster = Cluster()
    run(out, cluster)
    assert len([name for name in cluster.labeled if isinstance(name, str)]) == 28
    (place / "job.json").write_text("{")
    for option in ([], ["--ray"]):
        text = refused("predict", photos, "--weights", weights, "-o", out, *option)
        assert text == f"error: {place / 'job.json'} is damaged: remove {place} to begin anew\n"
    assert len(list(place.glob("*/*.json"))) == 28


def test_a_new_content_is_labeled_again(run, photos, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("00.png", "01.png"):
        (tmp_path / "in" / name).write_bytes((photos / name).read_bytes())
    run(tmp_path / "out", Cluster(), places=[tmp_path / "in"])
    (tmp_path / "in/01.png").write_bytes((photos / "large.png").read_bytes())
    cluster = Cluster()
    done, written = run(tmp_path / "out", cluster, places=[tmp_path / "in"])
    assert done.exit_code == 0 and cluster.labeled[0] == "01" and "00" not in cluster.labeled
    assert written == run(tmp_path / "plain", places=[tmp_path / "in"])[1]


def test_a_worker_that_does_not_see_the_results_says_so(tmp_path):
    def job(token):
        return SimpleNamespace(out=str(tmp_path / "elsewhere"), token=token, description=dict)

    Progress(Place(tmp_path / "elsewhere")).begin(job("other"))  # a folder of the same name on its own disk
    wanted = r"does not see the folder .*elsewhere of this run: give a folder that all machines share"
    with pytest.raises(ValueError, match=wanted):
        Worker(job("this"))


def test_what_ends_a_worker_while_it_starts_is_told(capsys, monkeypatch):
    exceptions = ray.exceptions
    killed, told = [], {}

    def start(error):
        def get(each):
            raise error

        numbers = itertools.count()
        actor = lambda *_: SimpleNamespace(ready=SimpleNamespace(remote=lambda: next(numbers)))  # noqa: E731
        made = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=actor))
        fake = SimpleNamespace(
            put=lambda job: job, remote=lambda _: made, get=get, exceptions=exceptions,
            wait=lambda waiting, num_returns, timeout: (waiting if error else [], []),
            kill=lambda worker, no_restart=False: killed.append(no_restart),
        )  # fmt: skip
        return Pool(fake, None, Plan(1, 4, 0), {}, "")

    for name, error in {
        "missing": exceptions.RayActorError(error_msg="Traceback\nNo module named 'kseg'\n", actor_init_failed=True),
        "crash": exceptions.RayActorError(error_msg="The actor died\nSIGSEGV"),
        "memory": exceptions.OutOfMemoryError("killed due to the node running low on memory"),
    }.items():
        pool = start(error)
        with pytest.raises((ValueError, MemoryError)) as caught:
            for _ in range(3):
                pool.wait(0)
        told[name] = type(caught.value), str(caught.value)
    same_kseg = "install the same kseg and backend on every host"
    assert told["missing"] == (ValueError, f"a worker cannot start (No module named 'kseg'): {same_kseg}")
    assert told["crash"] == (ValueError, f"workers end while they start (SIGSEGV): {same_kseg}")
    assert told["memory"][0] is MemoryError and "with fewer --workers each has more memory" in told["memory"][1]
    assert killed == [True] * 4
    monkeypatch.setattr("kseg.prediction.pool.PATIENCE", -1)
    pool = start(None)
    pool.wait(0), pool.wait(0)
    assert capsys.readouterr().err == "waiting for 4 cores of the cluster: 1 of 1 workers have not started yet\n"


def test_all_workers_use_the_engine_that_the_command_has_chosen(monkeypatch):
    def fails(model):
        raise RuntimeError("no conversion")

    found = []
    for run, convert in ((engines.KerasRun, fails), (keras_engines.AutoRun, fails), (keras_engines.AutoRun, str)):
        monkeypatch.setattr("kseg.engines.keras_runner.choose", lambda engine, run=run: run)
        monkeypatch.setattr("kseg.engines.openvino_graph", convert)
        found.append(_ray._engine(None))
    assert found == ["keras", "keras", "openvino"]


def test_the_beginning_of_a_file_is_read(tmp_path):
    for place in (Place(tmp_path), Place("memory://beginning")):
        place.write("table", b"0123")
        assert [place.read("table", 2), place.read("table"), place.read("other", 2)] == [b"01", b"0123", None]


def test_a_backend_that_cannot_start_is_told(monkeypatch):
    def fails(job):
        raise RuntimeError("Traceback\nno CUDA driver")

    monkeypatch.setattr("kseg.prediction.pool.Worker", fails)
    fault = RemoteWorker(SimpleNamespace(folder="."), kseg.__version__).ready()
    assert fault.text.endswith(" (no CUDA driver): install the same kseg and backend on every host")


def test_a_full_disk_ends_the_run(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kseg.prediction.worker.write_image", full)
    done, _ = run(tmp_path, Cluster())
    assert done.exit_code == 1 and done.stderr.startswith("error: the disk is full: ")


def test_mistakes_are_one_line(weights, photos, tmp_path, monkeypatch):
    told = ("predict", photos, "--weights", weights, "-o", tmp_path / "out")
    assert "--workers is for --ray" in refused(*told, "--workers", 2)
    assert "--int8 would calibrate in each worker: export the model once" in refused(*told, "--int8", photos, "--ray")
    assert "cannot be labeled with --ray: leave --ray out" in refused("predict", "-", *told[2:], "--ray", stdin=b"x")
    with pytest.raises(ValueError, match=r"^--workers 3: the cluster has 2 cores$"):
        plan([{"CPU": 1}, {"CPU": 1}], 3, on_gpus=True)
    with pytest.raises(ValueError, match=r"^--workers 2: the machines with GPUs have too few cores$"):
        plan([{"CPU": 1, "GPU": 2}], None, on_gpus=True)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "--ray needs Ray: pip install 'kseg[scale]'" in refused(*told, "--ray")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    text = refused(*told, "--ray", "127.0.0.1:1")
    assert "there is no Ray cluster at 127.0.0.1:1 (" in text and "start one with `ray start --head`" in text
