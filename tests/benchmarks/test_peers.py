"""Peers: their weights are those of kseg's encoder, and they train by kseg's recipes."""

import keras
import numpy as np
import pytest
import torch

from benchmarks import leaderboard, suite
from benchmarks.peers import run as peers
from benchmarks.peers import smp, training
from kseg import encoders, zoo

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
    expected = keras.Model(pixels, list(ours.values())).predict_on_batch(image)
    encoder = smp.Unet(3).net.encoder.eval()
    with torch.no_grad():
        _, _, *found = encoder(torch.from_numpy((image.transpose(0, 3, 1, 2) - 127) / 128))
    for feature, reference in zip(found, expected[1:], strict=True):
        np.testing.assert_allclose(feature.numpy().transpose(0, 2, 3, 1), reference, atol=1e-3)


def test_the_peer_is_our_unet_but_for_16_channels_of_the_finest_feature():
    peer, ours = smp.Unet(11, pretrained=False), zoo.unet(11, encoder_weights=None)
    less = 16 * 9 * 32  # of the convolution behind it, which makes 32 channels at half the image's size
    assert smp.parameters(peer) == ours.count_params() - less
    assert smp.multiply_adds(peer, (64, 96)) == zoo.multiply_adds(ours, (64, 96)) - less * 32 * 48


def test_a_peer_is_trained_in_two_starts_and_recorded(tmp_path, monkeypatch):
    """Two epochs of a step each; sides that the library itself would refuse."""
    (tmp_path / "tiny.toml").write_text(SUITE)
    chosen, board = suite.load(tmp_path / "tiny.toml"), tmp_path / "board.csv"
    peers.run(chosen, tmp_path / "runs", board, minutes=0)
    assert not board.exists()
    peers.run(chosen, tmp_path / "runs", board)
    (row,) = leaderboard.read(board).to_dict("records")
    assert (row["name"], row["model"], row["epochs"], row["size"], row["backend"]) == (
        "smp.Unet",
        "Unet",
        2,
        "33x64",
        "torch",
    )
    assert row["peer"].startswith("segmentation-models-pytorch 0.")
    assert row["recipe"] == chosen.recipes["unet"].hash()
    assert 0 <= row["miou"] <= 1 and row["multiply_adds"] > 1e8
    peers.run(chosen, tmp_path / "whole", tmp_path / "another.csv")  # in one start
    one, two = (torch.load(tmp_path / runs / smp.NAME / training.BEST) for runs in ("runs", "whole"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    monkeypatch.setattr(training, "train", None)  # a third start has nothing to do
    peers.run(chosen, tmp_path / "runs", board)


def test_a_recipe_that_peers_cannot_follow_is_refused(tmp_path):
    text = SUITE.replace("[recipe.loss]", '[recipe.loss]\nname = "dice"')
    (tmp_path / "tiny.toml").write_text(text)
    with pytest.raises(ValueError, match="peers are trained with cross_entropy and adamw"):
        peers.run(suite.load(tmp_path / "tiny.toml"), tmp_path / "runs", tmp_path / "board.csv")
