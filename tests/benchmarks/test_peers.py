"""Peers: their weights are those of kseg's encoder, and they train by kseg's recipes."""

import keras
import numpy as np
import pytest
import torch

from benchmarks import leaderboard, suite
from benchmarks.peers import run as peers
from benchmarks.peers import smp, training
from kseg import download, encoders, zoo
from kseg.training import Recipe

SUITE = """
[recipe]
epochs = 2
precision = "mixed_bfloat16"
[recipe.data]
name = "streets"
batch_size = 2
options = { count = 2, size = [33, 64] }
[recipe.loss]
class_weights = "median"
[recipe.optimizer]
ema = 0.5
[[models]]
name = "unet"
model = { builder = "unet" }
"""


def test_the_peers_encoder_gives_the_features_of_ours_but_for_the_finest():
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype("float32")
    pixels = keras.Input((None, None, 3))
    ours = encoders.extract(pixels, "efficientnet_lite0", weights="imagenet")
    expected = keras.Model(pixels, list(ours.by_stride.values())).predict_on_batch(image)
    encoder = smp.Unet(3).net.encoder.eval()
    with torch.no_grad():
        _, _, *found = encoder(torch.from_numpy((image.transpose(0, 3, 1, 2) - 127) / 128))
    for feature, reference in zip(found, expected[1:], strict=True):
        np.testing.assert_allclose(feature.numpy().transpose(0, 2, 3, 1), reference, atol=1e-3)


def test_the_peer_is_our_unet_but_for_16_channels_of_the_finest_feature():
    peer, ours = smp.Unet(11, pretrained=False), zoo.unet(11, encoder_weights=None)
    less = 16 * 9 * 32  # of the next convolution, which makes 32 channels at half the image's size
    assert smp.parameters(peer) == ours.count_params() - less
    assert smp.multiply_adds(peer, (64, 96)) == zoo.multiply_adds(ours, (64, 96)) - less * 32 * 48


def test_a_peer_is_trained_and_recorded_once(tmp_path, monkeypatch):
    """Two epochs of one step each; the library itself would refuse images of this size."""
    (tmp_path / "tiny.toml").write_text(SUITE)
    chosen, board = suite.load(tmp_path / "tiny.toml"), tmp_path / "board.csv"
    if keras.backend.backend() != "torch":  # their loss is that of kseg
        with pytest.raises(ValueError, match="peers need the PyTorch backend: set KERAS_BACKEND=torch"):
            peers.add_row(chosen, tmp_path / "runs", board)
        return
    peers.add_row(chosen, tmp_path / "runs", board)
    (row,) = leaderboard.read(board).to_dict("records")
    columns = ("name", "model", "epochs", "size", "backend")
    assert [row[name] for name in columns] == ["smp.Unet", "Unet", 2, "33x64", "torch"]
    assert row["peer"].startswith("segmentation-models-pytorch 0.")
    assert row["recipe"] == chosen.recipes["unet"].hash()
    assert 0 <= row["miou"] <= 1 and row["multiply_adds"] > 1e8
    assert row["weights_sha256"] == download.file_sha256(tmp_path / "runs/smp.Unet/best.safetensors")
    monkeypatch.setattr(training, "train", None)
    peers.add_row(chosen, tmp_path / "runs", board)  # there is nothing left to do


def test_the_averaged_weights_of_a_peer_are_those_of_keras():
    """From the first step's weights on, `average = 0.5 * average + 0.5 * weights`."""
    recipe = Recipe.from_dict(
        {"epochs": 1, "data": {"name": "streets"}, "model": {"builder": "unet"}, "optimizer": {"ema": 0.5}}
    )
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1))
    trainer = training._Trainer(Images(net), recipe, 3, lambda labels, logits: logits.square().mean())
    images, labels = np.ones((1, 4, 4, 3), "float32"), np.zeros((1, 4, 4), "uint8")
    weights = []
    for _ in range(3):
        trainer.step(images, labels)
        weights.append(net[0].weight.detach().numpy().copy())
    expected = 0.25 * weights[0] + 0.25 * weights[1] + 0.5 * weights[2]
    (averaged,) = [value for name, value in trainer.averaged.state_dict().items() if name.endswith("weight")]
    np.testing.assert_allclose(averaged.numpy(), expected, rtol=1e-5)


class Images(torch.nn.Module):
    """A net that takes images `(N, H, W, C)`."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": {"encoder_factor": 0.5}},
        {"optimizer": {"accumulate": 2}},
        {"selection": {"metric": "pixel_accuracy"}},
        {"model": {"builder": "unet", "encoder": "efficientnet_lite2"}},
        {"model": {"builder": "unet", "options": {"filters": [8, 8, 8, 8, 8]}}},
        {"precision": "mixed_float16"},
    ],
)
def test_a_recipe_that_peers_cannot_follow_is_refused(change):
    content = {"epochs": 3, "seed": 1, "data": {"name": "streets"}, "model": {"builder": "unet"}}
    content |= {"optimizer": {"ema": 0.9, "warmup_epochs": 1}, "loss": {"name": "dice"}, "precision": "mixed_bfloat16"}
    training._check(Recipe.from_dict(content))
    with pytest.raises(ValueError, match=r"peers know only the default of this setting, leave it out: .* -> "):
        training._check(Recipe.from_dict(content | change))
