"""The command that serves the web page."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import sys
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
    keypoints: str | None = None,
    exemplars: Path | None = None,
    exemplar_images: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    model: ModelOptions = ModelOptions(),
) -> None:
    """Serve a page on which images are matched, labelled or their labels reviewed, in a browser.

    The page is served until Ctrl-C, to this machine alone. With another --host, the address that
    is printed holds a token, and only clients that present it are answered.

    Parameters
    ----------
    folder
        Images to choose from; with --labels, the folder that their file names start from.
    labels
        Keypoint labels to review, as `homolog annotate` writes them; corrected in place. With
        --keypoints, the file to begin: FOLDER/labels.json by default.
    keypoints
        Label the images of FOLDER from nothing: a text file with the name of a keypoint on each
        line, or `left:right` for two that mirror each other.
    exemplars
        Labels made by hand, shown as examples beside the points under review.
    exemplar_images
        The folder with the images of the exemplars, if they are neither near these nor in FOLDER.
    host
        The address to serve on; 0.0.0.0 for all addresses of the machine.
    port
        The port; 0 for any that is free.
    """
    for name in _LIBRARIES:
        require(name, "serve")
    import uvicorn

    from homolog.serve import Options, create_app
    from homolog.serve.app import LOOPBACK, check_options
    from homolog.serve.connections import GuardedProtocol
    from homolog.serve.first_labels import FILE_NAME, begin_labels

    token = None if _is_loopback(host) else secrets.token_urlsafe(24)
    # With a token, the host name need not be checked: the server cannot know all of its names.
    hosts = LOOPBACK | {host.lower()} if token is None else None
    if keypoints is not None:
        if folder is None:
            raise HomologError("folder: expected a folder of images with --keypoints, got none")
        check_options(Options(folder=folder))
        labels = labels or folder / FILE_NAME
        for note in begin_labels(labels, folder, keypoints):
            print(f"note: {note}", file=sys.stderr)
        print(f"labels: {labels}", file=sys.stderr)
    options = Options(
        model=model.preset, folder=folder, labels=labels, keypoints=keypoints,
        exemplars=exemplars, exemplar_images=exemplar_images, hosts=hosts, token=token,
    )  # fmt: skip
    for note in check_options(options):
        print(f"note: {note}", file=sys.stderr)
    with _listen(host, port) as listener:
        with ProgressBar(1) as progress:
            progress.update("loading the model")
            app = create_app(model.matcher(), options)
        # Browsers cannot open an address that stands for all.
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        netloc = f"[{name}]" if ":" in name else name
        address = f"http://{netloc}:{listener.getsockname()[1]}/"
        print(address if token is None else f"{address}?token={token}", flush=True)
        config = uvicorn.Config(
            app, http=GuardedProtocol, ws="none", log_level="warning", access_log=False,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=3,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """A socket, bound before the model is loaded so that errors come at once."""
    if not 0 <= port < 65536:
        raise HomologError(f"port: expected 0 to 65535, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise HomologError(
            f"host: expected an address of this machine, got {host}: {error.strerror}"
        ) from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        reason = (error.strerror or "unknown error").lower()
        raise HomologError(
            f"port: expected one that is free, got {host}:{port}: {reason}; try another with --port"
        ) from None
    return listener
