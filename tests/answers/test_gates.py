"""The rule gates: each with pairs that it must let pass and pairs that it must stop."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.answers.registry import ANSWER_TYPES
from webscale_rl.errors import ConfigError
from webscale_rl.stages.check.gates.registry import GATES
from webscale_rl.stages.check.gates.rules import (
    GateSettings,
    PairView,
    evaluate,
    rule_gates,
    same_question,
)

SETTINGS = GateSettings(
    question_min_words=3,
    question_max_words=60,
    answer_min_words=1,
    answer_max_words=30,
    leak_share=0.6,
    support_share=0.7,
    quotation_min_words=3,
    novel_words_allowed=1,
    novel_names_allowed=0,
    shared_words_min=2,
    repeated_ngram_words=3,
    copied_similarity=0.9,
    text_nouns=("passage", "text", "article", "author", "document", "context"),
    bare_nouns=("study", "company", "article", "report", "school", "device", "researchers"),
)

VIADUCT = (
    "The Millau Viaduct crosses the valley of the Tarn in southern France. It was designed by "
    "Norman Foster and Michel Virlogeux and opened in December 2004. Its tallest mast stands 343 "
    "metres above the valley floor."
)
MAST = PairView(
    question="How high above the valley floor is the tallest mast of the Millau Viaduct?",
    answer="343 metres",
    answer_type="number",
    quotation="Its tallest mast stands 343 metres above the valley floor.",
    passage=VIADUCT,
    title="Millau Viaduct",
)

CHECK = SimpleNamespace(rules=SETTINGS)


def asked(question: str, passage: str = VIADUCT, **fields: str) -> PairView:
    return replace(MAST, question=question, passage=passage, **fields)


def reason(gate: str, pair: PairView, settings: GateSettings = SETTINGS) -> str | None:
    return GATES.get(gate).judge(pair, settings)


def test_a_good_pair_passes_every_gate() -> None:
    assert set(evaluate(MAST, rule_gates(), CHECK).values()) == {None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"question": "Name the river below the Millau Viaduct."}, None),
        ({"question": "ミヨー橋の高さはどれくらいですか？"}, None),
        ({"question": "How high?"}, "question_too_short"),
        ({"question": "How high " + "very " * 60 + "is it?"}, "question_too_long"),
        ({"question": "The mast of the viaduct is high."}, "not_a_question"),
        ({"question": "The mast is: A) red B) blue", "answer_type": "multiple_choice"}, None),
        ({"answer": "..."}, "answer_too_short"),
        ({"answer": "=", "answer_type": "formula"}, None),
        ({"answer": "metres " * 31}, "answer_too_long"),
    ],
)
def test_lengths(changes: dict[str, str], expected: str | None) -> None:
    assert reason("lengths", replace(MAST, **changes)) == expected


@pytest.mark.parametrize(
    ("question", "answer", "answer_type", "leaks"),
    [
        ("Who designed the Millau Viaduct?", "Norman Foster and Michel Virlogeux", "name", False),
        ("How many gears did the mechanism have?", "30 gears", "number", False),
        ("What distance does one second of waggling stand for?", "one kilometre", "number", False),
        ("At which hospital did Semmelweis work?", "Vienna General Hospital", "name", False),
        ("Who founded Lindholm College?", "Per Lindholm", "name", False),
        ("Is the viaduct high, yes or no?", "yes", "yes_no", False),
        ("Which is it, A) Tarn or B) Rhone?", "A) Tarn", "multiple_choice", False),
        ("With what do the names of test files end?", "_test.go", "span", False),
        ("Why is E = mc^2 famous?", "F = ma", "formula", False),
        ("Who is the architect Norman Foster?", "Norman Foster", "name", True),
        ("How high is the mast that is 343 metres high?", "343 metres", "number", True),
        ("When did the viaduct open in December 2004?", "December 2004", "date", True),
        ("Why do electrolytes that break down age?", "the electrolyte breaks down", "span", True),
        ("What does E = mc² mean?", "E = m*c^2", "formula", True),
        ("Which colours are red, green and blue?", "red, green and blue", "list", True),
        ("What does the flag -race do?", "-race", "span", True),
    ],
)
def test_answer_leak(question: str, answer: str, answer_type: str, leaks: bool) -> None:
    pair = asked(question, answer=answer, answer_type=answer_type)
    assert reason("answer_leak", pair) == ("answer_leak" if leaks else None)


@pytest.mark.parametrize(
    "question",
    [
        "According to the passage, how high is the mast?",
        "What does the text say about the Millau Viaduct?",
        "What is the main idea of this article?",
        "What does the author say about bridges?",
        "What is the author's opinion of the viaduct?",
        "Which architect is mentioned above?",
        "Which rivers are mentioned?",
        "Who is described in the given passage?",
        "Based on the context, when did the viaduct open?",
        "According to the report, how high is the mast?",
        "What do the aforementioned architects have in common?",
    ],
)
def test_questions_that_speak_of_their_text(question: str) -> None:
    assert reason("passage_reference", asked(question)) == "passage_reference"


@pytest.mark.parametrize(
    "question",
    [
        "In how many scripts is the text of the Rosetta Stone written?",
        "Who is the author of Liber Abaci?",
        "Which prize did the author Jane Austen win?",
        "According to the World Health Organization, what is a cluster?",
        "According to the theory of Alfred Wegener, what moves?",
        "Which of the following is a river?",
        "In what year was the Mobius strip described?",
        "What did a contextual analysis of Linear B show?",
    ],
)
def test_questions_that_only_use_such_words(question: str) -> None:
    assert reason("passage_reference", asked(question)) is None


def test_a_compound_of_the_passage_is_no_reference() -> None:
    passage = "Neil Papworth sent the first text message in 1992."
    question = "When was the text message invented?"
    assert reason("passage_reference", asked(question, passage)) is None
    assert reason("passage_reference", asked(question, VIADUCT)) == "passage_reference"


@pytest.mark.parametrize(
    "question",
    [
        "When did it open?",
        "Who designed it in 1993?",
        "What did he call this?",
        "How long did he stay there?",
        "To which college did she move?",
        "Who ran it at Stanford University?",
        "How much was its profit in 2022?",
        "What was he building when he invented it?",
        "Who first used the letter for it?",
        "What did the study find?",
        "How many people does the company employ?",
        "What did the researchers discover in 1969?",
        "How large was this effect?",
        "Which of these methods is older?",
        "What happened in that year?",
        "What did the latter discover?",
        "What is the aim of our study?",
        "What did I find in the garden?",
        "How long is the tunnel?",
        "What is its default timeout now?",
    ],
)
def test_questions_that_dangle(question: str) -> None:
    assert reason("dangling_reference", asked(question)) == "dangling_reference"


@pytest.mark.parametrize(
    "question",
    [
        "When did the Millau Viaduct open?",
        "Why did Zimbabwe use another currency after it gave up its own?",
        "What was Lev Termen building when he invented the theremin?",
        "How long does it take to cross the valley?",
        "Is it true that butter melts at 35 degrees?",
        "What is it called when two keys land in the same bucket?",
        "Which river has its source in the Jura?",
        "Who sold his company to Boots in 1990?",
        "How do bees keep their hive warm?",
        "What happens to a liquid when it is heated?",
        "How many moons are there in the solar system?",
        "What did the study of Semmelweis show?",
        "How many people does the company Nokia employ?",
        "Which US state is largest?",
        "Who led the country in World War I?",
        "What is the area A of a polygon with i points inside?",
        "In which valley does the viaduct of Garabit stand?",
        "How deep is the valley?",
        "Who was the first woman to become a professor of physics?",
        "What is gold mined from a mine worth?",
    ],
)
def test_questions_that_stand_alone(question: str) -> None:
    assert reason("dangling_reference", asked(question)) is None


def test_a_noun_that_the_passage_introduces_dangles_and_a_kind_does_not() -> None:
    introduced = "Jakarta has grown fast. In 2021 engineers opened a tunnel of nine kilometres."
    compound = "The Gotthard Tunnel is 15 kilometres long. The tunnel opened in 1882."
    taken_up = "Kudzu came from Japan in 1876. It spread fast. The vine can grow 30 centimetres a day."
    kind = "The theremin is played without being touched."
    for passage, noun in ((introduced, "tunnel"), (compound, "tunnel"), (taken_up, "vine")):
        question = f"How long is the {noun}?"
        assert reason("dangling_reference", asked(question, passage, title="")) is not None
    assert reason("dangling_reference", asked("How is the theremin played?", kind, title="")) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"quotation": "its  tallest mast\nstands 343 metres"}, None),
        ({"quotation": ""}, "quotation_missing"),
        ({"quotation": "…"}, "quotation_missing"),
        ({"quotation": "Its tallest mast stands 345 metres above the floor."}, "quotation_missing"),
        ({"quotation": "343 metres"}, "quotation_too_short"),
        ({"quotation": "opened in December 2004"}, "quotation_without_answer"),
        ({"answer": "344 metres"}, "quotation_without_answer"),
        ({"answer": "343 m"}, None),
        ({"answer": "yes", "answer_type": "yes_no"}, None),
        ({"answer": "A) 343", "answer_type": "multiple_choice"}, None),
        ({"answer": "h = 343", "answer_type": "formula"}, None),
        ({"answer": "bridge pylons", "answer_type": "span"}, "quotation_without_answer"),
        ({"answer": "the mast standing tallest", "answer_type": "span"}, None),
    ],
)
def test_quotation(changes: dict[str, str], expected: str | None) -> None:
    assert reason("quotation", replace(MAST, **changes)) == expected


def test_every_item_of_a_list_must_be_quoted() -> None:
    both = "It was designed by Norman Foster and Michel Virlogeux"
    pair = replace(MAST, answer_type="list", quotation=both, answer="Virlogeux, Foster")
    assert reason("quotation", pair) is None
    more = replace(pair, answer="Virlogeux, Foster, Eiffel")
    assert reason("quotation", more) == "quotation_without_answer"


def test_quotation_marks_and_dashes_may_differ() -> None:
    passage = "He called it “the long‑lost pier” – and meant it."
    pair = replace(
        MAST,
        passage=passage,
        quotation='called it "the long-lost pier" - and',
        answer="long-lost pier",
        answer_type="span",
    )
    assert reason("quotation", pair) is None


def test_answer_type() -> None:
    assert reason("answer_type", MAST) is None
    wrong = replace(MAST, answer="very high")
    assert reason("answer_type", wrong) == "answer_type_mismatch"


@pytest.mark.parametrize(
    ("question", "answer", "answer_type", "fits"),
    [
        ("Who designed the viaduct?", "Norman Foster", "name", True),
        ("Who painted the cave?", "early hunters", "span", True),
        ("Whose tomb is guarded?", "Qin Shi Huang", "name", True),
        ("When did it open?", "December 2004", "date", True),
        ("When do swallows leave?", "before the first frost", "span", True),
        ("In what year did it open?", "2004", "number", True),
        ("How many masts are there?", "seven", "number", True),
        ("How much of the ice is gone?", "half of it", "span", True),
        ("How long did it run?", "1,200 hours", "number", True),
        ("How often is it painted?", "every spring", "span", True),
        ("Where is it?", "southern France", "span", True),
        ("Why does it shake?", "the two cables balance each other", "span", True),
        ("Is it high?", "yes", "yes_no", True),
        ("Is it red or blue?", "blue", "span", True),
        ("What is it made of?", "steel", "span", True),
        ("Which company built it?", "Eiffage", "name", True),
        ("Did it open in 2004?", "2004", "number", False),
        ("Who designed the viaduct?", "2004", "date", False),
        ("Who designed the viaduct?", "343 metres", "number", False),
        ("When did it open?", "Norman Foster", "name", False),
        ("In what year did it open?", "in southern France", "span", False),
        ("How many masts are there?", "Norman Foster", "name", False),
        ("How much does it weigh?", "steel", "span", False),
        ("How high is it?", "Tarn", "name", False),
        ("Where is it?", "2004", "date", False),
        ("Why does it shake?", "Norman Foster", "name", False),
        ("Why does it shake?", "yes", "yes_no", False),
        ("What is it made of?", "no", "yes_no", False),
    ],
)
def test_question_word(question: str, answer: str, answer_type: str, fits: bool) -> None:
    pair = asked(question, answer=answer, answer_type=answer_type)
    assert reason("question_word", pair) == (None if fits else "question_word_mismatch")


@pytest.mark.parametrize(
    ("question", "novel"),
    [
        ("Who were the designers of the Millau Viaduct?", False),
        ("In which year did the Millau Viaduct open?", False),
        ("How tall is the highest mast of the Millau Viaduct?", False),
        ("How many cables hold up the Millau Viaduct's concrete pylons?", True),
        ("When did the Millau Viaduct in Aveyron open?", True),
        ("Who designed the Millau Viaduct in 1993?", True),
    ],
)
def test_novel_words(question: str, novel: bool) -> None:
    assert reason("novel_words", asked(question)) == ("novel_words" if novel else None)


def test_the_title_and_the_allowances_count() -> None:
    question = "When did the Millau Viaduct in Aveyron open?"
    assert reason("novel_words", asked(question, title="Bridges of Aveyron")) is None
    lenient = SETTINGS.model_copy(update={"novel_names_allowed": 1})
    assert reason("novel_words", asked(question), lenient) is None


def test_the_count_of_a_list_is_not_novel() -> None:
    question = "Which two architects designed the Millau Viaduct?"
    pair = asked(question, answer="Foster and Virlogeux", answer_type="list")
    assert reason("novel_words", pair) is None
    assert reason("novel_words", asked(question.replace("two", "six"))) == "novel_words"


def test_shared_words() -> None:
    assert reason("shared_words", MAST) is None
    off = asked("What is the name of the river?", quotation="opened in December 2004")
    assert reason("shared_words", off) == "shared_words_too_few"
    # The subject of "It was designed by" stands in the first sentence.
    leaning = asked("Who designed the Millau Viaduct?", quotation="It was designed by Norman Foster")
    assert reason("shared_words", leaning) is None
    only_topic = asked("What is the Millau Viaduct?", quotation="It opened in December 2004")
    assert reason("shared_words", only_topic) == "shared_words_too_few"
    short = asked("Where is Summerhill?", quotation="Summerhill is a boarding school in Suffolk")
    assert reason("shared_words", short) is None
    none_wanted = SETTINGS.model_copy(update={"shared_words_min": 0})
    assert reason("shared_words", off, none_wanted) is None


@pytest.mark.parametrize(
    ("question", "repeats"),
    [
        ("How high is the mast of the Millau Viaduct?", False),
        ("What had had an effect on the height?", False),
        ("Is the comparison NULL = NULL true in SQL?", False),
        ("How high is the mast and how high is the mast really?", True),
        ("What is the the height of the mast?", True),
        ("What is the mast the mast of?", False),
    ],
)
def test_repetition(question: str, repeats: bool) -> None:
    assert reason("repetition", asked(question)) == ("repetition" if repeats else None)


@pytest.mark.parametrize(
    ("question", "copied"),
    [
        ("Its tallest mast stands 343 metres above the valley floor?", True),
        ("Its tallest mast stands 343 metres above the floor?", True),
        ("What its tallest mast stands 343 metres above the valley floor?", True),
        ("What stands 343 metres above the valley floor?", False),
        ("How high is the mast?", False),
        ("What crosses the valley of the Tarn in southern France?", False),
    ],
)
def test_copied_sentence(question: str, copied: bool) -> None:
    assert reason("copied_sentence", asked(question)) == ("copied_sentence" if copied else None)


def test_a_heading_is_a_sentence_of_its_own() -> None:
    passage = "The mast\nTwo falcons nest on it, says Dr. Hall of the U.S. Forest Service."
    question = "Two falcons nest on it, says Dr. Hall of the U.S. Forest Service?"
    assert reason("copied_sentence", asked(question, passage)) == "copied_sentence"


def test_evaluate_runs_the_named_gates_in_order() -> None:
    verdicts = evaluate(
        asked("When did it open?"), [GATES.get("dangling_reference"), GATES.get("lengths")], CHECK
    )
    assert list(verdicts.items()) == [
        ("dangling_reference", "dangling_reference"),
        ("lengths", None),
    ]


def test_an_unknown_gate_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"answer_leek.*did you mean 'answer_leak'"):
        GATES.get("answer_leek")
    with pytest.raises(ConfigError):
        GATES.get("")


def test_reasons_are_short_snake_case_and_settings_refuse_unknown_keys() -> None:
    with pytest.raises(ValueError, match="leak_shares"):
        GateSettings.model_validate({**SETTINGS.model_dump(), "leak_shares": 1})
    assert all(
        name.isidentifier() and name == name.lower()
        for gate in rule_gates()
        for name in (gate.name, *gate.reasons)
    )


@given(st.text(), st.text(), st.sampled_from(ANSWER_TYPES.names), st.text(), st.text(), st.text())
def test_no_text_crashes_a_gate(
    question: str, answer: str, answer_type: str, quotation: str, passage: str, title: str
) -> None:
    pair = PairView(question, answer, answer_type, quotation, passage, title)
    for found in evaluate(pair, rule_gates(), CHECK).values():
        assert found is None or found.replace("_", "").isalpha()


_WORDS = [
    "who",
    "it",
    "The",
    "its",
    "there",
    "this",
    "Foster",
    "?",
    "the",
    "study",
    "tunnel",
    "of",
    "when",
    "is",
    "did",
    "I",
    "A)",
    ",",
    "“",
    "that",
    "which",
    "1,000",
]


@given(st.lists(st.sampled_from(_WORDS)).map(" ".join), st.lists(st.sampled_from(_WORDS)).map(" ".join))
def test_no_order_of_awkward_words_crashes_a_gate(question: str, passage: str) -> None:
    evaluate(asked(question, passage, quotation=passage), rule_gates(), CHECK)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Who designed the Millau Viaduct?", "who designed the millau viaduct", True),
        ("When did the viaduct open?", "When did the viaduct opened?", True),
        ("In what year did the bridge open?", "What year did the bridge open in?", True),
        ("Who designed the bridge?", "When was the bridge designed?", False),
        ("Who designed the bridge?", "Who built the bridge?", False),
        ("How high is the mast?", "How old is the mast?", False),
        ("What is it?", "What was it?", False),
        ("", "", False),
    ],
)
def test_same_question(a: str, b: str, same: bool) -> None:
    assert same_question(a, b) is same
    assert same_question(b, a) is same


@given(st.text(), st.text())
def test_same_question_is_symmetric(a: str, b: str) -> None:
    assert same_question(a, b) == same_question(b, a)


def test_a_quotation_may_be_copied_in_the_form_that_a_prompt_shows() -> None:
    passage = VIADUCT.replace("valley floor", "<s>valley</s> floor")
    plain = replace(MAST, passage=passage, quotation="stands 343 metres above the <s>valley</s> floor.")
    shown = replace(plain, quotation="stands 343 metres above the < s >valley< /s > floor.")
    other = replace(plain, quotation="stands 343 metres above the < b >valley< /b > floor.")
    assert [reason("quotation", pair) for pair in (plain, shown, other)] == [None, None, "quotation_missing"]
