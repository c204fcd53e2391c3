"""A visitor without a browser: he speaks Streamlit's websocket, paints masks and reads answers."""

import json
import struct
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import requests
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.runtime.state.session_state import STREAMLIT_INTERNAL_KEY_PREFIX
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app.workbench.figures import from_bits, to_bits

PATIENCE = 300.0
"""Seconds; a machine that trains beside the tests is slow."""
STREAM = "/_stcore/stream"
WRONG = (Alert.ERROR, Alert.WARNING)


@dataclass
class Piece:
    """One of our components as the browser last heard of it.

    Attributes:
        id: the component's id.
        fragment: the fragment that it is a part of.
        note: the JSON that came with it.
        blobs: the bytes that came with it.
    """

    id: str
    fragment: str
    note: dict
    blobs: list[bytes]


class Visitor:
    """A session of the app.

    Args:
        address: of the server, "http://127.0.0.1:8501" say.
        query: of the link that he came by.
        page: of the app, "similarity" say.
    """

    def __init__(self, address: str, query: str = "", page: str = "") -> None:
        self.query, self.page = query, page
        self.address = address
        self.pieces: dict[str, Piece] = {}
        self.states: dict[str, WidgetState] = {}
        self.timers: dict[str, tuple[float, float]] = {}
        self.texts: list[str] = []
        self.warnings: list[str] = []
        self.menus: dict[str, str] = {}
        self.segments: set[str] = set()
        self.exceptions: list[str] = []
        self.finished = 0
        self.running = False
        self.session = self.uploader = ""
        self.open = ExitStack()
        self.socket = self.open.enter_context(
            connect(
                address.replace("http", "ws") + STREAM,
                max_size=None,
                max_queue=None,
                ping_interval=None,
            )
        )
        self.run()

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Closes the window."""
        self.open.close()

    def run(self, fragment: str = "", auto: bool = False, back: bool = False) -> None:
        """Asks for a run of the page, or of a fragment.

        His address stays the one that he came by, whatever the page makes of it: a browser's may
        be as old, where it was told of the new one just now.
        """
        message = BackMsg()
        rerun = message.rerun_script
        rerun.query_string, rerun.page_name = self.query, self.page
        rerun.fragment_id, rerun.is_auto_rerun = fragment, auto
        rerun.is_history_navigation = back
        rerun.widget_states.widgets.extend(self.states.values())
        self.socket.send(message.SerializeToString())

    def listen(self, until: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Takes in what the server says, until something is so.

        Raises:
            TimeoutError: it did not become so.
            ConnectionClosed: the server went away.
        """
        deadline = time.monotonic() + patience
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Nothing came of it; the page says {self.texts[-8:]}.")
            self._fire_timers()
            try:
                data = self.socket.recv(timeout=0.1)
            except TimeoutError:
                continue
            message = ForwardMsg()
            message.ParseFromString(data)
            self._take(message)

    def wait_for_answer(self, bits: str = "", patience: float = PATIENCE) -> list[bytes]:
        """Until the panels show the answer to the mask on the painter, or to another one."""
        self.listen(lambda: self._answered(bits), patience)
        return self.pieces["panels"].blobs[1:]

    def paint(self, mask: np.ndarray) -> str:
        """Sends a stroke; its bits."""
        painter, bits = self.pieces["painter"], to_bits(mask)
        stroke = {"clip": painter.note["clip"]["id"], "rev": painter.note["rev"], "bits": bits}
        state = WidgetState(id=painter.id, json_value=json.dumps({"mask": stroke}))
        self.states[painter.id] = state
        self.run(painter.fragment)
        return bits

    def pick(self, tile: str) -> None:
        """Clicks on a clip of the row; like any click, it is said once."""
        self.tell("picker", json.dumps([{"event": "pick", "value": tile}]))

    def tell(self, name: str, text: str) -> None:
        """Says something in the name of one of our components, once.

        Args:
            name: of the component.
            text: JSON, or what is none; of the picker, which has clicks alone, a list of events.
        """
        piece = self.pieces[name]
        if name == "picker":
            self._say_once(WidgetState(id=_trigger(piece.id), json_trigger_value=text))
        else:
            self._say_once(WidgetState(id=piece.id, json_value=text), piece.fragment)

    def choose(self, menu: str, title: str) -> None:
        """Takes an entry of a menu."""
        self._say_once(WidgetState(id=self.menus[menu], string_value=title))

    def press(self, segments: str, *titles: str) -> None:
        """Takes some of a few that stand side by side, by their id."""
        state = WidgetState(id=segments)
        state.string_array_value.data.extend(titles)
        self._say_once(state)

    def go(self, page: str) -> None:
        """To another page of the app: what was on this one is gone."""
        self.page = page
        self.pieces.clear()
        self.states.clear()
        self.run()

    def go_back(self, query: str) -> None:
        """Has the browser's Back lead to another address of the same page."""
        self.query = query
        self.run(back=True)

    def upload(self, name: str, data: bytes, keep: bool = True) -> int:
        """Sends a file, and has the uploader of the page name it with the next run.

        Args:
            name: of the file.
            data: its bytes.
            keep: whether the page is told of it.

        Returns:
            The status of the server's answer.
        """
        file = str(uuid.uuid4())
        where = f"/_stcore/upload_file/{self.session}/{file}"
        status = put(self.address + where, name, data)
        if keep and status < 300:
            state = WidgetState(id=self.uploader)
            told = state.file_uploader_state_value.uploaded_file_info.add()
            told.file_id, told.name, told.size = file, name, len(data)
            told.file_urls.file_id = file
            told.file_urls.upload_url = told.file_urls.delete_url = where
            self.states[self.uploader] = state
        return status

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along time, height and width."""
        return tuple(self.pieces["painter"].note["mask"]["grid"])

    def mask(self) -> np.ndarray:
        """What the panels show the answer to."""
        return from_bits(self.pieces["panels"].note["mask"]["bits"], self.grid)

    def _say_once(self, state: WidgetState, fragment: str = "") -> None:
        self.states[state.id] = state
        self.run(fragment)
        del self.states[state.id]

    def _answered(self, bits: str) -> bool:
        panels = self.pieces.get("panels")
        if (
            panels is None
            or panels.note["waiting"]
            or bits not in ("", panels.note["mask"]["bits"])
        ):
            return False
        return len(panels.blobs) > 1 and len(panels.blobs[1]) > 0

    def _fire_timers(self) -> None:
        now = time.monotonic()
        for fragment, (due, interval) in list(self.timers.items()):
            if now >= due:
                self.timers[fragment] = now + interval, interval
                self.run(fragment, auto=True)

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.running = True
            self.session = message.new_session.initialize.session_id or self.session
            if not message.metadata.run.fragment_ids:  # the whole page is drawn anew
                self.timers.clear()
                self.warnings.clear()
        elif kind == "auto_rerun":
            interval = message.auto_rerun.interval
            self.timers[message.auto_rerun.fragment_id] = time.monotonic() + interval, interval
        elif kind == "script_finished":
            self.finished += 1
            self.running = False
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._draw(message.delta.new_element, message.delta.fragment_id)

    def _draw(self, element, fragment: str) -> None:
        kind = element.WhichOneof("type")
        if kind == "bidi_component":
            name = element.bidi_component.component_name.rpartition("vjepa_")[2]
            note, blobs = unpacked(element.bidi_component.bytes)
            self.pieces[name] = Piece(element.bidi_component.id, fragment, note, blobs)
        elif kind == "file_uploader":
            self.uploader = element.file_uploader.id
        elif kind == "selectbox":
            self.menus[element.selectbox.label] = element.selectbox.id
        elif kind == "button_group":
            self.segments.add(element.button_group.id)
        elif kind == "exception":
            self.exceptions.append(element.exception.message)
        elif kind in ("markdown", "alert"):
            self.texts.append(getattr(element, kind).body)
            if kind == "alert" and element.alert.format in WRONG:
                self.warnings.append(element.alert.body)


def _trigger(component: str) -> str:
    """Where Streamlit takes a component's clicks."""
    return f"{STREAMLIT_INTERNAL_KEY_PREFIX}_{component}__events"


def unpacked(parcel: bytes) -> tuple[dict, list[bytes]]:
    """The note and the blobs of what a component is sent."""
    (length,) = struct.unpack_from("<I", parcel)
    note, place, blobs = json.loads(parcel[4 : 4 + length]), 4 + length, []
    for size in note["sizes"]:
        blobs.append(parcel[place : place + size])
        place += size
    return note, blobs


def put(address: str, name: str, data: bytes) -> int:
    """Sends a file as a browser's form, with the token against forgery; the answer's status."""
    with requests.Session() as session:
        session.get(address.partition("/_stcore")[0] + "/_stcore/health", timeout=30)
        token = session.cookies.get("_streamlit_xsrf", "")
        headers = {"X-Xsrftoken": token}
        return session.put(
            address, files={"file": (name, data)}, headers=headers, timeout=60
        ).status_code


def fetched(address: str) -> tuple[int, bytes]:
    """Status and body of what is at an address."""
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


__all__ = ["ConnectionClosed", "Visitor", "fetched", "unpacked"]
