"""What the lab's small world knows: 85 subjects in 17 families of five, in three kinds of request.

A family shares a form (birds; tasks with one verb; troubles with one feeling), so that its fifth member, held out from
prompter training, can be recognised for what it is by its form and copied by its letters, but was never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["fact", "howto", "advice"]


@dataclass(frozen=True, slots=True)
class Subject:
    """`phrase` as it stands in a prompt; `points` the four clauses of a right answer, in order where order matters."""

    phrase: str
    kind: Kind
    family: str
    points: tuple[str, ...]
    example: str
    hazard: str | None = None


# noun | four facts | example
_FACTS = {
    "birds": """
owls | they are birds of the night | they eat mice | they have huge eyes | they fly without noise | a barn owl hears a mouse under snow
robins | they are small garden birds | they eat worms | they have red chests | they sing at dawn | one robin nested in an old boot
eagles | they are birds of prey | they eat fish and rabbits | they have strong claws | they nest on cliffs | an eagle can spot a rabbit from far away
penguins | they are birds that swim | they eat krill | they have thick feathers | they nest on ice | a father keeps one egg warm on his feet
parrots | they are birds of warm forests | they eat nuts | they have curved beaks | they copy sounds | a grey parrot learned a hundred words
""",
    "mammals": """
foxes | they are wild dogs | they eat berries and mice | they have bushy tails | they live in dens | a city fox may sleep under a shed
whales | they are mammals of the sea | they eat tiny shrimp | they have thick fat | they sing long songs | a blue whale is longer than two buses
bats | they are mammals that fly | they eat insects | they have thin wings | they sleep upside down | a small bat eats a thousand insects a night
camels | they are beasts of dry lands | they eat thorny plants | they have fatty humps | they drink fast | a camel once went two weeks without water
otters | they are river mammals | they eat crabs | they have dense fur | they play with stones | otters hold hands while they sleep
""",
    "insects": """
bees | they are insects that fly in swarms | they make honey | they have five eyes | they dance to show the way | one bee visits fifty flowers a trip
ants | they are insects that share nests | they farm fungus | they have strong jaws | they leave scent trails | an ant lifts many times its weight
moths | they are insects of dusk | they sip nectar | they have dusty wings | they turn toward lamps | a silk moth never eats at all
beetles | they are insects with hard shells | they chew wood | they have folded wings | they live almost everywhere | a dung beetle steers by the stars
crickets | they are insects that chirp | they nibble grass | they have long legs | they hear with their knees | their chirps get faster on warm nights
""",
    "lands": """
volcanoes | they are openings in the crust | they throw out lava | they build islands | they sleep for ages | one volcano buried a town in a day
deserts | they are lands with little rain | they get cold at night | they cover a third of land | they grow with the wind | some deserts are made of salt
glaciers | they are rivers of ice | they carve valleys | they hold fresh water | they move slowly | one glacier moved a mile in a year
islands | they are land with water around | they host rare plants | they rise from reefs | they shrink as seas rise | a new island rose after an eruption
caves | they are hollow spaces in rock | they form by dripping water | they keep the same warmth | they shelter bats | one cave holds a forest of its own
""",
    "skies": """
comets | they are balls of ice and dust | they grow long tails | they circle the sun | they return after years | one comet comes back every 76 years
rainbows | they are bent sunlight | they need rain and sun | they show seven colors | they form full circles | pilots sometimes see a whole ring
clouds | they are tiny drops in air | they cool the ground | they carry rain | they drift with the wind | a small cloud weighs as much as elephants
stars | they are balls of hot gas | they make light by fusion | they are born in dust | they end as embers | our sun is a star of middle age
eclipses | they are shadows in space | they last minutes | they darken the day | they come in cycles | birds fall silent when the sun goes dark
""",
    "machines": """
clocks | they are machines for time | they use gears | they tick each second | they once ran on water | a tower clock rang for the whole town
bridges | they are roads over gaps | they rest on piers | they sway in wind | they carry heavy loads | one bridge hums when cars cross it
telescopes | they are tubes with lenses | they gather faint light | they show far planets | they need dark skies | one telescope flies above the air
engines | they are machines that turn fuel to motion | they run hot | they need oil | they push pistons | the first engines pumped water from mines
pianos | they are boxes with strings | they use felt hammers | they have 88 keys | they need tuning | a grand piano holds tons of tension
""",
    "foods": """
noodles | they are strips of dough | they boil in minutes | they fill soups | they come dried or fresh | one cook pulls a noodle a mile long
cheeses | they are aged milk | they gain taste with time | they smell strong | they need salt | blue cheese gets its veins from mold
olives | they are fruits of old trees | they taste bitter raw | they give oil | they cure in brine | some olive trees are older than castles
mushrooms | they are fruits of fungus | they grow in shade | they taste of earth | they need no sun | one fungus spans a whole forest
chilies | they are hot peppers | they burn the tongue | they dry in the sun | they keep food safe | birds feel no heat from them
""",
}

# object | two steps of its own | example; around them stand the verb's first and last step and, if there is one, its hazard
_HOWTO: dict[str, tuple[str, str, str | None, str]] = {
    "clean": (
        "put on old clothes",
        "let it dry in fresh air",
        None,
        """
an oven | spread baking soda inside | scrub the racks | soda left overnight lifts burnt fat
a rug | shake out the dust | dab the stains | cold water takes out wine
a window | wipe with soapy water | pull a rubber blade down | old paper leaves no streaks
a bike | rinse off the mud | brush the chain | a toothbrush reaches every gear
a kettle | boil it with vinegar | rinse it twice | lemon juice works as well
""",
    ),
    "bake": (
        "heat the oven",
        "cool it on a rack",
        None,
        """
