"""Makes the vectors of this directory, good and bad, each with what a reader must say.

    python3 -m venv venv && venv/bin/pip install cryptography argon2-cffi
    venv/bin/python tests/vectors/generate.py

To be run by people, and only when the format changes; the results are committed. Every run gives the same bytes.
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

from layout import *
from layout import field as f

HERE = pathlib.Path(__file__).parent
RING, RING_KEY = rnd("ring", 16), rnd("ring key")
OTHER_RING, OTHER_KEY = rnd("other ring", 16), rnd("other ring key")
TIME = 1_790_000_000
MEMBERSHIPS = {REGISTERED: "registered", REMOVED: "removed"}
NAMES = {PRE_ACTIVE: "pre-active", ACTIVE: "active", DEACTIVATED: "deactivated"}


def write(name, about, cases):
    def plain(value):
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    assert len({case["name"] for case in cases}) == len(cases)
    text = json.dumps({"about": about, "cases": plain(cases)}, indent=1)
    (HERE / name).write_text(text + "\n")


def key(number, state, changed, label=None, ring=RING, activated=None, deactivated=None):
    material = rnd(label or f"key {number}")
    if state == ACTIVE and activated is None:
        activated = TIME
    name = key_id(ring, number, material)
    return dict(sequence=number, id=name, material=material, state=state, suspended=False, suspension=0,
                changed=changed, created=TIME, activated=activated, deactivated=deactivated, decrypt_only=False)


def tombstone(number, label=None):
    return dict(sequence=number, id=key_id(RING, number, rnd(label or f"key {number}")), destroyed=TIME + 70,
                evidence=rnd(f"evidence {number}", 16))


# --- wrapped seeds --------------------------------------------------------------------------------------------------


def wrapped_seeds():
    kek = rnd("key 3")
    name = key_id(RING, 3, kek)
    base = dict(ring_id=RING, key_id=name, key=kek)
    good = wrapped_seed(RING, name, kek, rnd("seed"), "good")
    fits = [("1 byte", rnd("one", 1)), ("32 bytes", rnd("seed")), ("512 bytes", rnd("long", 512)),
            ("914 bytes, the most that fits", rnd("longest", 914))]
    cases = [{"name": what, **base, "bytes": wrapped_seed(RING, name, kek, text, what), "plaintext": text}
             for what, text in fits]

    def bad(what, error, data, **other):
        cases.append({"name": what, **base, **other, "bytes": data, "error": error})

    bad("empty", "length", b"")
    bad("one byte", "length", good[:1])
    bad("an empty plaintext, well sealed", "length", wrapped_seed(RING, name, kek, b"", "empty"))
    bad("over 1,024 bytes, well sealed", "length", wrapped_seed(RING, name, kek, rnd("over", 915), "over"))
    for version in 0, 2, 0xFF:
        suite = bytes([version, 1])
        bad(f"version {version}, sealed as such", "version", wrapped_seed(RING, name, kek, b"x", "v", suite))
        suite = bytes([1, version])
        bad(f"suite {version}, sealed as such", "suite", wrapped_seed(RING, name, kek, b"x", "s", suite))
    second = wrapped_seed(RING, name, kek, b"x" * 32, "v2", bytes([2, 1]))
    bad("sealed as version 2, labelled 1", "commitment", b"\1" + second[1:])
    bad("fingerprint bent", "fingerprint", flip(good, 2))
    for what, position, error in [("salt", 18, "commitment"), ("nonce", 50, "commitment"),
                                  ("commitment", 62, "commitment"), ("ciphertext", 94, "tag"), ("tag", 141, "tag")]:
        bad(f"{what} bent", error, flip(good, position, 7))
    for length, error in [(18, "length"), (50, "length"), (94, "length"), (110, "length"), (111, "tag"), (141, "tag")]:
        bad(f"cut to {length} bytes", error, good[:length])
    bad("one byte more", "tag", good + b"\0")
    bad("other ring", "commitment", good, ring_id=OTHER_RING)
    bad("other key under this name", "commitment", good, key=rnd("key 4"))
    bad("other key id", "fingerprint", good, key_id=key_id(RING, 4, kek))
    bad("other sequence, same fingerprint", "commitment", good, key_id="k4" + name[2:])
    bad("AAD without the commitment", "tag",
        wrapped_seed(RING, name, kek, b"x", "aad", aad=context("kekring/v1/wrapped-seed", SUITE, RING, name.encode())))
    bad("no AAD", "tag", wrapped_seed(RING, name, kek, b"x", "no aad", aad=b""))
    write("wrapped-seed.json", "A wrapped seed: opens to `plaintext`, or is refused with `error`.", cases)


# --- generations ----------------------------------------------------------------------------------------------------

FILE_SLOT = dict(id=rnd("slot 1", 16), kind=FILE, name="file /etc/kekring/root.key", created=TIME, replaces=b"")
FILE_SLOT["sealed"] = file_slot(rnd("root"), slot_context(RING, FILE_SLOT["id"], FILE), RING_KEY, "header")
CODE_SLOT = dict(id=rnd("slot 2", 16), kind=PASSPHRASE, name="recovery code", created=TIME, replaces=b"")
CODE_SLOT["sealed"] = passphrase_slot(rnd("code"), slot_context(RING, CODE_SLOT["id"], PASSPHRASE), RING_KEY, "header")
FIRST = [key(1, ACTIVE, 1), key(2, PRE_ACTIVE, 1)]
SECOND = [key(1, DEACTIVATED, 2, activated=TIME, deactivated=TIME + 60),
          key(2, ACTIVE, 2, activated=TIME + 60), key(3, PRE_ACTIVE, 2)]
THIRD = [*SECOND[:2], key(3, DEACTIVATED, 3, deactivated=TIME + 90), key(4, PRE_ACTIVE, 3)]
PROPOSAL = dict(id=rnd("proposal", 16), activate=AUTO, key_id=THIRD[3]["id"])


def member(name, since, membership=REGISTERED, instance=None):
    return dict(name=name, instance=instance or rnd(f"instance of {name}", 16), since=since, membership=membership)


def retirement(number, since=1, keys=(SECOND[0]["id"],), **other):
    return dict(id=rnd(f"retirement {number}", 16), keys=list(keys), not_before=TIME + 86400, evidence=rnd("evidence"),
                by="ops@example.com", skipped=[], since=since, withdrawn=False) | other


def superseded(number, generation=2, ring_key=None):
    record = dict(version=1, ring_id=RING, generation=generation)
    return superseded_message(record, ring_key or rnd(f"replaced ring key {number}"))


def foreign_slot(number, kind, **other):
    return dict(id=rnd(f"slot {number}", 16), kind=kind, name="a root of the future", sealed=b"\0\1\2", created=TIME,
                replaces=b"") | other


REPLACED = sorted(ring_key_id(RING, rnd(f"replaced ring key {n}")) for n in range(3))
GONE_SLOTS = sorted(rnd(f"removed slot {n}", 16) for n in range(3))
RETIREMENTS = sorted([retirement(1), retirement(2, 2, skipped=[0, 3, 300]), retirement(3, withdrawn=True, by="")],
                     key=lambda it: it["id"])
SUPERSEDING = sorted(superseded(n) for n in range(2))


def header(generation=1, parents=(), slots=(FILE_SLOT,), **other):
    return dict(ring_id=RING, generation=generation, parents=list(parents), writer=rnd("writer", 16),
                proposal_id=rnd(f"change {generation}", 16), written=TIME, slots=list(slots)) | other


def generation(head, body, label, version=1, min_reader=1, ring_key=RING_KEY):
    clear = header_message(head) if isinstance(head, dict) else head
    sealed = sealed_message(seal_body(ring_key, clear, body, label, version, min_reader))
    return framed(outer_message(clear, sealed, version, min_reader))


def good_generations():
    cases = []

    def good(name, head, keys, **other):
        data = generation(head, body_message(keys, **other), name)
        shown = [{"id": it["id"], "material": it["material"], "state": NAMES[it["state"]]}
                 | {field: it[field] for field in ("suspended", "suspension", "changed", "created", "activated", "deactivated",
                                                   "decrypt_only")}
                 for it in keys]
        expect = {**head, "keys": shown, "machine": other.get("machine"), "development": other.get("development", False),
                  "writable": True}
        expect["tombstones"] = [{what: it[what] for what in ("id", "destroyed", "evidence")}
                                for it in other.get("tombstones", ())]
        proposal = other.get("proposal")
        expect["proposal"] = proposal and {**proposal, "activate": {AUTO: "auto", MANUAL: "manual"}[proposal["activate"]]}
        expect["members"] = [{**it, "membership": MEMBERSHIPS[it["membership"]]} for it in other.get("members", ())]
        for what in "replaced", "removed", "retirements", "superseding":
            expect[what] = list(other.get(what, ()))
        cases.append({"name": name, "ring_key": RING_KEY, "bytes": data, "expect": expect})
        return sha256(data)

    first = good("generation 1", header(), FIRST)
    second = good("generation 2", header(2, [first]), SECOND)
    good("a proposal, automatic", header(3, [second]), THIRD, proposal=PROPOSAL)
    good("a proposal, by hand", header(3, [second]), THIRD, proposal={**PROPOSAL, "activate": MANUAL})
    good("a suspended key", header(3, [second]), [{**SECOND[0], "suspended": True, "suspension": 3}, *SECOND[1:]])
    good("a resumed key", header(3, [second]), [{**SECOND[0], "suspension": 3}, *SECOND[1:]])
    quiet = {**SECOND[1], "suspended": True, "suspension": 1}
    good("an active key that was suspended before", header(3, [second]), [SECOND[0], quiet, SECOND[2]])
    good("a destroyed key", header(3, [second]), SECOND[1:], tombstones=[tombstone(1)])
    tombs = sorted([tombstone(1), tombstone(4), tombstone(5, "left 5"), tombstone(5, "right 5"), tombstone(2**64 - 1)],
                   key=lambda it: (it["sequence"], it["id"]))
    good("destroyed keys, two of one number and one of the highest", header(3, [second]), SECOND[1:], tombstones=tombs)
    taken = key(7, DEACTIVATED, 2, deactivated=TIME + 60) | dict(decrypt_only=True)
    good("a key that only decrypts", header(2, [first]), [*SECOND, taken])
    used = {**taken, "activated": TIME + 30, "suspended": True, "suspension": 2}
    good("a suspended key that only decrypts and was in use", header(2, [first]), [*SECOND, used])
    early, late = [key(1, DEACTIVATED, 2, activated=TIME - 300, deactivated=TIME - 1)], 2**64 - 1
    good("times before the key was made", header(2, [first]), [*early, *SECOND[1:]])
    for what, created, time in [("the last time, made at the first", 0, late), ("the first time, made at the last", late, 0),
                                ("half of all time later", 0, 2**63)]:
        one = {**SECOND[0], "created": created, "activated": time, "deactivated": time}
        good(what, header(2, [first]), [one, *SECOND[1:]])
    good("replaced ring keys and removed slots", header(3, [second]), SECOND, replaced=REPLACED, removed=GONE_SLOTS)
    good("a retirement", header(3, [second]), SECOND, retirements=[retirement(1, 3)])
    good("retirements, one of them withdrawn", header(3, [second]), SECOND, retirements=RETIREMENTS)
    named = sorted([SECOND[0], SECOND[1], key(10, DEACTIVATED, 2), key(9, DEACTIVATED, 2)], key=lambda it: it["sequence"])
    decided = dict(keys=[it["id"] for it in named], by="ü" * 128, skipped=[0, 2**32 - 1])
    good("a retirement of keys by number, by the longest name", header(3, [second]), SECOND,
         retirements=[retirement(4, 3, **decided)])
    good("records of replaced ring keys", header(3, [second]), SECOND, superseding=SUPERSEDING)
    good("all of it", header(3, [second], slots=[FILE_SLOT, foreign_slot(3, RECIPIENT)]), [*SECOND[1:], taken],
         tombstones=[tombstone(1)], replaced=REPLACED, removed=GONE_SLOTS, retirements=RETIREMENTS, superseding=SUPERSEDING,
         machine=rnd("machine"), proposal={**PROPOSAL, "key_id": SECOND[2]["id"]}, members=[member("cp-1", 2)])
    good("two parents", header(4, sorted([second, rnd("branch")])), SECOND)
    good("two slots", header(slots=[FILE_SLOT, CODE_SLOT]), FIRST)
    for what, kind in [("unknown kind", 7), ("kind helper", HELPER), ("kind recipient", RECIPIENT),
                       ("the highest kind", 2**31 - 1)]:
        good(f"a slot of {what} is kept", header(slots=[foreign_slot(3, kind), FILE_SLOT]), FIRST)
    good("a slot of a negative kind is kept", header(slots=[foreign_slot(3, -1), FILE_SLOT]), FIRST)
    good("a slot that took the place of another", header(slots=[{**FILE_SLOT, "replaces": CODE_SLOT["id"]}]), FIRST)
    good("a slot that was made at no time", header(slots=[{**FILE_SLOT, "created": 0}]), FIRST)
    name = "ü" * 128
    many = [foreign_slot(n, 7, name=name, sealed=b"\0", replaces=rnd(f"slot {n} before", 16)) for n in range(16)]
    good("16 slots with names of 256 bytes", header(slots=many), FIRST)
    good("a slot without a name", header(slots=[{**FILE_SLOT, "name": ""}]), FIRST)
    good("bound to a machine", header(), FIRST, machine=rnd("machine"))
    good("a development ring", header(), FIRST, development=True)
    nodes = [member("cp-1.example.com", 1), member("cp-2", 3, REMOVED), member("n" * 253, 2)]
    good("nodes, one of them removed", header(3, [second]), SECOND, members=nodes)
    good("256 nodes", header(), FIRST, members=[member(f"n{n:03}", 1) for n in range(256)])
    return cases


def bad_headers(bad):
    body = body_message(FIRST)

    def with_header(what, error, **other):
        bad(what, f"corrupt: {error}", generation(header(**other), body, what))

    bad("an empty header", "corrupt: generation 0 with 0 parents", generation(b"", body, "empty header"))
    bad("a header that is no message", "corrupt: header: …", generation(b"\xff\xff", body, "no header"))
    with_header("no ring id", "ring id is 0 bytes instead of 16", ring_id=b"")
    with_header("a ring id of 15 bytes", "ring id is 15 bytes instead of 16", ring_id=RING[:15])
    with_header("generation 0", "generation 0 with 0 parents", generation=0)
    with_header("generation 1 with a parent", "generation 1 with 1 parents", parents=[rnd("p")])
    with_header("generation 2 without parents", "generation 2 with 0 parents", generation=2)
    with_header("a parent of 31 bytes", "parent hash is 31 bytes instead of 32", generation=2, parents=[rnd("p", 31)])
    descending = sorted([rnd("p"), rnd("q")], reverse=True)
    with_header("parents descending", "parents are not ascending", generation=2, parents=descending)
    with_header("a parent twice", "parents are not ascending", generation=2, parents=[rnd("p"), rnd("p")])
    with_header("a writer of 15 bytes", "writer is 15 bytes instead of 16", writer=rnd("writer", 15))
    with_header("no proposal id", "proposal id is 0 bytes instead of 16", proposal_id=b"")
    with_header("no slot", "no root slot", slots=[])
    with_header("a slot id of 17 bytes", "slot id is 17 bytes instead of 16", slots=[{**FILE_SLOT, "id": rnd("s", 17)}])
    for length in 15, 17:
        with_header(f"a replaced slot id of {length} bytes", f"replaced slot id is {length} bytes instead of 16",
                    slots=[{**FILE_SLOT, "replaces": rnd("s", length)}])
    with_header("slot kind 0", "a root slot without kind or content", slots=[{**FILE_SLOT, "kind": 0}])
    with_header("an empty slot", "a root slot without kind or content", slots=[{**FILE_SLOT, "sealed": b""}])
    unknown = [foreign_slot(n, 7) for n in range(17)]
    with_header("17 slots", "17 root slots, at most 16 are accepted", slots=unknown)
    with_header("a slot twice", "two root slots of one id", slots=[FILE_SLOT, FILE_SLOT])
    with_header("two slots of one id", "two root slots of one id",
                slots=[FILE_SLOT, CODE_SLOT, {**CODE_SLOT, "id": FILE_SLOT["id"]}])
    for what, name in [("257 bytes", "n" * 257), ("129 letters of two bytes", "ü" * 129), ("a line feed", "a\nb"),
                       ("an escape", "\x1b[2J"), ("a delete", "a\x7f"), ("a next line", "a\x85")]:
        with_header(f"a slot name with {what}",
                    "the name of a root slot is longer than 256 bytes or has control characters",
                    slots=[{**FILE_SLOT, "name": name}])
    with_header("a slot name that is not UTF-8", "header: …", slots=[{**FILE_SLOT, "name": b"\xff"}])


def bad_bodies(bad):
    def with_body(what, error, keys=FIRST, **other):
        error = error if error.startswith("body") else f"the ring breaks a rule: {error}"
        bad(what, f"corrupt: {error}", generation(header(), body_message(keys, **other), what))

    def with_key(what, error, **other):
        data = generation(header(), body_message([FIRST[0] | other, FIRST[1]]), what)
        bad(what, f"corrupt: {error}", data)

    one, two = FIRST
    active, waiting = one["id"], two["id"]
    bad("a body that is no message", "corrupt: body: …", generation(header(), b"\x0a\xff", "no body"))
    with_body("no keys", "0 active keys, exactly 1 is needed", [])
    with_body("two active keys", "2 active keys, exactly 1 is needed", 
              [one, key(2, ACTIVE, 1), key(3, PRE_ACTIVE, 1)])
    with_body("no pre-active key", "0 pre-active keys, exactly 1 is needed", [one])
    with_body("two pre-active keys", "2 pre-active keys, exactly 1 is needed", [*FIRST, key(3, PRE_ACTIVE, 1)])
    with_body("the next key is older", f"pre-active key {active} is not newer than active key {waiting}",
              [key(1, PRE_ACTIVE, 1), key(2, ACTIVE, 1)])
    order = "keys or tombstones are not in ascending order, or one stands twice, at "
    with_body("keys descending", order + active, [two, one])
    with_body("a key twice", order + active, [one, one, two])
    twins = sorted((key(1, DEACTIVATED, 1, f"twin {n}") for n in range(2)), key=lambda it: it["id"], reverse=True)
    with_body("two keys of one number descending", order + twins[1]["id"], [*twins, key(2, ACTIVE, 1), key(3, PRE_ACTIVE, 1)])
    undead = tombstone(1)
    with_body("a destroyed key with bytes", f"key {active} is destroyed and yet has bytes", tombstones=[undead])
    with_key("changed in a generation to come",
             f"the ring breaks a rule: key {active} changed in a generation yet to come", changed=2)
    with_key("suspended in a generation to come", f"the ring breaks a rule: key {active} was suspended or resumed in a "
             "generation yet to come", suspended=True, suspension=2)
    with_key("resumed in a generation to come", f"the ring breaks a rule: key {active} was suspended or resumed in a "
             "generation yet to come", suspension=2)
    with_key("suspended in no generation", f"the ring breaks a rule: key {active} is suspended, and the generation that "
             "did so is missing", suspended=True)
    with_key("active and never activated", f"the ring breaks a rule: key {active} is active and has no time of its "
             "activation", activated=None)
    for what in "activated", "deactivated":
        with_body(f"pre-active and {what}", f"key {waiting} is pre-active and has a time of activation or deactivation",
                  [one, {**two, what: TIME}])
    with_key("never changed", "a key without a sequence, or without the generation of its last change", changed=0)
    with_key("no sequence", "a key without a sequence, or without the generation of its last change", sequence=0)
    with_key("active, and only decrypts", f"the ring breaks a rule: key {active} only decrypts, and is active",
             decrypt_only=True)
    with_body("pre-active, and only decrypts", f"key {waiting} only decrypts, and is pre-active",
              [one, {**two, "decrypt_only": True}])
    with_key("key bytes 31 long", "key material is not 32 bytes", material=one["material"][:31])
    with_key("no key bytes", "key material is not 32 bytes", material=b"")
    with_key("key state 0", "a key without a state", state=0)
    for state in 4, 99, -1:
        data = generation(header(), body_message([{**one, "state": state}, two]), f"state {state}")
        bad(f"key state {state}", f"newer format: key state {state} is unknown to this version", data)
    fitting = {**PROPOSAL, "key_id": waiting}
    with_body("a proposal for another key", f"the proposal is for {active}, which is not the pre-active key",
              proposal={**fitting, "key_id": active})
    for what, error, other in [
        ("a proposal id of 15 bytes", "proposal id is 15 bytes instead of 16", dict(id=rnd("p", 15))),
        ("proposal activation 0", "a proposal without its activation", dict(activate=0)),
        ("a proposal without key id", "proposal key id is malformed", dict(key_id="")),
    ]:
        bad(what, f"corrupt: {error}", generation(header(), body_message(FIRST, proposal=fitting | other), what))
    data = generation(header(), body_message(FIRST, proposal=fitting | dict(activate=3)), "proposal activation 3")
    bad("proposal activation 3", "newer format: proposal activation 3 is unknown to this version", data)
    bad_members(bad)
    bad_tombstones(bad)
    bad_removals(bad)
    bad_retirements(bad)
    bad_records(bad)
    machine = generation(header(), body_message(FIRST, machine=rnd("m", 31)), "machine 31")
    bad("a machine of 31 bytes", "corrupt: machine is 31 bytes instead of 32", machine)


def bad_members(bad):
    def with_members(what, error, *members):
        bad(what, f"corrupt: {error}", generation(header(), body_message(FIRST, members=members), what))

    order = "the ring breaks a rule: nodes are not in ascending order, or one stands twice, at "
    with_members("nodes descending", order + "cp-1", member("cp-2", 1), member("cp-1", 1))
    with_members("a node twice", order + "cp-1", member("cp-1", 1), member("cp-1", 1, REMOVED))
    with_members("a node of a generation to come", "the ring breaks a rule: node cp-1 was registered or removed in a "
                 "generation that does not exist yet", member("cp-1", 2))
    with_members("a node of no generation", "a node without the generation of its record", member("cp-1", 0))
    with_members("257 nodes", "the ring breaks a rule: 257 records of nodes, at most 256 are accepted",
                 *[member(f"n{n:03}", 1) for n in range(257)])
    with_members("node membership 0", "a node without its membership", member("cp-1", 1, 0))
    data = generation(header(), body_message(FIRST, members=[member("cp-1", 1, 3)]), "membership 3")
    bad("node membership 3", "newer format: node membership 3 is unknown to this version", data)
    for length in 15, 17:
        with_members(f"a node instance of {length} bytes", f"node instance is {length} bytes instead of 16",
                     member("cp-1", 1, instance=rnd("i", length)))
    name = "the name of a node: not a node name: 1 to 253 letters a-z, digits, '-' and '.', and each part begins and ends " \
           "with a letter or a digit"
    for what, text in [("no node name", ""), ("a node name in upper case", "CP-1"), ("a node name with a slash", "a/b"),
                       ("a node name with an empty part", "a..b"), ("a node name that begins with a dash", "-a"),
                       ("a node name of 254 bytes", "n" * 254)]:
        with_members(what, name, member(text, 1, instance=rnd("i", 16)))


def bad_tombstones(bad):
    def with_tombs(what, error, *tombs):
        bad(what, f"corrupt: {error}", generation(header(), body_message(FIRST, tombstones=tombs), what))

    order = "the ring breaks a rule: keys or tombstones are not in ascending order, or one stands twice, at "
    three, four = tombstone(3), tombstone(4)
    with_tombs("tombstones descending", order + three["id"], four, three)
    with_tombs("a tombstone twice", order + three["id"], three, three)
    with_tombs("a tombstone twice, destroyed at two times", order + three["id"], three, {**three, "destroyed": TIME})
    twins = sorted((tombstone(3, f"twin {n}") for n in range(2)), key=lambda it: it["id"], reverse=True)
    with_tombs("tombstones of one number descending", order + twins[1]["id"], *twins)
    numbers = [tombstone(10), tombstone(9)]
    with_tombs("tombstones by letter", order + numbers[1]["id"], *numbers)
    with_tombs("a tombstone without a number", "a destroyed key without a sequence", {**three, "sequence": 0})
    for what, name in [("fingerprint", "fingerprint of a destroyed key"), ("evidence", "evidence of a destroyed key")]:
        for length in 0, 15, 17, 32:
            with_tombs(f"a tombstone's {what} of {length} bytes", f"{name} is {length} bytes instead of 16",
                       {**three, what: rnd("tomb", length)})


def bad_removals(bad):
    order = "the ring breaks a rule: {} are not in ascending order, or one stands twice"
    for what, name, good in [("replaced", "replaced ring keys", REPLACED), ("removed", "removed root slots", GONE_SLOTS)]:
        def with_list(problem, error, values):
            title = f"{name}: {problem}"
            bad(title, f"corrupt: {error}", generation(header(), body_message(FIRST, **{what: values}), title))

        for length in 1, 15, 17, 31:
            with_list(f"{length} bytes", f"{name} are {length} bytes, which are no multiple of 16", [rnd("list", length)])
        with_list("descending", order.format(name), good[::-1])
        with_list("one twice", order.format(name), [good[0], *good])


def bad_retirements(bad):
    def with_retirements(what, error, *retirements):
        bad(what, f"corrupt: {error}", generation(header(), body_message(FIRST, retirements=retirements), what))

    def one(what, error, **other):
        with_retirements(f"a retirement {what}", error, retirement(1) | other)

    order = "the ring breaks a rule: retirements are not in ascending order, or one stands twice"
    two = sorted([retirement(1), retirement(2)], key=lambda it: it["id"])
    with_retirements("retirements descending", order, *two[::-1])
    with_retirements("a retirement twice", order, two[0], two[0])
    with_retirements("two retirements of one id", order, two[0], {**two[0], "withdrawn": True})
    for length in 0, 15, 17:
        one(f"with an id of {length} bytes", f"retirement id is {length} bytes instead of 16", id=rnd("id", length))
    for length in 0, 31, 33:
        one(f"with evidence of {length} bytes", f"retirement evidence is {length} bytes instead of 32",
            evidence=rnd("e", length))
    plain = "a retirement without a generation or a key, or by a name that is too long or has control characters"
    one("of no key", plain, keys=[])
    one("of no generation", plain, since=0)
    for what, text in [("of 257 bytes", "n" * 257), ("of 129 letters of two bytes", "ü" * 129), ("with a line feed", "a\nb"),
                       ("with an escape", "\x1b[2J"), ("with a delete", "a\x7f"), ("with a next line", "a\x85")]:
        one(f"by a name {what}", plain, by=text)
    one("by a name that is not UTF-8", "body: …", by=b"\xff")
    one("of a generation to come", "the ring breaks a rule: a retirement was set in a generation that does not exist yet",
        since=2)
    malformed = "a retirement names a malformed key id"
    for what, name in [("an empty key id", ""), ("a key id in upper case", SECOND[0]["id"].upper()), ("a key of number 0", "k0-" + "0" * 32)]:
        one(f"of {what}", malformed, keys=[name])
    ids = [key_id(RING, n, rnd(f"key {n}")) for n in (9, 10)]
    ascending = "the keys or conditions of a retirement are not ascending"
    one("of keys descending", ascending, keys=ids[::-1])
    one("of a key twice", ascending, keys=[ids[0], ids[0]])
    one("with conditions descending", ascending, skipped=[3, 2])
    one("with a condition twice", ascending, skipped=[3, 3])


def bad_records(bad):
    def with_records(what, error, *records):
        bad(what, f"corrupt: {error}", generation(header(), body_message(FIRST, superseding=records), what))

    order = "the ring breaks a rule: records of replaced ring keys are not in ascending order, or one stands twice"
    with_records("records descending", order, *SUPERSEDING[::-1])
    with_records("a record twice", order, SUPERSEDING[0], SUPERSEDING[0])
    malformed = "a record of a replaced ring key is malformed"
    good = SUPERSEDING[0]
    with_records("an empty record", malformed, b"")
    with_records("a record that is cut", malformed, good[:-1])
    with_records("a record of no generation", malformed, superseded(1, 0))
    with_records("a record with an unknown field", malformed, good + f(50, 1))
    with_records("a record with a field twice", malformed, f(3, 4) + good)
    with_records("a record with a long varint", malformed, good.replace(f(3, 2), f(3, 2, padding=1)))
    longest = f(1, 1) + f(2, RING) + f(3, 2)
    with_records("a record of 129 bytes", malformed, longest + f(15, rnd("mac", 129 - len(longest) - 2)))


def bad_frames(bad):
    clear, body = header_message(header()), body_message(FIRST)
    parts = seal_body(RING_KEY, clear, body, "frames")
    sealed = sealed_message(parts)
    outer = outer_message(clear, sealed)
    good = framed(outer)
    bad("an empty file", "corrupt: does not begin like a ring", b"")
    bad("another magic", "corrupt: does not begin like a ring", framed(outer, b"kekring\r"))
    unreleased = "written by a kekring from before the first release, in a format that was never released"
    bad("the magic of before the first release", unreleased, framed(outer, b"KEKRING\n"))
    bad("the magic of before the first release, alone", unreleased, b"KEKRING\n")
    bad("magic alone", "corrupt: cut short", good[:8])
    mismatch = "corrupt: the checksum does not match"
    for what, data in [("cut by one byte", good[:-1]), ("cut in the middle", good[: len(good) // 2]),
                       ("one byte more", good + b"\0"), ("a bit of the checksum flipped", flip(good, -1)),
                       ("a bit of the header flipped", flip(good, 40)), ("a bit of the body flipped", flip(good, -60))]:
        bad(what, mismatch, data)
    absent = "corrupt: format version is absent or impossible"
    bad("no message", absent, framed(b""))
    bad("no version", absent, framed(outer_message(clear, sealed, version=0)))
    bad("no minimum reader", absent, framed(outer_message(clear, sealed, min_reader=0)))
    bad("a minimum reader above the version", absent, framed(outer_message(clear, sealed, 1, 2)))
    bad("cut inside the message, checksum right", "corrupt: generation: …", framed(outer[:-1]))
    bad("field number 0", "corrupt: generation: …", framed(outer + b"\0\0"))
    bad("no body", "corrupt: body is absent", framed(outer_message(clear, b"")))
    for index, name, length in [(0, "salt", 32), (1, "nonce", 12), (2, "commitment", 32)]:
        for size in 0, length - 1, length + 1:
            changed = [*parts[:index], rnd(name, size), *parts[index + 1 :]]
            bad(f"a body {name} of {size} bytes", f"corrupt: body {name} is {size} bytes instead of {length}",
                framed(outer_message(clear, sealed_message(changed))))
    bad("a body of 15 bytes", "corrupt: body is shorter than a tag",
        framed(outer_message(clear, sealed_message([*parts[:3], parts[3][:15]]))))

    wrong = "wrong root: sealed under another ring key"
    bad("another ring key", wrong, good, ring_key=OTHER_KEY)
    for index, name in [(0, "salt"), (1, "nonce"), (2, "commitment")]:
        changed = [*parts[:index], flip(parts[index], 0), *parts[index + 1 :]]
        bad(f"the body's {name} bent, checksum right", wrong, framed(outer_message(clear, sealed_message(changed))))

    tampered = "tampered: header or body does not authenticate"
    for what, other in [("a time", dict(written=TIME ^ 1)), ("the ring id", dict(ring_id=OTHER_RING)),
                        ("the generation", dict(generation=2, parents=[rnd("p")])),
                        ("a slot", dict(slots=[{**FILE_SLOT, "sealed": flip(FILE_SLOT["sealed"], -1)}])),
                        ("a slot added", dict(slots=[FILE_SLOT, CODE_SLOT]))]:
        bad(f"{what} in the header changed, checksum right", tampered,
            framed(outer_message(header_message(header(**other)), sealed)))
    for what, position in [("ciphertext", 0), ("tag", -1)]:
        changed = [*parts[:3], flip(parts[3], position)]
        bad(f"the body's {what} bent, checksum right", tampered, framed(outer_message(clear, sealed_message(changed))))
    bad("the body of another generation", tampered,
        framed(outer_message(header_message(header(2, [sha256(good)])), sealed)))
    bad("version 1 labelled 2", tampered, framed(outer_message(clear, sealed, 2, 1)))
    sealed_2 = sealed_message(seal_body(RING_KEY, clear, body, "relabelled", 2, 2))
    bad("version 2 labelled 1", tampered, framed(outer_message(clear, sealed_2, 1, 1)))

    for version, reader in [(2, 2), (3, 2), (2**32 - 1, 2**32 - 1)]:
        bad(f"version {version} for readers of {reader}",
            f"newer format: format version {version} needs a reader of version {reader} or later",
            generation(header(), body, f"v{version}", version, reader))
    bad("version 2 for readers of 2, the rest unreadable",
        "newer format: format version 2 needs a reader of version 2 or later",
        framed(outer_message(b"\xff", b"", 2, 2)))


def read_only_generations():
    """Opens, and is never written over: a newer version's work, or at least not ours."""
    cases = []
    clear, body = header_message(header()), body_message(FIRST)

    def case(name, clear=clear, body=body, outer=outer_message, version=1):
        sealed = sealed_message(seal_body(RING_KEY, clear, body, name, version, 1))
        expect = {"generation": 1, "keys": [it["id"] for it in FIRST], "writable": False}
        data = framed(outer(clear, sealed, version, 1))
        cases.append({"name": name, "ring_key": RING_KEY, "bytes": data, "read_only": expect})

    unknown = f(90, b"from the future")
    case("version 2 for readers of 1", version=2)
    case("an unknown field in the header", clear=clear + unknown)
    case("an unknown field in the body", body=body + unknown)
    case("an unknown field in a key", body=f(1, [key_message(FIRST[0], unknown), key_message(FIRST[1])]))
    case("an unknown field in a node", body=body + f(6, [member_message(member("cp-1", 1), unknown)]))
    case("an unknown field in a tombstone", body=body + f(2, [tombstone_message(tombstone(3), unknown)]))
    case("an unknown field in a retirement", body=body + f(9, [retirement_message(retirement(1), unknown)]))
    case("an unknown field in a proposal",
         body=body + f(3, proposal_message({**PROPOSAL, "key_id": FIRST[1]["id"]}, unknown)))
    spread = retirement_message(retirement(1, skipped=[3, 300])).replace(packed(6, [3, 300]), f(6, [3, 300]))
    case("conditions of a retirement one by one", body=body + f(9, [spread]))
    case("replaced ring keys in two pieces", body=body + f(7, REPLACED[1]) + f(7, REPLACED[0]))
    stretched = key_message(FIRST[0]).replace(f(6, 0, always=True), f(6, 0, always=True, padding=1))
    case("a long varint in a key", body=f(1, [stretched, key_message(FIRST[1])]))
    slot = slot_message(FILE_SLOT)
    case("an unknown field in a slot", clear=header_message(header(slots=[])) + f(7, slot + unknown))
    case("an unknown field outside", outer=lambda *all: outer_message(*all) + unknown)
    case("an unknown field in the sealed body's message",
         outer=lambda clear, sealed, *rest: outer_message(clear, sealed + unknown, *rest))
    case("a field twice in the header", clear=f(6, TIME + 1) + clear)
    case("a field twice in the body", body=body + f(5, 1) + f(5, 0, always=True))
    case("a field twice outside", outer=lambda *all: f(1, 9) + outer_message(*all))
    case("a long varint in the header", clear=clear.replace(f(6, TIME), f(6, TIME, padding=2)))
    case("a long varint in the body", body=body + f(5, 1, padding=1))
    case("a long varint outside",
         outer=lambda clear, sealed, *_: f(1, 1, padding=3) + f(2, 1) + f(3, clear) + f(4, sealed))
    case("a default written out in the body", body=body + f(5, 0, always=True))
    case("fields in another order in the header", clear=f(6, TIME) + clear.replace(f(6, TIME), b""))
    case("fields in another order outside",
         outer=lambda clear, sealed, *_: f(4, sealed) + f(3, clear) + f(2, 1) + f(1, 1))
    return cases


