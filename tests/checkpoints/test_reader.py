"""The reader compared with PyTorch, and files that it refuses."""

import argparse
import collections
import datetime
import io
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from kseg.checkpoints import pickle_guard, pickle_stream, reader


def save(content: Any, path: Path, kind: str = "legacy") -> Path:
    if kind == "safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


PARTS = (pickle_stream.MAGIC, pickle_stream.PROTOCOL, {"little_endian": True}, {}, [])  # of the legacy format
PICKLES = [pickle.dumps(part, 2) for part in PARTS]
both_formats = pytest.mark.parametrize("kind", ["legacy", "zip"])


class Evil:
    """Pickles as a call of `open(path, "w")`, which leaves a file if it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


class Storage:
    def __init__(self, count: int, key: str = "0") -> None:
        self.reference = ("storage", torch.FloatStorage, key, "cpu", count, None)


class Tensor:
    """Pickles like a tensor of PyTorch, with any numbers."""

    def __init__(self, storage: Storage, offset: int, shape: tuple, strides: tuple) -> None:
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self) -> tuple:
        return torch._utils._rebuild_tensor_v2, self.arguments


def write(path: Path, content: Any, *, keys: Any = ("0",), protocol: int = 2) -> Path:
    """Writes a file in the legacy format with one storage of the numbers 0, 1, 2, 3."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return thing.reference if isinstance(thing, Storage) else None

    buffer = io.BytesIO()
    for part in (*PARTS[:3], content, list(keys)):
        Pickler(buffer, protocol).dump(part)
    buffer.write((4).to_bytes(8, "little") + np.arange(4, dtype="<f4").tobytes())
    path.write_bytes(buffer.getvalue())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        reader.read(path)
    message = str(error.value)
    assert path.name in message and "\n" not in message
    return message


