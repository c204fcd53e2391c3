"""Any model in the app: chosen by path, answered without a decoder, refused in a sentence."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.mask_and_decode import answers, panels
from app.workbench import figures, links, models, rooms
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.memory import the_memory
from app.workbench.models import DEMO, ModelAddress
from vjepa.errors import InputError

ROOT = Path(__file__).parents[1]
GRID = (4, 4, 4)
PATIENCE = 300  # seconds; a machine that trains beside the tests is slow


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    """A folder of models that nobody else fills."""
    monkeypatch.setenv("VJEPA_MODELS", str(tmp_path / "models"))


@pytest.fixture
def official(golden) -> ModelAddress:
    """A tiny file in the official layout."""
    return ModelAddress(str(golden / "vjepa1-a" / "checkpoint.pth.tar"))


@pytest.fixture
def page():
    return AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60).run()


def choose(page: AppTest, path: str, frames: int = 0) -> AppTest:
    """Types a path and waits until the model is there, or the page says why it is not."""
    page.text_input(key="model_path").set_value(path)
    page.selectbox(key="model_frames").set_value(frames)
    next(button for button in page.button if button.label == "Open").click().run()
    return arrive(page)


def arrive(page: AppTest) -> AppTest:
    """Runs the page, as its timer does in a browser, until no model is on its way."""
    deadline = time.monotonic() + PATIENCE
    while page.session_state["visitor"].opening and time.monotonic() < deadline:
        time.sleep(0.05)
        page.run()
    return page


def numbers(page: AppTest) -> str:
    return next(m.value for m in page.markdown if "hidden" in m.value or ":material/" in m.value)


def block() -> np.ndarray:
    mask = np.zeros(GRID, bool)
    mask[:, :2, 1:3] = True
    return mask


def paint(page: AppTest, mask: np.ndarray) -> AppTest:
    state = page.session_state["visitor"]
    clip = load_clip(state.address, state.model)
    page.session_state["painter"] = {
        "mask": {"clip": clip.id, "rev": state.rev, "bits": figures.to_bits(mask)}
    }
    return page.run()


def test_an_official_file_is_chosen_by_its_path(page, official):
    choose(page, official.name)
    assert not page.exception and not page.warning
    state = page.session_state["visitor"]
    assert state.mask.shape == state.model.config.grid == GRID
    assert 0 < state.mask.sum() < state.mask.size
    paint(page, block())
    assert "**16** tokens predicted" in numbers(page)
    assert any("decoder train" in code.value and official.name in code.value for code in page.code)


def test_the_preview_is_the_library_s(page, official):
    choose(page, official.name)
    state = page.session_state["visitor"]
    clip = load_clip(ClipAddress(), state.model)
    state.mask = block()
    question = answers.question_of(state, clip).undecoded()
    preview = panels.preview_for(question, clip)
    expected = rooms.ask(clip, lambda explorer: explorer.inspect(block(), mask_type=1).error)
    np.testing.assert_allclose(preview.error, expected, atol=1e-6)
    # what the predictions are drawn in are the true features' own colours
    assert preview.true[block()].std() > preview.true[~block()].std() == 0
    other = panels.preview_for(replace(question, mask_token=0), clip)
    assert np.nanmax(np.abs(other.error - preview.error)) > 0


def test_the_collage_leaves_out_the_clip_on_screen(page, official):
    choose(page, official.name)
    state = page.session_state["visitor"]
    clip = load_clip(ClipAddress("bundled", "bigbuckbunny"), state.model)
    state.mask = block()
    found = panels.bank_of(state.model).result(PATIENCE)
    assert clip.bundled in found.names
    nearest = panels.nearest_for(answers.question_of(state, clip).undecoded(), clip)
    assert (np.isnan(nearest.distance) == ~block()).all()
    assert np.nanmin(nearest.distance) > 0
    assert nearest.sheets["nearest"] != nearest.sheets["ceiling"]
    assert sum(nearest.sources.values()) == block().sum()

    page.run()
    assert not page.exception


def test_where_neighbours_come_from_is_said_the_most_first():
    counts = {"a": 1, "cockatoo": 9, "drawn 3": 4, "b": 2, "c": 3}
    found = panels.Nearest({}, np.zeros((1, 1, 1), np.float32), counts)
    assert (
        found.origin == "Neighbours from cockatoo (9), drawn 3 (4), c (3), b (2) and 1 more clips."
    )


def test_a_link_brings_back_the_model_and_its_mask(page, official):
    choose(page, official.name, frames=16)
    assert page.session_state["visitor"].model.config.num_frames == 16
    grid = page.session_state["visitor"].mask.shape
    mask = np.zeros(grid, bool)
    mask[:, 1] = True
    paint(page, mask)
    query = links.to_query(page.session_state["visitor"])
    other = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)
    other.query_params.update(query)
    arrive(other.run())
    state = other.session_state["visitor"]
    assert not other.warning
    assert state.model == page.session_state["visitor"].model
    assert (state.mask == mask).all()


def test_a_link_with_a_mask_of_another_model_gets_a_sentence(page, official):
    page.query_params.update({"model": official.name, "mask": "8x7x7.eJz7DwABAQEA"})
    other = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)
    other.query_params.update({"model": official.name, "mask": "8x7x7.eJz7DwABAQEA"})
    arrive(other.run())
    assert not other.exception
    assert "another grid" in other.warning[0].value
    assert "tokens predicted" in numbers(other)


@pytest.mark.parametrize("name", ["probe", "missing", "text", "folder", "torn"])
def test_a_wrong_file_gets_one_sentence_and_the_demo_answers(page, official, tmp_path, name):
    torn = tmp_path / "torn.pth.tar"
    torn.write_bytes(Path(official.name).read_bytes()[:5000])
    (tmp_path / "notes.pth.tar").write_text("these are notes")
    paths = {
        "probe": Path(official.name).with_name("probe.pth.tar"),
        "missing": tmp_path / "nothing.pth.tar",
        "text": tmp_path / "notes.pth.tar",
        "folder": tmp_path,
        "torn": torn,
    }
    choose(page, str(paths[name]))
    assert not page.exception
    assert len(page.warning) == 1
    assert page.warning[0].value.endswith((".", "file")), page.warning[0].value
    assert page.session_state["visitor"].model == DEMO
    assert "tokens predicted" in numbers(page)


def test_a_server_can_forbid_paths(monkeypatch, official):
    monkeypatch.setenv("VJEPA_APP_PATHS", "0")
    page = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60)
    page.query_params["model"] = official.name
    page.run()
    assert "opens no paths" in page.warning[0].value
    assert not any(box.key == "model_path" for box in page.text_input)
    assert page.session_state["visitor"].opening is None
    models.check(ModelAddress("vitl16"))  # a published name is no path
    with pytest.raises(InputError):
        models.check(ModelAddress("./vitl16"))


def test_a_server_s_own_model_comes_first(monkeypatch, official):
    monkeypatch.setenv("VJEPA_APP_MODEL", official.name)
    monkeypatch.setenv("VJEPA_APP_PATHS", "0")
    rooms.all_rooms().close(official)  # another test may have opened it
    page = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60).run()
    assert page.session_state["visitor"].model == DEMO  # it answers until the other is here
    arrive(page)
    assert page.session_state["visitor"].model.address == official


def test_visitors_of_different_models_do_not_disturb_each_other(page, official):
    other = AppTest.from_file(ROOT / "app" / "main.py", default_timeout=60).run()
    choose(page, official.name)
    other.run()
    assert other.session_state["visitor"].model == DEMO
    assert "tokens predicted" in numbers(other)
    assert "tokens predicted" in numbers(paint(page, block()))


def leave_space_for_one(monkeypatch, room: rooms.ModelRoom) -> None:
    """Opens a model, and then has no memory for a second one beside the demo."""
    size = max(rooms.explorer_bytes(room.open().result()), room.address.bytes)
    demo = the_memory().find(DEMO.address)
    monkeypatch.setattr(the_memory(), "budget", int(1.5 * size) + (demo.size if demo else 0))


def test_models_beside_the_demo_take_turns_where_memory_is_short(official, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "HOLD", 0.0)
    copy = tmp_path / "copy"
    shutil.copytree(Path(official.name).parent, copy)
    here = rooms.Rooms()
    first, second = here.room(official), here.room(ModelAddress(str(copy / "checkpoint.pth.tar")))
    leave_space_for_one(monkeypatch, first)
    clip = load_clip(ClipAddress(), first.model)
    second.open().result()
    assert not first.ready
    assert first.ask(clip, lambda explorer: explorer.grid) == GRID  # it comes back by itself
    assert first.ready and not second.ready


def test_models_stay_side_by_side_where_memory_allows(official):
    here = rooms.Rooms()
    first, second = here.room(official), here.room(ModelAddress(official.name, 4))
    first.open().result(), second.open().result()
    assert first.ready and second.ready


def test_a_model_larger_than_all_memory_is_a_sentence(official, monkeypatch):
    monkeypatch.setattr(the_memory(), "budget", official.bytes - 1)
    with pytest.raises(InputError, match="not enough memory"):
        rooms.Rooms().room(official).open().result(PATIENCE)


def test_a_model_that_fits_only_without_the_demo_is_a_sentence(official, monkeypatch):
    rooms.model_room().open().result(PATIENCE)
    demo = the_memory().find(DEMO.address)
    rooms.all_rooms().close(official)
    monkeypatch.setattr(the_memory(), "budget", demo.size + official.bytes // 2)
    with pytest.raises(InputError, match="not enough memory"):
        rooms.Rooms().room(official).open().result(PATIENCE)


def test_a_model_at_work_is_not_taken_away(official, monkeypatch):
    monkeypatch.setattr(rooms, "HOLD", 0.0)
    here = rooms.Rooms()
    room = here.room(official)
    leave_space_for_one(monkeypatch, room)
    other = here.room(ModelAddress(official.name, 4))
    clip, go = load_clip(ClipAddress(), room.model), threading.Event()
    asked = threading.Thread(target=room.ask, args=(clip, lambda explorer: go.wait(PATIENCE)))
    asked.start()
    while not room.at_work:
        time.sleep(0.01)
    loading = other.open()
    time.sleep(0.5)
    assert not loading.done()
    go.set()
    asked.join()
    loading.result(PATIENCE)
    assert not room.ready


def test_who_asks_on_and_on_keeps_no_other_model_out(official, monkeypatch):
    monkeypatch.setattr(rooms, "HOLD", 0.3)
    here = rooms.Rooms()
    room, other = here.room(official), here.room(ModelAddress(official.name, 4))
    leave_space_for_one(monkeypatch, room)
    clip, done = load_clip(ClipAddress(), room.model), threading.Event()

    def ask_on_and_on():
        while not done.is_set():
            room.ask(clip, lambda explorer: time.sleep(0.05))

    asking = threading.Thread(target=ask_on_and_on)
    asking.start()
    try:
        other.open().result(20)
    finally:
        done.set()
        asking.join(PATIENCE)


def test_rooms_that_nobody_is_in_are_closed(official, monkeypatch):
    monkeypatch.setattr(rooms, "HOLD", 0.0)
    here, gone = rooms.Rooms(), set()
    monkeypatch.setattr(rooms, "is_here", lambda visitor: visitor not in gone)
    wrong = [ModelAddress(f"/nowhere/{number}") for number in range(30)]
    for address in (*wrong, official):
        here.enter("one", DEMO.address, address)
        loading = here.room(address).open()
        loading.exception(PATIENCE)
    here.enter("two", official)
    here.sweep()
    assert set(here.rooms) == {DEMO.address, official}
    gone.update(("one", "two"))
    here.sweep()
    assert set(here.rooms) == {DEMO.address}
    assert the_memory().find(official) is None


def test_too_little_memory_is_a_sentence():
    def work():
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")

    with pytest.raises(InputError, match="not enough memory"):
        rooms.mended(work)


@pytest.mark.parametrize("grid", [(8, 14, 14), (4, 4, 4), (2, 24, 24)])
def test_a_mask_keeps_its_place_on_another_grid(grid):
    mask = np.zeros((8, 7, 7), bool)
    mask[4:, :, 3:] = True
    found = figures.resized(mask, grid)
    assert found.shape == grid
    assert found[-1, :, -1].all() and not found[0].any() and not found[:, :, 0].any()
    assert found.mean() == pytest.approx(mask.mean(), abs=0.06)
    assert (figures.resized(mask, mask.shape) == mask).all()


def test_every_page_takes_the_model(official):
    for name in ("embeddings.page", "similarity", "surprise.page", "probes.page"):
        script = (
            f"from app import window; from app.{name} import page; window.dress('', ''); page()"
        )
        page = AppTest.from_string(script, default_timeout=120)
        page.query_params["model"] = official.name
        arrive(page.run())
        page.run()
        assert not page.exception, (name, page.exception)
        assert not page.warning, (name, page.warning[0].value)
    assert any("vjepa probe --model" in code.value for code in page.code)


@pytest.fixture(scope="module")
def encoder_alone(tmp_path_factory) -> str:
    """A file whose predictor was left out."""
    golden, folder = Path(__file__).parent / "golden" / "vjepa1-a", tmp_path_factory.mktemp("alone")
    state = torch.load(golden / "checkpoint.pth.tar", weights_only=True)
    torch.save({"encoder": state["target_encoder"]}, folder / "encoder.pth.tar")
    shutil.copy(golden / "config.json", folder)
    return str(folder / "encoder.pth.tar")


@pytest.mark.parametrize(
    ("module", "works"),
    [
        ("app.mask_and_decode.page", False),
        ("app.embeddings.page", True),
        ("app.similarity", True),
        ("app.surprise.page", False),
    ],
)
def test_pages_of_an_encoder_alone_work_or_say_what_they_lack(encoder_alone, module, works):
    script = f"from {module} import page; from app import window; window.dress('', ''); page()"
    page = AppTest.from_string(script, default_timeout=60)
    page.query_params["model"] = encoder_alone
    arrive(page.run())
    assert not page.exception and page.session_state["visitor"].model.address.name == encoder_alone
    said = [str(part.value) for part in (*page.markdown, *page.warning)]
    lacks = [sentence for sentence in said if "no predictor" in sentence]
    assert len(lacks) == (0 if works else 1)
    assert not any("decoder train" in code.value for code in page.code)
    if module == "app.embeddings.page":
        assert page.toggle(key="embeddings_predictions").disabled
        page.selectbox(key="embeddings_colour").set_value("error").run()
        assert not page.exception
        assert any("no predictor" in str(part.value) for part in page.markdown)
