"""The data of the prompts, read from `conf/` and checked: domains, demonstrations, templates.

Everything here runs on the driver before any work starts. What is wrong in a file is one
`ConfigError` of one line that names the file and the entry.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import jsonschema
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from udfs.engines.schemas import unenforced
from webscale_rl.answers.registry import ANSWER_TYPES, conforms, prompt_lines
from webscale_rl.answers.types import MULTIPLE_CHOICE, YES_NO
from webscale_rl.core.files import load_yaml
from webscale_rl.core.settings import Section
from webscale_rl.core.suggest import nearest
from webscale_rl.errors import ConfigError
from webscale_rl.llm import template

MIN_DEMONSTRATIONS = 5

# Stands in a schema where the ids of the domains go, which are data that no prompt knows.
DOMAINS_MARK = "{domains}"
# Stands in a schema, and in a text, where the types of answers go: filled when the file is read.
ANSWER_TYPES_MARK = "{answer_types}"

PLACEHOLDERS = frozenset(
    {
        "domains_text",
        "domain",
        "demonstrations",
        "title",
        "passage",
        "persona",
        "interest",
        "question",
        "answer",
        "answer_type",
        "quotation",
        "context",
        "examples",
        "opening",
    }
)
"""Names that a prompt of the shipped set may use; a caller with more of them says so."""

_OPTION = re.compile(r"(?<!\w)([A-J])\) ")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Word = Annotated[str, StringConstraints(pattern=r"^\S+$")]
Model = TypeVar("Model", bound=BaseModel)


class Persona(Section):
    """A typical persona of a domain, for models that do not invent their own."""

    name: Text = Field(description="short, such as 'nurse in training'")
    interest: Text = Field(description="one sentence: what this persona wants to know")


class Domain(Section):
    """One of the domains that a passage can belong to."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")] = Field(
        description="stable name in the tables and of the demonstrations file"
    )
    name: Text = Field(description="as models and people see it")
    definition: Text = Field(description="one or two sentences that a model chooses by")
    personas: tuple[Persona, ...] = Field(
        min_length=1,
        description="typical personas, best first",
        # The name that files had before, and that recipes keep.
        validation_alias=AliasChoices("personas", "readers"),
        serialization_alias="readers",
    )
    words: tuple[Word, ...] = Field(min_length=1, description="single lower-case words for the domain")

    @model_validator(mode="after")
    def _consistent(self) -> Domain:
        for word in self.words:
            if word != word.lower():
                raise ValueError(f"words: {word!r} is not in lower case")
        _no_repetition("words", self.words)
        _no_repetition("personas", [persona.name for persona in self.personas])
        return self


class Demonstration(Section):
    """One worked example: a passage, a persona and the pair that a good writer makes of them."""

    passage: Text = Field(description="two to four sentences")
    persona: Text = Field(description="who asks")
    question: Text = Field(description="self-contained; a multiple choice carries its options")
    answer: Text = Field(description="short; for a multiple choice the letter and the option")
    answer_type: Text = Field(description="one of the eight answer types")
    quotation: Text = Field(description="the words of the passage that support the answer")

    @model_validator(mode="after")
    def _consistent(self) -> Demonstration:
        if self.quotation not in self.passage:
            raise ValueError("the quotation is not in the passage, word for word")
        if self.answer_type not in ANSWER_TYPES:
            near = nearest(self.answer_type, ANSWER_TYPES.names)
            raise ValueError(
                f"unknown answer_type {self.answer_type!r}{near}; known are {', '.join(ANSWER_TYPES.names)}"
            )
        if self.answer_type == YES_NO and self.answer not in ("yes", "no"):
            raise ValueError(f"the answer of a yes_no must be 'yes' or 'no', not {self.answer!r}")
        if self.answer_type == MULTIPLE_CHOICE:
            options = _options(self.question)
            if len(options) < 2 or self.answer not in options:
                raise ValueError(
                    f"the answer {self.answer!r} of a multiple_choice is none of the question's"
                    f" options ({', '.join(options) or 'there are no A) ... B) ...'})"
                )
        if not conforms(self.answer, self.answer_type):
            raise ValueError(f"the answer {self.answer!r} is not a valid {self.answer_type}")
        return self


class Kind(Section):
    """How a very small model is led to a question about one kind of span."""

    opening: Text = Field(description="the question's first words; {unit} is what a count counts")
    examples: Text = Field(description="worked examples for spans of this kind")


