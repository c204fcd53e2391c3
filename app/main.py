"""Entry of the app: the look of the window and the way from page to page, nothing else."""

import streamlit as st

from app import mask_and_decode, window

window.dress()
st.navigation(
    [
        st.Page(
            mask_and_decode.page,
            title="Mask and decode",
            icon=":material/brush:",
            url_path="mask-and-decode",
            default=True,
        )
    ],
    position="top",
).run()
