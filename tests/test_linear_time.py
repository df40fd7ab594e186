"""Every text rule and text function takes time in proportion to its text, whatever the text is.

What is tried is found by looking: the rule gates, the public functions of the rooms that work on text, and
each regular expression of the product, Python's and Spark's. A new one is tried without being named here.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import udfs
import webscale_rl
from udfs.engines.openai import wire
from webscale_rl import answers
from webscale_rl import text as text_room
from webscale_rl.answers.registry import ANSWER_TYPES
from webscale_rl.config.load import defaults
from webscale_rl.errors import ConfigError
from webscale_rl.llm import read_reply, template
from webscale_rl.stages.check import gates
from webscale_rl.stages.check.gates.base import FunctionGate, PairView
from webscale_rl.stages.check.gates.questions import read_question
from webscale_rl.stages.check.gates.rules import GateSettings, rule_gates
from webscale_rl.stages.filter import stage as filter_stage
from webscale_rl.stages.segment import cut as segmentation
from webscale_rl.text import clean, spans
from webscale_rl.text.spans import Span

ROOMS = (text_room, answers, gates, read_reply, segmentation, template)
# What texts were found to be filled with, and what the rules wait for again and again.
UNITS = (
    *("\t", "\n ", "[ ", "(", "{", "'", "1.", "1,", ".", "|", "`", "$", "*", "a"),
    *("A. ", "Ab ", "A.Bc ", "C12", "a, ", "the ", "passage not ", "\u0316\u0301"),
    "In 1990 the town of Ab had 10 miles of road. ",
)
# And those of which there are a million.
RUNS = (" ", "\n", "[", "0", '"')
# What takes no longer than that for so many characters is not quadratic: their square is 40 million steps,
# that of a fifth of a million 40 billion.
CHARACTERS = 6_300
SHORT = 0.008
MILLION = 1_000_000
SHORT_FOR_A_MILLION = 1.0
# Many functions take answers of up to 2,000 characters apart, and compare longer ones as they are: a third of
# the length above must be more.
AS_ANSWER = 1_000

GATES = GateSettings(**defaults()["check"]["rules"])


def bare(unit: str, length: int) -> str:
    return unit * (length // len(unit))


def inside(unit: str, length: int) -> str:
    return f"The Ab passage in 1990 was called {bare(unit, length)}x of 10 km. Is it said to be 5?"


def long_runs(length: int) -> str:
    """Spaces, newlines, brackets, digits and quotes, so many in all."""
    return "".join(bare(unit, length // len(RUNS)) for unit in RUNS)


def pair(text: str, answer_type: str) -> PairView:
    """A pair made of a text, whose parts hang together as far as gates want it."""
    answer = f"in 1990 {text}"
    quotation = f"It is said that the Ab passage was called {answer} of 10 km."
    question = f"What was the Ab of the passage called {text}, or 5?"
    return PairView(question, answer, answer_type, quotation, f"First of all. {quotation}")


# What arguments are made of, by their annotation.
OF_TEXT: dict[str, Callable[[str], Any]] = {
    "str": lambda text: text,
    "str | None": lambda text: text,
    "Any": lambda text: text,
    "Iterable[str]": lambda text: text.split(" "),
    "Question": read_question,
    "PairView": lambda text: pair(text, ANSWER_TYPES.names[0]),
}
OF_NO_TEXT: dict[str, Any] = {
    "GateSettings": GATES,
    "Span": Span("1990", "date", "The passage of 1990.", 15, 19, 1.0, "year"),
    "int": 4,
    "tuple[str, ...]": GATES.text_nouns + GATES.bare_nouns,
    "Budget": segmentation.Budget(200, 20, 4.0),
    "jsonschema.protocols.Validator | None": None,
    "Mapping[str, str]": {},
}


@cache
def modules() -> dict[str, ModuleType]:
    """All modules of the product by name."""
    return {
        info.name: importlib.import_module(info.name)
        for package in (udfs, webscale_rl)
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    }


def source_of(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def wanted(function: Callable[..., Any]) -> dict[str, str]:
    """The arguments without a default and their annotations."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: str(one.annotation) for one in parameters if one.default is one.empty}


@cache
def text_functions() -> dict[str, Callable[..., Any]]:
    """The rule gates, and the public functions of the rooms that take a text."""
    of_gates = {gate.function: gate.name for gate in rule_gates() if isinstance(gate, FunctionGate)}
    found: dict[str, Callable[..., Any]] = {f"gate {name}": function for function, name in of_gates.items()}
    for function in (wire.unfenced, wire.chosen):
        found[function.__name__] = function
    rooms = tuple(room.__name__ for room in ROOMS)
    for name, module in modules().items():
        if name in rooms or name.startswith(tuple(f"{room}." for room in rooms)):
            found |= {
                f"{name}.{one}": function
                for one, function in public_functions(module)
                if takes_text(function) and function not in of_gates
            }
    return found


