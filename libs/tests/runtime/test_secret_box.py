"""Secrets at rest: several keys, of which the first seals; a file that changes, or is no good."""

from pathlib import Path

import pytest

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.secret_keys import parse_keys, put_new_key_first
from pbs_cloud.runtime.settings import Settings

OLD, NEW, OTHER = "ab" * 32, "CD" * 32, "ef" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(OLD)
    return path


def box_of(file: Path) -> SecretBox:
    return SecretBox(Settings(secret_key_file=file))


def test_the_first_key_seals_and_all_open(file: Path) -> None:
    """Each step of a rotation, with a process that runs through all of them and one that starts anew."""
    running = box_of(file)
    old = running.seal("secret", "row 1")
    file.write_text(f"# from June on\n\n{OLD}\n{NEW}\n")
    announced = running.seal("secret", "row 1")
    assert announced[:8] == old[:8] == running.sealing_id
    file.write_text(f"{NEW}\n{OLD}\n")
    new = running.seal("secret", "row 1")
    assert new[:8] != old[:8]
    for box in (running, box_of(file)):
        assert [box.open(sealed, "row 1") for sealed in (old, announced, new)] == ["secret"] * 3
        with pytest.raises(Unavailable, match="damaged"):
            box.open(old, "row 2")
    file.write_text(NEW)
    for box in (running, box_of(file)):
        assert box.open(new, "row 1") == "secret"
        with pytest.raises(Unavailable, match=r"a key that is not in the file \(PBS_SECRET_KEY_FILE\)"):
            box.open(old, "row 1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no key in it"),
        ("# nothing\n", "there is no key in it"),
        (f"{OLD}\n{NEW[:-1]}", "line 2 is not 64 hexadecimal digits"),
        (f"{OLD} {NEW}", "line 1 is not 64 hexadecimal digits"),
        ("secret", "line 1 is not 64 hexadecimal digits"),
    ],
)
def test_a_file_that_is_no_good(file: Path, text: str, reason: str) -> None:
    """Nothing works at the start; what runs goes on with the keys it has, until the file is good again."""
    running = box_of(file)
    sealed = running.seal("secret", "row")
    file.write_text(text)
    assert running.open(sealed, "row") == "secret"
    for call in (lambda: box_of(file).seal("x", "row"), lambda: box_of(file).open(sealed, "row")):
        with pytest.raises(Unavailable, match="PBS_SECRET_KEY_FILE") as error:
            call()
        assert str(error.value.__cause__) == reason
    file.unlink()
    assert running.open(sealed, "row") == "secret"
    with pytest.raises(Unavailable, match="PBS_SECRET_KEY_FILE"):
        box_of(file).seal("x", "row")
    file.write_text(NEW)
    with pytest.raises(Unavailable, match="not in the file"):
        running.open(sealed, "row")


def test_damaged_texts_are_refused(file: Path) -> None:
    box = box_of(file)
    sealed = box.seal("secret", "row")
    for damaged in (sealed[:-1], sealed[:12], sealed[:8], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(Unavailable, match="damaged"):
            box.open(damaged, "row")
    with pytest.raises(Unavailable):
        box.open(b"", "row")


def test_a_new_key_is_put_first(file: Path) -> None:
    running = box_of(file)
    sealed = running.seal("secret", "row")
    file.chmod(0o640)
    link = file.with_name("link")
    link.symlink_to(file)
    put_new_key_first(link)
    link.unlink()
    first, second = parse_keys(file.read_text())
    assert (first.key != second.key, second.key.hex()) == (True, OLD)
    assert file.stat().st_mode & 0o777 == 0o640
    assert running.sealing_id == first.id
    assert running.open(sealed, "row") == "secret"
    assert [path.name for path in file.parent.iterdir()] == ["keys"]
    file.write_text("bad")
    with pytest.raises(ValueError, match="line 1"):
        put_new_key_first(file)
    assert file.read_text() == "bad"


def test_a_missing_file_is_made_only_where_none_is_set(tmp_path: Path) -> None:
    made = SecretBox(Settings(data_dir=tmp_path / "data"))
    sealed = made.seal("secret", "row")
    assert SecretBox(Settings(data_dir=tmp_path / "data")).open(sealed, "row") == "secret"
    with pytest.raises(Unavailable, match="PBS_SECRET_KEY_FILE"):
        box_of(tmp_path / "missing").seal("secret", "row")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
