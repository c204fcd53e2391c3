"""The app for the public: `python -m app.serve`; docs/serve.md says more.

All interfaces, no typed paths, no details of errors, no metrics. With `--local` it is for who
sits at this machine, as `streamlit run app/main.py` is. The model is opened before anybody comes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAIN = Path(__file__).with_name("main.py")
METRICS = "/_stcore/metrics"
PUBLIC = {
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    "browser.gatherUsageStats": False,
}
"""What the public needs, in Streamlit's words."""


class NoMetrics:
    """Answers 404 where Streamlit would tell everybody about sessions and memory.

    Args:
        app: what answers everything else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith(METRICS):
            from starlette.responses import PlainTextResponse

            await PlainTextResponse("Not found", 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def make_app() -> Any:
    """The app as Streamlit serves it: what it does not offer is added here."""
    import streamlit as st
    from starlette.middleware import Middleware

    from app.workbench.bench import tell

    return st.App(MAIN, middleware=[Middleware(NoMetrics)], on_script_error=tell, lifespan=ready)


@asynccontextmanager
async def ready(_: Any) -> AsyncIterator[None]:
    """Opens the model in the background as soon as the server is up, before anybody comes."""
    from app.workbench.housekeeping import keep_house, open_default

    keep_house()
    open_default()
    yield


def main(
    address: str | None = None,
    port: int = 8501,
    base_path: str = "",
    memory: float | None = None,
    model: str | None = None,
    local: bool = False,
) -> None:
    """Serves the app to the public, or to the person at this machine.

    Args:
        address: which of this machine's addresses listens; by default all, with `--local` the one
            that nobody else can reach.
        port: where.
        base_path: the part of the address behind the host, where a proxy gives the app one.
        memory: GB that are kept at most: models, clips, answers; by default half of what there is.
        model: that a visitor sees who asks for none.
        local: for the person at this machine: paths can be typed, and a browser opens.
    """
    if memory is not None:
        os.environ["VJEPA_APP_MEMORY"] = str(memory)
    if model is not None:
        os.environ["VJEPA_APP_MODEL"] = model
    place = {
        "server.address": address or ("localhost" if local else "0.0.0.0"),
        "server.port": port,
        "server.baseUrlPath": base_path,
    }
    if not local:
        os.environ["VJEPA_APP_PATHS"] = "0"
    make_app().run(config=place if local else place | PUBLIC)


if __name__ == "__main__":
    tyro.cli(main)
