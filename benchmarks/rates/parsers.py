"""redis-py's two ways to read replies (and, blocking, to write commands), in one interpreter.

With hiredis installed redis-py takes it wherever it is not told otherwise.
"""

from __future__ import annotations

from typing import Any, Final

from redis._parsers import Encoder, _AsyncHiredisParser, _AsyncRESP2Parser, _HiredisParser, _RESP2Parser
from redis.connection import PythonRespSerializer
from redis.utils import HIREDIS_AVAILABLE

PARSERS: Final = ("python", "hiredis") if HIREDIS_AVAILABLE else ("python",)
"""Those there are."""


def blocking(parser: str) -> dict[str, Any]:
    """What a blocking client's connections are to be made with."""
    if parser == "hiredis":
        return {"parser_class": _HiredisParser}
    packer = PythonRespSerializer(6000, Encoder("utf-8", "strict", decode_responses=False).encode)
    return {"parser_class": _RESP2Parser, "command_packer": packer}


def concurrent(parser: str) -> dict[str, Any]:
    """The same for asyncio."""
    return {"parser_class": _AsyncHiredisParser if parser == "hiredis" else _AsyncRESP2Parser}
