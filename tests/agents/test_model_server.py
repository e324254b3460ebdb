"""The scripted model server speaks as the APIs do whose place it takes: their own clients understand it."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from model_server import MODEL, ModelServer, Run, Say, Turn

COMMAND = "printf '%s\\n' \"a longer command, with quotes\" && true"
WORDS = "That is done, and here are some words."
SCRIPT: list[Turn] = [Run(COMMAND), Say(WORDS)]
SCHEMA = {
    "type": "object",
    "properties": {"command": {"type": "string"}, "description": {"type": "string"}},
    "required": ["command", "description"],
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(SCRIPT) as server:
        yield server


class Chat:
    """OpenAI chat completions."""

    def __init__(self, address: str, tool: str = "bash", schema: dict[str, Any] = SCHEMA) -> None:
        openai = pytest.importorskip("openai")
        self.client = openai.OpenAI(base_url=address + "/v1", api_key="placeholder", max_retries=0)
        self.tools = [
            {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}},
            {"type": "function", "function": {"name": tool, "parameters": schema}},
        ]
        self.messages: list[Any] = [{"role": "user", "content": "work"}]

    def ask(self, streamed: bool) -> tuple[str, str, dict[str, Any]]:
        """One turn: its text, the tool that it calls, that tool's arguments."""
        asked = {"model": MODEL, "messages": self.messages, "tools": self.tools}
        if streamed:
            with self.client.chat.completions.stream(**asked) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = self.client.chat.completions.create(**asked).choices[0].message
        self.messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        if not message.tool_calls:
            return message.content, "", {}
        call = message.tool_calls[0]
        self.messages.append({"role": "tool", "tool_call_id": call.id, "content": "fine"})
        return "", call.function.name, json.loads(call.function.arguments)


class Responses:
    """OpenAI responses."""

    def __init__(self, address: str, tool: str = "shell", schema: dict[str, Any] = SCHEMA) -> None:
        openai = pytest.importorskip("openai")
        self.client = openai.OpenAI(base_url=address + "/v1", api_key="placeholder", max_retries=0)
        self.tools = [{"type": "function", "name": tool, "parameters": schema, "strict": False}]
        self.input: list[Any] = [{"role": "user", "content": "work"}]

    def ask(self, streamed: bool) -> tuple[str, str, dict[str, Any]]:
        asked = {"model": MODEL, "input": self.input, "tools": self.tools}
        if streamed:
            with self.client.responses.stream(**asked) as stream:
                response = stream.get_final_response()
        else:
            response = self.client.responses.create(**asked)
        (item,) = response.output
        self.input.append(item.model_dump(exclude_none=True, exclude={"parsed_arguments"}))
        if item.type == "message":
            return response.output_text, "", {}
        self.input.append({"type": "function_call_output", "call_id": item.call_id, "output": "fine"})
        return "", item.name, json.loads(item.arguments)


class Messages:
    """Anthropic messages."""

    def __init__(self, address: str, tool: str = "Bash", schema: dict[str, Any] = SCHEMA) -> None:
        anthropic = pytest.importorskip("anthropic")
        self.client = anthropic.Anthropic(base_url=address, api_key="placeholder", max_retries=0)
        self.tools = [{"name": tool, "input_schema": schema}]
        self.messages: list[Any] = [{"role": "user", "content": "work"}]

    def ask(self, streamed: bool) -> tuple[str, str, dict[str, Any]]:
        asked = {"model": MODEL, "max_tokens": 100, "messages": self.messages, "tools": self.tools}
        if streamed:
            with self.client.messages.stream(**asked) as stream:
                message = stream.get_final_message()
        else:
            message = self.client.messages.create(**asked)
        (block,) = message.content
        self.messages.append({"role": "assistant", "content": [block.model_dump(exclude_none=True)]})
        if block.type == "text":
            assert message.stop_reason == "end_turn"
            return block.text, "", {}
        assert message.stop_reason == "tool_use"
        result = {"type": "tool_result", "tool_use_id": block.id, "content": "fine"}
        self.messages.append({"role": "user", "content": [result]})
        return "", block.name, block.input


