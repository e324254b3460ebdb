"""llama.cpp in this process: a few servers of one thread each, which share the mapped weights.

One thread a server, because llama.cpp's threads wait for each other by spinning: two of them on a machine with
other work took ten times as long as one. Several servers, because prompts cost almost all of the time and that
scales with cores: two servers on two cores read twice as many tokens a second.

Answers do not depend on what happens to be cached. With flash attention off, reading the end of a prompt over a cached
beginning gives the same bits as reading the whole; with it on, they differ in the fifth digit.
"""

import atexit
import contextlib
import http.client
import json
import math
import os
import shutil
import socket
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from offswitch.measure.models import weights

CONTEXT = 4096
"""Tokens of one conversation, prompt and answer together. The model was trained for 8192, at twice the memory."""

_CACHE_MIB = 256  # of past conversations a server, at about 12 MiB for one of 500 tokens
_REMEMBERED = 1024  # conversations whose server is known, and answers kept
_BIAS = 100.0  # lifts the allowed tokens above all others; the same for each, so it cancels among them
_END = "<|im_end|>"


class PromptTooLong(Exception):
    """The prompt does not fit the context."""


class Cancelled(Exception):
    """The caller no longer waits for the answer."""


@dataclass
class Usage:
    """What an answer cost, in tokens."""

    read: int = 0
    cached: int = 0
    written: int = 0


@dataclass
class Completion:
    """A free answer.

    Attributes:
        text: What the model said.
        finish: `stop`, or `length` when the tokens ran out.
        usage: What it cost.
    """

    text: str
    finish: str
    usage: Usage


@dataclass
class _Worker:
    server: Any
    socket: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0


