"""Pictures, films, sound and PDFs in a message: the form of them. Nothing is fetched here."""

import binascii
import re
from collections.abc import Mapping
from typing import Any

from gateway.chat import Media
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import refusal, unsupported
from kernel.addresses import is_public_url

_IMAGE_DATA = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,", re.IGNORECASE)
_VIDEO_DATA = re.compile(r"data:video/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_PDF_DATA = re.compile(r"data:application/pdf;base64,", re.IGNORECASE)
AUDIO_FORMAT = fields.one_of("wav", "mp3")
DETAIL = fields.one_of("auto", "low", "high", "original")


def parse_image(part: Mapping[str, Any], path: str) -> Media:
    """Check an ``image_url`` part.

    Raises:
        BadRequestError: another scheme or media type, a private address, bad base64.

    """
    image = fields.required(part, "image_url", path, fields.mapping)
    path = f"{path}.image_url"
    url = fields.required(image, "url", path, fields.string)
    check_image_url(url, f"{path}.url")
    detail = fields.optional(image, "detail", path, DETAIL) or "auto"
    return Media("image", url, detail, path=path, url_path=f"{path}.url")


def check_image_url(url: str, param: str) -> None:
    """Check the address of a picture; raises what ``parse_image`` raises."""
    _check_url(url, param, _IMAGE_DATA, "image of type png, jpeg, gif or webp")


def parse_video(part: Mapping[str, Any], path: str) -> Media:
    """Check a ``video_url`` part; the same rules as for a picture."""
    video = fields.required(part, "video_url", path, fields.mapping)
    path = f"{path}.video_url"
    url = fields.required(video, "url", path, fields.string)
    _check_url(url, f"{path}.url", _VIDEO_DATA, "video")
    return Media("video", url, path=path, url_path=f"{path}.url")


def parse_audio(part: Mapping[str, Any], path: str) -> Media:
    """Check an ``input_audio`` part: base64 in the request itself, and its format beside it."""
    audio = fields.required(part, "input_audio", path, fields.mapping)
    path = f"{path}.input_audio"
    text = fields.required(audio, "data", path, fields.string)
    form = fields.required(audio, "format", path, AUDIO_FORMAT)
    _check_base64(text, f"{path}.data")
    return Media("audio", f"data:audio/{form};base64,{text}", path=path)


def parse_file(part: Mapping[str, Any], path: str) -> Media:
    """Check a ``file`` part: a PDF in the request itself, since nothing is stored here."""
    file = fields.required(part, "file", path, fields.mapping)
    path = f"{path}.file"
    if file.get("file_data") is None and file.get("file_id") is not None:
        raise unsupported(f"{path}.file_id", "A file by its id")
    url = fields.required(file, "file_data", path, fields.string)
    name = fields.optional(file, "filename", path, fields.string) or ""
    check_pdf(url, f"{path}.file_data")
    return Media("document", url, name=name, path=path)


def check_pdf(url: str, param: str) -> None:
    """Check a PDF's data URL.

    Raises:
        BadRequestError: for anything else.

    """
    start = _PDF_DATA.match(url)
    if start is None:
        raise unsupported(param, "A file that is no base64-encoded PDF data URL")
    _check_base64(url[start.end() :], param)


def _check_url(url: str, param: str, data_url: re.Pattern[str], what: str) -> None:
    if url[:5].lower() == "data:":
        start = data_url.match(url)
        if start is None:
            raise refusal(
                param, f"Invalid data URL: expected a base64-encoded {what}.", "invalid_image_url"
            )
        _check_base64(url[start.end() :], param)
    elif not is_public_url(url):
        raise refusal(
            param,
            "Invalid URL: expected a publicly accessible http(s) address or a data URL.",
            "invalid_image_url",
        )


def _check_base64(text: str, param: str) -> None:
    try:
        is_good = bool(binascii.a2b_base64(text, strict_mode=True))
    except ValueError:
        is_good = False
    if not is_good:
        raise refusal(param, "Invalid base64 data.", "invalid_base64")
