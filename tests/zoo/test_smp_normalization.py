"""How images are normalized for models of segmentation-models-pytorch: read by albumentations, as there, and back."""

import json

import albumentations
import numpy as np
import pytest
import torch

from kseg import zoo
from kseg.checkpoints import TRANSFORMS, export_smp, read_normalize, write_normalize
from tests.checkpoints import pytorch

pytestmark = pytest.mark.usefixtures("numpy_initializers", "torchvision")

SMALL = {"encoder_weights": None, "encoder_depth": 3, "filters": (8, 8, 8), "doubling": True}
OWN = {"name": "resnet18", "mean": [120.0, 130.0, 90.0], "std": [50.0, 60.0, 70.0]}


@pytest.mark.parametrize(
    ("encoder", "channels", "pixels", "greatest"),
    [("resnet18", 3, {}, 255), (OWN, 3, {"range": [0, 4095]}, 4095), (OWN, 1, {}, 255), (OWN, 4, {}, 255)],
)
def test_albumentations_prepares_images_as_the_model_does(encoder, channels, pixels, greatest, tmp_path):
    import segmentation_models_pytorch as smp

    model = zoo.unet(2, encoder=encoder, input_shape=(None, None, channels), **SMALL)
    model.pixels = pixels
    export_smp(model, tmp_path / "ours")
    image = (
        np.random.default_rng(0)
        .integers(0, greatest + 1, (64, 72, channels))
        .astype("uint8" if greatest < 256 else "uint16")
    )
    prepared = albumentations.Compose.from_pretrained(tmp_path / "ours")(image=image)["image"]
    network = smp.from_pretrained(tmp_path / "ours").eval()
    with torch.inference_mode():
        found = network(torch.from_numpy(prepared.transpose(2, 0, 1)[None])).numpy().transpose(0, 2, 3, 1)
    scaled = (image[None] * (255 / greatest)).astype("float32")
    expected = pytorch.logits(model, scaled)
    pytorch.assert_same([found], [np.asarray(expected)])
    again = zoo.load(tmp_path / "ours")
    assert again.pixels == pixels and (again.arguments["encoder"] == "resnet18") == (encoder == "resnet18")
    pytorch.assert_same([pytorch.logits(again, scaled)], [np.asarray(expected)])


def test_what_the_transforms_of_a_folder_do_is_read_or_named(tmp_path):
    import segmentation_models_pytorch as smp

    smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(8, 8, 8)).save_pretrained(tmp_path)
    pad = albumentations.PadIfNeeded(None, None, pad_height_divisor=32, pad_width_divisor=32)
    normalize = albumentations.Normalize(mean=0.5, std=0.25)
    transforms = [albumentations.Compose([albumentations.Resize(64, 96)]), pad, normalize]
    albumentations.Compose(transforms).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=rf"{TRANSFORMS}: kseg does not repeat Resize of albumentations"):
        model = zoo.load(tmp_path)
    assert model.arguments["encoder"] == {"name": "resnet18", "mean": [127.5] * 3, "std": [63.75] * 3}
    albumentations.Compose([albumentations.Normalize(mean=(0.5,), std=(0.25,))]).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=rf"{TRANSFORMS}: mean must have 3 numbers, one for each channel, got \[0\.5\]"
    ):
        zoo.load(tmp_path)
    for content in ("{", "[]", json.dumps({"transform": {"transforms": [3]}})):
        (tmp_path / TRANSFORMS).write_text(content)
        with pytest.raises(ValueError, match=rf"{TRANSFORMS} is damaged"):
            zoo.load(tmp_path)


def test_constants_for_images_of_0_to_255_without_a_scale_are_read(tmp_path):
    mean, std = (123.675, 116.28, 103.53), (50.0, 60.0, 70.0)
    transform = albumentations.Normalize(mean=mean, std=std, max_pixel_value=1.0)
    albumentations.Compose([transform]).save_pretrained(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype("uint8")
    found = read_normalize(tmp_path, 3)
    ours = (image / found.limit - found.mean) / found.std
    np.testing.assert_allclose(ours, transform(image=image)["image"], rtol=1e-5, atol=1e-6)
    assert found.limit == 255  # so that nothing else is stored about the pixels


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("std", [0, 1, 1], r"must be positive, got \[0, 1, 1\]"),
        ("std", [0.5, "a", 1], 'must be finite numbers, got "a"'),
        ("mean", [0.5, None, 1], "must be finite numbers, got null"),
        ("max_pixel_value", None, "must be finite numbers, got null"),
        ("max_pixel_value", 0, "must be positive, got 0"),
    ],
)
def test_impossible_constants_are_named(field, value, problem, tmp_path):
    content = write_normalize([0.5] * 3, [0.5] * 3)
    content["transform"]["transforms"][0][field] = value
    (tmp_path / TRANSFORMS).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"{TRANSFORMS}: {field} {problem}$"):
        read_normalize(tmp_path, 3)


@pytest.mark.parametrize("pixels", [{"bands": [3, 2, 1]}, {"range": "percentile"}, {"range": [10, 255]}])
def test_what_albumentations_cannot_repeat_is_named(pixels, tmp_path):
    model = zoo.unet(2, encoder="resnet18", **SMALL)
    model.pixels = pixels
    with pytest.raises(ValueError, match=r"cannot repeat .* for image files, only a range from 0 on: prepare"):
        export_smp(model, tmp_path / "ours")
    assert not any(tmp_path.iterdir())
