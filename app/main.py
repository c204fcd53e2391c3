"""Entry of the app: the look of the window and the way from page to page, nothing else."""

import streamlit as st

from app import similarity, window
from app.embeddings import page as embeddings
from app.evaluation import page as evaluation
from app.mask_and_decode import page as mask_and_decode
from app.probes import page as probes
from app.surprise import page as surprise
from app.workbench.bench import told_in_a_sentence, visitor
from app.workbench.housekeeping import keep_house
from app.workbench.queue import visitor_id
from app.workbench.uploads import all_guests

PAGES = (
    ("Mask and decode", ":material/brush:", mask_and_decode.page),
    ("Embeddings", ":material/scatter_plot:", embeddings.page),
    ("Similarity", ":material/target:", similarity.page),
    ("Surprise", ":material/bolt:", surprise.page),
    ("Probes", ":material/category:", probes.page),
    ("Evaluation", ":material/monitoring:", evaluation.page),
)

window.dress()
keep_house()
chosen = st.navigation(
    [
        st.Page(page, title=title, icon=icon, url_path=title.lower().replace(" ", "-"))
        for title, icon, page in PAGES
    ],
    position="top",
)
with told_in_a_sentence():
    all_guests().welcome(visitor_id(), visitor())
    chosen.run()
