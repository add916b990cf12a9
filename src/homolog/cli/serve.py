"""The command that serves the page."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from pathlib import Path

from homolog.cli.options import ModelOptions
from homolog.errors import HomologError
from homolog.utils.optional import require
from homolog.utils.progress import ProgressBar

_LIBRARIES = ("fastapi", "uvicorn")


def serve(
    folder: Path | None = None,
    *,
    labels: Path | None = None,
    exemplars: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    model: ModelOptions = ModelOptions(),
) -> None:
    """Serve a page on which two pictures are matched, or labels reviewed, in a browser.

    Until Ctrl-C. Served to this machine alone, unless --host says otherwise; then the address
    that is printed holds a token, without which nothing is answered.

    Parameters
    ----------
    folder
        Pictures to choose from; with --labels, the folder that their file names start from.
    labels
        Keypoint labels to review, as `homolog annotate` writes them; corrected in place.
    exemplars
        Labels made by hand, to show beside a point under review what it should be.
    host
        The address to serve on; 0.0.0.0 for all of the machine's.
    port
        The port; 0 for any that is free.
    """
    for name in _LIBRARIES:
        require(name, "serve")
    import uvicorn

    from homolog.serve import Options, create_app
    from homolog.serve.app import LOOPBACK, check

    token = None if _is_loopback(host) else secrets.token_urlsafe(24)
    # A token is proof enough where the server goes by names that it cannot know.
    hosts = LOOPBACK | {host.lower()} if token is None else None
    options = Options(model.preset, folder, labels, exemplars, hosts, token)
    check(options)
    with _listening(host, port) as listening:
        with ProgressBar(1) as steps:
            steps.update("loading the model")
            app = create_app(model.matcher(), options)
        # Nobody can go to an address that stands for all.
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        shown = f"[{name}]" if ":" in name else name
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        print(address if token is None else f"{address}?token={token}", flush=True)
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=3,
        )  # fmt: skip
        uvicorn.Server(settings).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound before anything is loaded, so that what is wrong is said at once."""
    if not 0 <= port < 65536:
        raise HomologError(f"port: got {port}, takes 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise HomologError(f"host: {host} is no address here: {error.strerror}") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise HomologError(
            f"port: cannot serve on {host}:{port}: {(error.strerror or '').lower()}; take another "
            "with --port"
        ) from None
    return listening
