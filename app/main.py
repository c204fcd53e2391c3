"""Entry of the app: the look of the window and the way from page to page, nothing else."""

import streamlit as st

from app import similarity, window
from app.embeddings import page as embeddings
from app.evaluation import page as evaluation
from app.mask_and_decode import page as mask_and_decode
from app.probes import page as probes
from app.surprise import page as surprise
from app.workbench.mishaps import told_in_a_sentence

PAGES = (
    ("Mask and decode", ":material/brush:", mask_and_decode.page),
    ("Embeddings", ":material/scatter_plot:", embeddings.page),
    ("Similarity", ":material/target:", similarity.page),
    ("Surprise", ":material/bolt:", surprise.page),
    ("Probes", ":material/category:", probes.page),
    ("Evaluation", ":material/monitoring:", evaluation.page),
)

window.dress()
chosen = st.navigation(
    [
        st.Page(page, title=title, icon=icon, url_path=title.lower().replace(" ", "-"))
        for title, icon, page in PAGES
    ],
    position="top",
)
with told_in_a_sentence():
    chosen.run()