def generations():
    cases = good_generations() + read_only_generations()

    def bad(name, error, data, ring_key=RING_KEY):
        cases.append({"name": name, "ring_key": ring_key, "bytes": data, "error": error})

    bad_frames(bad)
    bad_headers(bad)
    bad_bodies(bad)
    write("generation.json", "A stored generation: opens to all of `expect`, opens and is not `writable` as in "
          "`read_only`, or is refused with `error`; an error that ends in … is one of the protobuf decoder's.", cases)


# --- the mark -------------------------------------------------------------------------------------------------------


def marks():
    base = dict(version=1, ring_id=RING, generation=5, hash=rnd("hash"), sequence=2, key_id=FIRST[1]["id"],
                suspended=[], destroyed=b"", seen=TIME)
    ids = [key_id(RING, n, rnd(f"key {n}")) for n in (1, 3, 4)]
    cases = []

    def good(name, **other):
        mark = base | other
        shown = {what: value for what, value in mark.items() if what not in ("version", "sequence")}
        cases.append({"name": name, "ring_key": RING_KEY, "bytes": mark_message(mark, RING_KEY), "expect": shown})

    def bad(name, error, data, ring_key=RING_KEY):
        cases.append({"name": name, "ring_key": ring_key, "bytes": data, "error": error})

    def other(name, error, **other):
        bad(name, error, mark_message(base | other, RING_KEY))

    good("a mark")
    good("suspended and destroyed keys", suspended=ids[:1], destroyed=digest(ids[1:]))
    numbers = [key_id(RING, n, rnd(f"key {n}")) for n in (9, 10)]
    twins = sorted(key_id(RING, 9, rnd(f"twin {n}")) for n in range(2))
    good("by number, not by letter", suspended=numbers, destroyed=digest(numbers))
    good("two keys of one number", suspended=twins, destroyed=digest(twins))
    data = mark_message(base, RING_KEY)
    mac = "tampered: the mark's MAC does not match"
    bad("a bit of the MAC flipped", mac, flip(data, -1))
    bad("no MAC", mac, data[:-34])
    bad("a MAC of 31 bytes", mac, data[:-34] + f(15, data[-32:-1]))
    bad("raised", mac, mark_message(base, RING_KEY, bend=lambda it: it.replace(f(3, 5), f(3, 6))))
    bad("another ring key", mac, data, OTHER_KEY)
    bad("another ring", mac, mark_message({**base, "ring_id": OTHER_RING}, OTHER_KEY))
    bad("labelled with another ring", mac, mark_message(base, RING_KEY, bend=lambda it: it.replace(RING, OTHER_RING)))
    canonical = "corrupt: mark is not canonical"
    bad("an unknown field", canonical, mark_message(base, RING_KEY, extra=f(10, 1)))
    bad("a field twice", canonical, f(3, 4) + data)
    bad("a long varint", canonical, data.replace(f(3, 5), f(3, 5, padding=1)))
    bad("empty", "corrupt: the mark has no version", b"")
    bad("cut", "corrupt: mark: …", data[:-1])
    newer = "newer format: format version 2 needs a reader of version 2 or later"
    other("version 2", newer, version=2)
    bad("version 2 with a new field", newer, mark_message({**base, "version": 2}, RING_KEY, extra=f(10, 1)))
    other("no version", "corrupt: the mark has no version", version=0)
    other("generation 0", "corrupt: the mark contradicts itself", generation=0)
    other("another sequence than the key id's", "corrupt: the mark contradicts itself", sequence=3)
    other("a malformed key id", "corrupt: the mark has a malformed key id", key_id="k2")
    other("a malformed suspended key", "corrupt: the mark has a malformed key id", suspended=["k0"])
    for name, bad_order in [("descending", ids[1::-1]), ("by letter", numbers[::-1]), ("twice", [ids[0], ids[0]]),
                            ("of one number descending", twins[::-1])]:
        other(f"suspended keys {name}", "corrupt: the mark's suspended keys are not ascending", suspended=bad_order)
    for length in 15, 17, 32:
        other(f"a digest of {length} bytes", f"corrupt: mark digest is {length} bytes instead of 16",
              destroyed=rnd("digest", length))
    bad("the digest changed", mac, mark_message({**base, "destroyed": digest(ids[1:])}, RING_KEY,
                                                bend=lambda it: it.replace(digest(ids[1:]), digest(ids[:1]))))
    bad("the digest left out", mac, mark_message({**base, "destroyed": digest(ids[1:])}, RING_KEY,
                                                 bend=lambda it: it.replace(f(8, digest(ids[1:])), b"")))
    other("a ring id of 15 bytes", "corrupt: mark ring id is 15 bytes instead of 16", ring_id=RING[:15])
    other("a hash of 33 bytes", "corrupt: mark hash is 33 bytes instead of 32", hash=rnd("hash", 33))
    write("mark.json", "A mark: opens to `expect`, or is refused with `error`.", cases)