CLIENTS = [Chat, Responses, Messages]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "tool"), [(Chat, "bash"), (Responses, "shell"), (Messages, "Bash")])
def test_a_client_gets_the_turns_of_the_script_in_order(
    server: ModelServer, client: Any, tool: str, streamed: bool
) -> None:
    chat = client(server.address)

    assert chat.ask(streamed) == ("", tool, {"command": COMMAND, "description": "Run a command"})
    assert chat.ask(streamed) == (WORDS, "", {})

    assert server.turns() == [0, 1]
    assert [(one.model, one.streamed) for one in server.asked] == [(MODEL, streamed)] * 2


@pytest.mark.parametrize("client", CLIENTS)
def test_a_request_that_is_repeated_gets_the_same_turn(server: ModelServer, client: Any) -> None:
    first, second = client(server.address).ask(True), client(server.address).ask(True)

    assert first == second
    assert server.turns() == [0, 0]


def test_a_tool_that_takes_a_list_of_words_gets_one(server: ModelServer) -> None:
    schema = {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}}

    assert Responses(server.address, "shell", schema).ask(True)[2] == {"command": ["bash", "-c", COMMAND]}


def test_a_tool_that_calls_its_command_cmd_gets_it(server: ModelServer) -> None:
    schema = {
        "type": "object",
        "properties": {"cmd": {"type": "string"}, "tty": {"type": "boolean"}},
        "required": ["cmd", "tty"],
    }

    assert Responses(server.address, "exec_command", schema).ask(True)[2] == {"cmd": COMMAND, "tty": False}


def test_openais_own_shell_tool_gets_a_call_of_its_own_kind(server: ModelServer) -> None:
    client = Responses(server.address)
    client.tools = [{"type": "local_shell"}]

    response = client.client.responses.create(model=MODEL, input="work", tools=client.tools)

    assert response.output[0].type == "local_shell_call"
    assert response.output[0].action.command == ["bash", "-c", COMMAND]


@pytest.mark.parametrize("client", CLIENTS)
def test_who_offers_no_shell_tool_uses_up_no_turn(server: ModelServer, client: Any) -> None:
    # A program asks for a title this way.
    assert client(server.address, "search").ask(True) == ("ok", "", {})
    assert server.turns() == []
    assert client(server.address).ask(True)[2]["command"] == COMMAND


def test_after_the_script_the_model_thinks_until_the_server_closes() -> None:
    ended = threading.Event()

    def third() -> None:
        # The server hangs up without an answer.
        with pytest.raises(Exception, match=r"[Cc]onnection|disconnected"):
            chat.ask(True)
        ended.set()

    with ModelServer(SCRIPT) as server:
        chat = Messages(server.address)
        chat.ask(True)
        chat.ask(True)
        thread = threading.Thread(target=third)
        thread.start()
        assert not ended.wait(1)
        assert server.turns() == [0, 1]
    assert ended.wait(10)
    thread.join()


@pytest.mark.parametrize(
    ("method", "path", "status", "key"),
    [
        ("GET", "/v1/models", 200, "data"),
        ("POST", "/v1/messages/count_tokens?beta=true", 200, "input_tokens"),
        ("POST", "/api/event_logging/batch", 404, "error"),
        ("GET", "/favicon.ico", 404, "error"),
    ],
)
def test_what_programs_ask_for_besides_is_answered_and_noted(
    server: ModelServer, method: str, path: str, status: int, key: str
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, b"{}" if method == "POST" else None)
    response = connection.getresponse()

    assert response.status == status
    assert key in json.loads(response.read())
    # The same connection serves on.
    connection.request("HEAD", "/")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    connection.close()
    assert [(one.method, one.path) for one in server.asked] == [
        (method, path.partition("?")[0]),
        ("HEAD", "/"),
    ]


def test_it_listens_on_the_loopback_alone(server: ModelServer) -> None:
    assert server.address == f"http://127.0.0.1:{server.port}"
    assert server._server.server_address[0] == "127.0.0.1"
