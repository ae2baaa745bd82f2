"""One GET request, and how often it is tried: time-outs, redirects, status, pauses."""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from ephysflow.errors import ConfigurationError, ProjectError

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_PAUSE = 60.0  # s; a server may ask for more, a job does not sleep for longer
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
PASSING_STATUSES = (408, 425, 429)  # besides all 5xx: request time-out, too early, too many requests
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

T = TypeVar("T")


@dataclass(frozen=True)
class Transport:
    """How a warehouse is reached.

    Attributes
    ----------
    scheme : http or https
    host : name or address, with a port where it is not the scheme's own
    connect_timeout : s until the connection stands
    read_timeout : s without a byte
    tries : requests for one thing before giving up, at least 1
    backoff : s before the second try; doubles from try to try
    allowed_hosts : other hosts that links and redirects may lead to

    Raises
    ------
    ConfigurationError
        if a value is not of its kind.
    """

    scheme: str = "http"
    host: str = "api.brain-map.org"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    tries: int = 3
    backoff: float = 1.0
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scheme not in DEFAULT_PORTS:
            raise ConfigurationError(f"scheme: {self.scheme!r} is neither http nor https")
        for key, hosts in (("host", (self.host,)), ("allowed_hosts", self.allowed_hosts)):
            for host in hosts:
                if not HOST.fullmatch(host):
                    raise ConfigurationError(
                        f"{key}: {host!r} is not the name of a host, with or without a port (host:8080)"
                    )
        for key in ("connect_timeout", "read_timeout"):
            if not getattr(self, key) > 0:
                raise ConfigurationError(f"{key}: {getattr(self, key)!r} is not a time above 0 s")
        if not self.backoff >= 0:
            raise ConfigurationError(f"backoff: {self.backoff!r} is not a time of at least 0 s")
        if self.tries < 1:
            raise ConfigurationError(f"tries: {self.tries!r} is not a number of at least 1")


