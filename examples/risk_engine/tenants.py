"""Who asks: the tenant, as the gateway in front says after it has authenticated the caller."""

from __future__ import annotations

from starlette.datastructures import Headers

from risk_engine.errors import DomainValidationError

HEADER = "X-Tenant"
LONGEST = 128


def tenant_in(headers: Headers) -> str:
    """The tenant of a request; DomainValidationError where its header does not name exactly one."""
    named = headers.getlist(HEADER)
    if len(named) != 1:  # which of them did the gateway set?
        raise DomainValidationError(HEADER, "must be there once")
    try:
        tenant = named[0].encode("latin-1").decode()
    except UnicodeError:
        raise DomainValidationError(HEADER, "must be UTF-8") from None
    if not 1 <= len(tenant) <= LONGEST or not tenant.isprintable():
        raise DomainValidationError(HEADER, f"must be 1 to {LONGEST} printable characters")
    return tenant


def tenant_or_none(headers: Headers) -> str | None:
    """For the answer to a request that is refused: None where nobody can say whose it is."""
    try:
        return tenant_in(headers)
    except DomainValidationError:
        return None
