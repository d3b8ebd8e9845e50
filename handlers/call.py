"""One request on its way: what the path said, who asks, and the services, handed to a handler as one value."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from auth.principals import Principal
from handlers.services import Services
from model.errors import TooManyParameters

MAX_PARAMETERS: Final = 1000


@dataclass(slots=True)
class Call:
    """A request after routing. `repository` is a checked name, or "" where the endpoint has none; `argument` is what
    the path says behind the endpoint's word: a digest, tag or upload id, not yet checked.
    """

    request: web.BaseRequest
    services: Services
    principal: Principal
    repository: str = ""
    argument: str = ""
    _query: dict[str, list[str]] | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters; unknown ones are ignored by everybody (oci.md 1.0).

        Raises:
            TooManyParameters: more of them than MAX_PARAMETERS.
        """
        if self._query is None:
            self._query = {}
            raw = self.request.raw_path.partition("?")[2]
            if raw.count("&") >= MAX_PARAMETERS:
                raise TooManyParameters(f"at most {MAX_PARAMETERS} parameters in one request")
            for key, value in parse_qsl(raw, keep_blank_values=True) if raw else ():
                self._query.setdefault(key, []).append(value)
        return self._query

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    def last(self, name: str) -> str | None:
        """The last value: containerd appends its digest behind one that is already there (oci.md 1.0)."""
        values = self.query.get(name)
        return values[-1] if values else None
