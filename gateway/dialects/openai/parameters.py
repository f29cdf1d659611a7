"""The table of parameters: every field that can be checked by itself. Others are not looked at."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import Check, refusal, shown, unsupported
from gateway.dialects.schemas import BOOLEAN, array_of, nullable, object_of, schema_of, takes, word

MOST_STOPS = 4
MOST_CHOICES = 128
MOST_METADATA = 16
MOST_TOP_LOGPROBS = 20
_TOKEN_LIMIT = fields.integer(1, 2**63 - 1)
_PENALTY = fields.decimal(-2, 2)
_BIAS = fields.decimal(-100, 100)
_METADATA_KEY = fields.limited_string(64)
_METADATA_VALUE = fields.limited_string(512)
_STOP_TEXT = {"type": "string", "minLength": 1}


def check_parameters(wire: Mapping[str, Any]) -> None:
    """Check the fields that are given, in the order they are given; unknown ones are ignored.

    Raises:
        BadRequestError: for the first that is wrong.

    """
    for name, value in wire.items():
        if value is not None:
            check = PARAMETERS.get(name)
            if check is not None:
                check(name, value)


@takes({"anyOf": [_STOP_TEXT, array_of(_STOP_TEXT, most=MOST_STOPS)]})
def _check_stop(param: str, value: Any) -> None:
    if type(value) is str:
        _check_stop_text(param, value)
        return
    if type(value) is not list:
        raise fields.wrong_type(param, "a string or an array of strings", value)
    fields.at_most(param, value, MOST_STOPS)
    for place, text in enumerate(value):
        _check_stop_text(f"{param}[{place}]", text)


def _check_stop_text(param: str, text: Any) -> None:
    fields.string(param, text)
    if not text:
        raise refusal(param, f"Invalid '{param}': an empty string would stop at once.")


@takes(
    object_of({}, {"include_usage": nullable(BOOLEAN), "include_obfuscation": nullable(BOOLEAN)})
)
def _check_stream_options(param: str, value: Any) -> None:
    fields.mapping(param, value)
    for name in ("include_usage", "include_obfuscation"):
        fields.optional(value, name, param, fields.boolean)


@takes({"type": "object", "additionalProperties": schema_of(_BIAS)})
def _check_logit_bias(param: str, value: Any) -> None:
    fields.mapping(param, value)
    for token, bias in value.items():
        _BIAS(f"{param}.{shown(token)}", bias)


@takes(
    {
        "type": "object",
        "maxProperties": MOST_METADATA,
        "propertyNames": schema_of(_METADATA_KEY),
        "additionalProperties": schema_of(_METADATA_VALUE),
    }
)
def check_metadata(param: str, value: Any) -> None:
    """Check pairs of short texts."""
    fields.mapping(param, value)
    if len(value) > MOST_METADATA:
        raise refusal(param, f"Invalid '{param}': at most {MOST_METADATA} pairs are kept.")
    for key, text in value.items():
        _METADATA_KEY(param, key)
        _METADATA_VALUE(f"{param}.{key}", text)


@takes(array_of(word("text")))
def _check_modalities(param: str, value: Any) -> None:
    fields.array(param, value)
    for place, modality in enumerate(value):
        where = f"{param}[{place}]"
        fields.string(where, modality)
        if modality != "text":
            raise unsupported(param, f"The modality '{shown(modality)}'")


@takes(object_of({"type": word("content")}, {}))
def _check_prediction(param: str, value: Any) -> None:
    fields.mapping(param, value)
    fields.required(value, "type", param, fields.one_of("content"))


PARAMETERS: Mapping[str, Check] = MappingProxyType(
    {
        "temperature": fields.decimal(0, 2),
        "top_p": fields.decimal(0, 1),
        "top_k": fields.integer(-1, 2**63 - 1),
        "max_tokens": _TOKEN_LIMIT,
        "max_completion_tokens": _TOKEN_LIMIT,
        "stream": fields.boolean,
        "stream_options": _check_stream_options,
        "stop": _check_stop,
        "presence_penalty": _PENALTY,
        "frequency_penalty": _PENALTY,
        "n": fields.integer(1, MOST_CHOICES),
        "seed": fields.integer(-(2**63), 2**63 - 1),
        "parallel_tool_calls": fields.boolean,
        "logprobs": fields.boolean,
        "top_logprobs": fields.integer(0, MOST_TOP_LOGPROBS),
        "logit_bias": _check_logit_bias,
        "metadata": check_metadata,
        "user": fields.string,
        "safety_identifier": fields.string,
        "prompt_cache_key": fields.string,
        "prompt_cache_options": fields.mapping,
        "prompt_cache_retention": fields.string,
        "service_tier": fields.string,
        "store": fields.boolean,
        "reasoning_effort": fields.one_of(
            "none", "minimal", "low", "medium", "high", "xhigh", "max"
        ),
        "verbosity": fields.one_of("low", "medium", "high"),
        "prediction": _check_prediction,
        "modalities": _check_modalities,
        "moderation": fields.mapping,
        "web_search_options": fields.mapping,
    }
)
