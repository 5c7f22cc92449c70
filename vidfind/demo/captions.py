"""Captions of drawn scenes: several phrases for the same scene, as people would say it."""

from random import Random

from vidfind.demo.world import Scene, Shape

# Captions

NOUNS = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
}
ADJECTIVES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
# Each motion in two forms: after "it", and after "a circle", without another verb.
VERBS = {
    "left": (
        ("moves left", "moving left"),
        ("slides to the left", "sliding to the left"),
        ("moves from right to left", "moving from right to left"),
        ("goes from the right side to the left side", "going from the right side to the left side"),
        ("drifts leftwards", "drifting leftwards"),
    ),
    "right": (
        ("moves right", "moving right"),
        ("slides to the right", "sliding to the right"),
        ("moves from left to right", "moving from left to right"),
        ("goes from the left side to the right side", "going from the left side to the right side"),
        ("drifts rightwards", "drifting rightwards"),
    ),
    "up": (
        ("moves up", "moving up"),
        ("rises", "rising"),
        ("slides upwards", "sliding upwards"),
        ("goes from the bottom to the top", "going from the bottom to the top"),
        ("climbs to the top", "climbing to the top"),
    ),
    "down": (
        ("moves down", "moving down"),
        ("falls", "falling"),
        ("slides downwards", "sliding downwards"),
        ("goes from the top to the bottom", "going from the top to the bottom"),
        ("sinks to the bottom", "sinking to the bottom"),
    ),
    "grows": (("grows", "growing"), ("gets bigger", "getting bigger"), ("becomes larger", "becoming larger")),
    "shrinks": (("shrinks", "shrinking"), ("gets smaller", "getting smaller"), ("becomes smaller", "becoming smaller")),
    "spins": (("spins", "spinning"), ("rotates", "rotating"), ("turns around", "turning around")),
    "bounces": (("bounces", "bouncing"), ("hops up and down", "hopping up and down"), ("keeps jumping", "jumping")),
    "still": (("stays still", "staying still"), ("does not move", "that does not move"), ("rests", "resting")),
}


def caption(scene: Scene, rng: Random) -> str:
    """Returns a random caption of the scene that names every attribute of every shape."""
    shapes = list(scene.shapes)
    rng.shuffle(shapes)
    joint = rng.choice((" while ", " and ", ", "))
    return joint.join(_phrase(shape, rng) for shape in shapes)


def _phrase(shape: Shape, rng: Random) -> str:
    adjective = [rng.choice(ADJECTIVES[shape.size])] if shape.size else []
    noun = " ".join([*adjective, shape.colour, rng.choice(NOUNS[shape.kind])])
    verb, participle = rng.choice(VERBS[shape.motion])
    article = rng.choice(("a", "a", "the", "one"))
    return rng.choice((f"{article} {noun} {verb}", f"{article} {noun} {participle}", f"{noun} {participle}"))
