"""What is refused before a request is read: a foreign Host header, a body above the limit, one request too many."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protein2text_serve.refusals import Refused


class Guard:
    """ASGI layer in front of the routes.

    Args:
        app: what answers.
        allowed_hosts: host names without port, lower case. A browser that was led here by a DNS name that an
            attacker re-bound to this machine still sends the attacker's name, and is refused.
        max_body_bytes: counted as received, so neither a missing nor a false Content-Length helps.
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: tuple[str, ...], max_body_bytes: int) -> None:
        self.app, self.allowed_hosts, self.max_body_bytes = app, allowed_hosts, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        if host_name(host) not in self.allowed_hosts:
            message = (
                f"Host {host[:100]!r} is not served here; served are {', '.join(self.allowed_hosts)}. "
                "Use one of these names, or add yours to allowed_hosts when starting the service."
            )
            await Refused(403, message, code="host_not_allowed").response()(scope, receive, send)
            return
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self.max_body_bytes:
                raise Refused(
                    413,
                    f"The body holds more than {self.max_body_bytes} bytes, the limit of this service. "
                    "Send fewer or shorter proteins in one request.",
                    code="body_too_large",
                )
            return message

        await self.app(scope, counted, send)


def host_name(header: str) -> str:
    """Host header without its port, lower case; an IPv6 literal keeps its brackets."""
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdigit() else header).lower()


class Admission:
    """ASGI layer that bounds how many questions are held at once: the next one is refused at once, never queued.

    It wraps the whole exchange, so a streamed answer counts until its last byte, and a disconnect frees its place.
    """

    def __init__(self, app: ASGIApp, *, path: str, max_in_flight: int) -> None:
        self.app, self.path, self.max_in_flight, self.in_flight = app, path, max_in_flight, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        if self.in_flight >= self.max_in_flight:
            message = f"{self.in_flight} questions are being answered, the limit of this service. Repeat it shortly."
            refused = Refused(429, message, code="too_many_requests", retry_after_s=1)
            await refused.response()(scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1