class Prompt(Section):
    """A prompt template: what the model is told, and the schema its reply must follow."""

    model_config = ConfigDict(populate_by_name=True)

    version: int = Field(ge=1, description="for people; the text itself is part of the recipe")
    prompt_format: Literal["chat", "raw"] = Field(
        default="chat", description="chat: the model's template; raw: the texts alone, continued"
    )
    system: str = Field(default="", description="shared by most requests; may be empty")
    user: str = Field(min_length=1, description="what differs from row to row, the document first")
    assistant: str = Field(default="", description="beginning of the reply, to be continued")
    response_schema: dict[str, Any] | None = Field(
        default=None, alias="schema", description="JSON schema of the reply, null for free text"
    )
    max_tokens: int = Field(ge=1, description="longest reply, in tokens")
    stop: tuple[str, ...] = Field(default=(), description="texts that end a reply")
    kinds: dict[str, Kind] | None = Field(
        default=None,
        description="answer first: per kind of span its {opening} and {examples}; spans of other kinds "
        "are not asked about",
    )

    def placeholders(self) -> set[str]:
        """The names that `system` and `user` need values for; the schema's mark is none of them."""
        return {
            piece.name
            for text in (self.system, self.user, self.assistant)
            for piece in template.parse(text)
            if isinstance(piece, template.Placeholder)
        }

    def schema_for(self, domain_ids: Sequence[str]) -> dict[str, Any] | None:
        """The schema with each value `"{domains}"` in it replaced by the list of domain ids."""
        filled: dict[str, Any] | None = _filled(self.response_schema, DOMAINS_MARK, list(domain_ids))
        return filled


def load_domains(path: str | Path) -> list[Domain]:
    """The domains in their order in the file.

    Raises:
        ConfigError: the file cannot be read, is empty, or an entry is wrong or stands there twice.
    """
    known = [*Domain.model_fields, *Persona.model_fields]
    domains = []
    for number, entry in enumerate(_read_list(path), start=1):
        label = entry.get("id") if isinstance(entry, dict) else None
        where = f"{path}: entry {number}" + (f" ({label})" if label else "")
        domains.append(_validated(Domain, entry, where, known))
    for field, values in (("id", [d.id for d in domains]), ("name", [d.name for d in domains])):
        twice = _repeated(values)
        if twice is not None:
            raise ConfigError(f"{path}: two entries have the {field} {twice!r}")
    return domains


def load_demonstrations(folder: str | Path, domain_ids: Collection[str]) -> dict[str, list[Demonstration]]:
    """The demonstrations of each domain, from `<folder>/<domain id>.yml`; no other file is read.

    Raises:
        ConfigError: a file is missing or unreadable, has an entry that is wrong, or has
            fewer than five.
    """
    demonstrations = {}
    for domain_id in domain_ids:
        path = Path(folder) / f"{domain_id}.yml"
        if not path.is_file():
            raise ConfigError(
                f"no such file: {path}; the domain {domain_id!r} needs one with at least"
                f" {MIN_DEMONSTRATIONS} demonstrations"
            )
        entries = [
            _validated(Demonstration, entry, f"{path}: entry {number}", Demonstration.model_fields)
            for number, entry in enumerate(_read_list(path), start=1)
        ]
        if len(entries) < MIN_DEMONSTRATIONS:
            raise ConfigError(
                f"{path}: {len(entries)} demonstrations, at least {MIN_DEMONSTRATIONS} are needed"
            )
        twice = _repeated([entry.question for entry in entries])
        if twice is not None:
            raise ConfigError(f"{path}: two entries have the question {twice!r}")
        demonstrations[domain_id] = entries
    return demonstrations


def load_prompt(path: str | Path, known: Collection[str] = PLACEHOLDERS) -> Prompt:
    """A prompt template, with its placeholders and its schema checked.

    Args:
        path: the YAML file.
        known: the names that placeholders may have.

    Raises:
        ConfigError: the file cannot be read, has an unknown key or placeholder, a lone brace, or a
            schema that is none or that engines refuse.
    """
    data = load_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping, not {_kind(data)}")
    keys = [field.alias or name for name, field in Prompt.model_fields.items()]
    prompt = _validated(Prompt, _with_answer_types(data), str(path), keys)
    for field in ("system", "user", "assistant"):
        text = getattr(prompt, field)
        try:
            pieces = template.parse(text)
        except ConfigError as error:
            raise ConfigError(f"{path}: {field}: {error}") from error
        for piece in pieces:
            if isinstance(piece, template.Placeholder) and piece.name not in known:
                raise ConfigError(
                    f"{path}: {field}: unknown placeholder {{{piece.name}}}"
                    f"{nearest(piece.name, known)}; known are {', '.join(sorted(known))}"
                )
    if prompt.response_schema is not None:
        _check_schema(prompt.response_schema, str(path))
    return prompt


