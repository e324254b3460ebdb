"""The gateway: the agent's only way to a model, which sees every call and lets no tool call through unjudged.

A reverse proxy that changes nothing but what it has to: it takes away what the agent has for a key and puts the real
one there, asks for answers that are not compressed, and holds each tool call back until it is judged. What it does not
understand it does not pass on: an endpoint or a tool that the rules do not name, a protocol upgrade, an answer that is
not what its API says. Each such thing ends in an error in the API's own form, which says why.
"""

import asyncio
import json
import re
import ssl
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import unquote, unquote_plus

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from offswitch.enforce.watchdog import protocols
from offswitch.enforce.watchdog.apis import Api
from offswitch.enforce.watchdog.calls import (
    MODES,
    Asked,
    Call,
    Finding,
    Judgement,
    Part,
    Pass,
    Unreadable,
    Usage,
)
from offswitch.enforce.watchdog.decider import Unjudged
from offswitch.enforce.watchdog.keyless import Keyless
from offswitch.enforce.watchdog.rules import Rules

LARGEST = 64 << 20
"""Bytes of the largest request, and of the largest answer that is not a stream."""
_HELD = 512 << 20
"""Bytes of all requests at once: the gateway's memory is the host's, and no bound of a sandbox is on it."""
_AT_ONCE = 256 * 1024
"""Bytes of a request that are read before anything else is done: what is larger would hold up all other calls."""
_CONNECT = 20.0
_SILENT = 900.0
"""Seconds for which an upstream may say nothing; a model may think for minutes."""
_UNREAD = 120.0
"""Seconds for which an agent may leave an answer unread, or send nothing more of a request that it began."""
_IDLE = 75.0

_STRANGE = "it is not what its API says; offswitch's account tells what is wrong with it"
"""Said to an agent, without a word of what was not understood: that may be a call."""
_CUT = "it hung up, or what it said is not HTTP; offswitch's account tells more"
_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,40}")

# RFC 9110, 7.6.1, and what belongs to one connection or to one side only.
_HOP = frozenset(
    "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade"
    .split()
)  # fmt: skip
_NOT_SENT = _HOP | frozenset(
    "host content-length content-encoding accept-encoding expect authorization x-api-key api-key cookie forwarded via "
    "x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip x-original-url x-rewrite-url x-http-method-override "
    "openai-organization openai-project".split()
)
# What opens an API elsewhere. Beside the operator's key an agent's own could be the one that counts.
_OPENING = frozenset(
    "x-goog-api-key x-auth-token x-access-token api-token x-api-token apikey x-apikey ocp-apim-subscription-key "
    "subscription-key x-authorization x-amz-security-token".split()
)
_OPENING_QUERY = frozenset(
    "key api-key apikey x-api-key x-goog-api-key access-token token auth-token authorization subscription-key".split()
)
_NOT_RETURNED = _HOP | frozenset("content-length content-encoding set-cookie alt-svc".split())


class Refused(Exception):
    """A request that is not carried out.

    Attributes:
        status: HTTP status.
        line: Why, for the agent and the account.
        word: Why, in a word, for who counts.
    """

    def __init__(self, status: int, line: str, word: str = "upstream") -> None:
        super().__init__(line)
        self.status, self.line, self.word = status, line, word


class Tripped(Exception):
    """The latch has tripped: the agent gets no more of anything."""


class Keeper(Protocol):
    """Who a gateway works for: the latch, and the account."""

    async def forwards(self) -> bool:
        """Whether a request may be sent upstream; waits as long as the agent is held."""

    def passes(self) -> bool:
        """Whether the agent may get anything now."""

    def cuts(self, cut: Callable[[], None]) -> None:
        """Take what ends the calls in flight and drops the keys: called when the latch trips."""

    def judging(self) -> str:
        """A judgement begins; its key."""

    async def judged(self, key: str, event: str, findings: Sequence[Finding]) -> bool:
        """It has ended: whether the agent may have the call; waits as long as the agent is held."""

    def dropped(self, key: str) -> None:
        """It has ended, and nobody waits for the call any more."""

    def found(self, finding: Finding) -> None:
        """Something was found besides calls; one that asks for a stop trips the latch."""

    def note(self, event: str, **facts: object) -> None:
        """Write into the account."""

    def asked(self, exchange: "Exchange", asked: Asked) -> list[Finding]:
        """A request that is about to be sent upstream; what is found in it."""

    def answered(self, exchange: "Exchange") -> list[Finding]:
        """An exchange that is over; what is found in it."""