def public_functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in vars(module).items():
        its_own = getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
        if its_own and inspect.isroutine(value):
            yield name, value


def takes_text(function: Callable[..., Any]) -> bool:
    """Whether it works on a text itself, not on columns, frames or with other functions."""
    taken, given = set(wanted(function).values()), str(inspect.signature(function).return_annotation)
    if any(word in kind for kind in (*taken, given) for word in ("Column", "DataFrame", "Callable", "Gate]")):
        return False
    return not taken.isdisjoint(OF_TEXT)


def arguments(function: Callable[..., Any], text: str, answer_type: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, kind in wanted(function).items():
        if name == "answer_type":
            made[name] = answer_type
        elif kind == "PairView":
            made[name] = pair(text, answer_type)
        elif kind in OF_TEXT:
            # No two arguments are the same, or functions that compare them had nothing to do.
            made[name] = OF_TEXT[kind](text + " Cd." * len(made))
        else:
            assert kind in OF_NO_TEXT, f"say here what {name}: {kind} of {function.__qualname__} is made of"
            made[name] = OF_NO_TEXT[kind]
    return made


def seconds(work: Callable[[], Any]) -> float:
    """What a piece of work costs, in seconds of this thread."""
    started = time.thread_time()
    with contextlib.suppress(ConfigError, wire.RequestError):
        work()
    return time.thread_time() - started


def cost(function: Callable[..., Any], text: str, answer_type: str) -> float:
    """What a function costs with all its texts made of one."""
    made = arguments(function, text, answer_type)
    return seconds(lambda: function(**made))


def count_of_texts(function: Callable[..., Any]) -> int:
    """How many texts its arguments are made of: a pair has four."""
    return sum(4 if kind == "PairView" else kind in OF_TEXT for kind in wanted(function).values())


def assert_linear(name: str, spent: Callable[[int], float], length: int, short: float) -> None:
    """Three times the text takes about three times as long; a quadratic rule takes nine times."""
    more = spent(length)
    if more <= short:
        return
    assert more < 125 * short, f"{name} takes {more:.2f} s for {length} characters"
    for _ in range(3):  # a pause of the machine is not a property of the rule
        once = spent(length // 3)
        if more < 6 * once:
            return
        more = min(more, spent(length))
    pytest.fail(f"{name} takes {once:.4f} s, and for three times as much {more:.4f} s")


def assert_linear_of(name: str, unit: str, spent: Callable[[str], float], shape: Callable[..., str]) -> None:
    assert_linear(f"{name}, {unit!r}", lambda length: spent(shape(unit, length)), CHARACTERS, SHORT)


@pytest.mark.parametrize("name", text_functions())
def test_a_text_function_takes_linear_time(name: str) -> None:
    function = text_functions()[name]
    for number, unit in enumerate(UNITS):
        answer_type = ANSWER_TYPES.names[number % len(ANSWER_TYPES)]
        assert_linear_of(name, unit, partial(cost, function, answer_type=answer_type), inside)

    def spent(length: int) -> float:
        return cost(function, long_runs(length // count_of_texts(function)), "span")

    assert_linear(f"{name}, long runs", spent, MILLION, SHORT_FOR_A_MILLION)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, function in text_functions().items()
        if "answer_type" in wanted(function) or name.startswith("gate ")
    ],
)
def test_nor_does_an_answer_of_the_longest_kind_take_long(name: str) -> None:
    """Rules on answers know how long one may be, and must not take more than its square."""
    for unit in (" ", "(", "0", "1.", "A.Bc ", "C12", "a, ", "the ", "passage not "):
        for answer_type in ANSWER_TYPES.names:
            spent = cost(text_functions()[name], bare(unit, AS_ANSWER), answer_type)
            assert spent < 0.2, f"{name}: {spent:.2f} s for {unit!r} as {answer_type}"


def test_a_document_of_a_million_combining_marks_is_cleaned_and_cut_in_seconds() -> None:
    text = inside("\u0316\u0301", MILLION)
    spent = seconds(lambda: segmentation.passages(clean.normalise_text(text), OF_NO_TEXT["Budget"]))
    assert spent < 5


_METHODS = "match|fullmatch|search|sub|subn|split|findall|finditer"


@cache
def python_patterns() -> dict[tuple[str, int], set[str]]:
    """Every regular expression that Python code of the product names: with its flags, and how it is asked.

    Those that are made inside a function, from its arguments, are tried with the functions.
    """
    found: dict[tuple[str, int], set[str]] = {}
    for module in modules().values():
        source = source_of(module)
        for name, value in vars(module).items():
            for pattern in patterns_in(value):
                methods = set(re.findall(rf"\b{name}\b(?:\[[^\]]*\])?\.({_METHODS})\(", source))
                found.setdefault((pattern.pattern, pattern.flags), set()).update(methods or {"search"})
        for call in calls(source):
            if ast.unparse(call.func.value) != "re" or not re.fullmatch(_METHODS, call.func.attr):
                continue
            written, flags = evaluated(module, call, 0), evaluated_flags(module, call)
            if isinstance(written, str):
                known = found.setdefault((written, re.compile(written, flags).flags), set())
                known.add(call.func.attr)
    return found


def patterns_in(value: Any, depth: int = 0) -> Iterator[re.Pattern[str]]:
    """The compiled patterns in a value of a module, and in what it holds."""
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif depth < 3 and not isinstance(value, type):
        inner = list(value.values()) if isinstance(value, dict) else value
        inner = list(vars(value).values()) if hasattr(value, "__dataclass_fields__") else inner
        if isinstance(inner, list | tuple):
            for one in inner:
                yield from patterns_in(one, depth + 1)


def calls(source: str) -> Iterator[Any]:
    """The calls of methods and of functions of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node


def evaluated(module: ModuleType, call: ast.Call, place: int) -> Any:
    """An argument of a call, where it is made of what the module holds; else None."""
    if len(call.args) <= place:
        return None
    argument = call.args[place]
    if isinstance(argument, ast.Call) and ast.unparse(argument.func) == "F.lit":
        argument = argument.args[0]
    with contextlib.suppress(NameError):
        return eval(compile(ast.Expression(argument), "", "eval"), dict(vars(module)))
    return None


def evaluated_flags(module: ModuleType, call: ast.Call) -> int:
    for keyword in call.keywords:
        if keyword.arg == "flags":
            return int(eval(compile(ast.Expression(keyword.value), "", "eval"), dict(vars(module))))
    return 0


def test_no_regular_expression_takes_more_than_linear_time() -> None:
    assert len(python_patterns()) > 100
    # Asked of sentences of at most 60 words.
    of_sentences = {pattern.pattern for pattern in patterns_in(spans._RULES)}
    for (written, flags), methods in python_patterns().items():
        if written in of_sentences:
            continue
        pattern = re.compile(written, flags)
        from_start = methods <= {"match", "fullmatch"}
        tries = [getattr(pattern, method) for method in methods] if from_start else [pattern.findall]

        def spent(text: str, tries: list[Callable[[str], Any]] = tries) -> float:
            return sum(seconds(partial(one, text)) for one in tries)

        for unit in UNITS:
            for shape in (bare, inside):
                assert_linear_of(written, unit, spent, shape)
        # The functions that ask them get the million.
        for filling in [partial(bare, unit) for unit in RUNS] if from_start else [long_runs]:
            assert_linear(written, lambda length, of=spent, f=filling: of(f(length)), MILLION // 10, 0.1)


# The columns of Spark that take a regular expression, and the place of it among their arguments.
_SPARK = {
    "regexp_replace": 1,
    "regexp_extract": 1,
    "regexp_extract_all": 1,
    "regexp_count": 1,
    "regexp_like": 1,
    "regexp_substr": 1,
    "rlike": 0,
}


def spark_patterns() -> set[str]:
    """Every regular expression that the product's columns name, as far as it is no setting's."""
    found = {filter_stage._any_phrase(defaults()["filter"]["boilerplate_phrases"])}
    for module in modules().values():
        for call in calls(source_of(module)):
            place = _SPARK.get(call.func.attr)
            if call.func.attr == "split" and ast.unparse(call.func.value) == "F":
                place = 1
            written = None if place is None else evaluated(module, call, place)
            if isinstance(written, str):
                found.add(written)
    return found


def test_nor_does_one_of_a_column(spark: SparkSession) -> None:
    """Java's expressions go back over the text on their own, and may fill its stack as well."""
    patterns = sorted(spark_patterns())
    assert len(patterns) > 10
    rows = [(long_runs(MILLION),), *((inside(unit, MILLION // 20),) for unit in UNITS)]
    started = time.monotonic()
    counts = [F.sum(F.regexp_count("text", F.lit(pattern))) for pattern in patterns]
    spark.createDataFrame(rows, "text string").agg(*counts).collect()
    # A quadratic one takes that long for each of the rows.
    assert time.monotonic() - started < 60
