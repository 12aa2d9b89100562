"""Large files over HTTP: in pieces if need be, checked, and never half of one taken for the whole."""

import ipaddress
import json
import logging
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from softcord import __version__
from softcord.checksum import file_sha256
from softcord.errors import ModelError, OutputError, UsageError
from softcord.models.store import output_errors

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

Report = Callable[[int, int | None], None]

_CHUNK = 1 << 16  # bytes; what is lost when a connection breaks
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # of the answers, those that a later try may not get
_MOST_REDIRECTS = 10


@dataclass(frozen=True)
class DownloadOptions:
    """How patient a download is.

    Attributes
    ----------
    timeout_s : float
        Longest silence of the server.
    tries : int
        In a row that bring nothing.
    pause_s : float
        Before the second try; doubled before each one after it.
    largest : int
        Bytes.
    """

    timeout_s: float = 30.0
    tries: int = 5
    pause_s: float = 1.0
    largest: int = 8 << 30


class _Again(Exception):  # noqa: N818 - not an error yet
    """Why a try brought less than the whole file."""


def check_url(url: str, *, is_known: bool) -> None:
    """Refuse addresses that cannot be downloaded, or whose answer anybody on the way could have made.

    Parameters
    ----------
    is_known : bool
        Whether the checksum is known.

    Raises
    ------
    UsageError
    """
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url}: expected an address that begins with https://. Check it.")
    if parts.scheme == "http" and not is_known and not _is_this_machine(parts.hostname):
        raise UsageError(
            f"{url}: what comes over http can be changed on its way. Use https, or give --sha256."
        )


def split_url(url: str) -> SplitResult:
    """Parts of an address.

    Raises
    ------
    UsageError
        It is none.
    """
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url}: not an address ({error}). Check it.") from error


def download(
    url: str,
    part: Path,
    *,
    sha256: str | None = None,
    report: Report | None = None,
    options: DownloadOptions | None = None,
) -> str:
    """Download a file, going on where an earlier try ended.

    Parameters
    ----------
    url : str
    part : Path
        Where the bytes go. What is there from an earlier try at the same address is gone on with; a file
        beside it, `.json`, says which address that was.
    sha256 : str, optional
        That the file must have.
    report : callable, optional
        Gets the number of bytes that are there, and that of all, None if the server does not say.
    options : DownloadOptions, optional

    Returns
    -------
    sha256 : str
        That the file has.

    Raises
    ------
    ModelError
        It cannot be had, or is not the expected one. What came is kept in the first case only.
    OutputError
        It cannot be written.
    """
    options = options or DownloadOptions()
    is_resumed = part.exists()
    while True:
        _fetch_all(url, part, sha256, report, options)
        found = file_sha256(part)
        if sha256 is None or found == sha256:
            return found
        forget(part)
        if not is_resumed:
            raise ModelError(
                f"{url}: SHA-256 is {found}, expected {sha256}: not the file that was asked for, or damaged "
                "on its way. It was deleted."
            )
        is_resumed = False  # the earlier part may have been of another file: once more, from its start


