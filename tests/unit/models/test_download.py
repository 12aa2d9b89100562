"""Downloads end with the whole file or with an error, whatever the server does."""

import hashlib
import json

import numpy as np
import pytest

from nnunet_models import serve
from softcord.errors import ModelError, OutputError, UsageError
from softcord.models.download import DownloadOptions, check_url, download

CONTENT = np.random.default_rng(0).bytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = DownloadOptions(timeout_s=0.5, tries=3, pause_s=0.01)


@pytest.fixture
def part(tmp_path):
    return tmp_path / "download"


@pytest.fixture
def server():
    with serve(CONTENT) as server:
        yield server


def ranges(server):
    return [request.get("Range") for request in server.requests]


def test_a_file_comes_whole_and_its_bytes_are_reported(server, part):
    seen = []
    found = download(server.url, part, report=lambda done, total: seen.append((done, total)), options=QUICK)
    assert found == SHA256
    assert part.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert server.requests[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("fault", ["cut", "stall", "503", "429"])
def test_a_download_that_breaks_goes_on(server, part, fault):
    server.faults = [fault, fault]
    assert download(server.url, part, options=QUICK) == SHA256
    assert part.read_bytes() == CONTENT
    if fault in ("cut", "stall"):
        first, second, third = ranges(server)
        assert first is None
        assert int(third[6:-1]) > int(second[6:-1]) > len(CONTENT) // 2 - (1 << 17)
        assert server.requests[1]["If-Range"] == server.etag


def test_more_than_the_server_promised_goes_on_or_is_a_lie_that_the_checksum_finds(server, part):
    server.faults = ["short"]
    with pytest.raises(ModelError, match="SHA-256"):
        download(server.url, part, sha256=SHA256, options=QUICK)
    assert not part.exists()


def test_less_than_the_server_promised_is_an_error(server, part):
    server.faults = ["long"] * 20
    with pytest.raises(ModelError, match=r"cannot be downloaded"):
        download(server.url, part, options=QUICK)


def test_without_a_length_only_the_checksum_can_tell(server, part):
    server.faults = ["no-length"]
    assert download(server.url, part, sha256=SHA256, options=QUICK) == SHA256
    part.unlink()
    server.faults = ["no-length-cut"]
    with pytest.raises(ModelError, match="SHA-256"):
        download(server.url, part, sha256=SHA256, options=QUICK)


@pytest.mark.parametrize("fault", ["ignore-range", "wrong-range", "416"])
def test_a_server_that_cannot_give_a_part_gives_all(server, part, fault):
    server.faults = ["cut", fault]
    assert download(server.url, part, options=QUICK) == SHA256
    assert part.read_bytes() == CONTENT


def test_what_an_earlier_run_left_is_gone_on_with(server, part):
    server.faults = ["cut", "404"]
    with pytest.raises(ModelError, match="404"):
        download(server.url, part, options=QUICK)
    half = part.stat().st_size
    assert 0 < half < len(CONTENT)
    assert download(server.url, part, options=QUICK) == SHA256
    assert ranges(server)[-1] == f"bytes={half}-"


def test_a_file_that_has_changed_meanwhile_is_taken_from_its_start(server, part):
    server.faults = ["cut", "404"]
    with pytest.raises(ModelError):
        download(server.url, part, options=QUICK)
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert download(server.url, part, options=QUICK) == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_without_a_mark_a_part_is_gone_on_with_only_if_a_checksum_can_tell(server, part):
    server.etag = ""
    server.faults = ["cut", ""]
    assert download(server.url, part, options=QUICK) == SHA256
    assert ranges(server) == [None, None]
    part.write_bytes(b"x" * 1000)  # of who knows what
    part.with_name("download.json").write_text(json.dumps({"url": server.url, "mark": ""}))
    assert download(server.url, part, sha256=SHA256, options=QUICK) == SHA256
    assert ranges(server)[2:] == ["bytes=1000-", None]


def test_the_part_of_another_address_is_not_gone_on_with(server, part):
    part.write_bytes(b"x" * 1000)
    part.with_name("download.json").write_text(json.dumps({"url": "http://127.0.0.1/other", "mark": '"one"'}))
    assert download(server.url, part, options=QUICK) == SHA256


def test_redirects_are_followed_but_not_for_ever(server, part):
    server.faults = [f"redirect:{server.url}"] * 3
    assert download(server.url, part, options=QUICK) == SHA256
    server.faults = [f"redirect:{server.url}"] * 50
    with pytest.raises(ModelError, match="redirects"):
        download(server.url, part, options=QUICK)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/model.zip"])
def test_redirects_to_anything_but_the_web_are_refused(server, part, target):
    server.faults = [f"redirect:{target}"]
    with pytest.raises(ModelError, match="something else than https"):
        download(server.url, part, options=QUICK)
    assert not part.exists()


@pytest.mark.parametrize("status", ["403", "404", "410"])
def test_an_answer_that_no_patience_changes_is_said_at_once(server, part, status):
    server.faults = [status]
    with pytest.raises(ModelError, match=f"the server answered {status}"):
        download(server.url, part, options=QUICK)
    assert len(server.requests) == 1


def test_patience_ends(server, part):
    server.faults = ["503"] * 10
    with pytest.raises(ModelError, match="the server answered 503"):
        download(server.url, part, options=QUICK)
    assert len(server.requests) == QUICK.tries


def test_silence_is_named_and_what_came_is_kept(server, part):
    server.faults = ["stall"] * 50
    server.content = CONTENT[:100]
    with pytest.raises(ModelError, match="the server is silent"):
        download(server.url, part, options=DownloadOptions(timeout_s=0.1, tries=1, pause_s=0.01))


def test_too_much_is_refused_before_and_while_it_comes(server, part):
    server.faults = ["huge"]
    with pytest.raises(ModelError, match="more than a model has"):
        download(server.url, part, options=QUICK)
    server.faults = ["endless"]
    with pytest.raises(ModelError, match="does not end"):
        download(server.url, part, options=DownloadOptions(timeout_s=0.5, largest=1 << 20))
    assert not part.exists()


def test_a_full_disk_is_said_before_it_is_full(server, part, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(OutputError, match="do not fit"):
        download(server.url, part, options=QUICK)


def test_a_wrong_checksum_is_an_error_and_leaves_nothing(server, part, tmp_path):
    with pytest.raises(ModelError, match=f"SHA-256 is {SHA256}, expected {'0' * 64}"):
        download(server.url, part, sha256="0" * 64, options=QUICK)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_named(part):
    with serve(b"") as server:
        url = server.url
    with pytest.raises(ModelError, match=r"refuses the connection"):
        download(url, part, options=DownloadOptions(tries=2, pause_s=0.01))


def test_addresses_are_checked():
    check_url("https://example.org/model.zip", is_known=False)
    check_url("http://example.org/model.zip", is_known=True)
    check_url("http://127.0.0.1:8000/model.zip", is_known=False)
    for url in ("ftp://example.org/model.zip", "file:///etc/passwd", "https:///model.zip"):
        with pytest.raises(UsageError, match="https"):
            check_url(url, is_known=True)
    for url in ("http://example.org/model.zip", "http://127.0.0.1.example.org/model.zip"):
        with pytest.raises(UsageError, match="changed on its way"):
            check_url(url, is_known=False)
