"""What goes wrong between here and a server, through both transports."""

import asyncio
import gzip
import json
import socket
import ssl
import subprocess
import sys
import textwrap
import time

import httpx
import pytest

from msgflow.errors import BadModelResponse, ModelError, ModelTimeout, ModelUnreachable
from msgflow.messages import Request, TextDelta, user
from msgflow.models import AiohttpTransport, HttpxTransport, OpenAIChat
from tests.raw_server import ANSWER, BODY, HALF, OK, SSE, chunked, saying, serving

HELLO = Request((user("hello"),))


@pytest.fixture(params=[AiohttpTransport, HttpxTransport])
def transport(request):
    return request.param()


@pytest.fixture(params=["complete", "stream"])
def ask(request, transport):
    async def ask(port, timeout_s=5.0, scheme="http"):
        url = f"{scheme}://127.0.0.1:{port}/v1"
        model = OpenAIChat("m", base_url=url, transport=transport, timeout_s=timeout_s)
        if request.param == "complete":
            return (await model.complete(HELLO)).text
        return "".join([event.text async for event in model.stream(HELLO) if isinstance(event, TextDelta)])

    return ask


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


async def test_a_port_where_nobody_listens_is_named_with_what_to_do(ask):
    port = unused_port()
    with pytest.raises(ModelUnreachable, match=rf"127\.0\.0\.1:{port}.*Is the server running") as caught:
        await ask(port)
    assert caught.value.retryable and caught.value.model == "openai/m"


async def test_a_host_that_does_not_exist_is_unreachable(transport):
    model = OpenAIChat("m", base_url="http://nobody.invalid/v1", transport=transport, timeout_s=5)
    with pytest.raises(ModelUnreachable, match=r"nobody\.invalid:80"):
        await model.complete(HELLO)


async def test_a_server_that_says_nothing_and_closes(ask):
    async with serving(saying()) as port:
        with pytest.raises(ModelUnreachable):
            await ask(port)


async def test_a_server_that_dies_in_the_middle_of_the_head(ask):
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-")) as port:
        with pytest.raises(ModelError):
            await ask(port)


@pytest.mark.parametrize("what", [OK % (1000, BODY), SSE + b"ffff\r\n" + HALF], ids=["length", "chunks"])
async def test_a_server_that_dies_in_the_middle_of_the_body(ask, what):
    async with serving(saying(what)) as port:
        with pytest.raises(ModelUnreachable):
            await ask(port)


async def test_a_reset_in_the_middle_of_the_body(ask):
    async def talk(read_request, writer):
        await read_request()
        writer.write(OK % (1000, BODY))
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    async with serving(talk) as port:
        with pytest.raises(ModelUnreachable):
            await ask(port)


async def test_a_server_that_hangs_is_given_up_in_time(ask):
    async def talk(read_request, writer):
        await asyncio.sleep(60)

    async with serving(talk) as port:
        began = time.monotonic()
        with pytest.raises(ModelTimeout, match=r"within 0\.2 s.*timeout_s"):
            await ask(port, timeout_s=0.2)
    assert time.monotonic() - began < 2


async def test_a_server_that_hangs_in_the_middle_is_given_up_in_time(ask):
    async def talk(read_request, writer):
        await saying(SSE + chunked(HALF))(read_request, writer)
        await asyncio.sleep(60)

    async with serving(talk) as port:
        with pytest.raises(ModelTimeout, match=r"within 0\.2 s"):
            await ask(port, timeout_s=0.2)


async def test_a_slow_drip_is_too_late_for_a_whole_answer_but_not_for_a_stream(transport):
    timeout_s = 0.8  # many times the pause between two drops, for machines that are busy with other things

    async def talk(read_request, writer):
        await read_request()
        began = time.monotonic()
        writer.write(SSE)
        while time.monotonic() < began + 1.3 * timeout_s:
            writer.write(chunked(HALF))
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with serving(talk) as port:
        model = OpenAIChat("m", base_url=f"http://127.0.0.1:{port}/v1", transport=transport, timeout_s=timeout_s)
        began = time.monotonic()
        assert len([event async for event in model.stream(HELLO)]) > 1
        assert time.monotonic() - began > timeout_s
        with pytest.raises(ModelTimeout):
            await model.complete(HELLO)


@pytest.mark.parametrize(
    "garbage", [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"\x16\x03\x01\x02\x00" * 20, b"\r\n\r\n\x00HTTP\r\n\r\n"]
)
async def test_what_is_not_http_is_named(ask, garbage):
    async with serving(saying(garbage)) as port:
        with pytest.raises(BadModelResponse, match="not HTTP"):
            await ask(port)


@pytest.mark.parametrize("length", [b"-5", b"many"])
async def test_a_content_length_that_is_none_is_not_http(ask, length):
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n")) as port:
        with pytest.raises(BadModelResponse, match="not HTTP"):
            await ask(port)


async def test_a_body_that_is_no_json_is_named(ask):
    async with serving(saying(OK % (6, b"<html>"))) as port:
        with pytest.raises(BadModelResponse, match="<html>"):
            await ask(port)


async def test_a_damaged_compressed_body_is_an_error_of_ours(ask):
    broken = gzip.compress(BODY)[:10] + b"\xff" * 30
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with serving(saying(head % len(broken) + broken)) as port:
        with pytest.raises(ModelError):
            await ask(port)


async def test_a_stream_that_ends_early_but_cleanly_is_truncated(transport):
    async with serving(saying(SSE + chunked(HALF) + b"0\r\n\r\n")) as port:
        model = OpenAIChat("m", base_url=f"http://127.0.0.1:{port}/v1", transport=transport)
        events = model.stream(HELLO)
        assert await anext(events) == TextDelta("ha")
        with pytest.raises(BadModelResponse, match="truncated after 2 characters"):
            await anext(events)


