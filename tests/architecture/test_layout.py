"""Rules of the source tree that no linter knows."""

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
# Given from outside, or written by a generator, and kept as it is.
GIVEN = ("tests/conformance/", "tests/data/", "requirements.lock", "proto/gen/")
TEXT = {".py", ".md", ".toml", ".proto", ".yaml", ".yml", ".json", ".sh", ".sql", ".ini", ".cfg", ".txt", ".in", ""}


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = [name for name in listed.stdout.decode().split("\0") if name]
    if listed.returncode or not names:  # a source archive: everything that is no product of a build
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        names = [str(path) for path in found if not {".git", ".venv", "__pycache__"} & set(path.parts)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def _texts() -> Iterator[tuple[str, str]]:
    for path in _tracked():
        name = str(path.relative_to(ROOT))
        if not name.startswith(GIVEN) and path.suffix in TEXT and path != Path(__file__).resolve():
            yield name, path.read_text(encoding="utf-8", errors="replace")


def test_layers() -> None:
    """Every import follows the layers; siblings never meet."""
    linted = subprocess.run([SCRIPTS / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_pbs_cloud_is_a_namespace_package() -> None:
    """One stray file would hide all other distributions."""
    stray = [str(path.relative_to(ROOT)) for path in _tracked() if path.match("src/pbs_cloud/__init__.py")]
    assert stray == []
    assert not (ROOT / "proto/gen/pbs_cloud/__init__.py").exists()


def test_only_the_composition_root_knows_all_services() -> None:
    """The product's packages never import testkit or each other's tests."""
    offenders = [
        name
        for name, text in _texts()
        if re.match(r"(libs|services/\w+|apps/\w+)/src/", name)
        and re.search(r"^\s*(from|import) (testkit|tests)\b", text, re.MULTILINE)
    ]
    assert offenders == []


def test_only_clients_and_rpc_modules_import_generated_code() -> None:
    """Generated protobuf stays behind the typed clients."""
    allowed = re.compile(
        r"libs/src/pbs_cloud/(contracts|runtime)/"
        r"|services/\w+/src/pbs_cloud/\w+/(.*/)?(\w*rpc(/|\w*\.py)|component\.py|main\.py)"
    )
    offenders = [
        name
        for name, text in _texts()
        if re.match(r"(libs|services/\w+|apps/\w+)/src/", name)
        and re.search(r"^\s*(from|import) pbs_cloud\.proto\b", text, re.MULTILINE)
        and not allowed.match(name)
    ]
    assert offenders == []


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    """What `make proto` would write is what is committed."""
    protos = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto/pbs_cloud").rglob("*.proto"))
    plugin = f"--plugin=protoc-gen-mypy_grpc={SCRIPTS / 'protoc-gen-mypy_grpc'}"
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "pyi", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", plugin, *outputs, *protos]
    subprocess.run(command, cwd=ROOT / "proto", check=True, capture_output=True)
    committed = {str(path.relative_to(ROOT / "proto/gen")) for path in (ROOT / "proto/gen").rglob("*_pb2*.py*")}
    committed = {name for name in committed if "__pycache__" not in name}
    fresh = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*_pb2*.py*")}
    assert committed == fresh
    stale = [
        name for name in sorted(fresh) if (tmp_path / name).read_bytes() != (ROOT / "proto/gen" / name).read_bytes()
    ]
    assert stale == []


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of somebody's machine", r"(?<![\w.])/(?:home|Users)/[a-z]\w*/"),
        ("an index or mirror host", r"https?://[\w.-]*(?:pypi|pythonhosted|artifactory|nexus|mirror)[\w.-]*/"),
        ("an unfinished place", r"\b(?:TODO|FIXME|XXX)\b|raise NotImplementedError"),
        ("a silenced linter", r"#\s*(?:noqa|type:\s*ignore)\s*(?:$|#)"),
    ],
)
def test_no_text_contains(what: str, pattern: str) -> None:
    """Nothing in the tree depends on one machine, and nothing is left half done."""
    expression = re.compile(pattern, re.MULTILINE)
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(0)}"
        for name, text in _texts()
        for match in expression.finditer(text)
    ]
    assert found == [], f"{what}: {found}"


def test_lock_is_pinned_by_hash_and_names_no_address() -> None:
    """Every requirement has an exact version and hashes; no line tells where it came from."""
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert not re.search(r"^\s*(-i|--index|--extra-index|--find-links|--trusted)", lock, re.MULTILINE)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", lock)
    requirements = [block for block in blocks if re.match(r"[A-Za-z0-9]", block)]
    assert requirements
    unpinned = [block.split()[0] for block in requirements if not re.match(r"[\w.\[\],-]+==\S+", block)]
    unhashed = [block.split()[0] for block in requirements if "--hash=sha256:" not in block]
    assert (unpinned, unhashed) == ([], [])


def test_modules_and_functions_stay_small() -> None:
    """A module over 400 lines or a function over 60 wants to be split."""
    import ast

    long: list[str] = []
    for name, text in _texts():
        if not re.match(r"(libs|services/\w+|apps/\w+)/src/.*\.py$", name):
            continue
        if text.count("\n") > 400:
            long.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno > 60:
                long.append(f"{name}:{node.lineno}: {node.name}")
    assert long == []


def test_conformance_tools_are_complete() -> None:
    """The repository stands alone: tools, recordings and cases are part of it."""
    folder = ROOT / "tests/conformance"
    assert {"replay.py", "rest.py", "wire_client.py", "minimal_backup.py"} <= {
        path.name for path in folder.glob("*.py")
    }
    assert len(list((folder / "recordings").glob("*.json"))) == 31
    assert len(list((folder / "rest").glob("*.json"))) == 30