class PassingError(Exception):
    """Something failed that may go well at the next try; `trying` catches it.

    Parameters
    ----------
    message : what failed
    pause : s that the server asked to wait
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


def trying(transport: Transport, url: str, attempt: Callable[[], T]) -> T:
    """Return what `attempt()` returns, calling it at most ``transport.tries`` times.

    Raises
    ------
    ProjectError
        if every call ended in a `PassingError`; names the address and what was seen. Other errors pass through.
    """
    seen: list[str] = []
    while True:
        try:
            return attempt()
        except PassingError as error:
            seen.append(str(error))
            if len(seen) >= transport.tries:
                break
            time.sleep(min(max(transport.backoff * 2.0 ** (len(seen) - 1), error.pause), LONGEST_PAUSE))
    times = f"{len(seen)} tries" if len(seen) > 1 else "1 try"
    raise ProjectError(f"{url}: given up after {times}: {'; '.join(dict.fromkeys(seen))}")


def link_url(transport: Transport, link: str) -> str:
    """Return the address of a file that the warehouse names by `link`.

    A link is a path at the warehouse, whatever number of slashes it begins with; one with a scheme must lead
    to the warehouse or to an allowed host.

    Raises
    ------
    ProjectError
        if it leads elsewhere, or holds spaces or control characters.
    """
    if not link or any(character <= " " or character == "\x7f" for character in link):
        raise ProjectError(f"download link {link!r} is empty, or holds spaces or control characters")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", link):
        _check_address(transport, link, transport.scheme, "download link")
        return link
    return f"{transport.scheme}://{transport.host}/{link.lstrip('/')}"


@contextmanager
def opened(
    transport: Transport,
    url: str,
    headers: Mapping[str, str] | None = None,
    statuses: Collection[int] = (200,),
) -> Iterator[requests.Response]:
    """Open a GET request once; its body is read by the caller, in pieces.

    Parameters
    ----------
    transport : time-outs and allowed hosts
    url : address
    headers : of the request
    statuses : HTTP statuses that the caller can use

    Raises
    ------
    PassingError
        if the connection fails (also while the body is read), or the status is one that may pass.
    ProjectError
        if the answer is another status, or a redirect that must not be followed.
    """
    try:
        with closing(_answer(transport, url, headers or {})) as response:
            _check_status(response, statuses)
            yield response
    except requests.exceptions.InvalidURL as error:
        raise ProjectError(f"{url}: {error}") from None
    except requests.ConnectTimeout:
        raise PassingError(f"no connection within {transport.connect_timeout:g} s") from None
    except requests.Timeout:
        raise PassingError(f"no answer within {transport.read_timeout:g} s") from None
    except requests.RequestException as error:
        raise PassingError(_reason(error, transport)) from None


def _answer(transport: Transport, url: str, headers: Mapping[str, str]) -> requests.Response:
    """Return the first answer that is no redirect."""
    address, scheme = url, transport.scheme
    for _ in range(MOST_REDIRECTS + 1):
        _check_address(transport, address, scheme, url if address == url else f"{url}: redirect")
        scheme = urlsplit(address).scheme
        response = _asked(transport, address, headers)
        if response.status_code not in REDIRECTS:
            return response
        response.close()
        location = response.headers.get("Location")
        if location is None:
            raise ProjectError(f"{url}: HTTP status {response.status_code} without the address to go to")
        try:
            address = urljoin(address, location)
        except ValueError as error:
            raise ProjectError(f"{url}: redirect: {location!r} is no address: {error}") from None
    raise ProjectError(f"{url}: more than {MOST_REDIRECTS} redirects")


def _asked(transport: Transport, address: str, headers: Mapping[str, str]) -> requests.Response:
    try:
        return requests.get(
            address,
            # compressed answers would hide the size that Content-Length and Content-Range speak of
            headers={"User-Agent": "ephysflow", "Accept-Encoding": "identity", **headers},
            stream=True,
            allow_redirects=False,
            timeout=(transport.connect_timeout, transport.read_timeout),
        )
    except requests.RequestException:
        raise
    except ValueError as error:  # requests takes even a redirect apart that it is not to follow
        raise ProjectError(f"{address}: no address, or a redirect to none: {error}") from None


def _check_address(transport: Transport, address: str, previous_scheme: str, what: str) -> None:
    try:
        parts = urlsplit(address)
        port = _port(parts)
    except ValueError as error:
        raise ProjectError(f"{what}: {address!r} is no address: {error}") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ProjectError(f"{what}: {address!r} is not the http(s) address of a file")
    if previous_scheme == "https" and parts.scheme == "http":
        raise ProjectError(f"{what}: {address} leaves https for http, which is refused")
    own = urlsplit(f"{transport.scheme}://{transport.host}")
    if parts.hostname == own.hostname and (
        port == _port(own)
        or (port == DEFAULT_PORTS[parts.scheme] and _port(own) == DEFAULT_PORTS[own.scheme])
    ):
        return
    for host in transport.allowed_hosts:
        allowed = urlsplit(f"{parts.scheme}://{host}")
        if parts.hostname == allowed.hostname and port == _port(allowed):
            return
    allowed_text = ", ".join((transport.host, *transport.allowed_hosts))
    raise ProjectError(
        f"{what}: {address} is at another host; allowed are {allowed_text} (allowed_hosts adds hosts)"
    )


def _port(parts: SplitResult) -> int:
    return parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def _check_status(response: requests.Response, statuses: Collection[int]) -> None:
    status = response.status_code
    if status in statuses:
        if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise ProjectError(f"{response.url}: sent as {coding}, although that was not asked for")
        return
    text = f"HTTP status {status} {response.reason or ''}".rstrip()
    if status >= 500 or status in PASSING_STATUSES:
        raise PassingError(text, _asked_pause(response.headers.get("Retry-After")))
    raise ProjectError(f"{response.url}: {text}")


def _asked_pause(retry_after: str | None) -> float:
    """Return the pause (s) of a Retry-After header: seconds or a date; 0 where there is none to be understood."""
    if retry_after is None:
        return 0.0
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _reason(error: requests.RequestException, transport: Transport) -> str:
    # requests reports a time-out while the body is read as a ConnectionError, known by its text only
    if "Read timed out" in str(error):
        return f"no byte for {transport.read_timeout:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the connection was cut: {error}"
    cause = getattr(error.args[0], "reason", error) if error.args else error  # without urllib3's own wording
    # nor its names of objects and numbers of errors
    text = re.sub(r"HTTPS?Connection(Pool)?\([^)]*\): |<[^>]*>: |\[Errno -?[0-9]+\] ", "", str(cause))
    return f"connection failed: {text}"
