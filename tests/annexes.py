"""Real git-annex datasets on this disk, for tests."""

import os
import subprocess
import sys
from pathlib import Path

from bidstrees import add_case, write_participants

WHO = {
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
       (("NAME", "tester"), ("EMAIL", "tester@localhost"))},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}  # fmt: skip


def git(folder: Path, *words: str) -> str:
    """Run git in a folder."""
    run = subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **WHO}, check=True, capture_output=True, text=True
    )
    return run.stdout.strip()


def make_annex(root: Path, subjects: list[str], contrasts=("T2w",), shape=(16, 16, 8)) -> Path:
    """A dataset under git-annex; images and labels are annexed, texts are in git."""
    root.mkdir(parents=True)
    for subject in subjects:
        for contrast in contrasts:
            image = add_case(root, f"sub-{subject}_{contrast}", shape=shape)
            image.with_name(f"sub-{subject}_{contrast}.json").write_text("{}", encoding="utf-8")
    write_participants(root, {f"sub-{subject}": {"pathology": "HC"} for subject in subjects})
    return annex(root)


def annex(root: Path) -> Path:
    """Put a folder of files under git-annex, with the tag r1."""
    git(root, "init", "-q", "-b", "main")
    git(root, "annex", "init", "-q", "source")
    git(root, "config", "annex.largefiles", "include=*.nii.gz")
    save(root, "first")
    git(root, "tag", "r1")
    return root


def save(root: Path, message: str) -> str:
    """Commit everything; the commit."""
    git(root, "annex", "add", "-q", ".")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)
    return git(root, "rev-parse", "HEAD")


def release(folder: Path) -> None:
    """Let a folder of annexes be removed: git-annex write-protects what it keeps."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