def render_demonstrations(demonstrations: Sequence[Demonstration]) -> str:
    """The demonstrations as plain text, numbered and with an empty line between them.

    The same list gives the same text, as it stands at the head of every prompt of its domain.
    """
    return "\n\n".join(
        f"Example {number}\n"
        f"Document: {demonstration.passage}\n"
        f"Reader: {demonstration.persona}\n"
        f"Question: {demonstration.question}\n"
        f"Answer: {demonstration.answer}\n"
        f"Answer type: {demonstration.answer_type}\n"
        f"Quotation: {demonstration.quotation}"
        for number, demonstration in enumerate(demonstrations, start=1)
    )


def render_domains(domains: Sequence[Domain]) -> str:
    """The domains as lines `- id: definition`, the text of the placeholder `{domains_text}`."""
    return "\n".join(f"- {domain.id}: {domain.definition}" for domain in domains)


def _options(question: str) -> list[str]:
    """The options of a multiple choice, each as `letter) text`; empty where there are none."""
    starts = [option.start() for option in _OPTION.finditer(question)]
    ends = [*starts[1:], len(question)]
    return [question[s:e].strip() for s, e in zip(starts, ends, strict=False)]


def _filled(value: Any, mark: str, names: list[str]) -> Any:
    """A schema with a list of names wherever a mark stands."""
    if value == mark:
        return list(names)
    if isinstance(value, dict):
        return {key: _filled(inner, mark, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, mark, names) for inner in value]
    return value


def _with_answer_types(data: dict[str, Any]) -> dict[str, Any]:
    """A prompt file's content with the types of answers that are known now."""
    lines = prompt_lines().replace("{", "{{").replace("}", "}}")
    texts = {
        name: text.replace(ANSWER_TYPES_MARK, lines)
        for name, text in data.items()
        if name in ("system", "user", "assistant") and isinstance(text, str)
    }
    schemas = {
        name: _filled(data[name], ANSWER_TYPES_MARK, list(ANSWER_TYPES.names))
        for name in ("schema", "response_schema")
        if name in data
    }
    return data | texts | schemas


def _check_schema(schema: dict[str, Any], where: str) -> None:
    filled = _filled(schema, DOMAINS_MARK, ["some_domain"])
    try:
        jsonschema.Draft202012Validator.check_schema(filled)
    except jsonschema.SchemaError as error:
        at = ".".join(str(part) for part in error.absolute_path)
        raise ConfigError(f"{where}: schema: {at + ': ' if at else ''}{error.message}") from error
    if filled.get("type") != "object":
        raise ConfigError(f"{where}: schema: the reply must be of the type 'object'")
    _check_parts(filled, f"{where}: schema")
    ignored = unenforced(filled)
    if ignored is not None:
        raise ConfigError(f"{where}: schema{ignored[0]}: {ignored[1]}")


def _check_parts(schema: Any, where: str) -> None:
    """Every object must be closed and complete."""
    if isinstance(schema, list):
        for number, inner in enumerate(schema):
            _check_parts(inner, f"{where}.{number}")
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties", {})
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise ConfigError(f"{where}: an object needs 'additionalProperties: false'")
        odd = sorted(set(properties) ^ set(schema.get("required", [])))
        if odd:
            raise ConfigError(f"{where}: {odd[0]!r} must be both in 'properties' and in 'required'")
    for name, inner in properties.items():
        _check_parts(inner, f"{where}.{name}")
    for keyword, inner in schema.items():
        if keyword not in ("properties", "enum", "const", "required", "default", "examples"):
            _check_parts(inner, f"{where}.{keyword}")


def _read_list(path: str | Path) -> list[Any]:
    data = load_yaml(path)
    if not isinstance(data, list) or not data:
        raise ConfigError(f"{path} must hold a list of entries, not {_kind(data)}")
    return data


def _validated(model: type[Model], entry: Any, where: str, known: Collection[str]) -> Model:
    """`entry` as a `model`, or the first thing that is wrong with it in one line."""
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_fault(error, known)}") from error


def _first_fault(error: ValidationError, known: Collection[str]) -> str:
    fault = error.errors(include_url=False)[0]
    at = ".".join(str(part) for part in fault["loc"])
    found = fault["input"]
    if fault["type"] == "extra_forbidden":
        return f"unknown key {at!r}{nearest(str(fault['loc'][-1]), known)}"
    if fault["type"] == "missing":
        return f"{at!r} is missing"
    if fault["type"] == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_type" and not isinstance(found, dict | list | None):
        return f"{at!r}: put {found!r} in quotation marks, YAML reads it as {_kind(found)}"
    message = f"{fault['msg'][0].lower()}{fault['msg'][1:]} (found {found!r})"
    return " ".join((f"{at!r}: {message}" if at else message).split())


def _no_repetition(what: str, values: Sequence[str]) -> None:
    twice = _repeated(values)
    if twice is not None:
        raise ValueError(f"{what}: {twice!r} is listed twice")


def _repeated(values: Sequence[str]) -> str | None:
    return next((v for n, v in enumerate(values) if v in values[:n]), None)


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "yes/no", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")
