"""Notifications: JSON to a webhook, mail, and pings of a heartbeat URL (a dead-man switch).

Addresses of webhooks and heartbeats are secrets themselves: whoever knows them can
use them. Messages and errors name the host only, and redirects are not followed.
"""

from __future__ import annotations

import base64
import json
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from visql_lib.archives.credentials import Credentials, Login
from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.guard import Guard
from visql_lib.archives.http import LOOPBACK, PORTS, HttpClient, Request, root_cause
from visql_lib.archives.mailer import Mailer
from visql_lib.archives.pages import excerpt, printable
from visql_lib.archives.retry import RetryPolicy
from visql_lib.archives.web import check_configured_url, is_private
from visql_lib.config.network_settings import ENVIRONMENT
from visql_lib.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

_SMTP = 25
_MASK = "***"
_DEADLINE = 2  # timeouts for one attempt, where a policy has no deadline of its own
_MEMBER = 6  # letters: shorter parts of an address are no secrets


# Short: a run of the workflow waits for it, and what was not sent is sent by the next one.
RETRY = RetryPolicy(attempts=3, first_delay=2.0, longest_delay=60.0, timeout=15.0)


def post_json(
    url: str,
    values: Mapping[str, Any],
    key: str,
    credentials: Credentials,
    policy: RetryPolicy = RETRY,
    proxy: str = ENVIRONMENT,
) -> None:
    """Post values as JSON.

    Parameters
    ----------
    url : str
        Address of the webhook.
    values : mapping
        The content.
    key : str
        Sent as ``Idempotency-Key``: the same where the same message is sent twice.
    credentials : Credentials
        A login is sent if the user has one for just this host.
    policy : RetryPolicy, optional
        Attempts, delays and time limits.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Raises
    ------
    TransientError
        If the server is silent, overloaded or broken, and stays so.
    SourceError
        If it refuses, or redirects to another address.
    ConfigError
        If the address is invalid, or a password would travel unencrypted.
    """
    check_configured_url(url, _host)
    login = credentials.own(url)
    if login and not is_private(urlsplit(url)):
        raise ConfigError(f"{_host(url)}: the password would travel unencrypted; use https")
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    body = json.dumps(values, allow_nan=False).encode()
    _send_request(Request(url, "POST", data=body, headers=headers), login, policy, proxy)


def ping_heartbeat_url(url: str, policy: RetryPolicy = RETRY, proxy: str = ENVIRONMENT) -> None:
    """Request the address of a dead-man switch, which alerts somebody when these requests stop.

    Raises
    ------
    SourceError
        As `post_json`.
    """
    check_configured_url(url, _host)
    _send_request(Request(url), None, policy, proxy)


def _send_request(request: Request, login: Login | None, policy: RetryPolicy, proxy: str) -> None:
    """Send a request until it is accepted; the content of the response does not matter."""
    client = HttpClient(
        policy.timeout,
        _deadline(policy),
        proxy,
        max_redirects=0,
        format_url=_host,
        redact=lambda text: _redacted(text, request.url, login),
    )

    def once() -> None:
        with client.open(request, lambda _: login.header if login else ""):
            return

    policy.call(once)


def _deadline(policy: RetryPolicy) -> float:
    """Choose the time [s] for one attempt."""
    return _DEADLINE * policy.timeout if policy.deadline is None else policy.deadline


