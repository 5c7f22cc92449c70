"""Recognizes texts that are plainly not English, by their script or by common short words of a few languages.

Cautious: names, loan words and single words of other languages count as English.
"""

from __future__ import annotations

import unicodedata
from collections import Counter

SCRIPTS = {
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "BENGALI": "Bengali",
    "TAMIL": "Tamil",
    "THAI": "Thai",
    "HANGUL": "Korean",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "CJK": "Chinese or Japanese",
    "GEORGIAN": "Georgian",
    "ARMENIAN": "Armenian",
}
"""Scripts by the first word of the names of their characters."""
_LISTED = {
    "German": "der die das ein eine einen einem einer eines und oder auf im am mit beim von vom zu zum zur ohne unter "
    "über nach vor aus ist sind wird nicht kein keine ich wir unser unsere mein meine sich den dem des als wie bei",
    "French": "le la les un une des du de et ou au aux sur dans avec sans sous chez pour par est sont qui que nous mon "
    "ma mes notre nos son sa ses ne pas plus en à",
    "Spanish": "el la los las un una unos unas y o en con sin sobre bajo de del al para por es son que mi mis su sus "
    "nuestro nuestra se no muy",
    "Italian": "il lo la gli le un uno una e o di del della dei delle al alla nel nella sul sulla in con senza per da "
    "dal è sono che mio mia nostro nostra si non",
    "Portuguese": "o os as um uma e ou em no na nos nas ao à com sem sobre de do da dos das para por é são que meu "
    "minha nosso nossa se não",
    "Dutch": "de het een en of op in met zonder onder van naar voor aan bij uit is zijn niet geen ik wij ons onze mijn "
    "zich dat die door",
    "Swedish, Danish or Norwegian": "en ett et och og eller eller på i med utan uden uten under av af från fra till "
    "til för for är er som inte ikke min mitt vår vores hos den det",
    "Polish": "i w na z ze bez pod nad do od dla przy jest są nie się mój moja nasz nasza oraz lub po za",
    "Turkish": "bir ve veya ile için üzerinde içinde bu şu o benim bizim değil çok gibi",
    "Indonesian": "di dan atau dengan tanpa untuk dari ke yang ini itu saya kami tidak sedang pada",
}
SMALL_WORDS = {name: frozenset(words.split()) for name, words in _LISTED.items()}
_PLAIN = (
    "und auf beim ohne eine einen einem einer nicht avec dans chez sobre una sulla nella uma não het een zonder och og "
    "på się bir için dengan yang"
)
PLAIN_WORDS = frozenset(_PLAIN.split())
"""Short words that occur in no English text: one of them is enough."""
_ENGLISH = (
    "a an the and or of on in at to with without by from for is are was i we my our as he she it its his her their who "
    "that this not no up down out into over under near while me us you your be been am do does did has have had so if "
    "go one two die son dare plus pas sur min fra er des bring se bin van den men man dat door hos per non mine"
)
ENGLISH = frozenset(_ENGLISH.split())
"""English words, and those that English texts quote."""


def other_language(text: str) -> str:
    """Returns the script or language of most of a text if it is plainly not English; else an empty string."""
    letters = [char for char in text if char.isalpha()]
    scripts = [unicodedata.name(char, "").replace("-", " ").partition(" ")[0] for char in letters]
    foreign = Counter(SCRIPTS[name] for name in scripts if name in SCRIPTS)
    if foreign and 2 * foreign.total() > len(letters):
        return "Japanese" if "Japanese" in foreign else foreign.most_common(1)[0][0]
    words = [word for part in text.casefold().split() if (word := "".join(filter(str.isalpha, part)))]
    small = {name: [word for word in words if word in listed] for name, listed in SMALL_WORDS.items()}
    most = max(map(len, small.values()))
    if most <= sum(word in ENGLISH for word in words):
        return ""
    names = [name for name, found in small.items() if len(found) == most]
    found = small[names[0]]
    has_accents = any(not word.isascii() for word in words if word not in found)
    is_plain = len(set(found)) > 1 or not PLAIN_WORDS.isdisjoint(found) or has_accents
    if not is_plain:
        return ""
    return " or ".join(names) if len(names) < 3 else "another language"
