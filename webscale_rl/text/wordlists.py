"""English word lists that the normalisation, the comparison and the rule gates share.

They are data, kept apart from the code that uses them. Whoever changes one changes verdicts: the
stages that use them must raise their `VERSION`.
"""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a text that are separated by white space."""
    return frozenset(text.split())


def _list(text: str) -> list[str]:
    return text.split()


ARTICLES = word_set("a an the")

AUXILIARIES = word_set("""
    am is are was were be been being do does did has have had can could will would shall should
    may might must""")

PREPOSITIONS = word_set("""
    about above across after against along among around at before behind below beneath beside
    besides between beyond by despite down during except for from in inside into like near of off
    on onto out outside over past per since than through throughout till to toward towards under
    until up upon via with within without""")

PERSON_PRONOUNS = word_set(
    "he she him her his hers himself herself they them their theirs themselves it its itself"
)
POSSESSIVES = word_set("his her hers its their theirs himself herself itself themselves")

QUESTION_WORDS = word_set("what which who whom whose when where why how whether")

SUBORDINATORS = word_set("""
    when after because before if while that although though since until as so once and but unless
    whether where which who to than for by without""")

STOP_WORDS = (
    ARTICLES
    | AUXILIARIES
    | PREPOSITIONS
    | PERSON_PRONOUNS
    | QUESTION_WORDS
    | SUBORDINATORS
    | word_set("""
    i me my mine we us our ours you your yours one ones this that these those there here
        not no nor or and but if then else also too very just only even still yet already ever never
        again more most less least much many few some any all both each every either neither other
        another such own same so as because although though while however therefore thus hence
        first now often usually mostly rather quite almost nearly perhaps else else's etc
        let's s t d ll re ve don't doesn't didn't isn't aren't wasn't weren't can't couldn't won't
        wouldn't shouldn't hasn't haven't hadn't cannot it's that's what's who's whom's there's""")
)

#: Words a question may bring along although its passage has none of them: they ask, not tell.
SCAFFOLD_WORDS = word_set("""
    accord account age aim amount answer approximately area ask base became become begin believe
    benefit call case cause century change city claim come common company compare concept consider
    consist contain cost country create current currently date day decade define depend describe
    detail difference different distance do duration early effect event example exactly exist
    explain express fact factor far fast feature field find first follow form formula frequently
    function general get give group happen heavy help high hour identify importance important
    include instead involve item key kind know known large larger largest last late later length
    list little long longer low main make maximum mean meaning measure mention method minimum minute
    moment month name necessary need new number occur official old order origin originally
    outcome part particular people percent percentage period person place play possible price
    primary principle problem process produce property proportion purpose quantity quickly range
    rate ratio reach reason receive refer region relate represent require responsible result role
    say scientist second share significance significant similar size small specific show stage stand
    start state step substance take tall task technique temperature term thing time title today
    together total town true false type typical typically unit use value volume want way week
    weigh weight wide work write year yes""")

#: Surface form -> base form, where no rule of spelling leads from one to the other.
IRREGULAR_FORMS: dict[str, str] = dict(
    pair.split(":")
    for pair in _list("""
    ate:eat eaten:eat became:become began:begin begun:begin bent:bend blew:blow blown:blow
    born:bear bought:buy bound:bind bred:breed broke:break broken:break brought:bring built:build
    burnt:burn came:come caught:catch chose:choose chosen:choose crept:creep dealt:deal died:die
    dies:die dying:die drank:drink drawn:draw drew:draw driven:drive drove:drive dug:dig fed:feed
    fell:fall fallen:fall felt:feel fought:fight found:find flew:fly flown:fly forgot:forget
    froze:freeze frozen:freeze gave:give given:give goes:go gone:go went:go got:get grew:grow
    grown:grow heard:hear held:hold hid:hide hidden:hide kept:keep knew:know known:know laid:lay
    lain:lie lay:lie led:lead left:leave lent:lend lost:lose lying:lie made:make meant:mean met:meet
    paid:pay ran:run rang:ring ridden:ride risen:rise rode:ride rose:rise sang:sing sank:sink
    sat:sit saw:see seen:see sent:send shone:shine shook:shake shot:shoot shown:show slept:sleep
    slid:slide sold:sell sought:seek spent:spend spoke:speak spoken:speak sprang:spring stole:steal
    stolen:steal stood:stand struck:strike stuck:stick sung:sing sunk:sink swam:swim swore:swear
    swum:swim taken:take taught:teach thought:think threw:throw thrown:throw told:tell took:take
    tore:tear torn:tear understood:understand woke:wake won:win wore:wear worn:wear wove:weave
    woven:weave written:write wrote:write tied:tie ties:tie uses:use used:use using:use
    better:good best:good worse:bad worst:bad children:child feet:foot geese:goose men:man
    mice:mouse people:person teeth:tooth women:woman wives:wife lives:life leaves:leaf halves:half
    knives:knife loaves:loaf shelves:shelf wolves:wolf analyses:analysis bases:basis crises:crisis
    hypotheses:hypothesis theses:thesis criteria:criterion phenomena:phenomenon data:datum
    indices:index matrices:matrix vertices:vertex axes:axis bacteria:bacterium fungi:fungus
    nuclei:nucleus radii:radius species:species series:series news:news physics:physics
    mathematics:mathematics gas:gas gases:gas lens:lens bus:bus buses:bus longest:long longer:long
    highest:high higher:high largest:large larger:large oldest:old older:old tallest:tall
    deepest:deep fastest:fast smallest:small smaller:small
    """)
)

