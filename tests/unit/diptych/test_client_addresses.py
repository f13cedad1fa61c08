"""Where a client calls, and what it refuses before it calls anybody."""

from pathlib import Path

import pytest

from diptych import AsyncClient, InvalidRequest, Tls


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "GENERATOR_ADDRESS", "EDITOR_ADDRESS", "TOKEN", "ALLOW_INSECURE"):
        monkeypatch.delenv(f"DIPTYCH_{name}", raising=False)


def test_the_argument_wins_then_the_environment_then_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_GENERATOR_ADDRESS", "there:2")
    monkeypatch.setenv("DIPTYCH_EDITOR_ADDRESS", "there:3")
    client = AsyncClient(editor_address="here:4")
    assert client.address_of("orchestrator") == "127.0.0.1:50050"
    assert client.address_of("generator") == "there:2"
    assert client.address_of("editor") == "here:4"


@pytest.mark.parametrize("address", ["nowhere", "host:", ":50050", "host:0", "host:70000", "http://host:1", "a b:1"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(InvalidRequest, match="must be HOST:PORT") as bad:
        AsyncClient(address)
    assert bad.value.violations[0].field == "address"


@pytest.mark.parametrize("address", ["host:1", "10.0.0.7:50050", "[::1]:50050", "dns:///host:1", "unix:/tmp/socket"])
def test_usual_addresses_are_taken(address: str) -> None:
    assert AsyncClient(address).address_of("orchestrator") == address


def test_a_token_does_not_leave_the_machine_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="unencrypted"):
        AsyncClient("elsewhere:50050", token="secret")
    AsyncClient("elsewhere:50050", token="secret", tls=Tls())
    AsyncClient("elsewhere:50050", token="secret", allow_insecure=True)
    AsyncClient("127.0.0.1:50050", token="secret")
    monkeypatch.setenv("DIPTYCH_ALLOW_INSECURE", "1")
    AsyncClient("elsewhere:50050", token="secret")


async def test_there_are_three_services_and_two_have_models() -> None:
    client = AsyncClient()
    with pytest.raises(InvalidRequest, match="none of orchestrator, generator, editor"):
        client.address_of("painter")  # type: ignore[arg-type]


async def test_a_certificate_that_is_not_there_is_told(tmp_path: Path) -> None:
    client = AsyncClient(tls=Tls(ca=tmp_path / "ca.pem"))
    with pytest.raises(InvalidRequest, match=r"ca\.pem cannot be read") as bad:
        await client.plan("draw a cat")
    assert bad.value.violations[0].field == "tls"