# --- an acknowledgement ----------------------------------------------------------------------------------------------


def acknowledgements():
    base = dict(version=1, ring_id=RING, node="cp-1", instance=rnd("instance", 16), generation=5, hash=rnd("hash"),
                held=FIRST[1]["id"], reported=FIRST[0]["id"], shown=b"", format=1, time=TIME,
                watched=[], purged=b"")
    retiring = [dict(key_id=key_id(RING, number, rnd(f"key {number}")), decrypts=decrypts)
                for number, decrypts in ((1, 0), (9, 1), (10, 2**64 - 1))]
    dead = digest([SECOND[0]["id"]])
    cases = []

    def good(name, **other):
        said = base | other
        shown = {what: value for what, value in said.items() if what != "version"}
        data = acknowledgement_message(said, RING_KEY)
        cases.append({"name": name, "ring_key": RING_KEY, "bytes": data, "expect": shown})

    def bad(name, error, data, ring_key=RING_KEY):
        cases.append({"name": name, "ring_key": ring_key, "bytes": data, "error": error})

    def other(name, error, **other):
        bad(name, error, acknowledgement_message(base | other, RING_KEY))

    good("an acknowledgement")
    good("in a fork", shown=rnd("nonce", 16))
    good("nothing reported yet", reported="")
    good("retiring keys, by number", watched=retiring)
    good("without a copy of destroyed keys", purged=dead)
    good("all of it", shown=rnd("nonce", 16), watched=retiring, purged=dead)
    good("the longest name, a later format", node="n" * 253, format=2**32 - 1)
    data = acknowledgement_message(base, RING_KEY)
    mac = "tampered: the acknowledgement's MAC does not match"
    bad("a bit of the MAC flipped", mac, flip(data, -1))
    bad("no MAC", mac, data[:-34])
    bad("a MAC of 31 bytes", mac, data[:-34] + f(15, data[-32:-1]))
    bad("raised", mac, acknowledgement_message(base, RING_KEY, bend=lambda it: it.replace(f(5, 5), f(5, 6))))
    bad("another node's name", mac, acknowledgement_message(base, RING_KEY, bend=lambda it: it.replace(b"cp-1", b"cp-2")))
    bad("a fork added", mac, acknowledgement_message(base, RING_KEY, bend=lambda it: it.replace(
        f(10, 1), f(9, rnd("nonce", 16)) + f(10, 1))))
    bad("another ring key", mac, data, OTHER_KEY)
    bad("labelled with another ring", mac,
        acknowledgement_message(base, RING_KEY, bend=lambda it: it.replace(RING, OTHER_RING)))
    mark = dict(version=1, ring_id=RING, generation=5, hash=rnd("hash"), sequence=2, key_id=FIRST[1]["id"], suspended=[],
                destroyed=b"", seen=TIME)
    bad("a mark", "corrupt: acknowledgement: …", mark_message(mark, RING_KEY))
    canonical = "corrupt: acknowledgement is not canonical"
    bad("an unknown field", canonical, acknowledgement_message(base, RING_KEY, extra=f(14, 1)))
    stretched = f(1, retiring[0]["key_id"]) + f(2, 0, always=True)
    bad("a count of nothing written out", canonical, acknowledgement_message(base, RING_KEY, extra=f(12, [stretched])))
    bad("an unknown field in a retiring key", canonical,
        acknowledgement_message(base, RING_KEY, extra=f(12, [f(1, retiring[0]["key_id"]) + f(3, 1)])))
    bad("a field twice", canonical, f(5, 4) + data)
    bad("a long varint", canonical, data.replace(f(5, 5), f(5, 5, padding=1)))
    bad("a default written out", canonical, acknowledgement_message(base, RING_KEY, extra=f(13, b"", always=True)))
    bad("empty", "corrupt: the acknowledgement has no version", b"")
    bad("cut", "corrupt: acknowledgement: …", data[:-1])
    newer = "newer format: format version 2 needs a reader of version 2 or later"
    other("version 2", newer, version=2)
    bad("version 2 with a new field", newer, acknowledgement_message({**base, "version": 2}, RING_KEY, extra=f(14, 1)))
    other("no version", "corrupt: the acknowledgement has no version", version=0)
    nothing = "corrupt: the acknowledgement names no generation or no format"
    other("generation 0", nothing, generation=0)
    other("no format", nothing, format=0)
    for what, text in [("no name", ""), ("a name in upper case", "CP-1"), ("a name of 254 bytes", "n" * 254)]:
        other(what, "corrupt: the acknowledgement's node: …", node=text)
    other("nothing held", "corrupt: the acknowledgement has a malformed key id", held="")
    other("a malformed key id held", "corrupt: the acknowledgement has a malformed key id", held="k2")
    other("a malformed key id reported", "corrupt: the acknowledgement has a malformed key id", reported="k0")
    other("a ring id of 15 bytes", "corrupt: acknowledgement ring id is 15 bytes instead of 16", ring_id=RING[:15])
    other("no instance", "corrupt: acknowledgement instance is 0 bytes instead of 16", instance=b"")
    other("a hash of 33 bytes", "corrupt: acknowledgement hash is 33 bytes instead of 32", hash=rnd("hash", 33))
    other("a nonce of 15 bytes", "corrupt: acknowledgement nonce is 15 bytes instead of 16", shown=rnd("nonce", 15))
    for what, name in [("empty", ""), ("malformed", "k1"), ("of number 0", "k0-" + "0" * 32)]:
        other(f"a retiring key id that is {what}", "corrupt: the acknowledgement has a malformed key id",
              watched=[dict(key_id=name, decrypts=1)])
    ascending = "corrupt: the acknowledgement's retiring keys are not ascending"
    other("retiring keys descending", ascending, watched=retiring[1::-1])
    other("retiring keys by letter", ascending, watched=retiring[:0:-1])
    other("a retiring key twice", ascending, watched=[retiring[0], {**retiring[0], "decrypts": 1}])
    for length in 15, 17:
        other(f"a digest of {length} bytes", f"corrupt: acknowledgement digest is {length} bytes instead of 16",
              purged=rnd("digest", length))
    bad("a Decrypt taken back", mac, acknowledgement_message(
        {**base, "watched": retiring[1:2]}, RING_KEY, bend=lambda it: it.replace(f(12, [f(1, retiring[1]["key_id"]) + f(2, 1)]),
                                                                                 f(12, [f(1, retiring[1]["key_id"])]))))
    bad("a purge added", mac, acknowledgement_message(base, RING_KEY, bend=lambda it: it + f(13, dead)))
    write("acknowledgement.json", "An acknowledgement: opens to `expect`, or is refused with `error`.", cases)