class Engine:
    """Serves the model. Safe to call from several threads; each call takes its thread until it is done.

    Args:
        path: The weights.
        servers: How many calls can be served at the same time. Each costs about 150 MB, and up to 256 MiB more for
            what it remembers of conversations.

    Raises:
        WeightsUnavailable: `xllamacpp` is not installed, or it cannot load the weights.
    """

    def __init__(self, path: Path, servers: int) -> None:
        # Unix sockets in a directory of our own, for want of a server that does not listen: nobody else can connect.
        # Their paths must be short, whatever TMPDIR says.
        self._directory = tempfile.mkdtemp(
            prefix="offswitch-", dir="/tmp" if os.access("/tmp", os.W_OK) else None
        )
        try:
            self._workers = [
                _start(path, os.path.join(self._directory, f"{number}.sock")) for number in range(servers)
            ]
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        self._route = threading.Lock()
        self._homes: OrderedDict[str, int] = OrderedDict()
        self._answers: OrderedDict[tuple[str, tuple[str, ...]], tuple[list[float], Usage]] = OrderedDict()
        self._tokens: dict[str, list[int]] = {}
        self._closed = False

    def close(self) -> None:
        """Stop the servers and free their memory. Calls in progress end at their next step."""
        self._closed = True
        for worker in self._workers:
            # A thread that is inside llama.cpp when the interpreter goes would bring the process down.
            with worker.lock:
                worker.server = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def complete(
        self,
        conversation: str,
        prompt: str,
        request: dict[str, Any],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Completion:
        """Let the model answer freely.

        Args:
            conversation: Names the conversation: calls with the same name go to the same server if they can.
            prompt: The whole prompt, in the model's chat format.
            request: Sampling, in the words of llama.cpp's server.
            cancelled: Asked after every token; true ends the answer.

        Returns:
            The answer.

        Raises:
            PromptTooLong: The prompt does not fit.
            Cancelled: `cancelled` said so.
        """
        with self._worker(conversation, cancelled) as worker:
            pieces: list[str] = []
            last: dict[str, Any] = {}
            errors: list[Exception] = []

            def take(chunk: dict[str, Any]) -> bool:
                nonlocal last
                # An exception must not travel through C++.
                try:
                    last = _checked(chunk)
                    pieces.append(chunk["choices"][0]["text"])
                except Exception as error:
                    errors.append(error)
                return bool(errors) or cancelled() or self._closed

            refused = worker.server.handle_completions({"prompt": prompt, "stream": True, **request}, take)
            if errors:
                raise errors[0]
            if cancelled() or self._closed:
                raise Cancelled
            if not last:
                _checked(refused or {"error": {"message": "no answer"}})
            usage = Usage()
            _count(usage, last, written=True)
            return Completion("".join(pieces), last["choices"][0]["finish_reason"], usage)

    def choose(
        self,
        conversation: str,
        prompt: str,
        texts: Sequence[str],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[dict[str, float], Usage]:
        """How likely the model is to answer with each of a few texts, when held to them.

        This is decoding under a grammar that allows just these texts, each spelt with its own tokens. Only the
        tokens where the texts part are asked for, so letters cost one step, and phrases one or two.

        Args:
            conversation: As for `complete`.
            prompt: The whole prompt, in the model's chat format.
            texts: The texts, all different and not empty.
            cancelled: Asked between steps.

        Returns:
            The natural logarithm of each text's probability, and what it cost.

        Raises:
            PromptTooLong: The prompt does not fit.
            Cancelled: `cancelled` said so.
        """
        # In one order, so that a shuffled repeat is the same question.
        ordered = sorted(texts)
        key = (prompt, tuple(ordered))
        kept = self._answers.get(key)
        if kept is None:
            with self._worker(conversation, cancelled) as worker:
                # Asked meanwhile by another thread? A prompt that is cached to its end is read in another way.
                kept = self._answers.get(key) or self._ask(worker, prompt, ordered, cancelled)
                with self._route:
                    self._answers[key] = kept
                    if len(self._answers) > _REMEMBERED:
                        self._answers.popitem(last=False)
        scores, usage = kept
        return dict(zip(ordered, scores, strict=True)), replace(usage)

    def _ask(
        self, worker: _Worker, prompt: str, texts: Sequence[str], cancelled: Callable[[], bool]
    ) -> tuple[list[float], Usage]:
        usage = Usage()
        tokens = [self._tokenise(worker, text) + self._tokenise(worker, _END) for text in texts]
        scores = [0.0] * len(texts)
        # Each step: the texts that agree up to this depth, and the depth.
        steps = [(list(range(len(texts))), 0)] if len(texts) > 1 else []
        while steps:
            group, depth = steps.pop()
            while len({tokens[member][depth] for member in group}) == 1:
                depth += 1
            branches: dict[int, list[int]] = {}
            for member in group:
                branches.setdefault(tokens[member][depth], []).append(member)
            found = _step(worker, prompt, tokens[group[0]][:depth], list(branches), usage)
            for token, members in branches.items():
                for member in members:
                    scores[member] += found[token]
                if len(members) > 1:
                    steps.append((members, depth + 1))
            if cancelled() or self._closed:
                raise Cancelled
        return scores, usage

    @contextlib.contextmanager
    def _worker(self, conversation: str, cancelled: Callable[[], bool]) -> Iterator[_Worker]:
        """The conversation's own server, which has its beginning cached, unless another one is clearly freer."""
        with self._route:
            least = min(range(len(self._workers)), key=lambda number: self._workers[number].waiting)
            home = self._homes.pop(conversation, least)
            if self._workers[home].waiting > self._workers[least].waiting + 1:
                home = least
            self._homes[conversation] = home
            if len(self._homes) > _REMEMBERED:
                self._homes.popitem(last=False)
            worker = self._workers[home]
            worker.waiting += 1
        try:
            with worker.lock:
                if cancelled() or self._closed:
                    raise Cancelled
                yield worker
        finally:
            with self._route:
                worker.waiting -= 1

    def _tokenise(self, worker: _Worker, text: str) -> list[int]:
        if text not in self._tokens:
            if len(self._tokens) > 64 * _REMEMBERED:
                self._tokens.clear()
            connection = _UnixConnection(worker.socket)
            try:
                body = json.dumps({"content": text, "add_special": False, "parse_special": text == _END})
                connection.request("POST", "/tokenize", body)
                self._tokens[text] = json.load(connection.getresponse())["tokens"]
            finally:
                connection.close()
        return self._tokens[text]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _start(path: Path, socket_path: str) -> _Worker:
    try:
        import xllamacpp  # type: ignore[import-untyped]
    except ImportError as error:
        raise weights.WeightsUnavailable(
            f"the embedded model needs the package {error.name}: pip install 'offswitch[local]'"
        ) from error
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = CONTEXT
    # One slot, and past conversations kept aside: llama.cpp picks slots by likeness, and prompts of one experiment
    # are so alike that four slots threw out each other's conversations.
    parameters.n_parallel = 1
    parameters.cache_ram_mib = _CACHE_MIB
    parameters.n_ubatch = 256
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    parameters.verbosity = -1
    parameters.hostnames = [socket_path]
    parameters.n_threads_http = 1
    parameters.ui = False
    parameters.endpoint_slots = False
    try:
        return _Worker(xllamacpp.Server(parameters), socket_path)
    except Exception as error:
        raise weights.WeightsUnavailable(f"llama.cpp cannot load {path}: {error}") from error


def _step(
    worker: _Worker, prompt: str, said: list[int], allowed: list[int], usage: Usage
) -> dict[int, float]:
    """Natural logarithms of the probabilities of the allowed next tokens, among themselves."""
    answer = _checked(
        worker.server.handle_completions(
            {
                "prompt": [prompt, *said] if said else prompt,
                "n_predict": 1,
                "cache_prompt": True,
                "samplers": ["temperature"],
                "temperature": 1.0,
                "logit_bias": [[token, _BIAS] for token in allowed],
                "n_probs": len(allowed),
                "post_sampling_probs": True,
            }
        )
    )
    _count(usage, answer)
    listed = answer["choices"][0]["logprobs"]["content"][0]["top_probs"]
    found = {entry["id"]: entry["prob"] for entry in listed}
    # What float32 could not hold counts as the least that it can.
    values = {token: max(float(found.get(token, 0.0)), 1e-38) for token in allowed}
    whole = math.log(sum(values.values()))
    return {token: math.log(value) - whole for token, value in values.items()}


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    error = answer.get("error")
    if error is None:
        return answer
    if error.get("type") == "exceed_context_size_error":
        raise PromptTooLong(error.get("message", ""))
    raise RuntimeError(f"llama.cpp: {error.get('message', error)}")


def _count(usage: Usage, answer: dict[str, Any], *, written: bool = False) -> None:
    counted = answer.get("usage") or {}
    usage.read = max(usage.read, counted.get("prompt_tokens", 0))
    # Of the first step: later ones find their own prompt again.
    usage.cached = usage.cached or counted.get("prompt_tokens_details", {}).get("cached_tokens", 0)
    usage.written += counted.get("completion_tokens", 0) if written else 1


_starting = threading.Lock()


@cache
def _shared(servers: int) -> Engine:
    engine = Engine(weights.ensure(), servers)
    # Before the interpreter comes apart: the servers own threads of C++.
    atexit.register(engine.close)
    return engine


def shared(servers: int) -> Engine:
    """The process's engine with this many servers, started on the first call.

    Args:
        servers: As for `Engine`.

    Returns:
        The engine; it ends with the process.

    Raises:
        WeightsUnavailable: The weights cannot be had or loaded.
    """
    with _starting:
        return _shared(servers)
