"""What the app exports: films, strips, numbers, and recipes that draw the same pixels again."""

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from app.mask_and_decode import answers, exports
from app.workbench import session
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO
from decoder import Explorer, Replay, media
from decoder.__main__ import COMMANDS
from decoder.replay import digest
from vjepa.errors import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def explorer():
    return Explorer.load("demo")


def shipped(state):
    """The answer to what a fresh visitor sees."""
    clip = load_clip(state.address, DEMO)
    return clip, answers.shipped()[answers.question_of(state, clip)]


def recipe(address=None) -> Replay:
    """What the app exports about a clip, with fewer seeds and steps."""
    state = session.start_state()
    _, answer = shipped(state)
    state.address = address or state.address
    told = json.loads(exports.recipe(state, answer)) | {"seeds": [3], "steps": 1}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.json"
        file.write_text(json.dumps(told))
        return Replay.read(file)


def test_a_recipe_replays_the_same_pixels_by_command(explorer, tmp_path):
    state = session.start_state()
    clip, answer = shipped(state)
    told = recipe()
    file, out = tmp_path / "recipe.json", tmp_path / "again.npz"
    file.write_text(told.text())
    typed = ["decode", "--replay", str(file), "--out", str(out)]
    tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="python -m decoder", args=typed)
    explorer.set_clip(clip.frames)
    shown = explorer.predict(answer.mask, seeds=[3], steps=1, mask_type=answer.question.mask_token)
    again = np.load(out)
    np.testing.assert_array_equal(again["samples"], shown.frames)
    np.testing.assert_array_equal(again["ceiling"], shown.ceiling)


def test_drawn_scenes_and_files_are_found_again(tmp_path, cup_clip):
    world = ClipAddress("world", "7")
    frames = recipe(world).frames(DEMO.config, None)
    np.testing.assert_array_equal(frames, load_clip(world, DEMO).frames)
    mine = recipe(ClipAddress("upload", digest(cup_clip)))
    cup = load_clip(ClipAddress("bundled", cup_clip.stem), DEMO)
    np.testing.assert_array_equal(mine.frames(DEMO.config, cup_clip), cup.frames)
    with pytest.raises(InputError, match="not the file"):
        mine.frames(DEMO.config, ROOT / "assets/clips/bigbuckbunny.mp4")
    with pytest.raises(InputError, match="not here"):
        mine.frames(DEMO.config, None)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"grid": 3}', "no json"])
def test_a_file_that_is_no_recipe_gets_a_sentence(tmp_path, text):
    file = tmp_path / "recipe.json"
    file.write_text(text)
    with pytest.raises(InputError, match="no recipe"):
        Replay.read(file)
    with pytest.raises(InputError, match="no recipe"):
        Replay.read(tmp_path / "missing.json")


def test_films_and_strips_hold_every_frame():
    clip, answer = shipped(session.start_state())
    count, side = clip.frames.shape[:2]
    one = exports.shown(clip, answer, answer.sheets, "sample 1")
    every = exports.shown(clip, answer, answer.sheets, exports.ALL)
    np.testing.assert_array_equal(every[:, :, :side], clip.frames)
    np.testing.assert_array_equal(every[:, :, side : 2 * side], one)
    assert every.shape[2] == side * (1 + len(answer.sheets))
    strip = np.asarray(Image.open(io.BytesIO(media.strip_bytes(one))))
    np.testing.assert_array_equal(strip[:, 3 * side : 4 * side], one[3])
    film = Image.open(io.BytesIO(exports.film(clip, answer, answer.sheets, "sample 1", "webp")))
    assert film.n_frames == count
    film.seek(5)
    np.testing.assert_array_equal(np.asarray(film.convert("RGB")), one[5])