# --- the record of a backup ------------------------------------------------------------------------------------------


def backups():
    base = dict(version=1, ring_id=RING, generation=5, hash=rnd("hash"), key_id=FIRST[1]["id"], written=TIME)
    data = backup_message(base, RING_KEY)
    expect = {what: value for what, value in base.items() if what != "version"}
    cases = [{"name": "a record", "ring_key": RING_KEY, "bytes": data, "expect": expect}]

    def bad(name, error, data, ring_key=RING_KEY):
        cases.append({"name": name, "ring_key": ring_key, "bytes": data, "error": error})

    def other(name, error, **other):
        bad(name, error, backup_message(base | other, RING_KEY))

    mac = "tampered: the backup record's MAC does not match"
    bad("a bit of the MAC flipped", mac, flip(data, -1))
    bad("no MAC", mac, data[:-34])
    bad("raised", mac, backup_message(base, RING_KEY, bend=lambda it: it.replace(f(3, 5), f(3, 6))))
    bad("another ring key", mac, data, OTHER_KEY)
    bad("labelled with another ring", mac, backup_message(base, RING_KEY, bend=lambda it: it.replace(RING, OTHER_RING)))
    mark = dict(base, sequence=2, suspended=[], destroyed=b"", seen=TIME)
    bad("a mark", "corrupt: backup record…", mark_message(mark, RING_KEY))
    canonical = "corrupt: backup record is not canonical"
    bad("an unknown field", canonical, backup_message(base, RING_KEY, extra=f(10, 1)))
    bad("a field twice", canonical, f(3, 4) + data)
    bad("a long varint", canonical, data.replace(f(3, 5), f(3, 5, padding=1)))
    bad("empty", canonical, b"")
    bad("cut", "corrupt: backup record: …", data[:-1])
    newer = "newer format: format version 2 needs a reader of version 2 or later"
    other("version 2", newer, version=2)
    bad("version 2 with a new field", newer, backup_message({**base, "version": 2}, RING_KEY, extra=f(10, 1)))
    other("no version", canonical, version=0)
    other("generation 0", canonical, generation=0)
    other("a malformed key id", "corrupt: the backup record has a malformed key id", key_id="k2")
    other("a ring id of 15 bytes", "corrupt: backup record ring id is 15 bytes instead of 16", ring_id=RING[:15])
    other("a hash of 33 bytes", "corrupt: backup record hash is 33 bytes instead of 32", hash=rnd("hash", 33))
    write("backup.json", "The record of a backup: opens to `expect`, or is refused with `error`.", cases)


