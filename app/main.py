"""Entry of the app: the look of the window and the way from page to page, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app import gallery, reading, similarity, window
from app.embeddings import page as embeddings
from app.evaluation import page as evaluation
from app.learn import page as learn
from app.mask_and_decode import page as mask_and_decode
from app.probes import page as probes
from app.surprise import page as surprise
from app.workbench.bench import told_in_a_sentence
from app.workbench.housekeeping import keep_house
from app.workbench.links import visitor
from app.workbench.queue import visitor_id
from app.workbench.uploads import all_guests


@dataclass(frozen=True)
class Entry:
    """A page.

    Attributes:
        title: in the row of pages, and of the window.
        icon: beside it.
        purpose: what to do there, in a sentence.
        page: draws it.
    """

    title: str
    icon: str
    purpose: str
    page: Callable[[], None]

    @property
    def path(self) -> str:
        """Its part of the address."""
        return self.title.lower().replace(" ", "-")


PAGES = (
    Entry(
        "Mask and decode",
        ":material/brush:",
        "Drag over the clip to hide a part of it: V-JEPA predicts what is there, and a decoder "
        "draws its predictions.",
        mask_and_decode.page,
    ),
    Entry(
        "Embeddings",
        ":material/scatter_plot:",
        "What the features tell apart: like colours, and near points, are alike to the model.",
        embeddings.page,
    ),
    Entry(
        "Similarity",
        ":material/target:",
        "Click a patch, in the clip or in a map: what resembles it lights up, and where it goes.",
        similarity.page,
    ),
    Entry(
        "Surprise",
        ":material/bolt:",
        "What the model did not foresee, moment by moment, in this clip and in impossible ones.",
        surprise.page,
    ),
    Entry(
        "Probes",
        ":material/category:",
        "What a simple classifier reads from the features, and from predictions of what is hidden.",
        probes.page,
    ),
    Entry(
        "Evaluation",
        ":material/monitoring:",
        "How far decoded predictions can be trusted: scores on held-out clips.",
        evaluation.page,
    ),
    Entry(
        "Learn",
        ":material/school:",
        "What a JEPA predicts, from what, and why: short lessons, each with something to try.",
        learn.page,
    ),
    Entry(
        "Gallery",
        ":material/photo_library:",
        "Views worth seeing, with what to notice. Each opens as it is here; then go on from there.",
        gallery.page,
    ),
)
READING = Entry(
    "Reading", ":material/menu_book:", "The source of a part, or a notebook.", reading.page
)


def pages() -> dict[st.Page, Entry]:
    """The pages as Streamlit has them: the first one at the root, and at its own name too.

    In the row of pages it stands with the address that the visitor came by, so that it is lit.
    """
    home, *others = PAGES
    named = (st.context.url or "").endswith(f"/{home.path}")
    shown = [
        (home, "home", not named),
        (home, home.path, named),
        *((entry, entry.path, True) for entry in others),
        (READING, READING.path, False),
    ]
    return {
        st.Page(
            entry.page,
            title=entry.title,
            icon=entry.icon,
            url_path=path,
            visibility="visible" if seen else "hidden",
        ): entry
        for entry, path, seen in shown
    }


keep_house()
entries = pages()
chosen = st.navigation(list(entries), position="top")
entry = entries[chosen]
window.dress(entry.title, entry.purpose)
with told_in_a_sentence():
    all_guests().welcome(visitor_id(), visitor())
    chosen.run()
