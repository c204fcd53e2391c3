"""Makes the answers that ship with the app: `python -m app.make_first_view`.

Run it again whenever the demo model, a clip or its mask in `assets/clips/clips.json` changes; a
test compares them. Prints, for each clip, how much nearer to the truth the samples are than the
best fill without a model, in dB.
"""

from __future__ import annotations

import shutil

from app import gallery
from app.mask_and_decode import answers
from app.surprise import impossible
from app.workbench import session
from app.workbench.catalogue import catalogue
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO


def main() -> None:
    """Asks the model about every bundled clip; writes `assets/first_view` and `assets/gallery`."""
    shutil.rmtree(answers.FIRST_VIEW, ignore_errors=True)
    for name in catalogue():
        state = session.start_state()
        state.choose(ClipAddress("bundled", name))
        clip = load_clip(state.address, DEMO)
        question, folder = answers.question_of(state, clip), answers.FIRST_VIEW / name
        answer = answers.fresh_answer(question, clip)
        answers.save(answer, folder)
        expected = answers.fresh_answer(question.expected(), clip)
        answers.save(expected, folder / answers.EXPECTED)
        at_once = expected.psnr["sample 1"] - answer.psnr["best fill"]
        print(f"{name}: samples {answer.gain:+.1f} dB, in one step {at_once:+.1f} dB")
    draw_scenes()


def draw_scenes() -> None:
    """Writes the gallery's pictures of impossible scenes: the frame halfway to the end."""
    gallery.SCENES.mkdir(exist_ok=True)
    for kind in {view.query["happens"] for view in gallery.curated() if "happens" in view.query}:
        (_, impossible_clip), _ = impossible.draw_scene(kind, True, impossible.FIRST_SEED).pairs
        frame = impossible_clip.frames[3 * len(impossible_clip.frames) // 4]
        (gallery.SCENES / f"{kind}.jpg").write_bytes(gallery.large_jpeg(frame))


if __name__ == "__main__":
    main()