def forget(part: Path) -> None:
    """Delete what a download has left."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _fetch_all(
    url: str, part: Path, sha256: str | None, report: Report | None, options: DownloadOptions
) -> None:
    import requests

    with requests.Session() as session:
        session.max_redirects = _MOST_REDIRECTS
        session.headers.update({"User-Agent": f"softcord/{__version__}", "Accept-Encoding": "identity"})
        left = options.tries
        while True:
            before = _size(part)
            try:
                _fetch(session, url, part, sha256, report, options)
            except _Again as reason:
                left = options.tries if _size(part) > before else left - 1
                if left <= 0:
                    raise ModelError(_given_up(url, str(reason), _size(part))) from reason
                log.info("%s: %s; trying again", url, reason)
                time.sleep(options.pause_s * 2 ** (options.tries - left))
            else:
                return


def _given_up(url: str, reason: str, size: int) -> str:
    kept = f" {size / 2**20:.1f} MiB are kept: the next run goes on from there." if size else ""
    return f"{url}: cannot be downloaded ({reason}).{kept or ' Check the address and the connection.'}"


def _fetch(
    session: "requests.Session",
    url: str,
    part: Path,
    sha256: str | None,
    report: Report | None,
    options: DownloadOptions,
) -> None:
    """One try."""
    import requests
    import urllib3

    start, headers = _go_on(url, part, sha256)
    try:
        with session.get(url, stream=True, timeout=options.timeout_s, headers=headers) as response:
            _check_way(url, response)
            start = _check_answer(url, response, part, start)
            total = _total(response, start)
            _check_size(url, part, start, total, options)
            _write(url, response, part, start, total, report, options)
    except (
        requests.exceptions.SSLError,
        requests.TooManyRedirects,
        requests.exceptions.InvalidSchema,
    ) as error:
        raise ModelError(f"{url}: cannot be downloaded ({_reason(error)}). Check the address.") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
        raise UsageError(f"{url}: not an address ({_reason(error)}). Check it.") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Again(_reason(error)) from error


def _go_on(url: str, part: Path, sha256: str | None) -> tuple[int, dict[str, str]]:
    """Where to go on, and the headers that ask for it.

    Without a mark by which the server knows the file again, only a known checksum can tell whether two parts
    fit; else it is taken from its start.
    """
    try:
        note: dict[str, Any] = json.loads(_note(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        note = {}
    mark = note.get("mark")
    if _size(part) and note.get("url") == url and (mark or sha256):
        headers = {"Range": f"bytes={_size(part)}-"}
        return _size(part), headers | ({"If-Range": mark} if mark else {})
    return 0, {}


def _check_way(url: str, response: "requests.Response") -> None:
    """Refuse redirects from https to http."""
    way = [*response.history, response]
    if url.startswith("https:") and not all(step.url.startswith("https:") for step in way):
        raise ModelError(
            f"{url}: refused: it leads to {response.url}, which is not https. Check the address."
        )


def _check_answer(url: str, response: "requests.Response", part: Path, start: int) -> int:
    """The byte at which the answer begins."""
    status = response.status_code
    if status == 200:
        return 0
    if status == 206 and start:
        found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if found and int(found[1]) == start:
            return start
    if status in (206, 416):
        forget(part)
        raise _Again("the server gave another part than was asked for")
    if status in _PASSING:
        raise _Again(f"the server answered {status}")
    raise ModelError(f"{url}: the server answered {status} {response.reason}. Check the address.")


def _total(response: "requests.Response", start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() and len(length) < 20 else None


def _check_size(url: str, part: Path, start: int, total: int | None, options: DownloadOptions) -> None:
    if total is None:
        return
    if total > options.largest:
        raise ModelError(f"{url}: refused: {total / 2**30:.1f} GiB is more than a model has.")
    if total - start > shutil.disk_usage(part.parent).free:
        raise OutputError(f"{part.parent}: {total / 2**20:.0f} MiB do not fit there. Free some space.")


def _write(
    url: str,
    response: "requests.Response",
    part: Path,
    start: int,
    total: int | None,
    report: Report | None,
    options: DownloadOptions,
) -> None:
    mark = response.headers.get("ETag", "")
    if not mark or mark.startswith("W/"):  # a weak one does not promise the same bytes
        mark = response.headers.get("Last-Modified", "")
    done = start
    with output_errors(part):
        _note(part).write_text(json.dumps({"url": url, "mark": mark}), encoding="utf-8")
        file = part.open("ab" if start else "wb")
    with file:
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            with output_errors(part):
                file.write(chunk)
                file.flush()
            done += len(chunk)
            if done > options.largest:
                forget(part)
                raise ModelError(f"{url}: refused: it does not end after {done / 2**30:.1f} GiB.")
            if report is not None:
                report(done, total)
    if total is not None and done != total:
        raise _Again(f"it ended after {done} of {total} bytes")


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    """What went wrong, without the layers that libraries wrap it in."""
    text = str(error)
    for pattern, meaning in (
        (r"Read timed out|timed out", "the server is silent"),
        (r"NameResolution|getaddrinfo|Name or service", "the name of the server is not known"),
        (r"Connection refused|refused", "the server refuses the connection"),
        (r"IncompleteRead", "the connection ended early"),
        (r"CERTIFICATE|certificate", "its certificate is not trusted"),
        (r"redirects", "too many redirects"),
        (r"No connection adapters", "it leads to something else than https"),
        (r"Connection aborted|RemoteDisconnected|ConnectionReset|broken", "the connection broke"),
    ):
        if re.search(pattern, text):
            return meaning
    return text[:120] if text.isprintable() else type(error).__name__