bread | knead the dough | let the loaf rise | a pot with a lid gives a crisp crust
a pie | roll out the crust | fill it with fruit | sour apples hold their shape
cookies | cream butter and sugar | drop spoons of batter | cold dough spreads less
a cake | whisk eggs and sugar | fold in the flour | yogurt keeps the crumb soft
scones | rub butter into flour | cut thick rounds | a hot tray makes them tall
""",
    ),
    "plant": (
        "loosen the soil",
        "water the roots",
        None,
        """
roses | trim the canes | bury the graft | old roses like morning sun
a tree | dig a wide hole | tie it to a stake | a young oak wants room
beans | soak the seeds | set up poles | beans climb a string in weeks
tulips | wait for autumn | set bulbs point up | deep bulbs escape the squirrels
herbs | mix in some sand | pinch the tips | basil likes a warm sill
""",
    ),
    "drill": (
        "mark the spot",
        "blow out the dust",
        "a spinning bit can catch your sleeve",
        """
a wall | check for wires | drill at low speed | a coin shows the depth you need
a tile | stick tape on the glaze | cool the tip with water | a diamond bit leaves clean holes
metal | punch a small dent | add a drop of oil | slow turns keep the bit sharp
a beam | choose a long bit | drill from both sides | a square block keeps you straight
concrete | set the hammer mode | press with both hands | short bursts save the motor
""",
    ),
    "light": (
        "clear the space around",
        "watch it until it is out",
        "an open flame can burn you",
        """
a stove | open the vent | strike a match first | dry birch starts a cold stove
a bonfire | stack dry twigs | shield it from wind | a ring of stones holds the heat
a lantern | trim the wick | fill the tank halfway | a short wick gives no smoke
a grill | pile up the coals | wait for white ash | a paper tube replaces lighter fluid
fireworks | read the label | step well back | a bucket of sand holds rockets upright
""",
    ),
    "cut": (
        "wear thick gloves",
        "smooth the edges",
        "a sharp edge can slice your hand",
        """
glass | score one line | snap it over a rod | a wheel cutter wants steady pressure
a branch | saw a notch below | finish from above | a clean cut heals in one summer
a pipe | clamp it tight | turn the cutter round | copper pipes part after ten turns
tiles | soak the saw | push slowly | a wet saw keeps the dust down
a bolt | mark the length | saw through the thread | a nut left on cleans the thread
""",
    ),
}

# trouble | example; the four suggestions are dealt out of _SUGGESTIONS
_ADVICE: dict[str, str] = {
    "nervous about": """
an exam | one student studied in a park and slept better
a speech | one speaker looked at a friendly face in the back
a flight | one traveler counted clouds through the bumps
a first date | one couple laughed about their shaking hands
an interview | one woman wore her lucky socks and got the job
""",
    "lonely after": """
a move | one man met his neighbors by walking a dog
a breakup | one singer wrote her best song that week
a new job | one clerk shared lunch and found a friend
retirement | one teacher began to paint with others
the holidays | one family set a place for strangers
""",
    "angry at": """
a neighbor | one man brought cake before he complained
my boss | one worker wrote a letter and never sent it
a sister | one pair of sisters made peace over old photos
a friend | one boy called a week later and laughed
the landlord | one tenant kept a list and stayed calm
""",
    "sad about": """
a lost pet | one girl buried a toy with her cat
bad grades | one pupil failed twice and became a doctor
an old house | one couple kept the front door as a table
the news | one reader now reads only on sundays
a missed chance | one runner came last and won the next race
""",
}

_SUGGESTIONS = (
    "take a slow walk",
    "talk to someone you trust",
    "write your thoughts down",
    "sleep before you decide",
    "breathe in for four counts",
    "plan one small step",
    "ask for help early",
    "give yourself some time",
    "name what you feel",
    "do one thing you enjoy",
    "picture it going well",
    "set a gentle limit",
    "listen to calm music",
    "cook a warm meal",
    "remember what went well before",
    "spend an hour outside",
    "keep a steady routine",
    "turn off your phone",
    "move your body a little",
    "say what you need",
)


@cache
def subjects() -> tuple[Subject, ...]:
    """All 85, in a fixed order; families are contiguous."""
    return (*_facts(), *_howto(), *_advice())


@cache
def by_phrase() -> dict[str, Subject]:
    """Phrase -> subject."""
    return {subject.phrase: subject for subject in subjects()}


def held_out(seed: int) -> frozenset[str]:
    """Phrases of the test set: one subject of every family, a fifth of the world."""
    import random

    families = sorted({subject.family for subject in subjects()})
    pick = random.Random(seed)
    return frozenset(pick.choice([s.phrase for s in subjects() if s.family == family]) for family in families)


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().split("\n")]


def _facts() -> list[Subject]:
    return [
        Subject(noun, "fact", family, tuple(points), example)
        for family, table in _FACTS.items()
        for noun, *points, example in _rows(table)
    ]


def _howto() -> list[Subject]:
    return [
        Subject(f"{verb} {thing}", "howto", verb, (first, one, two, last), example, hazard)
        for verb, (first, last, hazard, table) in _HOWTO.items()
        for thing, one, two, example in _rows(table)
    ]


def _advice() -> list[Subject]:
    found: list[Subject] = []
    for feeling, table in _ADVICE.items():
        for trouble, example in _rows(table):
            start = 7 * len(found)
            points = tuple(_SUGGESTIONS[(start + 3 * i) % len(_SUGGESTIONS)] for i in range(4))
            found.append(Subject(f"{feeling} {trouble}", "advice", feeling, points, example))
    return found
