"""What can go wrong with a language model, whose fault it is, and what the ladder does about it: one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ...brokers.errors import (
    BrokerError,
    ConfigurationError,
    ConnectFailed,
    DeadlineExceeded,
    LinkError,
    NoPermission,
    NotSupported,
    ProtocolViolation,
    RequestFailed,
    UsageError,
)


class Trouble(StrEnum):
    """Why a rung of the ladder did not answer."""

    HOST_DOWN = "host_down"
    NOT_THE_PROTOCOL = "not_the_protocol"  #: something else listens there
    NO_PERMISSION = "no_permission"
    QUEUE_FULL = "queue_full"  #: the server's queue
    OVERLOADED = "overloaded"  #: the service's, or too many requests of ours
    SERVER_FAILED = "server_failed"
    MODEL_MISSING = "model_missing"
    DEADLINE = "deadline"
    WAITING_FULL = "waiting_full"  #: our own queue
    COST_CAP = "cost_cap"
    PRICE_UNKNOWN = "price_unknown"
    LOG_FAILED = "log_failed"  #: a call that cannot be written down is not made
    CANNOT_ASK = "cannot_ask"  #: the question, a setting or a missing package
    TRUNCATED = "truncated"
    UNFINISHED = "unfinished"  #: blank, or ended for another reason than being complete
    REFUSED = "refused"  #: by the model
    QUESTION_CUT = "question_cut"  #: longer than the context
    INVALID_JSON = "invalid_json"
    WRONG_SHAPE = "wrong_shape"
    OUT_OF_RANGE = "out_of_range"
    WRONG_EVIDENCE = "wrong_evidence"


class Fault(StrEnum):
    """Who could do better: another host, the same model asked again, or another model only."""

    HOST = "host"
    PLACE = "place"  #: this host for this model
    ANSWER = "answer"
    MODEL = "model"


FAULTS: Mapping[Trouble, Fault] = {
    Trouble.HOST_DOWN: Fault.HOST,
    Trouble.NOT_THE_PROTOCOL: Fault.HOST,
    Trouble.NO_PERMISSION: Fault.HOST,
    Trouble.QUEUE_FULL: Fault.HOST,
    Trouble.OVERLOADED: Fault.HOST,
    Trouble.SERVER_FAILED: Fault.HOST,
    Trouble.DEADLINE: Fault.HOST,
    Trouble.MODEL_MISSING: Fault.PLACE,
    Trouble.TRUNCATED: Fault.ANSWER,
    Trouble.UNFINISHED: Fault.ANSWER,
    Trouble.INVALID_JSON: Fault.ANSWER,
    Trouble.WRONG_SHAPE: Fault.ANSWER,
    Trouble.OUT_OF_RANGE: Fault.ANSWER,
    Trouble.WRONG_EVIDENCE: Fault.ANSWER,
    Trouble.REFUSED: Fault.MODEL,
    Trouble.QUESTION_CUT: Fault.MODEL,
    Trouble.WAITING_FULL: Fault.MODEL,
    Trouble.COST_CAP: Fault.MODEL,
    Trouble.PRICE_UNKNOWN: Fault.MODEL,
    Trouble.LOG_FAILED: Fault.MODEL,
    Trouble.CANNOT_ASK: Fault.MODEL,
}

#: HTTP status -> trouble; another 4xx is a question that cannot be asked, another 5xx a failing server.
STATUSES: Mapping[int, Trouble] = {
    401: Trouble.NO_PERMISSION,
    402: Trouble.NO_PERMISSION,
    403: Trouble.NO_PERMISSION,
    404: Trouble.NOT_THE_PROTOCOL,
    405: Trouble.NOT_THE_PROTOCOL,
    408: Trouble.DEADLINE,
    429: Trouble.OVERLOADED,
    503: Trouble.QUEUE_FULL,
    504: Trouble.DEADLINE,
    529: Trouble.OVERLOADED,
}
#: Class of an error that names no trouble itself, the most specific first.
_CLASSES: tuple[tuple[type[BrokerError], Trouble], ...] = (
    (ProtocolViolation, Trouble.NOT_THE_PROTOCOL),
    (ConnectFailed, Trouble.HOST_DOWN),
    (LinkError, Trouble.HOST_DOWN),
    (DeadlineExceeded, Trouble.DEADLINE),
    (NoPermission, Trouble.NO_PERMISSION),
    (NotSupported, Trouble.CANNOT_ASK),
    (UsageError, Trouble.CANNOT_ASK),
    (ConfigurationError, Trouble.CANNOT_ASK),
)


def of_status(status: int) -> Trouble:
    """The trouble that an HTTP status from 400 on stands for."""
    return STATUSES.get(status, Trouble.SERVER_FAILED if status >= 500 else Trouble.CANNOT_ASK)


def trouble_of(error: BrokerError) -> Trouble:
    """What `data["trouble"]` says, else what the error's class stands for."""
    named = error.data.get("trouble")
    if isinstance(named, Trouble):
        return named
    return next((trouble for kind, trouble in _CLASSES if isinstance(error, kind)), Trouble.SERVER_FAILED)


def fault_of(error: BrokerError) -> Fault:
    return FAULTS[trouble_of(error)]


def failed(trouble: Trouble, what: str, why: str, next: str, *, code: int | None = None) -> RequestFailed:
    """An error of the tree that names its trouble. `code` is the HTTP status, None when there was none."""
    return RequestFailed(what, why, next, code=code, trouble=trouble)