T = TypeVar("T")


@dataclass
class Exchange:
    """One request and its answer, as the account has it.

    Attributes:
        number: Its number, from 1.
        api: The name of the API.
        endpoint: ``METHOD /path``, without the query.
        dialect: The protocol's name, "" for an endpoint that carries no calls.
        model: The model that it names.
        status: Of the answer, 0 before there is one.
        forwarded: Whether it was sent upstream.
        calls: The tool calls in the answer, each with its judgement (None: not judged in time) and what was done.
        usage: Tokens, where the answer says so.
        program: What the client calls itself.
        asked: What was asked, once it is understood.
        began: When it came, seconds of the monotonic clock.
        at: When it came, ns since 1970.
        outcome: How it ended: ``forwarded``, ``refused``, ``failed`` (the upstream did), ``left`` (the agent did),
            ``tripped`` (the latch had, or did) or ``fault`` (of the gateway).
        refused: Why it was refused, in a word; "" if it was not.
        first_byte: Seconds until the first byte of the answer went to the agent; None if none did.
        waited: Seconds for which the gateway waited for the upstream, the agent or who holds it.
        held: Bytes of its request that are held.
    """

    number: int
    api: str
    endpoint: str
    dialect: str = ""
    model: str = ""
    status: int = 0
    forwarded: bool = False
    calls: list[tuple[Call, Judgement | None, str]] = field(default_factory=list)
    usage: Usage | None = None
    program: str = ""
    asked: Asked | None = None
    began: float = 0.0
    at: int = field(default_factory=time.time_ns)
    outcome: str = "forwarded"
    refused: str = ""
    first_byte: float | None = None
    waited: float = 0.0
    held: int = 0

    async def wait(self, other: Awaitable[T]) -> T:
        """Wait for somebody else."""
        began = time.monotonic()
        try:
            return await other
        finally:
            self.waited += time.monotonic() - began

    def answers(self) -> None:
        """A byte of the answer goes to the agent."""
        if self.first_byte is None:
            self.first_byte = time.monotonic() - self.began


Judges = Callable[[Call, float], Awaitable[Judgement]]


