"""What `curl` would get from `kseg serve`, in this process."""

import asyncio
import pathlib

import httpx

from kseg import serve
from kseg.inference import Predictor
from kseg.zoo import load


def curl(words: list[str], model: str) -> None:
    """Sends a request to the service of a model, as `curl [--data-binary @FILE] ADDRESS [-o FILE]` does.

    Raises:
        AssertionError: If the service refuses it.
    """
    options, address = {}, ""
    words = list(words)
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            options[word] = words.pop(0)
        else:
            address = word
    assert options.keys() <= {"--data-binary", "-o"} and address.startswith("http://127.0.0.1:8000/"), options
    body = pathlib.Path(options["--data-binary"].removeprefix("@")).read_bytes() if "--data-binary" in options else None
    answer = asyncio.run(_answer(serve.create_app(Predictor(load(model)), hosts=serve.LOOPBACK), address, body))
    assert answer.status_code == 200, answer.text
    if "-o" in options:
        pathlib.Path(options["-o"]).write_bytes(answer.content)


async def _answer(app, address: str, body: bytes | None) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        return await (client.get(address) if body is None else client.post(address, content=body))
