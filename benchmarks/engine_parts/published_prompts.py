"""Prompts as the published code has them, in our own words: what each holds, in its order, a little shorter.

One user message a call: the step's instructions, then the document, then the form of the reply, a JSON object
whose first field is the model's thought. The examples of generate are documents with their pairs and stand
before the document.
"""

from __future__ import annotations

_FORM = """
Reply with nothing but JSON in exactly this form, and with no other text around it:
```
{
  "thought": "What led you to your %s.",
%s
}
```
"""

FILTER = (
    """
You help to analyse data. You are given a document; it may come from any kind of source and may be poorly
laid out. In the end, questions with their answers are to be written from such documents. At this step,
you decide whether the document is suited to that, by these criteria:
- It is informative and can be understood by its reader without anything else.
- It goes deep enough into its subject, and is clear.
- A question and the answer that belongs to it can be taken from it.
By these instructions, decide whether the document is suited.

Document:
{document}

"""
    + _FORM % ("decision", '  "suited": "Y if it is suited, N if it is not."')
)

IDENTIFY = (
    """
You help to analyse data. You are given a document from a website; it may come from any kind of source
and may be poorly laid out. In the end, questions with their answers are to be written from such
documents. At this step, you say what its domain is and who its readers are.

How to find the domain and the readers:
- The domain is what the document is mainly about. Take one of these: {domains}. If it belongs to none of
  them, or if the domain is not clear, take "Other". If it belongs to several of them, take the one that
  fits the document best of all.
- A reader is somebody for whom the document was written. If it was written for several kinds of readers,
  name several of them, at most three, that would be interested in what it says.

By these instructions, say what the domain of the document is, and who its readers are.

Document:
{document}

"""
    + _FORM
    % (
        "choice of the domain and the readers",
        '  "domain": "The domain of the document.",\n'
        '  "readers": "The readers for whom it is meant, at most 3; commas stand between several."',
    )
)

GENERATE = (
    """
You are given a document from a website; it may come from any kind of source and may be poorly laid out.
In the end, questions with their answers are to be written from such documents. At this step, you write
one question with its answer from the document.

How to write the question and the answer:
- You take the part of a given reader, and ask what this reader would ask, from this reader's point of
  view.
- Question and answer rest on the document altogether. Add nothing to them that is not in the document.
- Ask in such a way that the answer is rather short and that it can be checked with ease and without any
  doubt.
- The question will be asked without the document. So begin with a short introduction of what has to be
  known of the background before the question itself. NEVER write a question that refers to "the
  document".
- When you write the introduction, NEVER put the answer into the question: that gives the answer away and
  is not allowed at all.

These are examples of questions and answers that were taken from documents:
{examples}

By these instructions and examples, write a question and its answer from the document as your reader
would.

[Document]
{document}


[Your reader]
{reader}

"""
    + _FORM
    % (
        "question and answer",
        '  "question": "The question from the document.",\n  "answer": "The answer from the document."',
    )
)

CHECK = (
    """
You label data. You are given a document and a pair of a question and an answer that was written from it.
You check whether the pair is right by the document, and whether the question gives the answer away.

How to check:
- The question has to hold what must be known to understand it; a question that refers to "the document"
  has to go.
- For whether the answer is right, look whether it is what the original document says.
- A question gives its answer away if it says something of the answer outright, so that the answer can be
  read from it.

By these instructions, check the pair that was taken from the document, for whether its answer is right
and whether it is given away.

[Original document]:
{document}

[Question]:
{question}

[Answer]:
{answer}

"""
    + _FORM
    % (
        "judgement of the question and answer",
        '  "has_context": "Y if the question has its context, N if not",\n'
        '  "is_right": "Y if the answer is right, N if not",\n'
        '  "given_away": "Y if the answer is given away, N if not"',
    )
)

EXAMPLE = """
Document:
{document}


Reader:
{reader}


Question from it:
{question}


Answer from it:
{answer}
"""
