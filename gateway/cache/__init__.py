"""Answers kept for a while, for callers who ask for that; a hit is an upstream like any other.

1. ``asked.py`` reads the wish, names the answer of this very request, and looks for it.
2. A miss is recorded on its way from the provider (``tapes.py``), and stored before its last bytes
   leave, if it was whole.
3. A hit plays what the provider said, through the same door, hold, meter and settlement.
4. ``store.py`` seals entries and keeps them in Redis. Whatever goes wrong there is a miss.
"""