MONTHS: dict[str, int] = {
    name: number
    for number, names in enumerate(
        """january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|
        september sept sep|october oct|november nov|december dec""".replace("\n", "").split("|"),
        start=1,
    )
    for name in names.split()
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SEASONS: dict[str, str] = {
    "spring": "spring",
    "summer": "summer",
    "autumn": "autumn",
    "fall": "autumn",
    "winter": "winter",
}

SMALL_NUMBERS: dict[str, int] = {
    word: value
    for value, word in enumerate(
        _list("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
        fifteen sixteen seventeen eighteen nineteen twenty""")
    )
}
TENS: dict[str, int] = {
    word: 10 * value
    for value, word in enumerate(_list("twenty thirty forty fifty sixty seventy eighty ninety"), start=2)
}
ORDINALS: dict[str, int] = {
    word: value
    for value, word in enumerate(
        _list("""
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
        thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth
        twentieth"""),
        start=1,
    )
}

HEDGES = word_set("""
    about around approximately approx roughly nearly almost circa ca c some over under least most
    more less than up exactly just only estimated probably""")
APPROXIMATE = word_set("about around approximately approx roughly nearly almost circa ca estimated ~ ≈")

YES_WORDS = word_set("yes true yeah yep correct")
NO_WORDS = word_set("no false nope incorrect")
NEGATIONS = word_set("""
    not no never none neither nor without cannot can't don't doesn't didn't isn't aren't wasn't
    weren't won't wouldn't shouldn't couldn't hasn't haven't hadn't""")

#: Replies that decline to answer; they agree with nothing, not even with each other.
NON_ANSWERS = frozenset(
    {
        "unanswerable",
        "not answerable",
        "unknown",
        "n a",
        "na",
        "no answer",
        "not stated",
        "not specified",
        "not mentioned",
        "not given",
        "not provided",
        "not known",
        "cannot be determined",
        "cannot be answered",
        "i don't know",
        "i do not know",
    }
)

#: Words before a name that are no part of it.
TITLES = word_set("""
    mr mrs ms miss dr doctor prof professor sir dame lord lady king queen emperor empress prince
    princess pope saint st president chancellor minister general captain colonel admiral bishop
    archbishop cardinal father mother brother sister rev reverend judge justice senator governor
    count countess duke duchess baron baroness""")
NAME_PARTICLES = word_set("of de da di du van von der den del della la le el al bin ibn ter")
NAME_SUFFIXES = word_set("jr sr junior senior phd md esq")
COMPANY_SUFFIXES = word_set("inc ltd llc gmbh corp corporation company co plc ag sa limited incorporated")
PLACE_WORDS = word_set("river lake mount mt city town island county district")
INSTITUTIONS = word_set("""
    university college institute school academy hospital museum library bank church republic
    kingdom ministry department office council court battle treaty declaration society association
    house state bay gulf cape sea ocean isle duchy""")
#: A first part that makes another thing of the name behind it ("New York" is not "York").
DISTINGUISHING = word_set("""
    new old north south east west northern southern eastern western central upper lower great
    greater little san santa papua northwest northeast southwest southeast inner outer mid royal
    anti neo post pre sub""")
