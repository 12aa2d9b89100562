"""A server of one review folder for one computer: it saves ratings at once.

It listens on the loopback address only and answers only those who know the token in its address. It reads
the files of the page and no others, and writes ratings and nothing else.
"""

import json
import logging
import re
import secrets
import zlib
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from softcord.errors import InputError, OutputError, SoftcordError
from softcord.qc.folder import prepare, read_rows
from softcord.qc.ratings import Journal, latest, rating_from

_LOG = logging.getLogger(__name__)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_FOLDERS = ("entries", "page", "volumes")
_FILES = ("index.html", "report.js")
_MOST_BYTES = 8_000_000
HOST = "127.0.0.1"


class ReviewServer(ThreadingHTTPServer):
    """Serves one folder until it is stopped.

    Parameters
    ----------
    folder : Path
        A review folder.
    port : int, optional
        Default: always the same one for the same folder, so that the browser finds again what it kept when a
        server was killed; another one if that is taken.

    Raises
    ------
    InputError
        If this is no review folder.
    OutputError
        If the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, port: int | None = None) -> None:
        read_rows(folder)
        prepare(folder)
        self.folder = folder.resolve()
        self.token = secrets.token_urlsafe(24)
        self.journal = Journal(self.folder)
        usual = 49152 + zlib.crc32(str(self.folder).encode(errors="surrogateescape")) % 16000
        try:
            super().__init__((HOST, usual if port is None else port), _Handler)
        except (OSError, OverflowError) as error:
            if port is not None:
                raise OutputError(
                    f"{HOST}:{port}: cannot listen ({error}). Choose another --port."
                ) from error
            super().__init__((HOST, 0), _Handler)

    @property
    def address(self) -> str:
        """What to open in the browser; it holds the token."""
        return f"{self.origin}/{self.token}/index.html"

    @property
    def origin(self) -> str:
        """Where the page comes from, as browsers say it."""
        return f"http://{HOST}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Send a file of the page, the rows, or the ratings."""
        path = self._allowed()
        if path is None:
            return
        if path == "rows":
            self._send_json([asdict(record) for record in read_rows(self.server.folder)])
        elif path == "ratings":
            self._send_json([asdict(rating) for rating in self.server.journal.read()])
        else:
            self._send_file(path)

    def do_POST(self) -> None:
        """Save ratings."""
        path = self._allowed()
        if path is None:
            return
        if self.headers.get("Origin") != self.server.origin:
            self._refuse(HTTPStatus.FORBIDDEN, "ratings are taken from the page of this server only")
        elif path != "ratings":
            self._refuse(HTTPStatus.NOT_FOUND, "nothing is saved there")
        elif self.headers.get("Content-Type", "").split(";")[0] != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "ratings are JSON")
        else:
            self._save()

    def _save(self) -> None:
        try:
            n_bytes = int(self.headers.get("Content-Length", ""))
            if not 0 < n_bytes <= _MOST_BYTES:
                raise InputError("too long")
            sent = json.loads(self.rfile.read(n_bytes))
            ratings = [rating_from(fields) for fields in sent]
            if not all(self._is_entry(key) for key in {rating.key for rating in ratings}):
                raise InputError("a rating names an entry that is not on this page")
            self.server.journal.append(latest(ratings))
        except OutputError as error:
            _LOG.error("%s", error)
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, "the folder cannot be written")
        except (ValueError, TypeError, AttributeError, SoftcordError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"not understood: {type(error).__name__}")
        else:
            self._send_json({"saved": len(ratings)})

    def _is_entry(self, key: str) -> bool:
        is_name = re.fullmatch("[A-Za-z0-9_-]+", key) is not None
        return is_name and (self.server.folder / "entries" / f"{key}.js").is_file()

    def _allowed(self) -> str | None:
        """What is asked for, behind the token; None if the request was refused."""
        host = self.headers.get("Host", "")
        own = self.server.origin
        if f"http://{host}" != own or self.headers.get("Origin", own) != own:
            self._refuse(HTTPStatus.FORBIDDEN, "this server answers its own page only")
            return None
        _, _, rest = urlsplit(self.path).path.partition("/")
        token, _, path = rest.partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the address holds no valid token")
            return None
        return unquote(path)

    def _send_file(self, name: str) -> None:
        parts = name.split("/")
        is_page = name in _FILES or (len(parts) == 2 and parts[0] in _FOLDERS)
        path = self.server.folder / name
        is_odd = ".." in parts or "\0" in name or "\\" in name
        if not is_page or is_odd or path.suffix not in _TYPES:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file on this page")
            return
        try:
            if not path.resolve(strict=True).is_relative_to(self.server.folder):
                raise OSError
            content = path.read_bytes()
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file on this page")
            return
        self._send(HTTPStatus.OK, content, _TYPES[path.suffix])

    def _send_json(self, value: object) -> None:
        self._send(HTTPStatus.OK, json.dumps(value).encode("ascii"), "application/json")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # what was sent and not read must not be taken for another request
        self._send(status, (reason + "\n").encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is that of the base class
        """Say what was asked for, to those who debug; never the token."""
        _LOG.debug("%s", (format % args).replace(self.server.token, "…"))
