"""Recipe bodies of the asking stages, made by hand: small, and untouched by what `conf/` says today."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from udfs.engines.completion import REPLY_FIELDS, ddl

ENGINE = {"adapter": None, "dtype": "none", "engine": "fake", "model": "m", "template": "t"}
SAMPLING = {
    "max_tokens": 50,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "seed": 0,
    "stop": [],
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
}
PERSONA = {"name": "curious reader", "interest": "Wants to know."}
DOMAINS = [
    {
        "id": "math",
        "name": "Math",
        "definition": "Numbers.",
        "readers": [PERSONA],
        "words": ["numbers", "sums"],
    },
    {
        "id": "nature",
        "name": "Nature",
        "definition": "Plants and stones.",
        "readers": [PERSONA, {"name": "hiker", "interest": "Wants heights."}],
        "words": ["plants"],
    },
]
COMPLETION = f"struct<{ddl(REPLY_FIELDS)}>"


def schema(**fields: Any) -> dict[str, Any]:
    """A response schema with these properties, all required, nothing else allowed."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": sorted(fields),
        "properties": {
            name: kind if isinstance(kind, dict) else {"type": kind} for name, kind in fields.items()
        },
    }


def prompt(user: str, **more: Any) -> dict[str, Any]:
    """A prompt as a recipe's body holds it."""
    plain = {
        "version": 1,
        "prompt_format": "chat",
        "system": "",
        "user": user,
        "assistant": "",
        "response_schema": None,
        "max_tokens": 50,
        "stop": [],
    }
    return plain | more


def body(text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"engine": ENGINE, "sampling": SAMPLING, "prompt": text, **more}


PERSONAS = {
    "type": "array",
    "items": schema(name="string", interest="string"),
}
SORT = body(
    prompt(
        "{title}\n{passage}",
        system="Sort into:\n{domains_text}",
        response_schema=schema(
            reason="string",
            informative="boolean",
            self_contained="boolean",
            answerable="boolean",
            domain={"type": "string", "enum": "{domains}"},
            personas=PERSONAS,
        ),
    ),
    method="prompt",
    domains=DOMAINS,
    junk_words=["cookies"],
    max_chars=30,
    min_margin=0.5,
    max_nothing=0.5,
    max_personas=2,
)
LABEL = SORT | {
    "method": "label",
    "prompt": prompt("{passage}\nSubject:", prompt_format="raw"),
}
TOPIC = SORT | {
    "method": "topic",
    "prompt": prompt("{passage}\nThe text above is about", prompt_format="raw"),
}
QUESTION_FIRST = body(
    prompt(
        "{title}\n{passage}\nFor {persona}: {interest}",
        system="{domain}\n{demonstrations}",
        response_schema=schema(question="string", answer="string", answer_type="string", quotation="string"),
    ),
    strategy="question_first",
    context="sentence",
    domain_names={"math": "Math", "nature": "Nature"},
    demonstrations={"math": "M", "nature": "N"},
)
ANSWER_FIRST = QUESTION_FIRST | {
    "strategy": "answer_first",
    "prompt": prompt("{context}\nAnswer: {answer}\nQuestion:", prompt_format="raw"),
}
ROUND_TRIP = body(
    prompt("{passage}\n{question}", response_schema=schema(answer="string")),
    gates=["round_trip"],
    method="free",
    min_margin=0.0,
)
SUPPORT = ROUND_TRIP | {
    "gates": ["round_trip_support"],
    "prompt": prompt("{context}\nQuestion: {question}\nAnswer:", prompt_format="raw"),
}
CHOICES = body(
    prompt("{context}\n{question}", prompt_format="raw"),
    gates=["round_trip"],
    method="choices",
    min_margin=0.5,
)
JUDGE = body(
    prompt(
        "{passage}\n{question}\n{answer}\n{quotation}",
        response_schema=schema(
            reason="string", correct="boolean", self_contained="boolean", leaks_answer="boolean"
        ),
    )
)

VERDICT = body(
    prompt("{context}\n{question}\n{answer}\nVerdict:", prompt_format="raw"), method="verdict", min_good=0.5
)


def completion(
    text: str | None = None,
    error: str | None = None,
    choices: list[float] | None = None,
    finish: str = "stop",
) -> tuple[Any, ...]:
    """A value of the column `completion`."""
    if error is not None:
        return (None, "error", error, None, None, None, None, None, None)
    return (text, finish, None, 9, 0, 3, -0.25, -0.5, choices)


def completed(spark: SparkSession, columns: str, rows: list[tuple[Any, ...]], **more: Column) -> DataFrame:
    """Rows whose last value is their completion, each with a request_id."""
    frame = spark.createDataFrame(rows, f"{columns}, completion {COMPLETION}")
    for name, column in more.items():
        frame = frame.withColumn(name, column)
    return frame.withColumn("request_id", F.lit("request"))
