"""The reader against PyTorch itself, and against legacy files that should not be read."""

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kseg.checkpoints import pickle_guard, pickle_stream, reader
from kseg.encoders.efficientnet_lite import weight_file


def save(content: Any, path: Path, archive: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    return path


both_formats = pytest.mark.parametrize("archive", [False, True], ids=["legacy", "zip"])


class Evil:
    """Pickles as a call of `open(path, "w")`: a file appears where it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


class Storage:
    def __init__(self, count: int, key: str = "0") -> None:
        self.reference = ("storage", torch.FloatStorage, key, "cpu", count, None)


class Tensor:
    """Pickles as PyTorch's tensors do, whatever the numbers."""

    def __init__(self, storage: Storage, offset: int, shape: tuple, strides: tuple) -> None:
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self) -> tuple:
        return torch._utils._rebuild_tensor_v2, self.arguments


def write(path: Path, content: Any, *, keys: Any = ("0",), numbers: int = 4, protocol: int = 2) -> Path:
    """Writes a file in the legacy format with one storage of the numbers 0, 1, ..."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return thing.reference if isinstance(thing, Storage) else None

    buffer = io.BytesIO()
    for part in (pickle_stream.MAGIC, pickle_stream.PROTOCOL, {"little_endian": True}, content, list(keys)):
        Pickler(buffer, protocol).dump(part)
    buffer.write(numbers.to_bytes(8, "little") + np.arange(numbers, dtype="<f4").tobytes())
    path.write_bytes(buffer.getvalue())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        reader.read(path)
    message = str(error.value)
    assert path.name in message and "\n" not in message
    return message


def test_the_imagenet_weights_are_what_pytorch_reads():
    path = weight_file("efficientnet_lite0")
    expected = torch.load(path, weights_only=True)
    found = reader.read(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy(), strict=True)


NUMBERS = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


@both_formats
@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_number_type_keeps_its_values(dtype, archive, tmp_path):
    tensor = torch.arange(-3, 9).reshape(3, 4).to(getattr(torch, dtype))
    found = reader.read(save({"a": tensor}, tmp_path / "weights.pth", archive))
    np.testing.assert_array_equal(found["a"], tensor.numpy(), strict=True)


@both_formats
def test_bfloat16_arrives_as_float32(archive, tmp_path):
    tensor = torch.linspace(-5, 5, 7).bfloat16()
    found = reader.read(save({"a": tensor}, tmp_path / "weights.pth", archive))
    np.testing.assert_array_equal(found["a"], tensor.float().numpy(), strict=True)


@both_formats
def test_views_scalars_parameters_and_nested_containers_are_read(archive, tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    content = {
        "state": collections.OrderedDict(whole=whole, turned=whole.T, part=whole[1::2, 2:5]),
        "list": [torch.tensor(7), torch.nn.Parameter(torch.ones(2)), torch.zeros(0, 3)],
        "epoch": 3,
        "name": "a",
    }
    found = reader.read(save(content, tmp_path / "weights.pth", archive))
    assert list(found) == ["state.whole", "state.turned", "state.part", "list.0", "list.1", "list.2"]
    np.testing.assert_array_equal(found["state.turned"], whole.numpy().T)
    np.testing.assert_array_equal(found["state.part"], whole.numpy()[1::2, 2:5])
    assert found["list.0"] == 7 and found["list.1"].tolist() == [1, 1] and found["list.2"].shape == (0, 3)


@both_formats
def test_a_module_is_what_pytorch_reads(archive, tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    module.add_module("tied", module[0])  # a storage of two tensors
    path = save(module.state_dict(), tmp_path / "weights.pth", archive)
    expected = torch.load(path, weights_only=True)
    found = reader.read(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy(), strict=True)


@both_formats
def test_arrays_can_be_written_to(archive, tmp_path):
    found = reader.read(save({"a": torch.zeros(2)}, tmp_path / "weights.pth", archive))
    found["a"][0] = 1


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_call_is_refused_and_does_not_run(protocol, tmp_path):
    mark = tmp_path / "mark"
    refusal(write(tmp_path / "weights.pth", {"a": Evil(mark)}, protocol=protocol))
    assert not mark.exists()


@pytest.mark.parametrize("place", range(5))
def test_a_call_is_refused_in_each_of_the_five_pickles(place, tmp_path):
    mark = tmp_path / "mark"
    parts = [pickle_stream.MAGIC, pickle_stream.PROTOCOL, {"little_endian": True}, {}, []]
    parts[place] = [parts[place], Evil(mark)]
    path = tmp_path / "weights.pth"
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    refusal(path)
    assert not mark.exists()


def test_nothing_before_the_refused_call_runs_either(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(pickle_guard.Tensor, "__init__", lambda self, *arguments: made.append(arguments))
    tensor = Tensor(Storage(4), 0, (4,), (1,))
    assert "open" in refusal(write(tmp_path / "weights.pth", [tensor, Evil(tmp_path / "mark")]))
    assert not made


DOUBLED = b")" + b"2\x86" * 22
"""A tuple of two of a tuple of two ...: to hash or to show it takes 2 ** 22 steps."""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"}" + DOUBLED + b"Ns.", id="tuple as a key"),
        pytest.param(b"}(" + DOUBLED + b"Nu.", id="tuple among keys"),
        pytest.param(b"(" + DOUBLED + b"Nd.", id="tuple as a key of a finished dictionary"),
        pytest.param(b"ccollections\nOrderedDict\n(]" + DOUBLED + b"N\x86atR.", id="tuple as an ordered key"),
        pytest.param(b"(U\x07storage" + DOUBLED + b"U\x010U\x03cpuK\x04tQ.", id="tuple in a reference"),
        pytest.param(b"ios\nsystem\n(S'true'\no.", id="instance of a class"),
        pytest.param(b"\x82\x01.", id="extension registry"),
        pytest.param(b"ctorch._utils\n_rebuild_parameter\n}S'a'\nNsb.", id="attributes of a function"),
        pytest.param(b"ccollections\nOrderedDict\n}S'a'\nNsb.", id="attributes of a class"),
        pytest.param(b"cbuiltins\neval\n(S'1'\ntR.", id="eval"),
        pytest.param(b"ctorch\nload\n.", id="another name of an allowed module"),
        pytest.param(b"r\xff\xff\xff\x7f.", id="memo beyond the file"),
    ],
)
def test_hand_written_programs_are_refused(program, tmp_path):
    parts = [pickle.dumps(part, 2) for part in (pickle_stream.MAGIC, pickle_stream.PROTOCOL, {"little_endian": True})]
    path = tmp_path / "weights.pth"
    path.write_bytes(b"".join([*parts, program, pickle.dumps([], 2)]))
    assert len(refusal(path)) < 200


@pytest.mark.parametrize("place", range(5))
def test_what_takes_too_long_to_show_is_not_shown(place, tmp_path):
    parts = [
        pickle.dumps(part, 2) for part in (pickle_stream.MAGIC, pickle_stream.PROTOCOL, {"little_endian": True}, {}, [])
    ]
    parts[place] = DOUBLED + b"." if place < 4 else b"]" + DOUBLED + b"a."
    path = tmp_path / "weights.pth"
    path.write_bytes(b"".join(parts) + bytes(8))
    assert len(refusal(path)) < 200


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (4, (1,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (10**12,), (0,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), ()),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides, tmp_path):
    refusal(write(tmp_path / "weights.pth", {"a": Tensor(Storage(4), offset, shape, strides)}))


def test_a_storage_declared_larger_than_it_is_is_refused(tmp_path):
    content = {"a": Tensor(Storage(9), 0, (9,), (1,)), "b": Tensor(Storage(4), 0, (4,), (1,))}
    refusal(write(tmp_path / "weights.pth", content))
    refusal(write(tmp_path / "weights.pth", {"a": Tensor(Storage(10**15), 0, (4,), (1,))}, numbers=4))


def test_a_storage_without_a_tensor_or_a_tensor_without_storage_is_refused(tmp_path):
    tensor = Tensor(Storage(4), 0, (4,), (1,))
    refusal(write(tmp_path / "weights.pth", {"a": tensor}, keys=["1"]))
    refusal(write(tmp_path / "weights.pth", {"a": tensor}, keys=[]))


def test_every_truncation_is_reported(tmp_path):
    content = save({"a": torch.arange(9.0), "b": torch.ones(2, 2)}, tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        refusal(path)


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
