"""`preprocessor_config.json` against the image processors of transformers that use Pillow."""

import json

import numpy as np
import pytest

from kseg import data, zoo  # noqa: F401 - fills the table of architectures
from kseg.checkpoints import ARCHITECTURES
from kseg.checkpoints.processor import flips_channels, read_processor, write_processor
from kseg.engines import ProcessorRunner
from kseg.inference import predictions
from tests.engines.test_processor import model_of

RNG = np.random.default_rng(0)
# Photos of several aspect ratios, smooth as photos are: landscape, portrait, square, panorama, and one of a size below.
PHOTOS = [
    np.clip(RNG.normal(128, 60, (-(-height // 8), -(-width // 8), 3)), 0, 255).astype("uint8").repeat(8, 0).repeat(8, 1)
    [:height, :width]
    for height, width in ((120, 161), (150, 101), (96, 96), (61, 200), (25, 19))
]  # fmt: skip

CASES = {
    "Segformer": [
        {},
        {"size": 48, "resample": 0},
        {"size": {"height": 40, "width": 72}, "resample": 3, "image_mean": [0.1, 0.2, 0.3]},
        {"size": {"shortest_edge": 50}, "resample": 1},
        {"size": {"shortest_edge": 50, "longest_edge": 80}, "do_center_crop": True, "crop_size": 40},
        {"size": {"shortest_edge": 96, "longest_edge": 97}},
        {"size": [33, 65], "resample": 4, "do_rescale": False},
        {"size": 32, "rescale_factor": 1 / 127.5, "do_normalize": False},
        {"size": 32, "resample": 5, "rescale_factor": 0.5, "image_std": [0.5, 0.5, 2], "do_reduce_labels": True},
    ],
    "DPT": [
        {},
        {"size": 64, "keep_aspect_ratio": True},
        {"size": {"height": 64, "width": 96}, "keep_aspect_ratio": True, "ensure_multiple_of": 32},
        {"size": {"height": 60, "width": 100}, "ensure_multiple_of": 14, "resample": 2},
        {"size": {"height": 518, "width": 518}, "keep_aspect_ratio": True, "ensure_multiple_of": 14},
    ],
    "Beit": [{}, {"size": 80, "do_reduce_labels": True}, {"size": {"shortest_edge": 40}}],
    "ConvNext": [{}, {"size": {"shortest_edge": 385}, "resample": 2}],
    "ViT": [{}, {"size": {"height": 40, "width": 30}}],
    "Eomt": [{}, {"size": 50}, {"size": {"shortest_edge": 50, "longest_edge": 60}, "resample": 3}],
    "MobileNetV2": [{"do_center_crop": False}, {"do_center_crop": False, "size": 40, "resample": 3}],
    "MobileViT": [{"do_center_crop": False}, {"do_center_crop": False, "size": 40, "do_flip_channel_order": False}],
}


@pytest.mark.parametrize("written", [False, True], ids=["read", "written"])
@pytest.mark.parametrize("kind", CASES)
def test_images_equal_those_of_the_processor(kind, written, transformers, tmp_path):
    for fields in CASES[kind]:
        theirs = getattr(transformers, f"{kind}ImageProcessorPil")(**fields)
        content = {"image_processor_type": f"{kind}ImageProcessor", **fields}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
        mean, std, rule = read_processor(tmp_path, 3)
        if written:  # and read back by transformers
            content = write_processor(mean, std, rule, "SegformerImageProcessor")
            theirs = getattr(transformers, f"{content['image_processor_type']}Pil")(**content)
        runner = ProcessorRunner(model_of(1, rule=rule))
        for photo in PHOTOS:
            (expected,) = theirs(photo, return_tensors="np")["pixel_values"]
            resized = runner._resized(photo)
            given = resized[..., ::-1] if flips_channels(tmp_path) and not written else resized
            found = (given.transpose(2, 0, 1) - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
            assert resized.shape[:2] == expected.shape[1:], (fields, photo.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


@pytest.mark.filterwarnings("ignore:.*does not know do_center_crop:UserWarning")
@pytest.mark.parametrize("kind", CASES)
def test_what_a_file_leaves_out_is_the_default_of_the_class(kind, transformers, tmp_path):
    theirs = getattr(transformers, f"{kind}ImageProcessorPil")()
    (tmp_path / "preprocessor_config.json").write_text("{}")
    mean, std, rule = read_processor(tmp_path, 3, kind)
    expected = (theirs.image_mean, theirs.image_std) if theirs.do_normalize else ([0] * 3, [1] * 3)
    np.testing.assert_allclose([mean, std], np.multiply(255, expected))
    assert rule == read_processor_of(tmp_path, theirs)


def read_processor_of(folder, theirs):
    """What kseg reads from the file that transformers writes, with all fields."""
    theirs.save_pretrained(folder)
    return read_processor(folder, 3)[2]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("DPT", {"size": {"shortest_edge": 64}}),
        ("DPT", {"ensure_multiple_of": 0}),
        ("DPT", {"do_pad": True, "size_divisor": 32}),
        ("Beit", {"do_center_crop": True}),
        ("ConvNext", {"size": {"shortest_edge": 224}}),
        ("Segformer", {"resample": 9}),
        ("Segformer", {"size": {"longest_edge": 512}}),
    ],
)
def test_a_rule_that_kseg_does_not_know_is_named(kind, fields, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": f"{kind}Processor", **fields})
    )
    with pytest.warns(UserWarning, match=f"preprocessor_config.json: kseg does not know {next(iter(fields))} = "):
        assert read_processor(tmp_path, 3)[2] == {}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"image_std": [0.5, 0.5, 0]}, "image_std"),
        ({"rescale_factor": 0}, "rescale_factor"),
        ({"image_mean": [0.5, 0.5]}, "image_mean has 2 entries"),
        ({"image_mean": ["a", 1, 2]}, "image_mean"),
        ({"image_processor_type": "CLIPImageProcessor"}, "image_processor_type"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
    ],
)
def test_values_that_kseg_does_not_know_are_named(fields, named, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=rf"preprocessor_config\.json: .*{named}"):
        read_processor(tmp_path, 3)


def test_masks_that_lose_class_0_are_marked(tmp_path):
    for fields in ({"do_reduce_labels": True}, {"reduce_labels": True, "do_resize": False}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
        mean, std, rule = read_processor(tmp_path, 3)
        content = write_processor(mean, std, rule, "DPTImageProcessor")
        assert rule["reduces_labels"] and content["do_reduce_labels"] is True
        assert ("size" in rule) is content["do_resize"] is fields.get("do_resize", True)


@pytest.mark.parametrize(("ignore_index", "reduces"), [(None, False), (255, True)])
def test_masks_of_eomt_are_lowered_by_another_field(ignore_index, reduces, transformers, tmp_path):
    fields = {"image_processor_type": "EomtImageProcessor", "ignore_index": ignore_index, "do_reduce_labels": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    mean, std, rule = read_processor(tmp_path, 3)
    assert rule.get("reduces_labels", False) is reduces
    content = write_processor(mean, std, rule, "EomtImageProcessor")
    assert content["ignore_index"] == ignore_index and "do_reduce_labels" not in content
    theirs = transformers.EomtImageProcessorPil(**content, do_pad=False)
    mask = np.array([[0, 1, 2, 255]] * 4, "uint8").repeat(32, 0).repeat(32, 1)
    found = theirs(mask[..., None].repeat(3, 2), segmentation_maps=mask, return_tensors="np")["class_labels"][0]
    assert list(np.asarray(found)) == ([0, 1, 254] if reduces else [0, 1, 2, 255])


TYPES = {
    "DPTForSemanticSegmentation": "dpt",
    "EomtForUniversalSegmentation": "eomt",
    "MobileNetV2ForSemanticSegmentation": "mobilenet_v2",
    "MobileViTForSemanticSegmentation": "mobilevit",
    "SegformerForSemanticSegmentation": "segformer",
    "UperNetForSemanticSegmentation": "upernet",
}


def test_a_file_that_names_no_class_means_that_of_the_type_of_the_model(transformers, tmp_path):
    assert TYPES.keys() == ARCHITECTURES.keys()
    (tmp_path / "preprocessor_config.json").write_text("{}")
    for name, kind in TYPES.items():
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path)
        assert type(theirs).__name__.removesuffix("Pil") == ARCHITECTURES[name].kind
        flips = bool(getattr(theirs, "do_flip_channel_order", False))
        assert flips_channels(tmp_path, ARCHITECTURES[name].kind) is flips is (kind == "mobilevit")


def test_a_data_set_with_the_class_that_was_left_out_of_the_masks_gets_the_cure():
    streets = data.load("streets", "val", count=1, size=(32, 32))
    model = model_of(len(streets.classes) - 1, rule={"reduces_labels": True})
    with pytest.raises(ValueError, match="so leave 'sky' out of the classes, with values 1 to 7 and ignore 0"):
        next(predictions(streets, [model]))
    with pytest.raises(ValueError, match="does not store how a processor resizes images"):
        ProcessorRunner(model)
