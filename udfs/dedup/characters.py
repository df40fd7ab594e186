"""Which characters are words, and which stand for themselves: the tokens of the near-duplicate kernels.

A token is a run of letters, digits and combining marks, in lower case; everything else separates. In scripts
that are written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) every character is a token, so
a shingle of n tokens is a word n-gram in English and a character n-gram in Chinese. The choice is made by the
script of each character, not once a document: two copies of a text of mixed scripts cannot fall on different
sides of a threshold.
"""

from __future__ import annotations

import functools
import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from webscale_rl.text.language import UNSPACED_SCRIPTS

# Code points from here on are not looked up: planes 2 and 3 are ideographs, the rest separates.
TABLE_SIZE = 0x20000
IDEOGRAPHS_END = 0x40000

_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")


@functools.cache
def character_table() -> NDArray[np.int32]:
    """What each code point below `TABLE_SIZE` is.

    Returns:
        Per code point: 0 for a separator, its lower case for a character of a word, and minus itself for a
        character that is a token of its own.
    """
    table = np.zeros(TABLE_SIZE, dtype=np.int32)
    for code in range(TABLE_SIZE):
        character = chr(code)
        if character.isalnum() or unicodedata.category(character)[0] == "M":
            lower = character.lower()
            # A lower case of two characters (one code point has it) would not fit into a table.
            table[code] = ord(lower) if len(lower) == 1 else code
            if _UNSPACED.match(character):
                table[code] = -code
    return table


def unicode_version() -> str:
    """The Unicode version that decides what a letter is; part of an index's identity."""
    return unicodedata.unidata_version
