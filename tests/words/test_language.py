"""Telling English from other languages."""

from __future__ import annotations

import pytest

from vidfind.words.language import other_language

ENGLISH = """dog on a beach
die hard
la la land
el capitan
le mans race
o christmas tree
Las Vegas at night
my son in a red car
no man is an island
plus size dress
Den Haag market
a van on the road
grandma's 6" cake
Rio de Janeiro
C\u00f4te d'Azur
joie de vivre
los angeles
drone over el capitan at sunset
playa del carmen
Santiago de Compostela
trip to la paz
a la carte dinner
tour de france
i am at home
Leonardo da Vinci
pan di spagna
-5 degrees
...""".splitlines()
OTHERS = {
    "German": ["ein hund am strand", "der hund l\u00e4uft im park", "Kinder mit dem Fahrrad", "Kuchen ohne Kerzen"],
    "French": ["un chien sur la plage", "le chat dort sur le lit", "enfants qui jouent dans la neige"],
    "French or Spanish": ["perro en la playa"],
    "Spanish": ["un perro en el mar"],
    "another language": ["ni\u00f1os abriendo regalos en navidad"],
    "Italian": ["il cane sulla spiaggia"],
    "Portuguese": ["um cachorro na praia"],
    "Dutch": ["een hond op het strand"],
    "Swedish, Danish or Norwegian": ["en hund p\u00e5 stranden"],
    "Turkish": ["plajda bir k\u00f6pek"],
    "Cyrillic": ["\u0441\u043e\u0431\u0430\u043a\u0430 \u043d\u0430 \u043f\u043b\u044f\u0436\u0435"],
    "Chinese or Japanese": ["\u6d77\u6ee9\u4e0a\u7684\u72d7"],
    "Japanese": ["\u30d3\u30fc\u30c1\u306e\u72ac"],
    "Korean": ["\ud574\ubcc0\uc758 \uac1c"],
    "Arabic": ["\u0643\u0644\u0628 \u0639\u0644\u0649 \u0627\u0644\u0634\u0627\u0637\u0626"],
    "Greek": ["\u03c3\u03ba\u03cd\u03bb\u03bf\u03c2"],
}


@pytest.mark.parametrize("text", ENGLISH)
def test_english_and_names_in_it_count_as_english(text: str) -> None:
    assert other_language(text) == ""


@pytest.mark.parametrize(("language", "texts"), OTHERS.items(), ids=list(OTHERS))
def test_other_scripts_and_languages_are_named(language: str, texts: list[str]) -> None:
    assert [other_language(text) for text in texts] == [language] * len(texts)