# --- the record of a replaced ring key -------------------------------------------------------------------------------


def superseded_records():
    """`ring_key` is the one that was replaced."""
    base = dict(version=1, ring_id=RING, generation=7)
    data = superseded_message(base, RING_KEY)
    cases = []

    def good(name, **other):
        record = base | other
        expect = {"ring_id": record["ring_id"], "generation": record["generation"]}
        cases.append({"name": name, "ring_key": RING_KEY, "bytes": superseded_message(record, RING_KEY), "expect": expect})

    def bad(name, error, data, ring_key=RING_KEY):
        cases.append({"name": name, "ring_key": ring_key, "bytes": data, "error": error})

    def other(name, error, **other):
        bad(name, error, superseded_message(base | other, RING_KEY))

    good("a record")
    good("of the last generation", generation=2**64 - 1)
    mac = "tampered: the record of a replaced ring key's MAC does not match"
    bad("a bit of the MAC flipped", mac, flip(data, -1))
    bad("no MAC", mac, data[:-34])
    bad("a MAC of 31 bytes", mac, data[:-34] + f(15, data[-32:-1]))
    bad("raised", mac, superseded_message(base, RING_KEY, bend=lambda it: it.replace(f(3, 7), f(3, 8))))
    bad("another ring key", mac, data, OTHER_KEY)
    bad("labelled with another ring", mac,
        superseded_message(base, RING_KEY, bend=lambda it: it.replace(RING, OTHER_RING)))
    as_backup = authenticated(f(1, 1) + f(2, RING) + f(3, 7), "kekring/v1/backup", RING, RING_KEY)
    bad("under the label of another message", mac, as_backup)
    canonical = "corrupt: record of a replaced ring key is not canonical"
    bad("an unknown field", canonical, superseded_message(base, RING_KEY, extra=f(4, 1)))
    bad("a field twice", canonical, f(3, 4) + data)
    bad("a long varint", canonical, data.replace(f(3, 7), f(3, 7, padding=1)))
    bad("empty", "corrupt: the record of a replaced ring key has no version", b"")
    bad("cut", "corrupt: record of a replaced ring key: …", data[:-1])
    newer = "newer format: format version 2 needs a reader of version 2 or later"
    other("version 2", newer, version=2)
    bad("version 2 with a new field", newer, superseded_message({**base, "version": 2}, RING_KEY, extra=f(4, 1)))
    other("no version", "corrupt: the record of a replaced ring key has no version", version=0)
    other("generation 0", "corrupt: the record names no generation", generation=0)
    for length in 0, 15, 17:
        other(f"a ring id of {length} bytes",
              f"corrupt: record of a replaced ring key ring id is {length} bytes instead of 16", ring_id=rnd("ring", length))
    write("superseded.json", "The record that a ring key was replaced, under that very key: opens to `expect`, or is refused "
          "with `error`.", cases)


