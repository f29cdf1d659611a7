"""The most tokens a provider may count for what is no text: a hold covers its figures. Pure.

Our own count of a picture or a film (``tokenizer.py``) is a convention, exact for the simulator.
Providers measure by rules of their own, which change with their models, and charge us by them:

- a picture: 4,784, what Anthropic's sharpest models take; OpenAI's tiles (1,445) and patches
  (3,779) and Gemini's crops (4,128) stay below. A model that counts more says so in the catalogue
  (``picture_tokens``): gpt-4o-mini multiplies its tiles to 48,169. At detail ``original`` nothing
  is scaled down: 12,000;
- a recording: 32 a second (Gemini; OpenAI counts 10), and no codec in use spends less on a second
  than 1,000 characters of base64;
- a film, a document: as much as the model's context holds. Neither seconds nor pages can be seen
  from here, and a page may take a few bytes or thousands of tokens.

All of it is bounded by the context: what is larger no provider reads.
"""

from gateway.chat import ChatRequest, Media
from gateway.tokenizer import media_tokens

PICTURE_TOKENS = 4_784
ORIGINAL_PICTURE_TOKENS = 12_000
AUDIO_CHARACTERS_PER_TOKEN = 30


def uncounted_media_tokens(
    request: ChatRequest, *, context_tokens: int, picture_tokens: int, counted: int
) -> int:
    """Return how many tokens a provider may count beyond our own ``counted`` bound of a prompt."""
    beyond = sum(
        max(0, _most_of(media, context_tokens, picture_tokens) - media_tokens(media))
        for media in request.media
    )
    return min(beyond, max(0, context_tokens - counted))


def _most_of(media: Media, context_tokens: int, picture_tokens: int) -> int:
    match media.kind:
        case "video" | "document":
            return context_tokens
        case "audio":
            return len(media.url) // AUDIO_CHARACTERS_PER_TOKEN + 1
        case _ if media.detail == "original":
            return max(picture_tokens, ORIGINAL_PICTURE_TOKENS)
        case _:
            return picture_tokens