def _host(url: str) -> str:
    """Shorten a secret address to its host; nothing of an invalid one, whose parts could be the secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in PORTS:
        return "the address of a webhook or dead-man switch (not shown)"
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


def _redacted(text: str, url: str, login: Login | None) -> str:
    """Remove the password from a text, and what makes the address a secret."""
    text = login.masked(text) if login else text
    parts = urlsplit(url)
    secrets = {
        url,
        parts.path,
        parts.query,
        *parts.path.split("/"),
        *parts.query.replace("&", "=").split("="),
    }
    for secret in sorted(secrets | {unquote(s) for s in secrets}, key=len, reverse=True):
        text = text.replace(secret, _MASK) if len(secret) >= _MEMBER else text
    return text


def send_mail(
    server: str,
    sender: str,
    recipients: Sequence[str],
    subject: str,
    text: str,
    when: datetime,
    credentials: Credentials,
    policy: RetryPolicy = RETRY,
) -> list[str]:
    """Send a mail; encrypted where the server can, with the user's login where it requires one.

    Parameters
    ----------
    server : str
        HOST:PORT; port 465 is encrypted from the start.
    sender, recipients : str, sequence of str
        Addresses.
    subject, text : str
        The content.
    when : datetime
        Its date.
    credentials : Credentials
        A login is used if the server supports it and the user has one for just this host.
    policy : RetryPolicy, optional
        Attempts, delays and time limits.

    Returns
    -------
    list of str
        Errors of recipients the server did not accept; the others got it.

    Raises
    ------
    TransientError
        If the server is silent, unreachable or busy, and stays so.
    SourceError
        If it refuses the mail, the login or all recipients.
    ConfigError
        If an address is invalid, or a password would travel unencrypted.
    """
    host, port = _server(server)
    message = _message(sender, recipients, subject, text, when)
    login = credentials.own(f"smtp://[{host}]" if ":" in host else f"smtp://{host}")

    def once() -> list[str]:
        return _send(host, port, message, list(recipients), login, policy)

    return policy.call(once)


def _server(server: str) -> tuple[str, int]:
    """Split HOST:PORT."""
    if "@" in server or "://" in server:  # not to be shown: it may hold a password
        raise ConfigError("alerts.mail_server: must be HOST:PORT, without user; passwords belong in netrc")
    try:
        parts = urlsplit(f"//{server}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path:
        raise ConfigError(f"alerts.mail_server {server!r}: must be HOST:PORT")
    return host, port or _SMTP


def _message(sender: str, recipients: Sequence[str], subject: str, text: str, when: datetime) -> EmailMessage:
    message = EmailMessage()
    try:
        message["From"] = Address(addr_spec=sender)
        message["To"] = tuple(Address(addr_spec=r) for r in recipients)
    except (ValueError, IndexError, MessageError) as error:  # the parser raises any of them
        raise ConfigError(f"alerts: no mail address among {sender}, {', '.join(recipients)}") from error
    message["Subject"] = " ".join("".join(c if c.isprintable() else " " for c in subject).split())
    message["Date"] = format_datetime(when)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # no auto-reply
    message.set_content(text.encode("utf-8", "replace").decode(), cte="quoted-printable")
    return message


def _send(
    host: str,
    port: int,
    message: EmailMessage,
    recipients: list[str],
    login: Login | None,
    policy: RetryPolicy,
) -> list[str]:
    where = f"{host}:{port}"
    with Guard(_deadline(policy)) as guard:
        try:
            return _deliver(Mailer(host, port, policy.timeout, guard), where, message, recipients, login)
        except smtplib.SMTPRecipientsRefused as error:
            code, answer = next(iter(error.recipients.values()))
            _fail(where, code, answer, login, "accepts none of the recipients")
        except smtplib.SMTPAuthenticationError as error:
            reply = _reply(error.smtp_code, error.smtp_error, login)
            raise SourceError(f"{where}: does not accept the login of netrc ({reply})") from None
        except smtplib.SMTPResponseException as error:
            _fail(where, error.smtp_code, error.smtp_error, login, "refuses the mail")
        except (smtplib.SMTPException, ssl.SSLError, OSError, ValueError) as error:
            raise _translated(error, where, policy, guard) from error


def _deliver(
    mailer: Mailer, where: str, message: EmailMessage, recipients: list[str], login: Login | None
) -> list[str]:
    try:
        mailer.open()
        _identify(mailer, where, login)
        refused = mailer.send_message(message, to_addrs=recipients)
        with suppress(smtplib.SMTPException, OSError):  # the mail is on its way, whatever comes now
            mailer.quit()
    finally:
        mailer.close()
    return [f"{where}: {r} not accepted ({_reply(c, t, login)})" for r, (c, t) in sorted(refused.items())]


def _translated(error: Exception, where: str, policy: RetryPolicy, guard: Guard) -> SourceError:
    """Translate an error of the connection into one of ours."""
    if guard.expired:
        return TransientError(f"{where}: had not accepted the mail after {_deadline(policy):g} s")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return TransientError(f"{where}: closed the connection")
    if isinstance(error, smtplib.SMTPException | ValueError):
        return SourceError(f"{where}: {type(error).__name__}")
    if isinstance(error, ssl.SSLError):
        return SourceError(f"{where}: {root_cause(error)}")
    if isinstance(error, TimeoutError):
        return TransientError(f"{where}: did not respond for {policy.timeout:g} s")
    return TransientError(
        f"{where}: cannot be reached ({getattr(error, 'strerror', '') or printable(str(error))})"
    )


def _identify(mailer: Mailer, where: str, login: Login | None) -> None:
    """Encrypt and log in, as far as the server offers it."""
    mailer.ehlo_or_helo_if_needed()
    private = mailer.encrypted or where.rpartition(":")[0] in LOOPBACK
    if not private and mailer.has_extn("starttls"):
        mailer.starttls(context=ssl.create_default_context())
        mailer.ehlo()
        private = True
    if login is None or not mailer.has_extn("auth"):
        return
    if not private:
        raise ConfigError(f"{where}: the password would travel unencrypted; this server cannot encrypt")
    mailer.login(login.user, login.password)


def _fail(where: str, code: int, answer: bytes | str, login: Login | None, what: str) -> NoReturn:
    reply = _reply(code, answer, login)
    if code == 530 and login is None:
        raise SourceError(f"{where}: requires a login ({reply}); add `machine HOST login USER ...` to netrc")
    if 400 <= code < 500 or code == -1:
        raise TransientError(f"{where}: {what} for now ({reply})")
    raise SourceError(f"{where}: {what} ({reply})")


def _reply(code: int, answer: bytes | str, login: Login | None) -> str:
    """Shorten a reply of the server for messages, without the login."""
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    for secret in _forms(login) if login else ():
        text = text.replace(secret, _MASK)
    return f"{code} {excerpt((login.masked(text) if login else text).encode())}"


def _forms(login: Login) -> list[str]:
    """Encode a login in the ways a mail server may repeat it."""
    plain = (f"\0{login.user}\0{login.password}", login.password)
    return [base64.b64encode(text.encode()).decode() for text in plain if text]