class Gateway:
    """See the module.

    Args:
        apis: The APIs that it leads to.
        keys: The operator's keys, by the API's name; an API without one gets none. Emptied when the latch trips.
        rules: What is allowed, and what is to be done about what is found.
        keeper: Who it works for.
        judge: Judges a call that was there at a moment of the loop's clock; raises `Unjudged`.
    """

    def __init__(
        self, apis: tuple[Api, ...], keys: dict[str, str], rules: Rules, keeper: Keeper, judge: Judges
    ) -> None:
        self._apis = {api.name: api for api in apis}
        self._keys = keys
        self._rules = rules
        self._keeper = keeper
        self._judge = judge
        self._count = 0
        self._held = 0
        self.heard: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        """Connections that have brought a request."""
        self._session: aiohttp.ClientSession | None = None
        self._ending: asyncio.Task[None] | None = None
        keeper.cuts(self._cut)

    async def start(self, tls: ssl.SSLContext | None = None) -> web.Server:
        """Get ready.

        Args:
            tls: How upstreams are checked; None for the system's certificates.

        Returns:
            What makes the protocol of a connection.
        """
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_no_redirect)
        self._session = aiohttp.ClientSession(
            trace_configs=[trace],
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, ssl=tls or True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENT),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=1 << 18,
            max_line_size=1 << 16,
            max_field_size=1 << 16,
        )
        return web.Server(
            self._handle,
            keepalive_timeout=_IDLE,
            handler_cancellation=True,
            access_log=None,
            read_bufsize=1 << 18,
        )

    async def close(self) -> None:
        """Cut every request in flight."""
        if self._session is not None:
            await self._session.close()

    def _cut(self) -> None:
        """Cut every request in flight, on both its sides, and forget the keys."""
        self._keys.clear()
        # An agent that is gone takes its requests along. What waits for an upstream ends with the connection to it.
        for transport in list(self.heard):
            cast(asyncio.WriteTransport, transport).abort()
        self._ending = asyncio.get_running_loop().create_task(self.close())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            self.heard.add(request.transport)
        self._count += 1
        exchange = Exchange(
            self._count, "", f"{request.method} {request.rel_url.path}", began=time.monotonic()
        )
        exchange.program = request.headers.get("User-Agent", "")[:200]
        dialect: protocols.Dialect | None = None
        answer: web.StreamResponse | None = None
        try:
            api, path = self._find(request)
            exchange.api = api.name
            exchange.endpoint = f"{request.method} {path}"
            if request.headers.get("Upgrade"):
                return await self._tunnel(request, api, path, exchange)
            dialect = protocols.find(request.method, path)
            if dialect is None:
                return await self._relay(request, api, path, exchange)
            exchange.dialect = dialect.name
            return await self._exchange(request, api, path, dialect, exchange)
        except Tripped:
            exchange.outcome = "tripped"
            self._drop(request)
            answer = web.Response(status=503)
        except Refused as refused:
            exchange.outcome = "failed" if refused.word == "upstream" else "refused"
            if refused.__cause__ is not None:
                self._broken(exchange, refused.__cause__)
            answer = self._error(exchange, dialect, refused)
        except Unreadable as error:
            exchange.outcome = "refused"
            refusal = Refused(400, f"the request is not understood: {error}", "malformed")
            answer = self._error(exchange, dialect, refusal)
        except (ConnectionError, asyncio.CancelledError):
            exchange.outcome = "left" if self._keeper.passes() else "tripped"
            raise
        except Exception as error:
            # A fault of the gateway's own: the request ends with it, and nothing of its answer was passed on unjudged.
            self._keeper.note("fault of the gateway", why=f"{type(error).__name__}: {self._line(error)}")
            exchange.outcome = "fault"
            refusal = Refused(500, "offswitch's gateway failed; its account tells why", "fault")
            answer = self._error(exchange, dialect, refusal)
        finally:
            self._held -= exchange.held
            with suppress(Tripped):
                self._act(self._keeper.answered(exchange))
        return answer

    def _find(self, request: web.BaseRequest) -> tuple[Api, str]:
        """The API that a request is for, and the path below its base."""
        if request.method == "CONNECT":
            raise Refused(403, "offswitch is no proxy: ask it for an API", "address")
        # As it came: what is decoded once too often leads elsewhere.
        raw = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        path = raw.partition("?")[0].partition("#")[0]
        _, _, rest = path.partition("/")
        name, _, below = rest.partition("/")
        api = self._apis.get(name)
        if api is None:
            known = ", ".join(f"/{one}" for one in self._apis)
            raise Refused(404, f"offswitch leads to no such API here; there is {known}", "address")
        if any(
            part in (".", "..") or "%2e" in part.lower() or "%2f" in part.lower() for part in below.split("/")
        ):
            raise Refused(400, "the path does not name one place", "address")
        return api, "/" + below

    async def _relay(
        self, request: web.BaseRequest, api: Api, path: str, exchange: Exchange
    ) -> web.StreamResponse:
        """An endpoint that carries no calls, or that the rules name."""
        endpoint = f"{request.method} {path}"
        if not protocols.harmless(request.method, path) and not self._rules.lets_through(endpoint):
            why = f"{endpoint[:200]} is not an endpoint that the rules name"
            if self._act([Finding("endpoint", self._rules.shut, why)]) is not None:
                raise Refused(
                    403, f"offswitch does not pass on {endpoint[:200]}; the policy can name it", "endpoint"
                )
        body = await self._body(request, exchange)
        await self._forwards(exchange)
        async with self._upstream(request, api, path, body, exchange) as got:
            exchange.status = got.status
            if got.status >= 400 and self._keys:
                # An error may repeat the key that it does not like, however short that is.
                told = Keyless(self._keys.values(), 1).end(await exchange.wait(_bounded(got)))
                whole = web.Response(status=got.status, headers=self._returned(got.headers), body=told)
                await self._give(whole, request, exchange)
                return whole
            keyless = Keyless(self._keys.values())
            answer = web.StreamResponse(status=got.status, headers=self._returned(got.headers))
            await answer.prepare(request)
            async for data in got.content.iter_any():
                await self._write(answer, keyless.feed(data), exchange)
            await self._write(answer, keyless.end(), exchange)
            await answer.write_eof()
            return answer

    async def _tunnel(
        self, request: web.BaseRequest, api: Api, path: str, exchange: Exchange
    ) -> web.StreamResponse:
        """A protocol upgrade that the rules let through: a WebSocket, of which nothing is judged."""
        if not self._rules.upgrades or request.headers["Upgrade"].lower() != "websocket":
            raise Refused(
                403,
                "offswitch passes no protocol upgrade on; the policy can let WebSockets through",
                "upgrade",
            )
        await self._forwards(exchange)
        self._keeper.note("unjudged tunnel", endpoint=f"{request.method} {path}"[:200])
        assert self._session is not None
        url = yarl.URL(api.url + path, encoded=True).with_scheme(
            api.url.partition(":")[0].replace("http", "ws")
        )
        try:
            async with self._session.ws_connect(
                url, headers=self._headers(request, api), max_msg_size=LARGEST
            ) as up:
                down = web.WebSocketResponse(max_msg_size=LARGEST)
                await down.prepare(request)
                exchange.status = 101
                both = [
                    asyncio.create_task(self._carry(one, other)) for one, other in ((up, down), (down, up))
                ]
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for one in both:
                        one.cancel()
                await down.close()
                return down
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(502, f"{api.name} cannot be asked: {_heard(error)}") from error

    async def _carry(self, source: Any, target: Any) -> None:
        """Carry the messages of one side of a WebSocket to the other, as long as the agent may get anything."""
        async for message in source:
            if not self._keeper.passes():
                return
            keyless = Keyless(self._keys.values())
            if message.type is aiohttp.WSMsgType.TEXT:
                await target.send_str(keyless.end(message.data.encode()).decode())
            elif message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(keyless.end(message.data))

    async def _exchange(
        self, request: web.BaseRequest, api: Api, path: str, dialect: protocols.Dialect, exchange: Exchange
    ) -> web.StreamResponse:
        body = await self._body(request, exchange)
        asked = await self._read(dialect, body, exchange)
        exchange.model, exchange.asked = asked.model, asked
        for tool in asked.tools:
            if tool.hosted and not self._rules.lets_execute(tool.name):
                why = f"the tool {tool.name[:80]} would be executed by the provider, where nobody sees it"
                if self._act([Finding("hosted-tool", self._rules.shut, why)]) is not None:
                    raise Refused(
                        403,
                        f"offswitch does not pass this request on: {why}; the policy can name it",
                        "hosted-tool",
                    )
        denied = self._act(self._keeper.asked(exchange, asked))
        if denied is not None:
            raise Refused(403, f"offswitch does not pass this request on: {denied.why}", denied.pattern)
        await self._forwards(exchange)
        exchange.forwarded = True
        async with self._upstream(request, api, path, body, exchange) as got:
            exchange.status = got.status
            kind = got.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if got.status >= 400:
                return await self._failed(request, got, dialect, exchange)
            if not 200 <= got.status < 300:
                raise Refused(502, f"{api.name} answered with status {got.status}, which is not passed on")
            if kind == "text/event-stream":
                return await self._stream(request, got, dialect, asked, exchange)
            if kind == "application/json":
                return await self._whole(request, got, dialect, asked, exchange)
            raise Refused(
                502,
                f"{api.name} answered with {kind if _TYPE.fullmatch(kind) else 'something'}, "
                "not with JSON or a stream of events",
            )

    async def _read(self, dialect: protocols.Dialect, body: bytes, exchange: Exchange) -> Asked:
        """Read a request; a large one by another thread, which has nothing of what is here but the bytes."""
        if len(body) <= _AT_ONCE:
            return dialect.asked(body)
        reading = asyncio.get_running_loop().run_in_executor(None, dialect.asked, body)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            # A thread cannot be ended: as long as it reads, its bytes count for all requests at once.
            held, exchange.held = exchange.held, 0

            def read(done: asyncio.Future[Asked]) -> None:
                self._held -= held
                if not done.cancelled():
                    done.exception()

            reading.add_done_callback(read)
            raise

    # Answers

    async def _whole(
        self,
        request: web.BaseRequest,
        got: aiohttp.ClientResponse,
        dialect: protocols.Dialect,
        asked: Asked,
        exchange: Exchange,
    ) -> web.StreamResponse:
        data = Keyless(self._keys.values()).end(await exchange.wait(_bounded(got)))
        try:
            whole = dialect.whole(asked, data, self._rules.fences)
        except Unreadable as error:
            self._broken(exchange, error)
            raise Refused(502, f"offswitch does not pass this answer on: {_STRANGE}") from None
        exchange.usage = whole.usage
        for call in whole.calls:
            why = await self._rule(call, exchange)
            if why is not None:
                whole.deny(call, why)
        headers = self._returned(got.headers, "application/json")
        answer = web.Response(status=got.status, headers=headers, body=whole.bytes())
        await self._give(answer, request, exchange)
        return answer

    async def _stream(
        self,
        request: web.BaseRequest,
        got: aiohttp.ClientResponse,
        dialect: protocols.Dialect,
        asked: Asked,
        exchange: Exchange,
    ) -> web.StreamResponse:
        reader, keyless = dialect.reader(asked, self._rules.fences), Keyless(self._keys.values())
        answer = web.StreamResponse(
            status=got.status, headers=self._returned(got.headers, "text/event-stream; charset=utf-8")
        )
        await answer.prepare(request)
        try:
            while data := await exchange.wait(got.content.readany()):
                await self._send(answer, reader, reader.feed(keyless.feed(data)), exchange)
            await self._send(answer, reader, reader.feed(keyless.end()), exchange)
            await self._send(answer, reader, reader.end(), exchange)
        except (Unreadable, aiohttp.ClientError, TimeoutError, Refused) as error:
            self._broken(exchange, error)
            exchange.outcome = "failed"
            line = _STRANGE if isinstance(error, Unreadable) else _heard(error)
            await self._write(answer, dialect.broken(f"offswitch ended this answer: {line}"), exchange)
        except (ConnectionError, Tripped):
            raise
        except Exception as error:
            # The head is sent: another answer would stand in the middle of this one.
            self._keeper.note("fault of the gateway", why=f"{type(error).__name__}: {self._line(error)}")
            exchange.outcome = "fault"
            why = "offswitch's gateway failed; its account tells why"
            await self._write(answer, dialect.broken(why), exchange)
        finally:
            exchange.usage = reader.usage
        await answer.write_eof()
        return answer

    async def _send(
        self,
        answer: web.StreamResponse,
        reader: protocols.Reader,
        parts: Iterable[Part],
        exchange: Exchange,
    ) -> None:
        """Send parts of an answer on, each call once it is judged."""
        waiting = b""
        try:
            for part in parts:
                if isinstance(part, Pass):
                    waiting += part.data
                    continue
                await self._write(answer, waiting, exchange)
                waiting = b""
                why = await self._rule(part.call, exchange)
                waiting = part.data if why is None else reader.deny(part, why)
        finally:
            # Also what came before something that is not understood.
            await self._write(answer, waiting, exchange)

    async def _failed(
        self,
        request: web.BaseRequest,
        got: aiohttp.ClientResponse,
        dialect: protocols.Dialect,
        exchange: Exchange,
    ) -> web.StreamResponse:
        """Tell an upstream's error, in words of its own API and nothing else: an answer has no place in it."""
        exchange.outcome = "failed"
        try:
            told = json.loads(await exchange.wait(_bounded(got)))["error"]
            line = told if isinstance(told, str) else told["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            line = None
        line = self._keyless(line) if isinstance(line, str) else f"status {got.status}, without a message"
        headers = self._returned(got.headers, "application/json")
        answer = web.Response(
            status=got.status, headers=headers, body=dialect.refusal(got.status, line[:2000])
        )
        await self._give(answer, request, exchange)
        return answer

    # Judging

    async def _rule(self, call: Call, exchange: Exchange) -> str | None:
        """Have a call judged, and act on it. Its time runs from here on: what came before it was another's.

        Returns:
            Why the call is denied, None if it is allowed.

        Raises:
            Tripped: The latch has tripped.
        """
        key = self._keeper.judging()
        judgement: Judgement | None = None
        findings: tuple[Finding, ...]
        try:
            try:
                judgement = await self._judge(call, asyncio.get_running_loop().time())
            except Unjudged as error:
                # Blindness is a trip, where the rules say so.
                why = f"a call of {call.name[:80]} was not judged: {error}"
                findings, event = (
                    (Finding("unjudged", self._rules.unjudged, why),),
                    f"unjudged-{self._rules.unjudged}",
                )
            else:
                findings, event = judgement.findings, f"found-{judgement.mode or 'nothing'}"
            mode = max((one.mode for one in findings), key=MODES.index, default=None)
            exchange.calls.append((call, judgement, mode or "allow"))
            for finding in findings:
                self._keeper.note("found", pattern=finding.pattern, mode=finding.mode, why=finding.why)
            if await exchange.wait(self._keeper.judged(key, event, findings)):
                return None
        except asyncio.CancelledError:
            self._keeper.dropped(key)
            raise
        if not self._keeper.passes():
            raise Tripped
        return next((one.why for one in findings if one.mode == mode), "it came too late")

    def _act(self, findings: Iterable[Finding]) -> Finding | None:
        """Do what is asked for by findings that are of no call.

        Returns:
            The first for which something is denied, None if nothing is.

        Raises:
            Tripped: One of them asked for a stop.
        """
        denied = None
        for finding in findings:
            self._keeper.note("found", pattern=finding.pattern, mode=finding.mode, why=finding.why)
            self._keeper.found(finding)
            if finding.mode == "deny":
                denied = denied or finding
        if not self._keeper.passes():
            raise Tripped
        return denied

    async def _forwards(self, exchange: Exchange) -> None:
        if not await exchange.wait(self._keeper.forwards()):
            raise Tripped

    # The two connections

    async def _body(self, request: web.BaseRequest, exchange: Exchange) -> bytes:
        parts, size = [], 0
        try:
            while True:
                async with asyncio.timeout(_UNREAD):
                    data = await exchange.wait(request.content.readany())
                if not data:
                    break
                size += len(data)
                if size > LARGEST:
                    raise Refused(413, f"the request is larger than {LARGEST >> 20} MiB", "size")
                exchange.held += len(data)
                self._held += len(data)
                if self._held > _HELD:
                    raise Refused(503, "offswitch holds too many large requests at once; ask again", "size")
                parts.append(data)
        except TimeoutError:
            raise Refused(408, "the request's body does not come", "malformed") from None
        except (web.RequestPayloadError, aiohttp.ClientError, ValueError) as error:
            raise Refused(400, f"the request's body is malformed: {self._line(error)}", "malformed") from None
        return b"".join(parts)

    def _upstream(
        self, request: web.BaseRequest, api: Api, path: str, body: bytes, exchange: Exchange
    ) -> "_Upstream":
        assert self._session is not None
        query = request.raw_path.partition("?")[2] if request.raw_path.startswith("/") else ""
        if api.name in self._keys:
            query = "&".join(part for part in query.split("&") if not _opens(part))
        url = api.url + path + (f"?{query}" if query else "")
        headers = self._headers(request, api)
        headers["Accept-Encoding"] = "identity"
        if exchange.dialect and body:
            # As it was read here: some servers read it in the letters that the agent names.
            headers["Content-Type"] = "application/json"
        return _Upstream(self._session, api.name, request.method, url, headers, body, exchange)

    def _headers(self, request: web.BaseRequest, api: Api) -> CIMultiDict[str]:
        """What is sent on of a request's head, with the operator's key for the agent's."""
        headers: CIMultiDict[str] = CIMultiDict()
        named = {word.strip().lower() for word in request.headers.get("Connection", "").split(",")}
        key = self._keys.get(api.name)
        for name, value in request.headers.items():
            # Some servers take a line for a dash.
            plain = name.lower().replace("_", "-")
            if (
                plain not in _NOT_SENT
                and name.lower() not in named
                and (key is None or plain not in _OPENING)
            ):
                headers.add(name, value)
        if key is not None:
            # Not by what the agent sends: it would choose where the key stands.
            if api.name == "anthropic" or request.path.endswith(("/messages", "/messages/count_tokens")):
                headers["x-api-key"] = key
            else:
                headers["Authorization"] = f"Bearer {key}"
        return headers

    async def _give(self, answer: web.Response, request: web.BaseRequest, exchange: Exchange) -> None:
        """Send an answer that is all there."""
        exchange.answers()
        await answer.prepare(request)
        await exchange.wait(answer.write_eof())

    async def _write(self, answer: web.StreamResponse, data: bytes, exchange: Exchange) -> None:
        if not data:
            return
        if not self._keeper.passes():
            raise Tripped
        exchange.answers()
        try:
            async with asyncio.timeout(_UNREAD):
                await exchange.wait(answer.write(data))
        except TimeoutError:
            raise ConnectionResetError("the agent does not read its answer") from None

    def _broken(self, exchange: Exchange, error: BaseException) -> None:
        self._keeper.note("broken answer", exchange=exchange.number, why=self._line(error))

    def _line(self, error: BaseException) -> str:
        text = " ".join(self._keyless(str(error)).split())
        return (text or type(error).__name__)[:300]

    def _returned(self, headers: Mapping[str, str], kind: str | None = None) -> CIMultiDict[str]:
        """What is sent on of an answer's head: nothing with a key of the operator's in it.

        Args:
            headers: The answer's.
            kind: The type that it was read as, and no other; None to leave that as it is.
        """
        kept: CIMultiDict[str] = CIMultiDict()
        for name, value in headers.items():
            if name.lower() not in _NOT_RETURNED and not self._has_key(name) and not self._has_key(value):
                kept.add(name, value)
        if kind is not None:
            kept.popall("Content-Type", None)
            kept["Content-Type"] = kind
        return kept

    def _has_key(self, text: str) -> bool:
        """Whether a text has a key of the operator's in it, as it is or as an address has it."""
        return any(key in text or key in unquote(text) for key in self._keys.values())

    def _keyless(self, text: str) -> str:
        """A text of somebody else's, who may repeat the operator's keys."""
        for key in self._keys.values():
            text = text.replace(key, "(the key)")
        return text

    def _drop(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.abort()

    def _error(
        self, exchange: Exchange, dialect: protocols.Dialect | None, refused: Refused
    ) -> web.StreamResponse:
        status, line = refused.status, refused.line
        exchange.status, exchange.refused = status, refused.word
        self._keeper.note("refused call", endpoint=exchange.endpoint[:200], why=line, status=status)
        body = (
            dialect.refusal(status, line)
            if dialect is not None
            else json.dumps({"error": {"message": line}}).encode()
        )
        answer = web.Response(status=status, body=body, content_type="application/json")
        answer.force_close()
        return answer


class _Upstream:
    """A request to an upstream, as a context manager that gives the answer.

    Raises:
        Refused: There is no answer.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        name: str,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        body: bytes,
        exchange: Exchange,
    ) -> None:
        self._name = name
        self._exchange = exchange
        self._asking = session.request(
            method,
            yarl.URL(url, encoded=True),
            headers=headers,
            data=body if body or method in ("POST", "PUT", "PATCH") else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept"),
        )

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            self._got = await self._exchange.wait(self._asking)
        except TimeoutError:
            raise Refused(504, f"{self._name} did not answer in time") from None
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            raise Refused(502, f"{self._name} cannot be asked: {_heard(error)}") from error
        return self._got

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None or not self._got.content.is_eof():
            self._got.close()
        else:
            self._got.release()
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            raise Refused(502, f"the answer of {self._name} broke off: {_heard(error)}") from error


async def _no_redirect(*_: object) -> None:
    """Go nowhere else: the operator's key would go along. A WebSocket's start cannot be told so otherwise."""
    raise aiohttp.ClientError("it leads elsewhere")


async def _bounded(got: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for data in got.content.iter_any():
        size += len(data)
        if size > LARGEST:
            raise Refused(502, f"the answer is larger than {LARGEST >> 20} MiB")
        parts.append(data)
    return b"".join(parts)


def _opens(part: str) -> bool:
    """Whether a part of a query is a credential; for some servers a semicolon parts as well."""
    names = (unquote_plus(one.partition("=")[0]) for one in part.split(";"))
    return any(name.strip().lower().replace("_", "-") in _OPENING_QUERY for name in names)


def _heard(error: BaseException) -> str:
    """What an agent hears of a connection: what the system says, and no word of the upstream's, which may be a call."""
    if isinstance(error, Refused | OSError):
        return " ".join(str(error).split())[:300] or "it took too long"
    return _CUT
