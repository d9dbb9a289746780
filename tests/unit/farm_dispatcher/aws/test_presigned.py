"""Files at presigned addresses: what did not arrive whole is an OSError, which is tried again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from windtunnel.farm_dispatcher.adapters.aws.presigned import get_file, put_file


@pytest.fixture
def answering() -> Callable[[bytes], str]:
    def answer(content: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with listening:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(content)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/artifact"

    return answer


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n64\r\n"],
    ids=["with a length", "in chunks"],
)
def test_a_connection_that_ends_early_is_an_os_error(
    answering: Callable[[bytes], str], tmp_path: Path, head: bytes
) -> None:
    with pytest.raises(OSError, match=r"Connection broken|arrived"):
        get_file(answering(b"HTTP/1.1 200 OK\r\n" + head + b"12345"), tmp_path / "artifact.zip")


def test_a_whole_file_arrives(answering: Callable[[bytes], str], tmp_path: Path) -> None:
    address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345")
    assert get_file(address, tmp_path / "artifact.zip") == 200
    assert (tmp_path / "artifact.zip").read_bytes() == b"12345"


@pytest.mark.parametrize("sends", [False, True], ids=["get", "put"])
def test_errors_do_not_show_the_credential_in_the_address(tmp_path: Path, sends: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match=r"/artifact\?\.\.\.") as caught:
        (put_file if sends else get_file)(f"http://127.0.0.1:{port}/artifact?X-Signature=5ecret", tmp_path / "file")
    assert "5ecret" not in str(caught.value) and caught.value.__suppress_context__