NUMBERS = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.mark.parametrize("kind", ["legacy", "zip", "safetensors"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_number_type_keeps_its_values_and_bfloat16_becomes_float32(dtype, kind, tmp_path):
    tensor = (1.37 * torch.arange(-3, 9)).reshape(3, 4).to(getattr(torch, dtype))
    found = reader.read(save({"a": tensor}, tmp_path / "weights.pth", kind))
    expected = tensor.float() if dtype == "bfloat16" else tensor
    np.testing.assert_array_equal(found["a"], expected.numpy(), strict=True)
    found["a"][0] = 1  # arrays can be written to


@both_formats
def test_views_scalars_parameters_and_nested_containers_are_read(kind, tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    content = {
        "state": collections.OrderedDict(whole=whole, turned=whole.T, part=whole[1::2, 2:5]),
        "list": [torch.tensor(7), torch.nn.Parameter(torch.ones(2)), torch.zeros(0, 3)],
        "epoch": 3,
        "name": "a",
    }
    found = reader.read(save(content, tmp_path / "weights.pth", kind))
    assert list(found) == ["state.whole", "state.turned", "state.part", "list.0", "list.1", "list.2"]
    np.testing.assert_array_equal(found["state.turned"], whole.numpy().T)
    np.testing.assert_array_equal(found["state.part"], whole.numpy()[1::2, 2:5])
    assert found["list.0"] == 7 and found["list.1"].tolist() == [1, 1] and found["list.2"].shape == (0, 3)


BESIDE = {
    "namespace": argparse.Namespace(lr=0.01, layers=[1, 2]),
    "score": np.float64(0.8),
    "array": np.arange(3),
    "random": np.random.RandomState(0).get_state(),
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
    "type": torch.float16,
    "set": {1, 2},
    "path": PurePosixPath("runs/a"),
    "default": collections.defaultdict(list, {"a": 1}),
    "recent": collections.deque([1.5, 2], 3),
    "counts": collections.Counter("aab"),
    "keys": {0.5: 1, (1, "a"): 2, None: 3, True: 4},
    "complex": 3 + 4j,
    "date": datetime.datetime(2024, 1, 1),
    "complex tensor": torch.zeros(2, dtype=torch.complex64),
}


@both_formats
@pytest.mark.parametrize("name", BESIDE)
def test_what_people_save_beside_the_tensors_is_no_obstacle(name, kind, tmp_path):
    content = {"model": {"a": torch.arange(3.0)}, "beside": BESIDE[name]}
    found = reader.read(save(content, tmp_path / "weights.pth", kind))
    assert found.pop("model.a").tolist() == [0, 1, 2]
    assert list(found) == (["beside"] if name == "complex tensor" else [])


@both_formats
def test_tensors_in_dictionaries_of_other_classes_are_read(kind, tmp_path):
    content = collections.defaultdict(dict, a={"b": torch.ones(1)})
    assert list(reader.read(save(content, tmp_path / "weights.pth", kind))) == ["a.b"]


def test_a_part_of_a_file_is_read_by_its_key(tmp_path):
    path = save({"model": {"a": torch.zeros(1)}, "ema": {"net": {"a": torch.ones(1)}}}, tmp_path / "weights.pth")
    assert {name: array.tolist() for name, array in reader.read(path, part="ema.net").items()} == {"a": [1]}
    with pytest.raises(ValueError, match=r"has no tensor below 'emo', only below model, ema"):
        reader.read(path, part="emo")
    with pytest.raises(ValueError, match=r"has no tensor below 'net', only below ema\.net"):
        reader.read(path, part="net")
    assert list(reader.read(path, without=["ema"])) == ["model.a"]
    with pytest.raises(ValueError, match=r"has no tensor below 'emo', only below model, ema"):
        reader.read(path, without=["emo"])
    assert "contains no tensor" in refusal(save({"epoch": 3}, tmp_path / "empty.pth"))


def test_tensors_of_types_that_numpy_lacks_are_refused_with_the_cure(tmp_path):
    path = save({"a": torch.zeros(2, dtype=torch.float8_e5m2)}, tmp_path / "weights.pth", "zip")
    assert "such as float8: convert them, tensor.float()" in refusal(path)
    path = save({"a": torch.zeros(2, dtype=torch.float8_e5m2)}, tmp_path / "weights.safetensors", "safetensors")
    assert "the type F8_E5M2, which is not read: convert them, tensor.float()" in refusal(path)


@both_formats
def test_a_module_is_what_pytorch_reads(kind, tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    module.add_module("tied", module[0])  # a storage of two tensors
    path = save(module.state_dict(), tmp_path / "weights.pth", kind)
    expected = torch.load(path, weights_only=True)
    found = reader.read(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy(), strict=True)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_call_is_refused_and_does_not_run(protocol, tmp_path):
    mark = tmp_path / "mark"
    refusal(write(tmp_path / "weights.pth", {"a": Evil(mark)}, protocol=protocol))
    assert not mark.exists()


DOUBLED = b")" + b"2\x86" * 22
"""A tuple of twice a tuple of twice ...: its hash and its text take 2 ** 22 steps."""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"}" + DOUBLED + b"Ns.", id="tuple as a key"),
        pytest.param(b"}(" + DOUBLED + b"Nu.", id="tuple among keys"),
        pytest.param(b"(" + DOUBLED + b"Nd.", id="tuple as a key of a finished dictionary"),
        pytest.param(b"ccollections\nOrderedDict\n(]" + DOUBLED + b"N\x86atR.", id="tuple as an ordered key"),
        pytest.param(b"(U\x07storage" + DOUBLED + b"U\x010U\x03cpuK\x04tQ.", id="tuple in a reference"),
        pytest.param(b"ctorch._utils\n_rebuild_parameter\n}S'a'\nNsb.", id="attributes of a function"),
        pytest.param(b"ctorch\nload\n.", id="another name of an allowed module"),
        pytest.param(b"r\xff\xff\xff\x7f.", id="memo beyond the file"),
        pytest.param(b"cos\nsystem\n(S'touch MARK'\ntR.", id="GLOBAL"),
        pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0atouch MARK\x85R.", id="STACK_GLOBAL"),
        pytest.param(b'cbuiltins\nexec\n(S\'open("MARK", "w")\'\ntR.', id="REDUCE on builtins"),
        pytest.param(b"\x82\x01.", id="EXT1"),
        pytest.param(b"\x83\x01\x00.", id="EXT2"),
        pytest.param(b"\x84\x01\x00\x00\x00.", id="EXT4"),
        pytest.param(b"(ios\nsystem\n.", id="INST"),
        pytest.param(b"(cos\nsystem\nS'touch MARK'\no.", id="OBJ"),
        pytest.param(b"ctorch._utils\n_rebuild_parameter\n(cos\nsystem\n(S'touch MARK'\ntRtR.", id="inside a tensor"),
        pytest.param(b"ccollections\nOrderedDict\n(tR(S'__setstate__'\ncos\nsystem\ndb.", id="BUILD"),
        pytest.param(b"Pos.system\n.", id="PERSID"),
        pytest.param(b"\x80\x02\x81.", id="NEWOBJ"),
        pytest.param(b"\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", id="BYTEARRAY8"),
        pytest.param(b"U\x01ab.", id="attributes of text"),
        pytest.param(b"U\x01a]a.", id="APPEND to text"),
        pytest.param(b"]U\x01aNs.", id="SETITEM of a list"),
        pytest.param(b"ctorch\nFloatStorage\n)R.", id="a storage that is called"),
        pytest.param(b"U\x0bos.system\x00)R.", id="text that is called"),
    ],
)
def test_hand_written_programs_are_refused_and_do_not_run(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr("os.system", lambda *arguments: ran.append(arguments))
    path = tmp_path / "weights.pth"
    path.write_bytes(b"".join([*PICKLES[:3], program, PICKLES[4]]))
    assert len(refusal(path)) < 200
    assert not ran and [file.name for file in tmp_path.iterdir()] == ["weights.pth"]


def test_a_file_with_changed_bytes_is_read_or_refused(tmp_path):
    content = {"a": torch.arange(24.0).reshape(4, 6), "b": [torch.ones(3).half(), 3, "x", None, (1, 2, 3, 4)]}
    whole = save(content, tmp_path / "whole.pth").read_bytes()
    end = whole.index(torch.arange(24.0).numpy().tobytes())  # what comes before is structure
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(whole)
        for place in random.integers(0, end, 2):
            changed[place] = random.integers(0, 256)
        (tmp_path / "changed.pth").write_bytes(changed)
        try:
            reader.read(tmp_path / "changed.pth")
        except ValueError as error:
            assert "changed.pth" in str(error) and "\n" not in str(error)


def test_one_list_does_not_fill_many_dictionaries():
    """Python 2 wrote OrderedDict with a list of pairs: 300 kilobytes could take gigabytes."""
    pairs = b"".join(b"M" + number.to_bytes(2, "little") + b"K\x01\x86" for number in range(20000))
    program = b"(](" + pairs + b"eq\x00" + b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 20000 + b"t."
    found = pickle_guard.unpickle(io.BytesIO(program))
    assert [len(item) for item in found if isinstance(item, dict)] == [20000] + [0] * 19999


@pytest.mark.parametrize("place", range(5))
def test_a_call_or_what_takes_too_long_to_show_is_refused_in_each_of_the_five_pickles(place, tmp_path):
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    for program in (pickle.dumps(Evil(mark), 2), b"]" + DOUBLED + b"a."):
        path.write_bytes(b"".join([*PICKLES[:place], program, *PICKLES[place + 1 :]]) + bytes(8))
        assert len(refusal(path)) < 200
    assert not mark.exists()


VIEWS = (
    *((0, (5,), (1,)), (4, (1,), (1,)), (0, (2, 2), (3, 1)), (0, (10**12,), (0,))),
    *((-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2,), ())),
)
WHOLE = Tensor(Storage(4), 0, (4,), (1,))


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        *(({"a": Tensor(Storage(4), *view)}, ["0"]) for view in VIEWS),
        ({"a": Tensor(Storage(9), 0, (9,), (1,)), "b": WHOLE}, ["0"]),
        ({"a": Tensor(Storage(10**15), 0, (4,), (1,))}, ["0"]),
        ({"a": WHOLE}, ["1"]),
        ({"a": WHOLE}, []),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(content, keys, tmp_path):
    refusal(write(tmp_path / "weights.pth", content, keys=keys))


def test_containers_that_hold_each_other_are_refused(tmp_path):
    endless: list = []
    endless.append(endless)
    refusal(write(tmp_path / "endless.pth", {"a": endless}))
    doubled: list = [0]
    for _ in range(60):
        doubled = [doubled, doubled]  # 2 ** 60 paths in a kilobyte
    assert "over and over" in refusal(write(tmp_path / "doubled.pth", {"a": doubled}))


def test_views_that_would_fill_the_memory_are_refused(tmp_path):
    storage = Storage(4)
    content = {str(i): Tensor(storage, 0, (4,), (1,)) for i in range(100)}
    assert "far more than their storages" in refusal(write(tmp_path / "weights.pth", content))


def test_a_file_that_is_not_one_of_ours_is_named(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(42))
    assert "neither as a PyTorch file nor as safetensors" in refusal(path)
    path.write_bytes(b"\x89PNG not a checkpoint")
    assert "neither as a PyTorch file nor as safetensors" in refusal(path)
    with pytest.raises(FileNotFoundError, match="no weight file at"):
        reader.read(tmp_path / "none.pth")
