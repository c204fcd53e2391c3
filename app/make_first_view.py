"""Makes the answer that ships with the app: `python -m app.make_first_view`.

Run it again whenever the demo model changes; a test compares the two.
"""

from __future__ import annotations

from app.mask_and_decode import answers
from app.workbench import session
from app.workbench.clip import ClipAddress, load_clip
from app.workbench.models import DEMO


def main() -> None:
    """Asks the model about the default clip and writes the answer to `assets/first_view`."""
    clip = load_clip(ClipAddress(), DEMO)
    question = answers.question_of(session.start_state(), clip)
    answers.save(answers.fresh_answer(question, clip), answers.FIRST_VIEW)


if __name__ == "__main__":
    main()
