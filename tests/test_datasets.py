"""Datasets that people bring: formats are recognized, and one sentence says what is wrong."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vjepa.data import datasets
from vjepa.data.datasets import LabelledVideos, open_dataset, require_classes
from vjepa.errors import InputError

SSV2_LABELS = json.dumps(
    {
        "Moving something up": "1",
        "Holding something next to something": "0",
        "Poking something": "2",
    }
)
SSV2_TRAIN = json.dumps(
    [
        {"id": "7", "template": "Moving [something] up", "label": "moving a cup up"},
        {"id": "9", "template": "Holding [something] next to [something]"},
    ]
)
UCF101_CLASSES = "1 ApplyEyeMakeup\n2 ApplyLipstick\n3 Archery\n"


@pytest.fixture
def lay(tmp_path):
    """Lays files under a folder: empty ones as videos, and lists (`__` in a name is a dot)."""

    def lay(*videos: str, **lists: str | bytes) -> Path:
        files = dict.fromkeys(videos, b"") | {k.replace("__", "."): v for k, v in lists.items()}
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return lay


def named(dataset: LabelledVideos) -> dict[str, str]:
    """Video -> class."""
    labels = dataset.labels.tolist()
    return {p.name: dataset.classes[i] for p, i in zip(dataset.paths, labels, strict=True)}


def refusal(call, *args, **kwargs) -> str:
    """The one sentence with which a call refuses."""
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400
    return sentence


@pytest.mark.parametrize(
    "lines",
    [
        "a.mp4 0\nsub/b.mp4 2\n",
        "a.mp4\t0\nsub/b.mp4\t2",
        "a.mp4,0\nsub/b.mp4,2\n",
        "\ufeffa.mp4, 0\r\n\r\n  sub/b.mp4, 2\r\n",
        'a.mp4,0\n"sub/b.mp4",2\n',
    ],
)
def test_a_list_is_read_whatever_separates(lay, lines):
    root = lay("a.mp4", "sub/b.mp4", list__csv=lines)
    dataset = open_dataset(root / "list.csv")
    assert dataset.paths == (root / "a.mp4", root / "sub/b.mp4")
    assert dataset.labels.tolist() == [0, 2]
    assert dataset.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "lines",
    [
        "path,label\na.mp4,0\nsub/b c.mp4,1\n",
        "label;video_path\n0;a.mp4\n1;sub/b c.mp4\n",
        '"path","label"\n"a.mp4","0"\n"sub/b c.mp4","1"\n',
        "filename\tduration\tclass_id\na.mp4\t3.2\t0\nsub/b c.mp4\t4\t1\n",
        "video,split,target\r\na.mp4,train,0\r\nsub/b c.mp4,train,1\r\n",
        "\ufeff# made by hand\n\nVideo Path;Emotion\na.mp4;0.0\n\n# more\nsub/b c.mp4;1.0\n",
        "a.mp4;0\nsub/b c.mp4;1\n",
        ",path,label\n0,a.mp4,0\n1,sub/b c.mp4,1\n",
        "Unnamed: 0\tlabel\tfile\n0\t0\ta.mp4\n1\t1\tsub/b c.mp4\n",
        "a.mp4   0.0\n'sub/b c.mp4'   1.0\n",
        "'a.mp4', '0'\n'sub/b c.mp4', '1'\n",
    ],
)
def test_headers_quotes_and_comments(lay, lines):
    root = lay("a.mp4", "sub/b c.mp4", list__csv=lines)
    dataset = open_dataset(root / "list.csv")
    assert dataset.paths == (root / "a.mp4", root / "sub/b c.mp4")
    assert dataset.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "lines",
    [
        "a.mp4,plays guitar\nb.mp4,jumps\nc, d.mp4,plays guitar\n",
        "a.mp4 plays guitar\nb.mp4 jumps\nc, d.mp4 plays guitar\n",
        'path,label\na.mp4,"plays guitar"\nb.mp4,jumps\n"c, d.mp4",plays guitar\n',
        "action;clip\nplays guitar;a.mp4\njumps;b.mp4\nplays guitar;c, d.mp4\n",
    ],
)
def test_words_are_labels(lay, lines):
    root = lay("a.mp4", "b.mp4", "c, d.mp4", list__csv=lines)
    dataset = open_dataset(root / "list.csv")
    assert dataset.classes == ("jumps", "plays guitar")
    assert named(dataset) == {
        "a.mp4": "plays guitar",
        "b.mp4": "jumps",
        "c, d.mp4": "plays guitar",
    }


def test_words_are_numbered_as_the_names_beside_the_list(lay):
    root = lay("a.mp4", list__csv="a.mp4 jumps\na.mp4 falls\n", labels__txt="jumps\nfalls\n")
    assert open_dataset(root / "list.csv").labels.tolist() == [0, 1]
    lay(list__csv="a.mp4 jumps\na.mp4 sits\n")
    assert re.search("Line 2 .*'sits'", refusal(open_dataset, root / "list.csv"))


@pytest.mark.parametrize(
    "lines",
    [
        "a b.mp4\nc, d.mp4\n",
        "path\na b.mp4\nc, d.mp4\n",
        '"a b.mp4"\n"c, d.mp4"\n',
        "a b.mp4 -1\nc, d.mp4 -1\n",
        "a b.mp4;\nc, d.mp4;\n",
        "path;label\na b.mp4;\nc, d.mp4;-1\n",
        "video;duration\na b.mp4;3\nc, d.mp4;4\n",
    ],
)
def test_no_label_is_needed(lay, lines):
    root = lay("a b.mp4", "c, d.mp4", list__csv=lines)
    dataset = open_dataset(root / "list.csv")
    assert [path.name for path in dataset.paths] == ["a b.mp4", "c, d.mp4"]
    assert dataset.labels.tolist() == [-1, -1] and dataset.classes == ()
    assert "has no labels" in refusal(require_classes, dataset, dataset)


def test_some_videos_may_have_no_label(lay):
    dataset = open_dataset(lay("a.mp4", list__csv="a.mp4 1\na.mp4 -1\na.mp4 0\n") / "list.csv")
    assert dataset.labels.tolist() == [1, -1, 0]
    assert "1 of the 3 videos of" in refusal(require_classes, dataset, dataset)


def test_still_images_are_a_data_set_where_no_video_is(lay):
    root = lay("cat/1.png", "dog/2.JPEG", "dog/.3.jpg", "dog/notes.txt")
    dataset = open_dataset(root)
    assert named(dataset) == {"1.png": "cat", "2.JPEG": "dog"}
    assert datasets.find_clips(root) == [root / "cat/1.png", root / "dog/2.JPEG"]
    lay("dog/a.mp4", "cat/b.mp4")
    assert named(open_dataset(root)) == {"a.mp4": "dog", "b.mp4": "cat"}
    lay("train/cat/1.png", "test/cat/2.png")
    for child in ("cat", "dog"):
        (root / child).rename(root.parent / f"{root.name}-{child}")
    assert named(open_dataset(root, split="test")) == {"2.png": "cat"}


@pytest.mark.parametrize("separator", ["\t", ",", " ", ";"])
def test_paths_may_hold_spaces_and_commas(lay, separator):
    names = ["a b.mp4", "one, two.mp4", "plain.mp4"]
    root = lay(*names, list__csv="".join(f"{name}{separator}1\n" for name in names))
    assert [path.name for path in open_dataset(root / "list.csv").paths] == names


def test_a_list_s_paths_begin_where_one_says(lay, tmp_path):
    root = lay("far/a.mp4", list__csv=f"a.mp4 0\n{tmp_path}/far/a.mp4 1\n")
    paths = open_dataset(root / "list.csv", videos=root / "far").paths
    assert paths == (root / "far/a.mp4", root / "far/a.mp4")


def test_names_beside_a_list_are_its_classes(lay):
    root = lay("a.mp4", list__csv="a.mp4 1\n", classes__txt="falls down\nstands up\ngoes\n")
    dataset = open_dataset(root / "list.csv")
    assert named(dataset) == {"a.mp4": "stands up"}
    assert len(dataset.classes) == 3


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("a.mp4 0\na.mp4\n", "Line 2 of .* no `path label`: 'a.mp4'"),
        ("a.mp4 0\n\na.mp4 jump\n", "Line 3 "),
        ("a.mp4 jump\na.mp4 0\n", "Line 2 of .*'0' and line 1 'jump'"),
        ("a.mp4 0\na.mp4 0.5\n", "Line 2 "),
        ("video_a jump\nvideo_b run\n", "Line 1 "),
        ("path,label,split\na.mp4,0,x\na.mp4,0\n", "Line 3 "),
        ("a.mp4 0\n 5\n", "Line 2 "),
        ("a.mp4 0\na.mp4 -2\n", "Line 2 of .* label -2, not 0..99999"),
        ("a.mp4 999999999\n", "label 999999999, not 0..99999"),
        ("a.mp4 9999999999999\n", "Line 1 of .* no `path label`"),
        ("\n \n", "names no video"),
        ("", "is empty"),
        ("c.mp4 0\nd.mp4 1\n", "None of the 2 videos .*c.mp4 .*in which folder"),
        (f"{'x' * 5000} 0\n", "None of the 1 videos"),
        ("a\0.mp4 0\n", "UTF-8 text"),
        (bytes(range(256)) * 9, "UTF-8 text"),
        ("a.mp4 0\n".encode("utf-16"), "UTF-8 text"),
        ("x" * 2000, "Line 1 "),
    ],
)
def test_lists_that_are_none_are_refused(lay, lines, words):
    root = lay("a.mp4", list__csv=lines)
    assert re.search(words, refusal(open_dataset, root / "list.csv"))


def test_a_missing_video_is_left_to_the_reading(lay):
    assert len(open_dataset(lay("a.mp4", list__csv="a.mp4 0\nb.mp4 2\n") / "list.csv")) == 2


def test_a_label_that_the_names_do_not_reach_is_refused(lay):
    root = lay("a.mp4", list__csv="a.mp4 0\na.mp4 2\n", labels__txt="up\ndown\n")
    assert "Line 2" in refusal(open_dataset, root / "list.csv")
    lay(labels__txt="up\ndown\nup\n")
    assert "'up' 2 times" in refusal(open_dataset, root / "list.csv")


def test_a_huge_list_is_refused_unread(lay, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_BYTES", 100)
    root = lay("a.mp4", list__csv="a.mp4 0\n" * 50)
    assert "at most 128 MB" in refusal(open_dataset, root / "list.csv")


def test_folders_are_classes(lay):
    root = lay(
        "b/2.mp4",
        "b/deep/1.WEBM",
        "a/x.avi",
        "a/notes.txt",
        "a/._x.avi",
        ".bin/y.mp4",
        "empty/readme.md",
    )
    dataset = open_dataset(root)
    assert named(dataset) == {"x.avi": "a", "2.mp4": "b", "1.WEBM": "b"}
    assert dataset.classes == ("a", "b")


def test_a_linked_folder_is_a_class(lay, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "1.mp4").touch()
    root = lay("a/x.mp4")
    (root / "b").symlink_to(elsewhere)
    assert named(open_dataset(root)) == {"x.mp4": "a", "1.mp4": "b"}


def test_a_flat_folder_has_no_labels(lay):
    dataset = open_dataset(lay("2.mp4", "1.mp4"))
    assert [path.name for path in dataset.paths] == ["1.mp4", "2.mp4"]
    assert dataset.labels.tolist() == [-1, -1] and dataset.classes == ()


def test_folders_that_are_no_dataset_are_refused(lay, tmp_path):
    assert "holds no video" in refusal(open_dataset, tmp_path)
    assert "no dataset" in refusal(open_dataset, tmp_path / "nowhere")
    assert "beside the folder 'a'" in refusal(open_dataset, lay("a/1.mp4", "2.mp4"))


def test_folders_called_so_are_splits(lay):
    root = lay("train/a/1.mp4", "train/b/2.mp4", "val/b/3.mp4", "notes/x.txt")
    assert named(open_dataset(root, split="train")) == {"1.mp4": "a", "2.mp4": "b"}
    for name in ("val", "validation"):
        assert named(open_dataset(root, split=name)) == {"3.mp4": "b"}
    assert "train, validation: choose" in refusal(open_dataset, root)
    assert "no split test: it has train, validation" in refusal(open_dataset, root, split="test")
    assert "There is no split 'dev'" in refusal(open_dataset, root, split="dev")


def test_beside_other_classes_a_train_is_a_train(lay):
    assert open_dataset(lay("bus/1.mp4", "train/2.mp4")).classes == ("bus", "train")


def test_lists_called_so_are_splits(lay):
    root = lay("v/a.mp4", "v/b.mp4", train__csv="a.mp4 0\nb.mp4 1\n", val__csv="b.mp4 1\n")
    lay(**{"._train__csv": b"\x00\x05"})
    assert named(open_dataset(root, split="val", videos=root / "v")) == {"b.mp4": "1"}
    assert named(open_dataset(root / "val.csv", split="validation", videos=root / "v"))
    lay(**{"k400-train__csv": "a.mp4 0\n"})
    assert "both called train" in refusal(open_dataset, root, split="train")


def test_one_list_has_no_other_split(lay):
    root = lay("a.mp4", train__csv="a.mp4 0\n", all__csv="a.mp4 0\n")
    assert "it has train" in refusal(open_dataset, root / "train.csv", split="test")
    assert "it has none" in refusal(open_dataset, root / "all.csv", split="test")


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_something_something(lay, prefix):
    lists = {"labels": SSV2_LABELS, "train": SSV2_TRAIN, "test": '[{"id": "9"}]'}
    root = lay("v/7.webm", "v/9.webm", **{f"{prefix}{k}__json": v for k, v in lists.items()})
    train = open_dataset(root, split="train", videos=root / "v")
    assert named(train) == {
        "7.webm": "Moving something up",
        "9.webm": "Holding something next to something",
    }
    assert train.labels.tolist() == [1, 0] and len(train.classes) == 3
    assert open_dataset(root, split="test", videos=root / "v").labels.tolist() == [-1]


@pytest.mark.parametrize(
    ("labels", "train", "words"),
    [
        (SSV2_LABELS, "[" * 100_000, "no JSON that can be read"),
        (SSV2_LABELS, "", "is empty"),
        (SSV2_LABELS, b"\xff\xfe\x00", "UTF-8 text"),
        (SSV2_LABELS, "{}", "no list of videos"),
        (SSV2_LABELS, "[]", "names no video"),
        (SSV2_LABELS, "[7]", "Entry 1"),
        (SSV2_LABELS, '[{"id": "7"}, {"template": "Poking [something]"}]', "Entry 2"),
        (SSV2_LABELS, '[{"id": "7", "template": ["Poking"]}]', "Entry 1 .* template"),
        (SSV2_LABELS, '[{"id": "7", "template": "Eating [something]"}]', "Eating"),
        (SSV2_LABELS, '[{"id": {"a": 1}}]', "None of the 1 videos"),
        ("[]", SSV2_TRAIN, "no table of classes"),
        ("{}", SSV2_TRAIN, "does not number"),
        ('{"a": "0", "b": "2"}', SSV2_TRAIN, "does not number"),
        ('{"a": "0", "b": "0"}', SSV2_TRAIN, "does not number"),
        ('{"a": Infinity}', SSV2_TRAIN, "does not number"),
    ],
)
def test_json_of_another_shape_is_refused(lay, labels, train, words):
    root = lay("7.webm", labels__json=labels, train__json=train)
    assert re.search(words, refusal(open_dataset, root, split="train"))


def test_json_without_its_classes_is_refused(lay):
    root = lay("7.webm", train__json=SSV2_TRAIN)
    assert "no labels.json beside" in refusal(open_dataset, root)


def test_ucf101_counts_from_one_and_its_test_list_not_at_all(lay):
    root = lay(
        "Archery/v_1.avi",
        "ApplyLipstick/v_2.avi",
        classInd__txt=UCF101_CLASSES,
        trainlist01__txt="Archery/v_1.avi 3\r\nApplyLipstick/v_2.avi 2\r\n",
        testlist01__txt="ApplyLipstick/v_2.avi\n",
    )
    train, test = (open_dataset(root, split=split) for split in ("train", "test"))
    assert named(train) == {"v_1.avi": "Archery", "v_2.avi": "ApplyLipstick"}
    assert train.labels.tolist() == [2, 1] and test.labels.tolist() == [1]
    assert test.paths == (root / "ApplyLipstick/v_2.avi",)
    lay(trainlist02__txt="Archery/v_1.avi 3\n")
    assert len(open_dataset(root / "trainlist02.txt")) == 1


def test_ucf101_lists_that_do_not_fit_are_refused(lay):
    root = lay(classInd__txt=UCF101_CLASSES, trainlist01__txt="Archery/v.avi 3\nBowling/v.avi 9\n")
    assert "Line 2" in refusal(open_dataset, root)
    lay(classInd__txt="0 ApplyEyeMakeup\n")
    assert "Line 1" in refusal(open_dataset, root)


def videos(labels: list[int], *classes: str, origin: str = "here") -> LabelledVideos:
    paths = tuple(Path(f"{i}.mp4") for i in range(len(labels)))
    return LabelledVideos(paths, np.array(labels, np.int64), classes, Path(origin))


def test_labels_of_both_sets_mean_the_same():
    train, test = videos([0, 1, 2], "a", "b", "c"), videos([1, 0, 1, 3], "b", "c", "x", "a")
    fitted = require_classes(train, test)
    assert named(fitted) == named(test)
    assert fitted.labels.tolist() == [2, 1, 2, 0] and fitted.classes == train.classes


def test_sets_that_no_probe_can_use_are_refused():
    good = videos([0, 1], "a", "b")
    bad = {
        "one class only, 'b'": (videos([1, 1], "a", "b"), good),
        "bare has no labels": (good, videos([-1], origin="bare")),
        "void holds no video": (
            replace(good, paths=(), labels=good.labels[:0], origin=Path("void")),
            good,
        ),
        "of 'c', here none": (good, videos([0, 1], "a", "c", origin="there")),
        "'r', 's', 't' and 2 more": (good, videos([*range(5)], *"rstuv")),
        "of 'b', here none": (videos([0, 2], "a", "b", "c"), videos([0, 1], "a", "b")),
    }
    for words, (train, test) in bad.items():
        assert words in refusal(require_classes, train, test)
