"""Units of measurement: their spellings, and how those of one dimension convert."""

from __future__ import annotations

from decimal import Decimal

#: canonical name -> (dimension, factor to the dimension's base, spellings besides name and plural).
#: A dimension of its own (no conversion) where only equal units may be compared.
_TABLE: dict[str, tuple[str, str, str]] = {
    "nanometre": ("length", "0.000000001", "nanometer nm"),
    "micrometre": ("length", "0.000001", "micrometer micron µm μm"),
    "millimetre": ("length", "0.001", "millimeter mm"),
    "centimetre": ("length", "0.01", "centimeter cm"),
    "metre": ("length", "1", "meter m"),
    "kilometre": ("length", "1000", "kilometer km"),
    "inch": ("length", "0.0254", "inches"),
    "foot": ("length", "0.3048", "feet ft"),
    "yard": ("length", "0.9144", "yd"),
    "mile": ("length", "1609.344", "mi"),
    "microgram": ("mass", "0.000001", "microgramme µg μg mcg"),
    "milligram": ("mass", "0.001", "milligramme mg"),
    "gram": ("mass", "1", "gramme g"),
    "kilogram": ("mass", "1000", "kilogramme kilo kg"),
    "tonne": ("mass", "1000000", "t"),
    "ton": ("ton", "1", ""),
    "ounce": ("mass", "28.349523125", "oz"),
    # Weight and money share a spelling; both sides answer the same question.
    "pound": ("pound", "1", "lb lbs gbp £"),
    "millisecond": ("time", "0.001", "ms msec"),
    "second": ("time", "1", "sec secs s"),
    "minute": ("time", "60", "min mins"),
    "hour": ("time", "3600", "hr hrs h"),
    "day": ("time", "86400", ""),
    "week": ("time", "604800", ""),
    "month": ("months", "1", ""),
    "year": ("months", "12", "yr yrs"),
    "decade": ("months", "120", ""),
    "century": ("months", "1200", "centuries"),
    "millilitre": ("volume", "0.001", "milliliter ml"),
    "centilitre": ("volume", "0.01", "centiliter cl"),
    "litre": ("volume", "1", "liter l"),
    "gallon": ("gallon", "1", ""),
    "hectare": ("area", "10000", "ha"),
    "acre": ("acre", "1", ""),
    "percent": ("ratio", "0.01", "% pct percentage"),
    "celsius": ("celsius", "1", "centigrade °c"),
    "fahrenheit": ("fahrenheit", "1", "°f"),
    "kelvin": ("kelvin", "1", ""),
    "degree": ("degree", "1", "°"),
    "hertz": ("frequency", "1", "hz"),
    "kilohertz": ("frequency", "1000", "khz"),
    "megahertz": ("frequency", "1000000", "mhz"),
    "gigahertz": ("frequency", "1000000000", "ghz"),
    "watt": ("power", "1", "w"),
    "kilowatt": ("power", "1000", "kw"),
    "megawatt": ("power", "1000000", "mw"),
    "gigawatt": ("power", "1000000000", "gw"),
    "volt": ("volt", "1", "v"),
    "kilobyte": ("data", "1000", "kb"),
    "megabyte": ("data", "1000000", "mb"),
    "gigabyte": ("data", "1000000000", "gb"),
    "terabyte": ("data", "1000000000000", "tb"),
    "byte": ("data", "1", ""),
    "dollar": ("dollar", "1", "usd $"),
    "cent": ("cent", "1", "¢"),
    "euro": ("euro", "1", "eur €"),
    "yen": ("yen", "1", "jpy ¥"),
    "rupee": ("rupee", "1", "inr ₹"),
}

UNITS: dict[str, tuple[str, Decimal]] = {
    name: (dimension, Decimal(factor)) for name, (dimension, factor, _) in _TABLE.items()
}

UNIT_SPELLINGS: dict[str, str] = {}
for _name, (_, _, _others) in _TABLE.items():
    for _spelling in (_name, *_others.split()):
        UNIT_SPELLINGS[_spelling] = _name
        if len(_spelling) > 3 or _spelling == "day":
            UNIT_SPELLINGS[_spelling + "s"] = _name
UNIT_SPELLINGS["tons"] = "ton"

#: Spellings that mean a unit only right behind a number ("5 m", but not "m" or "in" elsewhere).
_LONG_ENOUGH = frozenset({"day", "ton", "yen", "%", "usd", "eur", "gbp"})
SHORT_UNITS = frozenset(s for s in UNIT_SPELLINGS if len(s) <= 3 and s not in _LONG_ENOUGH) | {
    "second",
    "seconds",
    "degree",
    "degrees",
}

CURRENCY_SIGNS = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee"}
