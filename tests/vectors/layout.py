"""The stored bytes, built from the written layout alone: nothing here shares code with the product.

Python's own hashlib and hmac, AES-GCM from `cryptography`, Argon2id from `argon2-cffi`, and a protobuf encoder of
twenty lines that can also write what a correct encoder never would.
"""

import hashlib
import hmac

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE = bytes([1, 1])
FILE, PASSPHRASE, CREDENTIAL, HELPER, RECIPIENT = 1, 2, 3, 4, 5
PRE_ACTIVE, ACTIVE, DEACTIVATED = 1, 2, 3
AUTO, MANUAL = 1, 2
REGISTERED, REMOVED = 1, 2
COST = (64 * 1024, 3, 1)


def rnd(label, length=32):
    """Bytes that look random and are the same in every run."""
    blocks = (hashlib.sha256(f"{label} {n}".encode()).digest() for n in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def sha256(data):
    return hashlib.sha256(data).digest()


def flip(data, position, bit=0):
    bent = bytearray(data)
    bent[position] ^= 1 << bit
    return bytes(bent)


# --- protobuf -------------------------------------------------------------------------------------------------------


def varint(value, padding=0):
    """`padding` adds bytes that a minimal encoding does not have."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number, value, always=False, padding=0):
    """One field; a default is left out unless `always`. A list is a repeated field, None an absent one."""
    if isinstance(value, list):
        return b"".join(field(number, item, always=True) for item in value)
    if value is None or (not value and not always):
        return b""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(int(value), padding)


def packed(number, values):
    """Numbers of a repeated field, as proto3 writes them: in one piece."""
    return field(number, b"".join(varint(value) for value in values))


def zigzag(value):
    """A 64-bit number with a sign, as `sint64` has it; what does not fit wraps."""
    value &= (1 << 64) - 1
    value -= (value >> 63) << 64
    return (value << 1 ^ value >> 63) & (1 << 64) - 1


# --- crypto ---------------------------------------------------------------------------------------------------------


def context(label, *fields):
    parts = [label.encode(), *fields]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def with_field(ctx, data):
    return ctx + len(data).to_bytes(4, "big") + data


def hkdf(key, salt, info, length):
    return expand(hmac.new(salt, key, hashlib.sha256).digest(), info, length)


def expand(pseudo_random, info, length):
    out, block = b"", b""
    for number in range(1, length // 32 + 2):
        block = hmac.new(pseudo_random, block + info + bytes([number]), hashlib.sha256).digest()
        out += block
    return out[:length]


def seal(key, ctx, plaintext, label, bound=None, aad=None):
    """(salt, nonce, commitment, ciphertext); `bound` is authenticated in place of the context where that differs."""
    salt, nonce = rnd(f"salt {label}"), rnd(f"nonce {label}", 12)
    okm = expand(key, sha256(ctx) + salt + nonce, 64)
    commitment = okm[32:]
    if aad is None:
        aad = with_field(ctx if bound is None else bound, commitment)
    return salt, nonce, commitment, AESGCM(okm[:32]).encrypt(nonce, plaintext, aad)


def sealed_message(parts):
    return b"".join(field(number, part) for number, part in enumerate(parts, 1))


# --- names and wrapped seeds ----------------------------------------------------------------------------------------


def key_id(ring_id, sequence, key):
    info = context("kekring/v1/key-id", sequence.to_bytes(8, "big"))
    return f"k{sequence}-{hkdf(key, ring_id, info, 16).hex()}"


def ring_key_id(ring_id, ring_key):
    return hkdf(ring_key, ring_id, context("kekring/v1/ring-key"), 16)


def wrapped_seed(ring_id, name, key, plaintext, label, suite=SUITE, aad=None):
    ctx = context("kekring/v1/wrapped-seed", suite, ring_id, name.encode())
    return suite + fingerprint(name) + b"".join(seal(key, ctx, plaintext, f"seed {label}", aad=aad))


# --- the stored generation ------------------------------------------------------------------------------------------


def after(time, created):
    return None if time is None else zigzag(time - created)


def key_message(key, extra=b""):
    return (
        field(1, key["sequence"])
        + field(2, key["material"])
        + field(3, key["state"])
        + field(4, key["changed"])
        + field(5, key["created"])
        + field(6, after(key["activated"], key["created"]), always=True)
        + field(7, after(key["deactivated"], key["created"]), always=True)
        + field(8, key["suspended"])
        + field(9, key["suspension"])
        + field(10, key["decrypt_only"])
        + extra
    )


def fingerprint(name):
    return bytes.fromhex(name.split("-")[1])


def tombstone_message(tomb, extra=b""):
    """`fingerprint` is the name's, unless it is given."""
    return (
        field(1, tomb["sequence"])
        + field(2, tomb.get("fingerprint", fingerprint(tomb["id"])))
        + field(3, tomb["destroyed"])
        + field(4, tomb["evidence"])
        + extra
    )


def digest(names):
    """Of destroyed keys, in ascending order; nothing where there are none."""
    said = b"".join(int(name[1:].split("-")[0]).to_bytes(8, "big") + fingerprint(name) for name in names)
    return sha256(said)[:16] if said else b""


def member_message(member, extra=b""):
    return (
        field(1, member["name"])
        + field(2, member["instance"])
        + field(3, member["since"])
        + field(4, member["membership"])
        + extra
    )


def retirement_message(it, extra=b""):
    return (
        field(1, it["id"])
        + field(2, it["keys"])
        + field(3, it["not_before"])
        + field(4, it["evidence"])
        + field(5, it["by"])
        + packed(6, it["skipped"])
        + field(7, it["since"])
        + field(8, it["withdrawn"])
        + extra
    )


def proposal_message(proposal, extra=b""):
    return field(1, proposal["id"]) + field(2, proposal["activate"]) + field(3, proposal["key_id"]) + extra


def body_message(keys, tombstones=(), proposal=None, machine=b"", development=False, members=(), replaced=(), removed=(),
                 retirements=(), superseding=()):
    return (
        field(1, [key_message(key) for key in keys])
        + field(2, [tombstone_message(tomb) for tomb in tombstones])
        + field(3, proposal and proposal_message(proposal), always=True)
        + field(4, machine)
        + field(5, development)
        + field(6, [member_message(member) for member in members])
        + field(7, b"".join(replaced))
        + field(8, b"".join(removed))
        + field(9, [retirement_message(it) for it in retirements])
        + field(10, list(superseding))
    )


def slot_message(slot):
    return (
        field(1, slot["id"])
        + field(2, slot["kind"])
        + field(3, slot["name"])
        + field(4, slot["sealed"])
        + field(5, slot["created"])
        + field(6, slot["replaces"])
    )


def header_message(header):
    return (
        field(1, header["ring_id"])
        + field(2, header["generation"])
        + field(3, header["parents"])
        + field(4, header["writer"])
        + field(5, header["proposal_id"])
        + field(6, header["written"])
        + field(7, [slot_message(slot) for slot in header["slots"]])
    )


def seal_body(ring_key, header, body, label, version=1, min_reader=1):
    """`header` and `body` are encoded messages."""
    label_only = context("kekring/v1/body")
    bound = context("kekring/v1/body", version.to_bytes(4, "big"), min_reader.to_bytes(4, "big"), header)
    return seal(ring_key, label_only, body, f"body {label}", bound=bound)


def outer_message(header, sealed, version=1, min_reader=1):
    return field(1, version) + field(2, min_reader) + field(3, header) + field(4, sealed)


def framed(message, magic=b"kekring\n"):
    return magic + message + sha256(magic + message)


# --- roots and the mark ---------------------------------------------------------------------------------------------


def slot_context(ring_id, slot_id, kind):
    return context("kekring/v1/slot", ring_id, slot_id, kind.to_bytes(4, "big"))


def file_slot(root, ctx, ring_key, label):
    return sealed_message(seal(root, ctx, ring_key, f"file slot {label}"))


def passphrase_slot(secret, ctx, ring_key, label, cost=COST, stretch=True):
    salt = rnd(f"argon2 salt {label}")
    for number in cost:
        ctx = with_field(ctx, number.to_bytes(4, "big"))
    memory, passes, lanes = cost
    key = rnd("not stretched")
    if stretch:
        key = hash_secret_raw(secret, salt, passes, memory, lanes, 32, Type.ID, version=0x13)
    sealed = sealed_message(seal(key, with_field(ctx, salt), ring_key, f"passphrase slot {label}"))
    return field(1, memory) + field(2, passes) + field(3, lanes) + field(4, salt) + field(5, sealed)


def recovery_code(code):
    """Crockford's base32 of the code and 24 bits of its hash, in groups of four."""
    number = int.from_bytes(code + sha256(code)[:3], "big")
    text = "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * n & 31] for n in reversed(range(56)))
    return "-".join(text[n : n + 4] for n in range(0, 56, 4))


def authenticated(fields, label, ring_id, ring_key, bend=None):
    """`bend` changes what the MAC covered."""
    mac_key = hkdf(ring_key, ring_id, context(label), 32)
    mac = hmac.new(mac_key, fields, hashlib.sha256).digest()
    return (bend(fields) if bend else fields) + field(15, mac)


def mark_message(mark, ring_key, extra=b"", bend=None):
    """`extra` stands between the last field and the MAC, which covers it; `bend` changes what was covered."""
    fields = (
        field(1, mark["version"])
        + field(2, mark["ring_id"])
        + field(3, mark["generation"])
        + field(4, mark["hash"])
        + field(5, mark["sequence"])
        + field(6, mark["key_id"])
        + field(7, mark["suspended"])
        + field(8, mark["destroyed"])
        + field(9, mark["seen"])
        + extra
    )
    return authenticated(fields, "kekring/v1/mark", mark["ring_id"], ring_key, bend)


def acknowledgement_message(said, ring_key, extra=b"", bend=None):
    """As `mark_message`."""
    watched = [field(1, it["key_id"]) + field(2, it["decrypts"]) for it in said["watched"]]
    fields = (
        field(1, said["version"])
        + field(2, said["ring_id"])
        + field(3, said["node"])
        + field(4, said["instance"])
        + field(5, said["generation"])
        + field(6, said["hash"])
        + field(7, said["held"])
        + field(8, said["reported"])
        + field(9, said["shown"])
        + field(10, said["format"])
        + field(11, said["time"])
        + field(12, watched)
        + field(13, said["purged"])
        + extra
    )
    return authenticated(fields, "kekring/v1/acknowledgement", said["ring_id"], ring_key, bend)


def backup_message(record, ring_key, extra=b"", bend=None):
    """As `mark_message`."""
    fields = (
        field(1, record["version"])
        + field(2, record["ring_id"])
        + field(3, record["generation"])
        + field(4, record["hash"])
        + field(5, record["key_id"])
        + field(6, record["written"])
        + extra
    )
    return authenticated(fields, "kekring/v1/backup", record["ring_id"], ring_key, bend)


def superseded_message(record, ring_key, extra=b"", bend=None):
    """As `mark_message`; the ring key is the one that was replaced."""
    fields = field(1, record["version"]) + field(2, record["ring_id"]) + field(3, record["generation"]) + extra
    return authenticated(fields, "kekring/v1/superseded", record["ring_id"], ring_key, bend)