# --- root slots -----------------------------------------------------------------------------------------------------


def slots():
    root, wrong = rnd("root"), "wrong root: this root did not seal the ring key"
    at = dict(ring_id=RING, slot_id=rnd("slot 1", 16), kind=FILE)
    ctx = slot_context(*at.values())
    sealed = file_slot(root, ctx, RING_KEY, "good")
    cases = [{"name": "opens", **at, "root": root, "sealed": sealed, "ring_key": RING_KEY}]

    def bad(name, error, data=sealed, **other):
        cases.append({"name": name, **at, "root": root, **other, "sealed": data, "error": error})

    def resealed(length):
        return sealed_message(seal(root, ctx, rnd("ring key", length), f"{length} bytes"))

    bad("another root", wrong, root=rnd("other root"))
    bad("another ring", wrong, ring_id=OTHER_RING)
    bad("another slot", wrong, slot_id=rnd("slot 2", 16))
    bad("another kind", wrong, kind=PASSPHRASE)
    bad("the tag bent", "corrupt: the root slot does not authenticate", flip(sealed, -1))
    bad("31 bytes sealed", "corrupt: the root slot does not hold 32 bytes", resealed(31))
    bad("33 bytes sealed", "corrupt: the root slot does not hold 32 bytes", resealed(33))
    bad("an unknown field", "corrupt: root slot is not canonical", sealed + f(9, 1))
    bad("a field twice", "corrupt: root slot is not canonical", f(2, rnd("n", 12)) + sealed)
    bad("cut", "corrupt: root slot: …", sealed[:-1])
    bad("empty", "corrupt: root slot is shorter than a tag", b"")
    salt, nonce, commitment, text = seal(root, ctx, RING_KEY, "parts")
    bad("a salt of 31 bytes", "corrupt: root slot salt is 31 bytes instead of 32",
        sealed_message([salt[:31], nonce, commitment, text]))
    write("slot-file.json", "A root slot of kind file: `root` opens `sealed` to `ring_key`, or says `error`.", cases)


def credential_slots():
    root = rnd("root")
    at = dict(ring_id=RING, slot_id=rnd("slot 4", 16), kind=CREDENTIAL)
    sealed = file_slot(root, slot_context(*at.values()), RING_KEY, "credential")
    as_file = file_slot(root, slot_context(RING, at["slot_id"], FILE), RING_KEY, "credential as file")
    cases = [{"name": "opens", **at, "root": root, "sealed": sealed, "ring_key": RING_KEY}]
    wrong = "wrong root: this root did not seal the ring key"

    def bad(name, error, data=sealed, **other):
        cases.append({"name": name, **at, "root": root, **other, "sealed": data, "error": error})

    bad("another root", wrong, root=rnd("other root"))
    bad("the same bytes as a file", wrong, as_file)
    bad("another slot", wrong, slot_id=rnd("slot 2", 16))
    bad("the tag bent", "corrupt: the root slot does not authenticate", flip(sealed, -1))
    bad("cut", "corrupt: root slot: …", sealed[:-1])
    about = "A root slot of kind credential: `root` opens `sealed` to `ring_key`, or says `error`."
    write("slot-credential.json", about, cases)


