"""Makes the answers that ship with the app: `python -m app.make_first_view`.

Run it again whenever the demo model, a clip or its mask in `assets/clips/clips.json` changes; a
test compares them. Prints, for each clip, how much nearer to the truth the samples are than the
best fill without a model, in dB.
"""

from __future__ import annotations

import shutil

from app.mask_and_decode import answers
from app.workbench import session
from app.workbench.catalogue import catalogue
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO


def main() -> None:
    """Asks the model about every bundled clip and writes its answers to `assets/first_view`."""
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
        print(f"{name}: samples {answer.gain:+.1f} dB, in one step {expected.gain:+.1f} dB")


if __name__ == "__main__":
    main()