async def test_the_last_event_of_a_stream_may_lack_its_empty_line(transport):
    last = b'data: {"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}'
    async with serving(saying(SSE + chunked(HALF + last) + b"0\r\n\r\n")) as port:
        model = OpenAIChat("m", base_url=f"http://127.0.0.1:{port}/v1", transport=transport)
        events = [event async for event in model.stream(HELLO)]
    assert events[:-1] == [TextDelta("ha"), TextDelta("!")] and events[-1].response.text == "ha!"


async def test_a_stream_that_lingers_after_done_keeps_nobody_waiting(transport):
    async def talk(read_request, writer):
        await saying(SSE + chunked(HALF + b"data: [DONE]\n\n"))(read_request, writer)
        await asyncio.sleep(60)

    async with serving(talk) as port:
        model = OpenAIChat("m", base_url=f"http://127.0.0.1:{port}/v1", transport=transport)
        began = time.monotonic()
        assert len([event async for event in model.stream(HELLO)]) == 2
    assert time.monotonic() - began < 1


async def test_a_connection_that_breaks_after_done_was_complete(transport):
    async with serving(saying(SSE + chunked(HALF + b"data: [DONE]\n\n"))) as port:
        model = OpenAIChat("m", base_url=f"http://127.0.0.1:{port}/v1", transport=transport)
        assert [event async for event in model.stream(HELLO)][-1].response.text == "ha"


async def test_a_huge_body_arrives_whole(ask):
    body = json.dumps({"choices": [{"message": {"content": "x" * 20_000_000}}]}).encode()
    async with serving(saying(OK % (len(body), body))) as port:
        assert len(await ask(port)) == 20_000_000


@pytest.fixture
def untrusted(tmp_path):
    """TLS with a certificate that signed itself."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_nobody_trusts_is_not_worth_another_try(ask, untrusted):
    async with serving(saying(ANSWER), ssl=untrusted) as port:
        with pytest.raises(ModelUnreachable, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await ask(port, scheme="https")
    assert not caught.value.retryable


async def test_a_cancelled_request_is_cancelled_and_the_next_one_works(ask):
    arrived = asyncio.Event()

    async def talk(read_request, writer):
        await read_request()
        if not arrived.is_set():
            arrived.set()
            await asyncio.sleep(60)
        writer.write(ANSWER)
        await writer.drain()

    async with serving(talk) as port:
        task = asyncio.create_task(ask(port))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ask(port) == "hi"


async def test_a_timeout_around_a_request_is_the_callers_own(ask):
    async def talk(read_request, writer):
        await asyncio.sleep(60)

    async with serving(talk) as port:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await ask(port)
    assert not isinstance(caught.value, ModelError)


@pytest.mark.parametrize("raised", [httpx.ReadError("gone"), httpx.ConnectTimeout("late"), httpx.DecodingError("bad")])
async def test_what_a_mock_raises_is_mapped(raised):
    calls = []

    def fail(request):
        calls.append(request)
        raise raised

    transport = HttpxTransport(httpx.AsyncClient(transport=httpx.MockTransport(fail)))
    with pytest.raises(ModelError):
        await OpenAIChat("m", base_url="http://h/v1", transport=transport).complete(HELLO)
    assert len(calls) == 1


async def test_a_bug_in_a_mock_stays_a_bug():
    def fail(request):
        raise KeyError("a bug")

    transport = HttpxTransport(httpx.AsyncClient(transport=httpx.MockTransport(fail)))
    with pytest.raises(KeyError):
        await OpenAIChat("m", base_url="http://h/v1", transport=transport).complete(HELLO)


async def test_a_bug_in_a_session_option_stays_a_bug():
    model = OpenAIChat("m", base_url="http://127.0.0.1:1/v1", transport=AiohttpTransport(nonsense=1))
    with pytest.raises(TypeError, match="nonsense"):
        await model.complete(HELLO)
    with pytest.raises(TypeError, match="nonsense"):
        await anext(model.stream(HELLO))


@pytest.mark.parametrize("kind", ["AiohttpTransport", "HttpxTransport"])
def test_a_program_ends_cleanly(kind):
    """After answers, a stream left early and a cancelled request: no warning of anything left open."""
    program = f"""
        import asyncio, gc
        from msgflow.messages import Request, user
        from msgflow.models import OpenAIChat, {kind}

        HELLO = Request((user("hello"),))

        async def talk(reader, writer):
            try:
                while True:
                    head = await reader.readuntil(b"\\r\\n\\r\\n")
                    body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
                    if b"hang" in body:
                        await asyncio.sleep(60)
                    elif b'"stream":true' in body:
                        data = b'data: {{"choices":[{{"delta":{{"content":"a"}}}}]}}\\n\\n'
                        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9999\\r\\n\\r\\n" + data)
                    else:
                        body = b'{{"choices":[{{"message":{{"content":"hi"}}}}]}}'
                        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
            except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        async def main():
            server = await asyncio.start_server(talk, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            model = OpenAIChat("m", base_url=f"http://127.0.0.1:{{port}}/v1", transport={kind}())
            await asyncio.gather(*[model.complete(HELLO) for _ in range(5)])
            async for event in model.stream(HELLO):
                break
            task = asyncio.create_task(model.complete(Request((user("hang"),))))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            server.close()

        asyncio.run(main())
        gc.collect()
        asyncio.run(main())
        gc.collect()
        print("ended")
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("ended\n", "", 0)
