"""What is tried again, where a link or redirect may lead, and what the errors say."""

import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_warehouse import FakeWarehouse

from ephysflow.ecephys import transport as module
from ephysflow.ecephys.transport import Transport, link_url, opened, trying
from ephysflow.errors import ConfigurationError, ProjectError

CONTENT = b"the content"


@pytest.fixture
def server():
    with FakeWarehouse({}, {1: CONTENT, 2: b"another"}) as server:
        yield server


def transport_to(server: FakeWarehouse, **given) -> Transport:
    return Transport(**{"host": server.host, "read_timeout": 0.2, "backoff": 0.0} | given)


def body(transport: Transport, url: str) -> bytes:
    def once() -> bytes:
        with opened(transport, url) as response:
            return response.content

    return trying(transport, url, once)


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    seen: list[float] = []
    monkeypatch.setattr(module.time, "sleep", seen.append)
    return seen


@pytest.mark.parametrize(
    "given",
    [
        {"scheme": "ftp"},
        {"host": ""},
        {"host": "a/b"},
        {"host": "user@host"},
        {"host": "http://host"},
        {"allowed_hosts": ("x y",)},
        {"connect_timeout": 0},
        {"read_timeout": float("nan")},
        {"backoff": -1},
        {"tries": 0},
    ],
)
def test_a_value_that_cannot_be_is_named(given):
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        Transport(**given)


@pytest.mark.parametrize("fault", ["status500", "status503", "hang"])
def test_what_may_pass_is_tried_again(server, fault):
    server.fault(1, fault, 2, seconds=2)
    assert body(transport_to(server), server.url(1)) == CONTENT
    assert len(server.requests) == 3


def test_after_the_last_try_the_error_names_address_status_and_tries(server):
    server.fault(1, "status503", 1)
    server.fault(1, "status500", 9)
    with pytest.raises(
        ProjectError, match=r"download/1: given up after 3 tries: HTTP status 503 .*; HTTP status 500"
    ):
        body(transport_to(server), server.url(1))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206])
def test_what_cannot_pass_is_not_tried_again(server, status):
    server.fault(1, "status", 9, status=status)
    with pytest.raises(ProjectError, match=f"download/1: HTTP status {status}"):
        body(transport_to(server), server.url(1))
    assert len(server.requests) == 1


def test_silence_is_named_with_its_limit(server):
    server.fault(1, "hang", 9, seconds=2)
    with pytest.raises(ProjectError, match="no answer within 0.2 s"):
        body(transport_to(server, tries=1), server.url(1))


def test_a_server_that_is_not_there_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ProjectError, match=f"http://{host}/x: given up after 2 tries: connection failed"):
            body(Transport(host=host, tries=2, backoff=0), f"http://{host}/x")


def test_pauses_double_up_to_a_limit(server, pauses):
    server.fault(1, "status500", 9)
    with pytest.raises(ProjectError):
        body(transport_to(server, tries=5, backoff=10.0), server.url(1))
    assert pauses == [10.0, 20.0, 40.0, 60.0]


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("7", 7.0),
        ("100000", 60.0),
        ("soon", 1.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 1.0),
        ("Fri, 31 Dec 2999 23:59:59 GMT", 60.0),
    ],
)
def test_a_busy_server_may_ask_for_a_longer_pause(server, pauses, retry_after, expected):
    server.fault(1, "status", 1, status=429, headers={"Retry-After": retry_after})
    assert body(transport_to(server, backoff=1.0), server.url(1)) == CONTENT
    assert pauses == [expected]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_host_is_followed(server, status):
    server.fault(1, "redirect", url="/api/v2/well_known_file_download/2", status=status)
    assert body(transport_to(server), server.url(1)) == b"another"


def test_a_redirect_to_another_host_is_refused_unless_that_is_allowed(server):
    with FakeWarehouse({}, {7: b"elsewhere"}) as other:
        server.fault(1, "redirect", 2, url=other.url(7))
        with pytest.raises(ProjectError, match=f"download/1: redirect: {other.url(7)} is at another host"):
            body(transport_to(server), server.url(1))
        assert not other.requests
        assert body(transport_to(server, allowed_hosts=(other.host,)), server.url(1)) == b"elsewhere"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[", "//x@y/z"])
def test_a_redirect_to_what_is_no_web_address_is_refused(server, url):
    server.fault(1, "redirect", url=url)
    with pytest.raises(ProjectError, match="download/1: .*redirect"):
        body(transport_to(server), server.url(1))
    assert len(server.requests) == 1


def test_redirects_in_a_circle_end(server):
    server.fault(1, "redirect", 99, url=server.url(1))
    with pytest.raises(ProjectError, match="more than 5 redirects"):
        body(transport_to(server), server.url(1))


def test_a_redirect_that_leads_nowhere_is_an_error(server):
    server.fault(1, "status", status=302)
    with pytest.raises(ProjectError, match="302 without the address"):
        body(transport_to(server), server.url(1))


def test_an_answer_that_is_compressed_unasked_is_refused(server):
    server.fault(1, "status", status=200, headers={"Content-Encoding": "gzip"})
    with pytest.raises(ProjectError, match="gzip"):
        body(transport_to(server), server.url(1))


@pytest.mark.parametrize("link", ["/a/1", "//a/1", "///a/1", "a/1"])
def test_a_link_is_a_path_at_the_warehouse(link):
    assert link_url(Transport(scheme="https", host="h:81"), link) == "https://h:81/a/1"


def test_a_link_with_a_scheme_must_lead_to_an_allowed_host():
    assert link_url(Transport(host="h"), "http://h/a") == "http://h/a"
    assert link_url(Transport(host="h"), "https://h/a") == "https://h/a"
    assert link_url(Transport(host="h", allowed_hosts=("x:8080",)), "http://X:8080/a") == "http://X:8080/a"
    for link in ("http://x/a", "http://h:81/a", "http://h.x/a", "http://u@h/a", "file:///a", "javascript:x"):
        with pytest.raises(ProjectError, match="download link"):
            link_url(Transport(host="h", allowed_hosts=("x:8080",)), link)


def test_https_is_not_left_for_http():
    with pytest.raises(ProjectError, match="leaves https for http"):
        link_url(Transport(scheme="https", host="h", allowed_hosts=("x",)), "http://x/a")


@given(st.text(st.sampled_from("/\\:@?#.ahtps\n %[]"), max_size=20) | st.text(max_size=20))
def test_no_link_leads_to_another_host(link):
    try:
        url = link_url(Transport(host="warehouse.org"), link)
    except ProjectError:
        return
    assert urlsplit(url).netloc.lower() in ("warehouse.org", "warehouse.org:80", "warehouse.org:443")