def passphrase_slots():
    at = dict(ring_id=RING, slot_id=rnd("slot 2", 16), kind=PASSPHRASE)
    ctx = slot_context(*at.values())
    phrase, code = "correct horse battery staple", rnd("code")
    text, wrong = recovery_code(code), "wrong root: this root did not seal the ring key"
    sealed = passphrase_slot(phrase.encode(), ctx, RING_KEY, "phrase")
    coded = passphrase_slot(code, ctx, RING_KEY, "code")
    dear = passphrase_slot(phrase.encode(), ctx, RING_KEY, "dear", (96 * 1024, 4, 2))
    cases = []

    def good(name, secret, data):
        cases.append({"name": name, **at, "secret": secret, "sealed": data, "ring_key": RING_KEY})

    def bad(name, error, data=sealed, secret=phrase, **other):
        cases.append({"name": name, **at, **other, "secret": secret, "sealed": data, "error": error})

    good("a passphrase", phrase, sealed)
    good("a passphrase with a line feed", phrase + "\n", sealed)
    accepted = "accepted are 65536, 3 and 1"
    bad("96 MiB, 4 passes, 2 lanes", "corrupt: the slot asks for Argon2id with 98304 KiB, 4 passes and 2 lanes; "
        + accepted, dear)
    good("a recovery code", text, coded)
    good("a recovery code in lower case", text.lower(), coded)
    good("a recovery code without dashes, with a line feed", text.replace("-", "") + "\n", coded)
    good("a recovery code as people misread it",
         text.replace("-", " ").replace("0", "o").replace("1", "l"), coded)
    bad("another passphrase", wrong, secret="incorrect horse battery staple")
    bad("a passphrase in another case", wrong, secret=phrase.upper())
    bad("a recovery code with one character wrong is a passphrase", wrong, coded,
        secret=("Z" if text[0] != "Z" else "Y") + text[1:])
    bad("another ring", wrong, ring_id=OTHER_RING)
    bad("another slot", wrong, slot_id=rnd("slot 1", 16))
    fields = sealed[sealed.index(f(2, 3)) :]
    bad("labelled with another cost", "corrupt: the slot asks for Argon2id with 131072 KiB, 3 passes and 1 lanes; "
        + accepted, f(1, 128 * 1024) + fields)
    bad("the tag bent", "corrupt: the root slot does not authenticate", flip(sealed, -1))
    bad("cut", "corrupt: passphrase slot: …", sealed[:-1])
    bad("an unknown field", "corrupt: passphrase slot is not canonical", sealed + f(9, 1))
    for cost in [(1024 * 1024, 16, 4), (1024 * 1024 + 1, 3, 1), (2**32 - 1, 3, 1), (65536, 17, 1), (65536, 3, 5), (8, 3, 1), (65536, 2, 1),
                 (65536, 3, 0), (0, 0, 0)]:
        data = passphrase_slot(b"", ctx, RING_KEY, "cost", cost, stretch=False)
        memory, passes, lanes = cost
        bad(f"{memory} KiB, {passes} passes, {lanes} lanes", f"corrupt: the slot asks for Argon2id with {memory} KiB, "
            f"{passes} passes and {lanes} lanes; {accepted}", data)
    salted = f(1, 65536) + f(2, 3) + f(3, 1)
    bad("a salt of 31 bytes", "corrupt: the Argon2 salt is not 32 bytes", salted + f(4, rnd("s", 31)) + f(5, b"", True))
    bad("no key", "corrupt: the slot holds no key", salted + f(4, rnd("s")))
    write("slot-passphrase.json", "A root slot of kind passphrase: a file that holds `secret` opens `sealed` to "
          "`ring_key`, or says `error`.", cases)


# --- joins ----------------------------------------------------------------------------------------------------------


def joins():
    cases, fresh = [], rnd("fresh")

    def ring(generation, keys, tombstones=(), proposal=None, ring_id=RING, development=False, machine=None, members=(),
             **lists):
        shown = [{**it, "state": NAMES[it["state"]]} for it in keys]
        nodes = [{**it, "membership": MEMBERSHIPS[it["membership"]]} for it in members]
        empty = dict(replaced=[], removed=[], retirements=[], superseding=[])
        return dict(id=ring_id, generation=generation, keys=shown, tombstones=list(tombstones), proposal=proposal,
                    machine=machine, development=development, members=nodes) | empty | lists

    def case(name, one, other, reported=(), error=None, **expect):
        outcome = {"error": error} if error else {"expect": expect}
        cases.append({"name": name, "one": one, "other": other, "reported": list(reported), "fresh": fresh, **outcome})

    def states(*keys):
        return {it["id"]: word for it, word in keys}

    one, two = FIRST
    was = key(1, DEACTIVATED, 2, activated=TIME, deactivated=TIME + 60)
    used = key(2, ACTIVE, 2, activated=TIME + 60)
    left, right = key(3, PRE_ACTIVE, 2, "left 3"), key(3, PRE_ACTIVE, 2, "right 3")
    low, high = sorted([left, right], key=lambda it: bytes.fromhex(it["id"].split("-")[1]))
    case("both rotated once: of two next keys the one with the higher id stays", ring(2, [was, used, left]),
         ring(2, [was, used, right]), generation=3, active=used["id"], pre_active=high["id"],
         keys=states((was, "deactivated"), (used, "active"), (low, "deactivated"), (high, "pre-active")))

    was_2 = key(2, DEACTIVATED, 3, activated=TIME + 60, deactivated=TIME + 90)
    left_3, left_4 = key(3, ACTIVE, 3, "left 3", activated=TIME + 90), key(4, PRE_ACTIVE, 3, "left 4")
    case("one side is a rotation ahead", ring(2, [was, used, right]), ring(3, [was, was_2, left_3, left_4]),
         generation=4, active=left_3["id"], pre_active=left_4["id"],
         keys=states((was, "deactivated"), (was_2, "deactivated"), (left_3, "active"), (left_4, "pre-active"),
                     (right, "deactivated")))
    case("the older side was reported last: its key stays active", ring(3, [was, was_2, left_3, left_4]),
         ring(9, [one, two]), [left_3["id"]], generation=10, active=left_3["id"], pre_active=left_4["id"],
         keys=states((was, "deactivated"), (was_2, "deactivated"), (left_3, "active"), (left_4, "pre-active")))
    made = key(4, PRE_ACTIVE, 3, "fresh")
    case("a reported key that both sides only prepare becomes active, and a next key is made",
         ring(2, [was, used, left]), ring(1, [one, two]), [left["id"]], generation=3, active=left["id"],
         pre_active=made["id"],
         keys=states((was, "deactivated"), (used, "deactivated"), (left, "active"), (made, "pre-active")))

    dead = dict(id=was["id"], destroyed=TIME + 99, evidence=rnd("evidence", 16))
    case("a destroyed key stays destroyed", ring(3, [used, left], [dead]), ring(2, [was, used, left]), generation=4,
         active=used["id"], pre_active=left["id"], keys=states((used, "active"), (left, "pre-active")),
         tombstones=[dead])
    case("a reported key that is destroyed does not come back", ring(3, [used, left], [dead]),
         ring(2, [was, used, left]), [was["id"]], generation=4, active=used["id"], pre_active=left["id"],
         keys=states((used, "active"), (left, "pre-active")), tombstones=[dead])
    for what, other in [("at another time: the earlier one", dict(destroyed=TIME + 100)),
                        ("on other evidence at the same time: the lower one", dict(evidence=b"\xff" * 16))]:
        case(f"destroyed in both, {what}", ring(3, [used, left], [dead]), ring(3, [used, left], [{**dead, **other}]),
             generation=4, active=used["id"], pre_active=left["id"], keys=states((used, "active"), (left, "pre-active")),
             tombstones=[dead])
    def suspended(it, when):
        return {**it, "suspended": True, "suspension": when}

    def resumed(it, when):
        return {**it, "suspended": False, "suspension": when}

    def suspensions(name, one, other, generation, word):
        case(name, one, other, generation=generation, active=used["id"], pre_active=left["id"],
             keys=states((was, word), (used, "active"), (left, "pre-active")))

    suspensions("a suspension that the other side never knew stays", ring(3, [suspended(was, 3), used, left]),
                ring(4, [was, used, left]), 5, "suspended")
    suspensions("suspended and resumed in generations of one number: suspended", ring(3, [suspended(was, 3), used, left]),
                ring(3, [resumed(was, 3), used, left]), 4, "suspended")
    suspensions("resumed later than suspended: not suspended", ring(3, [suspended(was, 3), used, left]),
                ring(4, [resumed(was, 4), used, left]), 5, "deactivated")
    suspensions("suspended later than resumed: suspended", ring(5, [suspended(was, 5), used, left]),
                ring(4, [resumed(was, 4), used, left]), 6, "suspended")
    suspensions("suspended while active, deactivated later: deactivated and suspended",
                ring(2, [suspended(one, 2), two]), ring(6, [{**was, "changed": 6}, {**used, "changed": 6}, left]), 7,
                "suspended")
    for name, when, activated in [("before", 2, 4), ("in the same generation as", 2, 2), ("after", 4, 2)]:
        case(f"a next key suspended {name} its activation in the other history: active and suspended",
             ring(when, [one, suspended(two, when)]),
             ring(activated, [{**was, "changed": activated}, {**used, "changed": activated}, left]),
             generation=max(when, activated) + 1, active=used["id"], pre_active=left["id"],
             keys=states((was, "deactivated"), (used, "suspended"), (left, "pre-active")))
    case("a next key resumed after its activation in the other history: active",
         ring(4, [one, resumed(two, 4)]), ring(3, [was, suspended(used, 2), left]), generation=5,
         active=used["id"], pre_active=left["id"],
         keys=states((was, "deactivated"), (used, "active"), (left, "pre-active")))

    passed = {**two, "state": DEACTIVATED, "changed": 2, "deactivated": TIME + 60}
    proposal = {**PROPOSAL, "key_id": low["id"]}
    case("a proposed key goes before one that was merely prepared", ring(2, [was, used, high]),
         ring(2, [one, passed, low], proposal=proposal), generation=3, active=used["id"], pre_active=low["id"],
         keys=states((was, "deactivated"), (used, "active"), (low, "pre-active"), (high, "deactivated")),
         proposal=low["id"])
    newest = key(4, PRE_ACTIVE, 3)
    case("a proposal of the older side goes on", ring(5, [{**was, "changed": 5}, used, left]),
         ring(3, [was, used, {**left, "state": DEACTIVATED, "changed": 3}, newest],
              proposal={**PROPOSAL, "key_id": newest["id"]}),
         generation=6, active=used["id"], pre_active=newest["id"], proposal=newest["id"],
         keys=states((was, "deactivated"), (used, "active"), (left, "deactivated"), (newest, "pre-active")))
    case("a proposal ends where its key is active already", ring(3, [was, was_2, left_3, left_4]),
         ring(2, [was, used, left], proposal={**PROPOSAL, "key_id": left["id"]}), generation=4, active=left_3["id"],
         pre_active=left_4["id"],
         keys=states((was, "deactivated"), (was_2, "deactivated"), (left_3, "active"), (left_4, "pre-active")))
    case("a key that one history activated and the other gave up unused later: active again",
         ring(2, [was, used, left]), ring(3, [one, {**two, "state": DEACTIVATED, "changed": 3, "deactivated": TIME + 5},
                                               newest]),
         generation=4, active=used["id"], pre_active=newest["id"],
         keys=states((was, "deactivated"), (used, "active"), (left, "deactivated"), (newest, "pre-active")))

    here, there = sorted([rnd("here"), rnd("there")])
    for name, one_side, other_side, expect in [
        ("two machines, one side newer: that side's", (2, there), (1, here), there),
        ("one machine on the newer side: that side's", (2, there), (1, None), there),
        ("one machine on the older side: none", (2, None), (1, here), None),
        ("two machines in generations of one number: the lower one", (2, here), (2, there), here),
        ("one machine in generations of one number: that one", (2, None), (2, there), there),
    ]:
        sides = [ring(number, [was, used, left] if number == 2 else FIRST, machine=machine)
                 for number, machine in (one_side, other_side)]
        case(name, *sides, generation=3, active=used["id"], pre_active=left["id"],
             keys=states((was, "deactivated"), (used, "active"), (left, "pre-active")),
             **({"machine": expect} if expect else {}))

    def nodes(name, one_side, other_side, expect):
        """Of generation 4 and of generation 3."""
        sides = [ring(number, [was, used, left], members=side) for number, side in ((4, one_side), (3, other_side))]
        expect = [{**it, "membership": MEMBERSHIPS[it["membership"]]} for it in expect]
        case(name, *sides, generation=5, active=used["id"], pre_active=left["id"],
             keys=states((was, "deactivated"), (used, "active"), (left, "pre-active")), members=expect)

    cp_1, cp_2, gone = member("cp-1", 2), member("cp-2", 3), member("cp-1", 3, REMOVED)
    nodes("nodes of both sides", [cp_1], [cp_2], [cp_1, cp_2])
    nodes("a node removed later than registered: removed", [cp_1, cp_2], [gone, cp_2], [gone, cp_2])
    nodes("a node registered again after its removal: registered", [member("cp-1", 4)], [gone], [member("cp-1", 4)])
    nodes("registered and removed in generations of one number: registered", [gone], [member("cp-1", 3)],
          [member("cp-1", 3)])
    first, second = sorted([rnd("one instance", 16), rnd("other instance", 16)])
    nodes("two instances of one name: the one registered later", [member("cp-1", 2, instance=second)],
          [member("cp-1", 3, instance=first)], [member("cp-1", 3, instance=first)])
    nodes("two instances in generations of one number: the higher one", [member("cp-1", 2, instance=first)],
          [member("cp-1", 2, instance=second)], [member("cp-1", 2, instance=second)])

    join_lists(case, ring, was, used, left)
    join_decrypt_only(case, ring, states, was, used, left)

    base = ring(2, [was, used, left])
    case("two rings", base, ring(1, [key(1, ACTIVE, 1, ring=OTHER_RING)], ring_id=OTHER_RING),
         error=f"ring {RING.hex()} and ring {OTHER_RING.hex()} are two rings")
    case("one name, two values", base, ring(2, [was, used, {**left, "material": rnd("other")}]),
         error=f"key {left['id']} has two different values")
    lost = key_id(RING, 7, rnd("lost"))
    case("a reported key that neither side holds", base, ring(1, FIRST), [lost],
         error=f"key {lost} was in use and is in neither history")
    case("a development ring", base, ring(1, FIRST, development=True), error="one history is a development ring")
    case("generations used up", base, ring(2**64 - 1, FIRST), error="the ring has used up its sequence numbers")
    write("join.json", "Two histories of one ring: joined they are `expect`, or `error` says why not. The order of the "
          "two does not matter.", cases)


