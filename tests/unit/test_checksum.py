import hashlib

import pytest

from softcord.checksum import file_sha256
from softcord.errors import InputError


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"gone\.nii\.gz: cannot be read \(No such file"):
        file_sha256(tmp_path / "gone.nii.gz")


def test_a_file_larger_than_one_chunk_is_hashed_whole(tmp_path):
    path = tmp_path / "large"
    content = bytes(range(256)) * 10_000
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()
