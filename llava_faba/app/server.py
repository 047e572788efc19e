"""The HTTP side: a page, uploads with a size limit, answers as event streams. Nothing that is uploaded outlives the
process."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from llava_faba.app.access import Access
from llava_faba.app.reading import Json, Reader
from llava_faba.errors import UserError
from llava_faba.packages import install_command

PICTURE_LIMIT = 25 << 20
CLIP_LIMIT = 300 << 20
_TYPES = {"index.html": "text/html", "app.js": "text/javascript", "style.css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def packages() -> tuple[Any, Any]:
    """The modules starlette and uvicorn. Raises UserError where they are not installed."""
    try:
        import starlette.applications
        import uvicorn
    except ImportError as error:
        raise UserError(f"the page needs starlette and uvicorn ({error}): {install_command('app')}") from error
    return starlette, uvicorn


class App:
    """The ASGI application of one reader."""

    def __init__(self, reader: Reader, access: Access) -> None:
        packages()
        from starlette.applications import Starlette
        from starlette.routing import Route

        self._reader, self._access = reader, access
        self._private = Path(tempfile.mkdtemp(prefix="llava-faba-app-"))  # mode 0700
        routes = [
            Route("/", self._guarded(self._file)),
            Route("/{name:str}", self._guarded(self._file)),
            Route("/api/about", self._guarded(self._about)),
            Route("/api/pictures", self._guarded(self._add), methods=["POST"]),
            Route("/api/pictures", self._guarded(self._forget), methods=["DELETE"]),
            Route("/api/pictures/{key}/{face:int}/{task}", self._guarded(self._answer), methods=["POST"]),
            Route("/api/clips", self._guarded(self._clip), methods=["POST"]),
        ]
        self.asgi = Starlette(routes=routes)

    def close(self) -> None:
        """Delete all that was uploaded."""
        self._reader.forget()
        shutil.rmtree(self._private, ignore_errors=True)

    def _guarded(self, view: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        async def guarded(request: Any) -> Any:
            from starlette.responses import JSONResponse

            why = self._access.refusal(request)
            if why is not None:
                response: Any = JSONResponse({"error": why}, 403)
            else:
                try:
                    response = await view(request)
                except UserError as error:
                    response = JSONResponse({"error": str(error)}, 400)
            response.headers.update(_HEADERS)
            if why is None:
                self._access.remember(request, response)
            return response

        return guarded

    async def _file(self, request: Any) -> Any:
        from starlette.responses import PlainTextResponse, Response

        name = request.path_params.get("name") or "index.html"
        if name not in _TYPES:
            return PlainTextResponse("not here", 404)
        content = (resources.files("llava_faba.app") / "page" / name).read_bytes()
        return Response(content, media_type=_TYPES[name] + "; charset=utf-8")

    async def _about(self, _: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse(self._reader.about())

    async def _add(self, request: Any) -> Any:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse

        data = b"".join([block async for block in _blocks(request, PICTURE_LIMIT)])
        return JSONResponse(await run_in_threadpool(self._reader.add, data))

    async def _forget(self, _: Any) -> Any:
        from starlette.responses import JSONResponse

        self._reader.forget()
        return JSONResponse({})

    async def _answer(self, request: Any) -> Any:
        from starlette.concurrency import run_in_threadpool

        parts = request.path_params
        model = request.query_params.get("model", "model")
        crop = await run_in_threadpool(self._reader.crop_of, parts["key"], parts["face"])

        def events(say: Callable[[Json], None], _: Callable[[], bool]) -> None:
            say({"read": self._reader.answer(crop, parts["task"], model, lambda piece: say({"piece": piece}))})

        return _stream(events)

    async def _clip(self, request: Any) -> Any:
        from starlette.concurrency import run_in_threadpool

        try:
            every = float(request.query_params.get("every", "0.5"))
        except ValueError:
            raise UserError("'every' is a number of seconds.") from None
        if not 0 <= every < 3600:
            raise UserError("'every' is 0 or more seconds.")
        model = request.query_params.get("model", "model")
        folder = Path(tempfile.mkdtemp(dir=self._private))
        path = folder / "clip"
        try:
            with path.open("wb") as file:
                async for block in _blocks(request, CLIP_LIMIT):
                    await run_in_threadpool(file.write, block)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

        def events(say: Callable[[Json], None], stopped: Callable[[], bool]) -> None:
            try:
                for row in self._reader.clip(path, every, model, stopped):
                    say({"row": row})
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        return _stream(events)


async def _blocks(request: Any, limit: int) -> Any:
    """The body's blocks. Raises UserError behind ``limit`` bytes, whatever its length was said to be."""
    size = 0
    async for block in request.stream():
        size += len(block)
        if size > limit:
            raise UserError(f"larger than the limit of {limit >> 20} MB.")
        yield block


def _stream(work: Callable[[Callable[[Json], None], Callable[[], bool]], None]) -> Any:
    """An event stream of what ``work`` says, from a thread of its own; ``work`` is told when nobody listens any
    more."""
    from starlette.responses import StreamingResponse

    said: queue.Queue[Json | None] = queue.Queue()
    gone = threading.Event()

    def run() -> None:
        try:
            work(said.put, gone.is_set)
        except UserError as error:
            said.put({"error": str(error)})
        except Exception as error:  # a bug must end the stream, not leave the page waiting
            said.put({"error": f"this went wrong: {type(error).__name__}: {error}"})
            raise
        finally:
            said.put(None)

    def lines() -> Iterator[str]:
        threading.Thread(target=run, daemon=True).start()
        try:
            while (item := said.get()) is not None:
                yield f"data: {json.dumps(item, allow_nan=False)}\n\n"
        finally:
            gone.set()

    return StreamingResponse(lines(), media_type="text/event-stream")


def _end(*_: object) -> None:
    raise SystemExit(0)


def serve(reader: Reader, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted. ``port`` 0 takes a free one. ``ready`` is called with the address once it listens.

    Raises UserError when the address cannot be bound.
    """
    import socket

    _, uvicorn = packages()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise UserError(f"{host}:{port}: {error.strerror}; choose another --host or --port.") from error
    with listener:
        access = Access(host, listener.getsockname()[1])
        app = App(reader, access)
        config = uvicorn.Config(app.asgi, log_level="warning", timeout_graceful_shutdown=3)
        listener.listen()
        # uvicorn gives a signal back to whoever was there before it: the default would end us before we tidy up.
        signal.signal(signal.SIGTERM, _end)
        ready(access.address)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            app.close()
