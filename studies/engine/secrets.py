"""Masking of credentials in URLs, wherever text leaves the process.

A tracking or storage URL may hold a password. Everything that is logged, printed, tagged or
written into a report passes through `mask` first.
"""

import re

HIDDEN = "***"

# The look-behind lets a scheme start only where a word starts, so that scanning stays linear.
_SCHEME = r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]*://"
# A user name may itself hold "@" (as in name@server); the password ends at the last "@" before
# the path.
_USER = r"[^\s\"<>/?#:]*"
_PASSWORD = re.compile(rf"({_SCHEME}{_USER}:)[^\s\"<>/?#]*@")
# Database drivers also accept an unencoded "/", "?" or "#" in a password. In a web address the
# same shape is a port, with an "@" further down the path.
_LOOSE_PASSWORD = re.compile(
    rf"({_SCHEME}(?<!http://)(?<!https://){_USER}:)(?:(?!://)[^\s\"<>@])*@"
    rf"|({_SCHEME}{_USER}:)(?!\d*[/?#])(?:(?!://)[^\s\"<>@])*@",
    re.IGNORECASE,
)
# A web address with a user alone: as a rule an access token.
_TOKEN = re.compile(r"(?<![A-Za-z0-9.\-])((?:git\+)?https?://)[^\s\"<>/?#:@]+@", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&;][\w.\-]*(?:password|passwd|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key"
    r"|credential|signature)[\w.\-]*=)[^&;#\s\"'<>)]+",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """Return `text` with every credential inside a URL replaced by `***`.

    Hidden are the password of `scheme://user:password@host` for any scheme and any number of
    URLs in the text (the user stays visible), a lone user of a web address
    (`https://token@host`), and the values of query parameters whose name speaks of a password,
    secret, token, key or signature (`?password=...&api_key=...`). Text without such a URL comes
    back unchanged, and masking twice equals masking once. A URL ends at white space, a double
    quote or an angle bracket, so a password must not hold these unencoded.

    Args:
        text: Any text: one URL, a message, a document.

    Returns:
        The masked text.

    Source: the URL syntax of RFC 3986 section 3.2; otherwise derived.
    """
    if "://" in text:
        text = _PASSWORD.sub(rf"\1{HIDDEN}@", text)
        text = _LOOSE_PASSWORD.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}@", text)
        text = _TOKEN.sub(rf"\1{HIDDEN}@", text)
    if "=" in text:
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
    return text
