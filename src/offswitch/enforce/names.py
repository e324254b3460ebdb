"""Names of agents: what may be one, and a memorable one where none was given."""

import os
from collections.abc import Collection

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
LONGEST = 64

_QUALITIES = (
    "agile amber amiable ample ancient arctic autumn balmy bold brave breezy bright brisk bronze calm "
    "candid careful cheery civil clear clever copper coral cosy crisp curious dapper daring deft dewy "
    "eager early earnest easy fabled fair famous fleet fond frank fresh frosty gentle giddy glad golden "
    "grand green handy happy hardy hazel hearty honest humble icy ideal indigo ivory jade jolly jovial "
    "keen kind lanky lively loyal lucid lucky mellow merry mighty mild misty modest mossy neat nifty "
    "nimble noble olive opal patient placid plucky polite prime proud quick quiet rapid ready regal rosy "
    "ruby rustic sandy serene sharp shiny silent silver sleek snowy solid spry stable starry steady stout "
    "sunny swift tall tawny tidy tranquil trim trusty upbeat velvet vivid warm wily wise witty"
).split()
_ANIMALS = (
    "adder albatross alpaca ant antelope badger barbet bat bear beaver bee beetle bison bittern boar "
    "bobcat bullfinch bustard camel caracal cardinal caribou carp chamois cheetah chough cicada civet cod "
    "condor coot cormorant coyote crab crane cricket crow cuckoo curlew deer dingo dipper dolphin "
    "dormouse dove duck dunlin eagle eel egret eland elk ermine falcon ferret finch flamingo fox frog "
    "gannet gazelle gecko gibbon gnu goat goose grebe grouse gull hare harrier hawk hedgehog heron hoopoe "
    "hornet ibex ibis iguana impala jackal jackdaw jay kestrel kite kiwi koala kudu lapwing lark lemming "
    "lemur linnet llama lobster lynx macaw magpie marmot marten martin merlin mole moose moth mouse mule "
    "narwhal newt ocelot octopus okapi oriole oryx osprey otter owl oyster panda parrot partridge pelican "
    "penguin perch petrel pika pike pipit plover pony puffin puma quail rabbit raven redstart reindeer "
    "robin rook salmon sandpiper seal serval shrew shrike siskin skylark sloth snail snipe sparrow squid "
    "squirrel starling stilt stoat stork sturgeon swallow swan swift tapir teal tern thrush tiger toad "
    "toucan trout turtle viper vole vulture wagtail walrus warbler weasel whale wolf wombat woodcock wren "
    "yak zebra"
).split()


def check(name: str) -> str:
    """A name, if it can be one: it stands in paths, orders and tables.

    Args:
        name: 1 to 64 letters, digits, ``.``, ``_`` and ``-``, of which the first is a letter or a digit.

    Returns:
        The name.

    Raises:
        ValueError: It cannot be one; the message is one line that says what can.
    """
    good = 0 < len(name) <= LONGEST and name[0] in _LETTERS
    if not good or not all(letter in _LETTERS or letter in "._-" for letter in name):
        shown = name if len(name) <= LONGEST else name[:LONGEST] + "..."
        raise ValueError(
            f"{shown!r} cannot be an agent's name: use 1 to {LONGEST} letters, digits, '.', '_' and '-', "
            "beginning with a letter or a digit"
        )
    return name


def fresh(taken: Collection[str]) -> str:
    """A memorable name that is not taken, such as ``brisk-otter``.

    Args:
        taken: Names of running and of latched agents.
    """
    while True:
        draw = int.from_bytes(os.urandom(8), "big")
        draw, quality = divmod(draw, len(_QUALITIES))
        draw, animal = divmod(draw, len(_ANIMALS))
        name = f"{_QUALITIES[quality]}-{_ANIMALS[animal]}"
        if name not in taken:
            return name
        # Only someone with tens of thousands of latched agents comes here often.
        if f"{name}-{draw % 1_000_000}" not in taken:
            return f"{name}-{draw % 1_000_000}"
