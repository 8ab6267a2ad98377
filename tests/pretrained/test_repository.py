"""Repositories of other libraries on the hub."""

import shutil

import pytest

from kseg import checkpoints, download, pretrained, zoo

SMALL = {
    "name": "mit_b0",
    "filters": [4, 8, 10, 16],
    "depths": [1, 1, 1, 1],
    "expansions": [1, 1, 1, 1],
    "epsilon": 1e-5,
}


@pytest.fixture
def leaves(hub, numpy_initializers, tmp_path):
    """A model, whose folder the hub has."""
    model = zoo.segformer(2, encoder=SMALL, encoder_weights=None, filters=4)
    model.classes = ("soil", "leaf")
    folder = checkpoints.export_transformers(model, tmp_path / "leaves")
    hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.files["README.md"] = b"---\nlicense: other\nlicense_name: research-only\n---\n# Leaves"
    return model


def test_a_model_is_loaded_by_its_name_and_once(hub, leaves, capsys, monkeypatch):
    loaded = zoo.load("someone/leaves")
    assert "someone/leaves has the license research-only, which may forbid commercial" in capsys.readouterr().err
    assert loaded.classes == ("soil", "leaf") and loaded.arguments["encoder"] == SMALL
    for ours, theirs in zip(loaded.get_weights(), leaves.get_weights(), strict=True):
        assert (ours == theirs).all()
    hub.files["model.safetensors"] = b"not asked for again"
    assert zoo.load(f"hf://someone/leaves@{hub.commit}").classes == ("soil", "leaf")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert zoo.load("someone/leaves").classes == ("soil", "leaf")
    assert capsys.readouterr().err.count("the hub cannot be reached, the version that was downloaded last is used") == 1


@pytest.mark.parametrize("smp", [False, True])
def test_the_normalization_is_asked_for_if_another_library_downloaded_the_weights(
    hub, numpy_initializers, smp, tmp_path, capsys, monkeypatch
):
    encoder = {"mean": [1.0, 2, 3], "std": [4.0, 5, 6], **({"name": "resnet18"} if smp else SMALL)}
    options = {"encoder": encoder, "encoder_weights": None}
    if smp:
        unet = zoo.unet(2, **options, encoder_depth=3, filters=(8, 8, 8), doubling=True)
        folder = checkpoints.export_smp(unet, tmp_path / "leaves")
    else:
        folder = checkpoints.export_transformers(zoo.segformer(2, **options, filters=4), tmp_path / "leaves")
    hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("config.json", "model.safetensors"):
        weights = download.fetch_from_hub("someone/leaves", name)
    shutil.copytree(tmp_path / "hub", tmp_path / "copy", symlinks=True)
    assert zoo.load("someone/leaves").arguments["encoder"]["mean"] == pytest.approx([1, 2, 3])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert zoo.load("someone/leaves").arguments["encoder"]["mean"] == pytest.approx([1, 2, 3])
    assert "cannot be asked" not in capsys.readouterr().err
    shutil.rmtree(tmp_path / "hub")
    shutil.move(tmp_path / "copy", tmp_path / "hub")
    assert pretrained.fetch_repository("someone/leaves") == weights.parent
    assert "someone/leaves: the hub cannot be asked for preprocessor_config.json or" in capsys.readouterr().err


def test_what_the_hub_lacks_is_an_error_of_one_line(hub):
    with pytest.raises(FileNotFoundError, match=r"^there is no file no/one, and hf://no/one is no repository on the"):
        zoo.load("no/one")
    hub.files = {"config.json": b'{"_model_class": "Unet"}'}
    with pytest.raises(FileNotFoundError, match=r"someone/leaves on the hub has neither model\.safetensors nor"):
        zoo.load("hf://someone/leaves")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"architectures": ["BertModel"]}', r"kseg cannot build architectures = \[\"BertModel\"\], only .*DPT"),
        ('{"model_type": "segformer"}', "kseg cannot build architectures = null, only .*DPT"),
        ('{"_model_class": "YOLO"}', "not 'YOLO'"),
        ('{"_model_class": "Unet", "encoder_name": "tu-a"}', "encoder_name='tu-a' has no counterpart in kseg"),
    ],
)
def test_weights_that_kseg_cannot_build_are_not_downloaded(hub, config, message, tmp_path):
    hub.files = {"config.json": config.encode(), "model.safetensors": b"large"}
    with pytest.raises(ValueError, match=message):
        zoo.load("hf://someone/leaves")
    assert {path.name for path in (tmp_path / "hub").rglob("snapshots/*/*")} == {"config.json"}


@pytest.mark.parametrize(
    ("card", "line"),
    [
        (b"# Leaves", "names no license in its card: ask the authors what it may be used for"),
        (b"---\nlicense: gpl-3.0\n---\n", "has the license gpl-3.0"),
        (
            b"---\nlicense:\n- cc-by-nc-4.0\n---\n",
            "has the license cc-by-nc-4.0, which may forbid commercial use: read",
        ),
    ],
)
def test_the_license_is_named(hub, card, line, capsys):
    hub.files = {"config.json": b'{"_model_class": "Unet"}', "README.md": card}
    hub.files["model.safetensors.index.json"] = b"{}"
    with pytest.raises(ValueError, match=r"index\.json is damaged: it does not list the parts"):
        zoo.load("hf://someone/leaves")
    assert capsys.readouterr().err.startswith(f"someone/leaves {line}")


@pytest.mark.parametrize(
    ("commercial", "end"),
    [
        (True, ""),
        (False, ", which forbids commercial use: https://a.b"),
        (None, ", which may forbid commercial use: https://a.b"),
    ],
)
def test_the_license_of_the_table_comes_first_and_replaces_that_of_the_card(
    hub, leaves, commercial, end, capsys, monkeypatch
):
    facts = ("segformer", "mit_b0", "leaves", 2, None, None, "Research only", commercial, "https://a.b")
    monkeypatch.setitem(pretrained.PUBLISHED, "someone/leaves", pretrained.Published("someone/leaves", *facts))
    fetched, fetch = [], download.fetch_from_hub

    def watched(repository, file, *others):
        fetched.append((file, capsys.readouterr().err))
        return fetch(repository, file, *others)

    monkeypatch.setattr(download, "fetch_from_hub", watched)
    zoo.load("someone/leaves")
    assert fetched[0] == ("config.json", f"someone/leaves has the license Research only{end}\n")
    assert not any(text for _, text in fetched[1:]) and "README.md" not in dict(fetched)
    assert capsys.readouterr().err == ""
    zoo.load("someone/leaves")  # from the cache
    hub.commits += 1  # a new version
    zoo.load("someone/leaves")
    assert capsys.readouterr().err == "" and [text for _, text in fetched].count(fetched[0][1]) == 2


def test_paths_are_no_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrained.repository_named("runs/first") == ("runs/first", None)
    (tmp_path / "runs").mkdir()
    for source in ("runs/first", "new/best.safetensors", "./new/first", "hf://someone/leaves/file.safetensors"):
        assert pretrained.repository_named(source) is None
    assert pretrained.repository_named("hf://runs/first@v1") == ("runs/first", "v1")
