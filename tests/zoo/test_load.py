"""Models from checkpoints of other libraries, by name and by folder."""

import concurrent.futures
import hashlib

import keras
import numpy as np
import pytest
import torch

from kseg import pretrained, zoo
from kseg.zoo import torchvision as published
from tests.checkpoints import pytorch
from tests.layers.tracing import computed
from tests.zoo.cheap import CHEAP

pytestmark = pytest.mark.usefixtures("numpy_initializers", "torchvision")


@pytest.fixture
def network():
    """The FCN of torchvision, on the smallest ResNet."""
    from torchvision.models import resnet18
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    backbone = IntermediateLayerGetter(resnet18(), {"layer4": "out"})
    return pytorch.randomized(FCN(backbone, FCNHead(512, 21), None))


@pytest.fixture
def address(network, tmp_path, monkeypatch):
    """Publishes the network as torchvision does: the file name contains the first digits of the hash."""
    file = tmp_path / "aside.pth"
    torch.save(network.state_dict(), file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    file = file.rename(tmp_path / f"fcn_resnet18-{digits}.pth")
    arguments = {"encoder": "resnet18", "output_stride": 32}
    entry = published.Published(file.as_uri(), "fcn_dilated", arguments)
    monkeypatch.setitem(published.PUBLISHED, "fcn_resnet18", entry)
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    return file


def test_a_published_checkpoint_is_fetched_converted_and_kept(network, address, tmp_path):
    model = zoo.load("torchvision/fcn_resnet18")
    pixels = pytorch.image((65, 97))
    expected = pytorch.outputs(network, pixels)
    pytorch.assert_same([computed(model, pixels)], expected)
    assert model.classes[15] == "person" and model.palette[15] == (192, 128, 128)
    address.unlink()
    pytorch.assert_same([computed(zoo.load("torchvision/fcn_resnet18"), pixels)], expected)
    assert [file.suffix for file in (tmp_path / "home" / "weights").iterdir()] == [".safetensors"]


@pytest.mark.parametrize(
    ("builder", "fresh"),
    [
        ("deeplabv1", {"scores/branch_1_score"}),
        ("deeplabv2", {"scores/branch_1_score", "scores/branch_2_score"}),
        ("fcn8", {"score_32/conv", "fuse_16/score", "fuse_16/enlarge", "fuse_8/score", "fuse_8/enlarge"}),
    ],
)
def test_head_skip_initializes_the_layers_whose_shape_depends_on_the_class_count(builder, fresh, numpy_initializers):
    options = CHEAP[builder]
    first = zoo.build(builder, 5, **options)
    content = {key: keras.ops.convert_to_numpy(value) for key, value in pretrained.weight_keys(first).items()}
    second = zoo.build(builder, 3, **options)
    with pytest.warns(UserWarning) as caught:
        pretrained.load(second, content, head="skip")
    listed = str(caught[0].message).partition("initialized randomly: ")[2].split("; ")
    assert set(listed) == fresh
    for key, variable in pretrained.weight_keys(second).items():
        if key.rpartition("/")[0] not in fresh:
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), content[key])


def test_two_loads_at_once_convert_a_checkpoint_once(address, tmp_path, monkeypatch):
    converted, convert = [], published._convert_file
    monkeypatch.setattr(published, "_convert_file", lambda *arguments: converted.append(convert(*arguments)))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        files = list(pool.map(published.fetch, ["fcn_resnet18"] * 2))
    assert files[0] == files[1] and len(converted) == 1
    assert list((tmp_path / "home" / "weights").iterdir()) == files[:1]


def test_the_license_of_the_table_precedes_the_download(monkeypatch, tmp_path, capsys):
    class Reached(Exception):
        pass

    def download(*arguments, **options):
        assert "torchvision/fcn_resnet50-coco_voc has the license BSD-3-Clause\n" in capsys.readouterr().err
        raise Reached

    monkeypatch.setenv("KSEG_HOME", str(tmp_path))
    monkeypatch.setattr("kseg.download.fetch", download)
    with pytest.raises(Reached):
        zoo.load("torchvision/fcn_resnet50-coco_voc")


LOADERS = {
    "transformers": (zoo.load, ("folder",), "source, num_classes, strict, head"),
    "kseg": (zoo.load, ("model.safetensors",), "source, num_classes, strict, head"),
    "torchvision, by name": (zoo.load, ("torchvision/fcn_resnet50-coco_voc",), "source, num_classes, strict, head"),
    "torchvision": (
        published.load,
        ("model.pth", "deeplabv3"),
        "path, builder, encoder, num_classes, part, without",
    ),
    "authors": (zoo.authors.load, ("model.pth", "pidnet"), "path, builder, classes, auxiliary, part, without"),
    "segmentation-models-pytorch": (zoo.smp.load, ("model.pth", "FPN"), "encoder_name, encoder_weights, encoder_depth"),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_an_option_that_a_loader_does_not_have_is_named_beside_those_that_it_has(kind):
    load, arguments, options = LOADERS[kind]
    with pytest.raises(TypeError, match=rf"^(load\(\)|FPN) has no option 'heads': .*has {options}") as error:
        load(*arguments, heads=None)
    assert "\n" not in str(error.value)


def test_a_download_removed_by_another_process_is_no_error(address, tmp_path, monkeypatch):
    """As happens on file systems without locks."""
    save = pretrained.save

    def slow(*arguments, **options):
        for file in (tmp_path / "home" / "weights").glob("*.pth"):
            file.unlink()  # it was there until now
            return save(*arguments, **options)

    monkeypatch.setattr(pretrained, "save", slow)
    assert zoo.load("torchvision/fcn_resnet18").name == "fcn_dilated"


def test_a_checkpoint_of_another_model_leaves_nothing(address, tmp_path, monkeypatch):
    entry = published.PUBLISHED["fcn_resnet18"]
    wrong = published.Published(entry.url, "fcn_dilated", {"encoder": "resnet34", "output_stride": 32})
    monkeypatch.setitem(published.PUBLISHED, "fcn_resnet18", wrong)
    with pytest.raises(ValueError, match=r"missing encoder/layer1_2_conv1/kernel"):
        zoo.load("torchvision/fcn_resnet18")
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
