"""Lets nobody in but the owner: the secret token, where a request comes from, and the headers of each answer.

A page of another site can send requests to this machine, and may give its own name the address of this machine. So the
token is the first part of every path, and Host, Origin and Sec-Fetch-Site are checked for every request.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vidfind.commands import web_command

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""The headers of every answer."""
METHODS = frozenset({"GET", "HEAD", "POST"})
OURS = ("same-origin", "none")
"""The values of Sec-Fetch-Site that the page itself, or somebody who types the address, sends."""
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def new_token() -> str:
    """Returns a secret that nobody can guess, of letters that need no escaping in an address."""
    return secrets.token_urlsafe(24)


class Guard:
    """Hands requests on to an app if they have the token and come from its own page; without the token in their path.

    `hosts` are the names that the server answers to, without a port. With `any_address`, it answers also to each
    numeric address: no other site can take one for a name of its own."""

    def __init__(
        self, app: ASGIApp, token: str, hosts: Collection[str] = LOCAL_NAMES, any_address: bool = False
    ) -> None:
        self._app, self._token = app, token
        self._hosts, self._any_address = {host.lower() for host in hosts}, any_address
        self._tickets: set[str] = set()

    def ticket(self) -> str:
        """Returns a secret that opens the page once.

        A browser is started with it, since other users of the machine see the command lines of programs."""
        ticket = new_token()
        self._tickets.add(ticket)
        return ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        _, _, path = scope["path"].partition("/")
        token, slash, rest = path.partition("/")
        answer = self._refusal(scope, token, rest)
        if answer is None and (not slash or token in self._tickets):  # the page names its parts relative to its folder
            self._tickets.discard(token)
            answer = RedirectResponse(f"/{self._token}/", 303)
        if answer is not None:
            await answer(scope, receive, _with_headers(send))
        else:
            inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}
            await self._app(inner, receive, _with_headers(send))

    def _refusal(self, scope: Scope, token: str, rest: str) -> Response | None:
        """Returns the answer to a request that is not allowed; None for one that is."""
        headers = Headers(scope=scope)
        if not self._knows_host(headers.getlist("host")):
            return PlainTextResponse("vidfind does not answer to this address.", 403)
        if not self._knows_token(token):
            return PlainTextResponse(
                f"There is no page here. Open the address that `{web_command()}` printed last.", 404
            )
        if scope["method"] not in METHODS:
            return PlainTextResponse("Not allowed", 405, {"allow": ", ".join(sorted(METHODS))})
        if not _is_from_page(headers, is_page=not rest and scope["method"] != "POST"):
            return PlainTextResponse("vidfind answers only to its own page.", 403)
        return None

    def _knows_token(self, token: str) -> bool:
        given = token.encode("utf-8", "surrogatepass")
        known = [secrets.compare_digest(given, one.encode()) for one in (self._token, *self._tickets)]
        return any(known)

    def _knows_host(self, hosts: list[str]) -> bool:
        if len(hosts) != 1:
            return False
        name = host_name(hosts[0])
        if name in self._hosts:
            return True
        return self._any_address and _is_address(name)


def host_name(host: str) -> str:
    """Returns the name in a Host header, without its port.

    >>> host_name("LocalHost:8000"), host_name("[::1]:8000")
    ('localhost', '[::1]')
    """
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _is_from_page(headers: Headers, is_page: bool) -> bool:
    """Whether a request comes from the page itself, or from a person who opens it (`is_page`), as far as it says."""
    origins = headers.getlist("origin")
    if any(origin.lower() != f"http://{headers['host'].lower()}" for origin in origins):
        return False
    site = headers.get("sec-fetch-site")
    is_opened = is_page and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return site is None or site in OURS or is_opened


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": list(message.get("headers", []))}
            headers = MutableHeaders(raw=message["headers"])
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return send_with_headers
