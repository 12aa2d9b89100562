"""`softcord qc open`: ratings in the folder at once, several raters, and a server that is killed."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest

from fakes import wait_until
from softcord.qc import read_rows
from softcord.qc.ratings import Rating, read_journals
from softcord.qc.server import ReviewServer


@pytest.fixture
def start(folder):
    """Starts `softcord qc open` as a process and gives its address."""
    running = []

    def start_():
        code = "import sys; from softcord.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-u", "-c", code, "qc", "open", str(folder), "--no-browser"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process, process.stdout.readline().removeprefix("Open ").strip()

    yield start_
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def become(page, name):
    page.fill("#rater", name)
    page.press("#rater", "Enter")


def wait_saved(page):
    wait_until(page, "document.getElementById('saved').textContent === 'saved in the folder'")


def in_folder(folder):
    return {(rating.key[:6], rating.rater): rating.rating for rating in read_journals(folder)}


def test_two_raters_see_one_another_and_their_conflict_and_a_killed_server_loses_nothing(
    folder, start, open_page
):
    process, address = start()
    ann, bob = open_page(address), open_page(address)
    become(ann, "Ann")
    become(bob, "Bob")
    ann.keyboard.press("f")
    wait_saved(ann)
    wait_until(ann, "!softcord.syncing")
    assert in_folder(folder) == {("sub-02", "Ann"): "pass"}
    bob.keyboard.press("f")
    bob.keyboard.press("f")
    wait_until(bob, "!softcord.syncing && document.getElementById('saved').textContent.startsWith('saved')")
    assert in_folder(folder) == {("sub-02", "Ann"): "pass", ("sub-02", "Bob"): "fail"}
    ann.wait_for_selector(".conflict")
    assert "Bob fail" in ann.get_attribute(".conflict", "title")
    wait_until(ann, "document.getElementById('facts').textContent.includes('Bob: fail')")
    ann.select_option("#by-rating", "conflict")
    assert ann.locator("#rows tr").count() == 1
    ann.select_option("#by-rating", "")

    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert in_folder(folder) == {("sub-02", "Ann"): "pass", ("sub-02", "Bob"): "fail"}
    ann.keyboard.press("ArrowDown")
    ann.keyboard.press("f")
    ann.wait_for_selector("#saved.bad")
    assert "NOT SAVED" in ann.inner_text("#saved")

    _, again = start()
    assert urlsplit(again).netloc == urlsplit(address).netloc  # so the browser finds what it kept
    assert again != address
    ann.goto(again)
    wait_until(ann, "document.getElementById('saved').textContent === 'saved in the folder'")
    assert in_folder(folder) == {
        ("sub-02", "Ann"): "pass",
        ("sub-02", "Bob"): "fail",
        ("sub-01", "Ann"): "pass",
    }


def test_a_rating_of_an_entry_that_was_removed_does_not_hold_up_the_others(folder, start, open_page):
    _, address = start()
    page = open_page(address)
    page.evaluate("softcord.merge([{key: 'gone', rater: '', rating: 'fail', time: '2026'}])")
    page.keyboard.press("f")
    wait_until(page, "!softcord.syncing && document.getElementById('saved').textContent.startsWith('saved')")
    assert in_folder(folder) == {("sub-02", ""): "pass"}


# ---- what the server refuses; no browser needed


@pytest.fixture
def server(folder):
    with ReviewServer(folder, 0) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server, path, *, method="GET", body=None, **headers):
    """Status and text of a reply; the path is behind the token unless it starts with a slash."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    path = path if path.startswith("/") else f"/{server.token}/{path}"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=body, headers=headers)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def post(server, ratings, **headers):
    headers = {"Content_Type": "application/json", "Origin": server.origin, **headers}
    return ask(server, "ratings", method="POST", body=json.dumps(ratings), **headers)


def test_the_server_listens_on_the_loopback_address_only(server):
    assert server.server_address[0] == "127.0.0.1"


def test_the_files_of_the_page_are_served(server, folder):
    assert ask(server, "index.html") == (200, (folder / "index.html").read_text())
    assert ask(server, "page/page.js")[0] == 200
    assert len(json.loads(ask(server, "rows")[1])) == 3


@pytest.mark.parametrize("path", ["/", "/index.html", "/wrong/index.html", "/wrong/ratings", "//index.html"])
def test_a_missing_or_wrong_token_is_refused(server, path):
    assert ask(server, path)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "../secret.js",
        "page/../../secret.js",
        "page/..%2f..%2fsecret.js",
        "%2e%2e/secret.js",
        "page/%2e%2e%5csecret.js",
        "page//etc/passwd",
        "page/link.js",
        "ratings/x.jsonl",
        "page/",
        "page/x%00.js",
    ],
)
def test_paths_outside_the_page_are_refused(server, folder, path):
    (folder.parent / "secret.js").write_text("secret")
    (folder / "page" / "link.js").symlink_to(folder.parent / "secret.js")
    status, text = ask(server, path)
    assert status == 404
    assert "secret" not in text


def test_other_origins_and_other_names_of_the_host_are_refused(server):
    key = read_rows(server.folder)[0].key
    good = [{"key": key, "rater": "Ann", "rating": "pass", "time": "2026"}]
    assert post(server, good, Origin="https://example.org")[0] == 403
    assert post(server, good, Origin="null")[0] == 403
    assert (
        ask(server, "ratings", method="POST", body=json.dumps(good), Content_Type="application/json")[0]
        == 403
    )
    assert ask(server, "ratings", Origin="https://example.org")[0] == 403
    assert ask(server, "ratings", Host="example.org")[0] == 403
    assert post(server, good, Content_Type="text/plain")[0] == 415
    assert read_journals(server.folder) == []
    assert post(server, good)[0] == 200
    assert [rating.rating for rating in read_journals(server.folder)] == ["pass"]


@pytest.mark.parametrize(
    "sent",
    [
        "{",
        '{"key": 1}',
        "[1]",
        '[{"key": "unknown", "rating": "pass"}]',
        '[{"key": "KEY", "rating": "great"}]',
        '[{"key": "KEY", "rank": 12}]',
        '[{"key": "KEY", "comment": {}}]',
        "",
    ],
)
def test_what_is_no_rating_is_refused_and_writes_nothing(server, sent):
    body = sent.replace("KEY", read_rows(server.folder)[0].key)
    status, _ = ask(
        server, "ratings", method="POST", body=body, Content_Type="application/json", Origin=server.origin
    )
    assert status == 400
    assert not (server.folder / "ratings").exists()


def test_a_line_that_a_crash_cut_off_costs_no_other(server):
    key = read_rows(server.folder)[0].key
    server.journal.append([Rating(key, "Ann", "fail", time="1")])
    (file,) = (server.folder / "ratings").iterdir()
    file.write_bytes(file.read_bytes() + b'{"key": "' + key.encode()[:5])
    assert [rating.rating for rating in read_journals(server.folder)] == ["fail"]
