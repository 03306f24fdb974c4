"""One HTTP exchange with a chat endpoint, and the three ways in which it brings no answer."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(eq=False)
class Fault(Exception):
    """No answer, and trying again may bring one. `reached` is whether the server itself did something."""

    reason: str
    reached: bool = True
    retry_after: float | None = None


@dataclass(eq=False)
class Throttled(Exception):
    """429."""

    retry_after: float | None
    out_of_credit: bool


@dataclass(eq=False)
class Refused(Exception):
    """A 4xx, which is never tried again as it is."""

    status: int
    message: str
    option: str


async def exchange(client: Any, request: Mapping[str, Any], timeout: float, scrub: Callable[[str], str]) -> Any:
    """The JSON that an AsyncOpenAI client gets for a request within `timeout` seconds, `scrub`bed of the key.

    Raises Throttled, Fault or Refused, never what holds the request, whose headers hold the key.
    """
    import aiohttp
    import httpx2
    import openai

    try:
        # `post`, not `chat.completions.create`, which spends more time on its types than on all the rest; and a whole
        # URL and a body in bytes, which it need not put together
        content = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
        sent = client.post(f"{client.base_url}chat/completions", cast_to=httpx2.Response, content=content)
        response = await asyncio.wait_for(sent, timeout)
        return json.loads(scrub(response.content.decode()))
    except openai.APIStatusError as error:
        raise _of_status(error.status_code, error.response.headers, error.body, scrub) from None
    except asyncio.TimeoutError:
        raise Fault(f"no answer within {timeout:g} s") from None
    except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
        if (why := _unreachable(error)) is not None:
            raise Fault(f"cannot be reached ({why})", reached=False) from None
        raise Fault("the connection broke before the answer was whole") from None
    except (ValueError, RecursionError):
        raise Fault("the answer is no JSON") from None


def _of_status(
    status: int, headers: Mapping[str, str], body: Any, scrub: Callable[[str], str]
) -> Fault | Throttled | Refused:
    fields = body if isinstance(body, dict) else {}
    message = scrub(" ".join(str(fields.get("message") or body or "").split()))[:300]
    wait = retry_after(headers)
    if status == 429:
        return Throttled(wait, out_of_credit="insufficient_quota" in (fields.get("code"), fields.get("type")))
    if status >= 500 or status in (408, 409, 425):
        return Fault(f"server error {status}", reached=status not in (502, 503), retry_after=wait)
    return Refused(status, message, str(fields.get("param") or ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, by `retry-after-ms` or `retry-after` (seconds or a date), or None."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, TypeError, IndexError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def _unreachable(error: BaseException) -> str | None:
    """Why no connection was made at all, or None; the SDK's transport names that a timeout, so the causes are read."""
    import aiohttp

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | ConnectionRefusedError):
            return str(cause)[:160]
        cause = cause.__cause__ or cause.__context__
    return None