def join_lists(case, ring, was, used, left):
    """Unions of what a removal leaves, and of decisions."""
    rest = dict(generation=5, active=used["id"], pre_active=left["id"],
                keys={was["id"]: "deactivated", used["id"]: "active", left["id"]: "pre-active"})

    def lists(name, one, other, **expect):
        case(name, ring(4, [was, used, left], **one), ring(3, [was, used, left], **other), **rest, **expect)

    for what, all in [("replaced", REPLACED), ("removed", GONE_SLOTS), ("superseding", SUPERSEDING)]:
        first, last = all[:1], all[-1:]
        lists(f"{what}: of one side", {what: first}, {}, **{what: first})
        lists(f"{what}: of the older side", {}, {what: first}, **{what: first})
        lists(f"{what}: of both sides", {what: last}, {what: first}, **{what: first + last})
        lists(f"{what}: the same on both sides", {what: first + last}, {what: last}, **{what: first + last})
    one, two = RETIREMENTS[:2]
    lists("retirements of both sides", dict(retirements=[two]), dict(retirements=[one]), retirements=[one, two])
    lists("the same retirement on both sides", dict(retirements=[one]), dict(retirements=[one]), retirements=[one])
    late, back = {**one, "since": 3, "by": "later"}, {**one, "since": 2, "withdrawn": True}
    lists("a retirement set later on the older side", dict(retirements=[one]), dict(retirements=[late]), retirements=[late])
    lists("a retirement withdrawn later than set", dict(retirements=[one]), dict(retirements=[{**back, "since": 3}]),
          retirements=[{**back, "since": 3}])
    lists("a retirement set again after it was withdrawn", dict(retirements=[back]), dict(retirements=[late]),
          retirements=[late])
    lists("a retirement set and withdrawn in generations of one number: withdrawn", dict(retirements=[{**late, "since": 2}]),
          dict(retirements=[back]), retirements=[back])
    fewer, more = {**one, "since": 2, "keys": [was["id"]]}, {**one, "since": 2, "keys": [was["id"], used["id"]]}
    lists("a retirement set differently in generations of one number: the higher list of keys", dict(retirements=[fewer]),
          dict(retirements=[more]), retirements=[more])


def join_decrypt_only(case, ring, states, was, used, left):
    """A key that only decrypts in one history does so in the join, and is neither active nor next."""
    def only(it):
        return {**it, "state": DEACTIVATED, "decrypt_only": True}

    rest = dict(generation=3, active=used["id"], pre_active=left["id"])
    high = only(key(9, DEACTIVATED, 2, activated=TIME + 40, deactivated=TIME + 50))
    plain = [was, used, left]
    case("a key that only decrypts, above all: neither active nor next", ring(2, [*plain, high]), ring(2, plain), **rest,
         keys=states((was, "deactivated"), (used, "active"), (left, "pre-active"), (high, "deactivated")),
         decrypt_only=[high["id"]])
    case("one that was reported does not count as reported", ring(2, [*plain, high]), ring(2, plain), [high["id"]], **rest,
         keys=states((was, "deactivated"), (used, "active"), (left, "pre-active"), (high, "deactivated")),
         decrypt_only=[high["id"]])
    case("one that the other history uses: only decrypts", ring(2, [was, used, left]),
         ring(2, [{**was, "changed": 2}, only({**used, "deactivated": TIME + 70, "activated": None}),
                  key(3, ACTIVE, 2, "other 3"), key(4, PRE_ACTIVE, 2)]),
         generation=3, active=key(3, ACTIVE, 2, "other 3")["id"], pre_active=key(4, PRE_ACTIVE, 2)["id"],
         keys=states((was, "deactivated"), (used, "deactivated"), (left, "deactivated"),
                     (key(3, ACTIVE, 2, "other 3"), "active"), (key(4, PRE_ACTIVE, 2), "pre-active")),
         decrypt_only=[used["id"]])
    waiting, four = only({**left, "deactivated": TIME + 70}), key(4, PRE_ACTIVE, 2)
    case("one that the other history has as its next key: not next", ring(2, [*plain, high]),
         ring(2, [was, used, waiting, four]), **rest | dict(pre_active=four["id"]),
         keys=states((was, "deactivated"), (used, "active"), (left, "deactivated"), (four, "pre-active"),
                     (high, "deactivated")), decrypt_only=[left["id"], high["id"]])
    made = key(10, PRE_ACTIVE, 3, "fresh")
    case("both next keys only decrypt in the other history: a fresh one above all is next",
         ring(2, [*plain, only({**four, "deactivated": TIME + 70}), high]), ring(2, [was, used, waiting, four]),
         **rest | dict(pre_active=made["id"]),
         keys=states((was, "deactivated"), (used, "active"), (left, "deactivated"), (four, "deactivated"),
                     (high, "deactivated"), (made, "pre-active")),
         decrypt_only=[left["id"], four["id"], high["id"]])
    first, second = key(1, ACTIVE, 1), key(2, PRE_ACTIVE, 1)
    case("the only later key in use only decrypts in the other history: the earlier one is active again",
         ring(2, [*plain, high]), ring(2, [first, only({**second, "deactivated": TIME + 1}), waiting, four]),
         generation=3, active=was["id"], pre_active=four["id"],
         keys=states((was, "active"), (used, "deactivated"), (left, "deactivated"), (four, "pre-active"),
                     (high, "deactivated")), decrypt_only=[used["id"], left["id"], high["id"]])
    dead = dict(id=was["id"], destroyed=TIME + 99, evidence=rnd("evidence", 16))
    case("a destroyed key that only decrypts in the other history stays destroyed", ring(2, [used, left], [dead]),
         ring(2, [only(was), used, left]), **rest, keys=states((used, "active"), (left, "pre-active")), tombstones=[dead])


if __name__ == "__main__":
    wrapped_seeds()
    generations()
    marks()
    acknowledgements()
    backups()
    superseded_records()
    slots()
    credential_slots()
    passphrase_slots()
    joins()
