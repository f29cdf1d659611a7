"""Pictures and documents in a message: the form of their sources. Nothing is fetched here."""

import binascii
from collections.abc import Mapping
from typing import Any

from gateway.chat import Media, Part
from gateway.dialects.anthropic import fields
from gateway.dialects.anthropic.fields import refusal, shown
from kernel.addresses import is_public_url

IMAGE_TYPE = fields.one_of("image/jpeg", "image/png", "image/gif", "image/webp")
PDF_TYPE = fields.one_of("application/pdf")
TEXT_TYPE = fields.one_of("text/plain")


def parse_image(block: Mapping[str, Any], path: str) -> Media:
    """Check an ``image`` block.

    Raises:
        BadRequestError: another source or media type, a private address, bad base64.

    """
    source = fields.required(block, "source", path, fields.mapping)
    path = f"{path}.source"
    match fields.required(source, "type", path, fields.string):
        case "base64":
            return Media("image", _data_url(source, path, IMAGE_TYPE), path=path)
        case "url":
            url = _public_url(source, path)
            return Media("image", url, path=path, url_path=f"{path}.url")
        case kind:
            raise _wrong_source(path, kind, "'base64', 'url'")


def parse_document(block: Mapping[str, Any], path: str) -> tuple[Part, ...]:
    """Check a ``document`` block; a PDF stays one, anything else is the parts it is made of.

    Raises:
        BadRequestError: another source or media type, a private address, bad base64.

    """
    title = fields.optional(block, "title", path, fields.string) or ""
    context = fields.optional(block, "context", path, fields.string) or ""
    fields.optional(block, "citations", path, fields.mapping)
    source = fields.required(block, "source", path, fields.mapping)
    path = f"{path}.source"
    about = tuple(text for text in (title, context) if text)
    match fields.required(source, "type", path, fields.string):
        case "base64":
            pdf = Media("document", _data_url(source, path, PDF_TYPE), name=title, path=path)
            return (context, pdf) if context else (pdf,)
        case "url":
            url = _public_url(source, path)
            pdf = Media("document", url, name=title, path=path, url_path=f"{path}.url")
            return (context, pdf) if context else (pdf,)
        case "text":
            fields.required(source, "media_type", path, TEXT_TYPE)
            return (*about, fields.required(source, "data", path, fields.string))
        case "content":
            return (*about, *_parse_content(source, path))
        case kind:
            raise _wrong_source(path, kind, "'base64', 'text', 'url', 'content'")


def _parse_content(source: Mapping[str, Any], path: str) -> tuple[Part, ...]:
    content = fields.required(source, "content", path, fields.any_value)
    if type(content) is str:
        return (content,)
    path = f"{path}.content"
    fields.array(path, content)
    parts: list[Part] = []
    for place, block in enumerate(content):
        where = f"{path}.{place}"
        fields.mapping(where, block)
        match fields.required(block, "type", where, fields.string):
            case "text":
                parts.append(fields.required(block, "text", where, fields.string))
            case "image":
                parts.append(parse_image(block, where))
            case kind:
                raise refusal(f"{where}.type", f"Input tag '{shown(kind)}' is no 'text' or 'image'")
    return tuple(parts)


def _data_url(source: Mapping[str, Any], path: str, media_type: fields.Check) -> str:
    kind = fields.required(source, "media_type", path, media_type)
    text = fields.required(source, "data", path, fields.string)
    try:
        is_good = bool(binascii.a2b_base64(text, strict_mode=True))
    except ValueError:
        is_good = False
    if not is_good:
        raise refusal(f"{path}.data", "Invalid base64 data")
    return f"data:{kind};base64,{text}"


def _public_url(source: Mapping[str, Any], path: str) -> str:
    url: str = fields.required(source, "url", path, fields.string)
    if not is_public_url(url):
        raise refusal(f"{path}.url", "Input should be a publicly accessible http(s) address")
    return url


def _wrong_source(path: str, kind: str, expected: str) -> Exception:
    if kind == "file":
        return refusal(f"{path}.type", "Files by their id are not supported by this server")
    return refusal(f"{path}.type", f"Input tag '{shown(kind)}' is none of {expected}")
