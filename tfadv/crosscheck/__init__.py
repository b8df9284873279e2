"""Cross-checks: the same attack by another library; one peer per file, and no other room imports a peer.

`PEERS` is their index; nothing of a peer is imported before one of its attacks is asked for. The published AutoAttack,
which no package index has, is `published_autoattack.peer(folder)`.
"""

from __future__ import annotations

from tfadv.crosscheck import art, cleverhans, foolbox, torchattacks
from tfadv.crosscheck.peers import Peer

PEERS: dict[str, Peer] = {
    "cleverhans": cleverhans.PEER,
    "foolbox": foolbox.PEER,
    "art": art.PEER,
    "torchattacks": torchattacks.PEER,
}
