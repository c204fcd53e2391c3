"""What nobody foresaw: one sentence and a reference number on the page, the trace in the log."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit.logger import get_logger

from vjepa.errors import InputError

SORRY = (
    "Something went wrong here that is not your fault: reload the page, and tell who runs this "
    "server the number {reference} if it comes again."
)

log = get_logger(__name__)


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Shows what goes wrong in the block as a sentence; the page around it stays usable."""
    try:
        yield
    except InputError as error:
        st.warning(str(error), icon=":material/error:")
    except Exception as error:
        tell(error)


def tell(error: Exception) -> bool:
    """Says that there was an error, and where to find it; no path or value of it is shown.

    Returns:
        True: nothing more is to be shown.
    """
    reference = secrets.token_hex(4)
    log.error("Reference %s", reference, exc_info=error)
    st.error(SORRY.format(reference=reference), icon=":material/error:")
    return True
