import hashlib
from pathlib import Path

import pytest

from diptych.errors import Unauthenticated
from diptych.serving.auth import Tokens, TokensFileError, certificate_name


def entry(name: str, token: str) -> str:
    return f"{name}:{hashlib.sha256(token.encode()).hexdigest()}"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    path = tmp_path / "tokens"
    path.write_text(f"# who may call\n{entry('studio', 'open sesame')}\n\n{entry('batch-1', 'süß')}  # nightly\n")
    return Tokens.read(path)


@pytest.mark.parametrize(
    ("header", "caller"),
    [("Bearer open sesame", "studio"), ("bearer süß", "batch-1")],
)
def test_a_known_token_names_its_caller(tokens: Tokens, header: str, caller: str) -> None:
    assert tokens.caller({"authorization": header}) == caller


@pytest.mark.parametrize("header", ["", "open sesame", "Bearer", "Bearer ", "Bearer wrong", "Basic open sesame"])
def test_anything_else_is_refused(tokens: Tokens, header: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.caller({"authorization": header})
    with pytest.raises(Unauthenticated):
        tokens.caller({})


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("studio:secret", "line 1"),
        (f"{entry('a', 'x')}\nopen sesame", "line 2"),
        (f"{entry('a', 'x')}\n{entry('a', 'y')}", "line 2"),
        ("# nobody yet\n", "no token"),
    ],
)
def test_a_bad_file_names_the_line_and_not_the_content(tmp_path: Path, content: str, line: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(content)
    with pytest.raises(TokensFileError, match=line) as error:
        Tokens.read(path)
    assert "secret" not in str(error.value)
    assert "sesame" not in str(error.value)


def test_the_certificate_names_the_caller() -> None:
    assert certificate_name({"x509_common_name": [b"studio"]}) == "studio"
    assert certificate_name({"transport_security_type": [b"ssl"]}) is None
