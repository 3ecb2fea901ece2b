"""The stored bytes, built from the written layout alone: nothing here shares code with the product.

Python's own hashlib and hmac, AES-GCM from `cryptography`, Argon2id from `argon2-cffi`, and a protobuf encoder of
twenty lines that can also write what a correct encoder never would.
"""

import hashlib
import hmac

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE = bytes([1, 1])
FILE, PASSPHRASE, CREDENTIAL = 1, 2, 3
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


# --- crypto ---------------------------------------------------------------------------------------------------------


def context(label, *fields):
    parts = [label.encode(), *fields]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def with_field(ctx, data):
    return ctx + len(data).to_bytes(4, "big") + data


def hkdf(key, salt, info, length):
    pseudo_random = hmac.new(salt, key, hashlib.sha256).digest()
    out, block = b"", b""
    for number in range(1, length // 32 + 2):
        block = hmac.new(pseudo_random, block + info + bytes([number]), hashlib.sha256).digest()
        out += block
    return out[:length]


def seal(key, ctx, plaintext, label, bound=None, aad=None):
    """(salt, nonce, commitment, ciphertext); `bound` is authenticated in place of the context where that differs."""
    salt, nonce = rnd(f"salt {label}"), rnd(f"nonce {label}", 12)
    okm = hkdf(key, salt, with_field(ctx, nonce), 64)
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


def wrapped_seed(ring_id, name, key, plaintext, label, suite=SUITE, fingerprint=None, aad=None):
    ctx = context("kekring/v1/wrapped-seed", suite, ring_id, name.encode())
    fingerprint = bytes.fromhex(name.split("-")[1]) if fingerprint is None else fingerprint
    return suite + fingerprint + b"".join(seal(key, ctx, plaintext, f"seed {label}", aad=aad))


# --- the stored generation ------------------------------------------------------------------------------------------


def key_message(key, extra=b""):
    return (
        field(1, key["sequence"])
        + field(2, key["id"])
        + field(3, key["material"])
        + field(4, key["state"])
        + field(5, key["suspended"])
        + field(6, key["changed"])
        + field(7, key["created"])
        + field(8, key["activated"], always=True)
        + field(9, key["deactivated"], always=True)
        + field(10, key["suspension"])
        + extra
    )


def member_message(member, extra=b""):
    return (
        field(1, member["name"])
        + field(2, member["instance"])
        + field(3, member["since"])
        + field(4, member["membership"])
        + extra
    )


def body_message(keys, tombstones=(), proposal=None, machine=b"", development=False, members=()):
    tombs = [field(1, t["sequence"]) + field(2, t["id"]) + field(3, t["destroyed"]) for t in tombstones]
    if proposal is not None:
        proposal = field(1, proposal["id"]) + field(2, proposal["activate"]) + field(3, proposal["key_id"])
    return (
        field(1, [key_message(key) for key in keys])
        + field(2, tombs)
        + field(3, proposal, always=True)
        + field(4, machine)
        + field(5, development)
        + field(6, [member_message(member) for member in members])
    )


def slot_message(slot):
    return field(1, slot["id"]) + field(2, slot["kind"]) + field(3, slot["name"]) + field(4, slot["sealed"])


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


def framed(message, magic=b"KEKRING\n"):
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
    mac_key = hkdf(ring_key, mark["ring_id"], context("kekring/v1/mark"), 32)
    mac = hmac.new(mac_key, fields, hashlib.sha256).digest()
    return (bend(fields) if bend else fields) + field(15, mac)


def acknowledgement_message(said, ring_key, extra=b"", bend=None):
    """As `mark_message`."""
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
        + extra
    )
    mac_key = hkdf(ring_key, said["ring_id"], context("kekring/v1/acknowledgement"), 32)
    mac = hmac.new(mac_key, fields, hashlib.sha256).digest()
    return (bend(fields) if bend else fields) + field(15, mac)


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
    mac_key = hkdf(ring_key, record["ring_id"], context("kekring/v1/backup"), 32)
    mac = hmac.new(mac_key, fields, hashlib.sha256).digest()
    return (bend(fields) if bend else fields) + field(15, mac)
