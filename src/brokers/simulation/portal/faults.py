"""What is wrong with the portal door now; nothing, unless a fault of `fault_rows` is armed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...errors import InvalidRequest
from .request import Answer, PortalRequest
from .routes import Route

#: What comes instead of an answer, or of None before the request was served.
Change = Callable[[PortalRequest, Answer | None], Answer]


@dataclass(slots=True)
class Interception:
    """Waits for one request and is gone then. `target` is a path's end, with or without a method ("POST /orders");
    "" means any request. `served` True: the request is done first, and only its answer is changed."""

    target: str
    served: bool
    change: Change

    def fits(self, request: PortalRequest, route: Route | None) -> bool:
        method, _, path = self.target.rpartition(" ")
        if method and method != request.method:
            return False
        if not path or request.path == path:
            return True
        template = route.path if route is not None else request.path
        return template == path or _stem(template).endswith(path)


@dataclass
class PortalFaults:
    """Flags are read where they bite."""

    interceptions: list[Interception] = field(default_factory=list)
    #: auth/status says competing: true, and /iserver/accounts is empty.
    competing: bool = False
    silent_heartbeat: bool = False
    #: No `sts` frame tells that the brokerage session is back (P07).
    silent_restoration: bool = False
    #: Every request is answered with 503 (P11).
    maintenance: bool = False
    #: Requests are served, but their answers are kept back.
    held: bool = False
    #: Called when `held` ends.
    on_release: Callable[[], None] = lambda: None

    def intercept(self, request: PortalRequest, route: Route | None, *, served: bool) -> Change | None:
        """The change that an armed fault makes to this request; it is disarmed."""
        for waiting in self.interceptions:
            if waiting.served is served and waiting.fits(request, route):
                self.interceptions.remove(waiting)
                return waiting.change
        return None

    def wait_for(self, target: str, served: bool, change: Change) -> None:
        """Raises InvalidRequest for a target that no path can have."""
        path = target.rpartition(" ")[2]
        if path and not path.startswith("/"):
            raise InvalidRequest(f"path {target!r}", "it does not begin with /", "write it like POST /orders")
        self.interceptions.append(Interception(target, served, change))

    def clear(self) -> None:
        """One-shot faults that have not bitten are gone."""
        self.interceptions.clear()


def _stem(template: str) -> str:
    """Without the captured parts at its end: "/iserver/reply/{id}" is "/iserver/reply"."""
    while template.endswith("}"):
        template = template.rpartition("/")[0]
    return template
