"""Backslashes of LaTeX that a model wrote into JSON without doubling them.

In `"\\frac{1}{2}"` a single backslash before `f` is a form feed to any JSON reader, and one before `t`, `n`,
`b` or `r` vanishes in the same way: nothing fails, and the formula is wrong. So a JSON text is looked
through before it is parsed.
"""

from __future__ import annotations

import re

# Commands that begin with a letter which JSON reads as an escape. A control character cannot be meant by \b
# and \f, so these lists decide between a command and a refused reply.
_COMMANDS = {
    "b": "bar barwedge backepsilon backprime backsim backsimeq backslash because begin beta beth between "
    "bf bfseries bibitem big Big bigcap bigcirc bigcup bigg biggl biggr bigl bigm bigodot bigoplus "
    "bigotimes bigr bigsqcup bigstar bigtriangledown bigtriangleup biguplus bigvee bigwedge binom "
    "blacklozenge blacksquare blacktriangle bm bmod boldmath boldsymbol bordermatrix bot bottomrule "
    "bowtie boxdot boxed boxminus boxplus boxtimes bra breve bullet bumpeq braket",
    "f": "fallingdotseq fbox fboxsep fcolorbox flat flushleft flushright footnote footnotesize forall "
    "frac frak framebox frown",
    "n": "nabla natural ncong ne nearrow neg negmedspace negthickspace negthinspace neq newcommand "
    "newline nexists ngeq ngeqq ngeqslant ngtr ni nleftarrow nleftrightarrow nleq nleqq nleqslant "
    "nless nmid nobreakspace nolimits nonumber nolinebreak norm normalsize not notag notin nparallel "
    "nprec npreceq nrightarrow nshortmid nsim nsubseteq nsucc nsucceq nsupseteq ntriangleleft "
    "ntriangleright nu nvdash nvDash nwarrow",
    "r": "raisebox rangle rbrace rbrack rceil ref renewcommand rfloor rgroup rho right rightarrow "
    "rightarrowtail rightharpoondown rightharpoonup rightleftarrows rightleftharpoons "
    "rightrightarrows rightsquigarrow rightthreetimes risingdotseq rm rmfamily rmoustache root "
    "rtimes rule rvert rVert",
    "t": "tag tan tanh tau tbinom text textasciitilde textbackslash textbf textbullet textcolor "
    "textdegree textgreater textit textless textmd textmu textnormal textquoteleft textquoteright "
    "textrm textsc textsf textsl textstyle textsubscript textsuperscript texttt textup textwidth "
    "tfrac therefore theta thetasym thickapprox thicksim thickspace thinspace tilde times tiny to "
    "top toprule triangle triangledown triangleleft trianglelefteq triangleq triangleright "
    "trianglerighteq tt twoheadleftarrow twoheadrightarrow",
}
COMMANDS = frozenset(name for names in _COMMANDS.values() for name in names.split())
# Behind a line feed these could be a word of their own ("... or\nexists"): commands only beside other LaTeX.
_DOUBTFUL = frozenset({"ni", "nexists", "nless", "nmid", "nparallel", "nsim"})

# One that nothing closes reaches to the end.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|([A-Za-z]+)|(.))", re.DOTALL)
# What LaTeX writes behind a backslash beside letters. Not the apostrophe: \' is how Python quotes one.
_SIGNS = frozenset("()[]{}|,;:!%$#&_^ *-=<>")
_MATHS = re.compile(r"\\\\[A-Za-z(\[]|\$[^$]*\$")
# \x41 is an escape of other languages.
_FOREIGN = re.compile(r"x[0-9a-fA-F]{2}")


def restore_backslashes(text: str) -> str:
    """A JSON text in which single backslashes that begin a LaTeX command are doubled.

    What is JSON's own stays: a line feed before an ordinary word is one. What is neither an escape of JSON
    nor LaTeX is left for the parser to refuse.
    """
    return _STRING.sub(_restored, text) if "\\" in text else text


def _restored(string: re.Match[str]) -> str:
    whole = string[0]
    if "\\" not in whole:
        return whole
    is_maths = bool(_MATHS.search(whole)) or any(
        found[1] in COMMANDS - _DOUBTFUL or (found[1] or "b")[0] not in "bfnrtu"
        for found in _ESCAPE.finditer(whole)
    )

    def one(found: re.Match[str]) -> str:
        letters, sign = found[1], found[2]
        if letters is None:
            return "\\" + found[0] if sign is not None and sign in _SIGNS else found[0]
        if letters in COMMANDS:
            return "\\" + found[0] if is_maths or letters not in _DOUBTFUL else found[0]
        if letters[0] in "bfnrt" or letters == "u" or _FOREIGN.match(whole, found.start() + 1):
            return found[0]
        return "\\" + found[0]

    return _ESCAPE.sub(one, whole)
