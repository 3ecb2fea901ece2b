//! The lessons of `help.rs`, one for each verb, in the order of a ring's life.

use super::help::Lesson;

/// Waiting for the server ends like this everywhere.
const WAITING: (u8, &str) = (
    4,
    "done and durable, and the running server has not taken it within --timeout",
);
const REFUSED: (u8, &str) = (3, "refused, and nothing was changed; the message says why");

pub(super) const ALL: &[Lesson] = &[
    Lesson {
        verb: "init",
        purpose: "Once in the life of a cluster, on its control-plane node. It makes the root key file where that is missing, and a \
            recovery code: keep the code away from this machine, it opens the ring when every other root is lost. Where \
            anything suggests that a ring exists it refuses, because a second ring cannot read what the first encrypted.",
        examples: &[
            (
                "at a terminal: the code is shown once and typed back",
                "kekring init",
            ),
            (
                "the code into a new file, to be moved off the machine",
                "kekring init --recovery-code-file /root/kekring-recovery-code",
            ),
        ],
        codes: &[(3, "there is a ring, or a trace of one; nothing was changed")],
        next: "`kekring serve`, then `kekring config encryption --phase read` for kube-apiserver",
    },
    Lesson {
        verb: "serve",
        purpose: "Runs in the foreground under a supervisor, started before kube-apiserver; logs to standard error. It stays up when the \
            ring does not open and says why in Status, in its log and in `kekring status`. SIGTERM drains and ends, SIGHUP \
            reads the ring again; the configuration is read at the start only.",
        examples: &[
            ("with /etc/kekring/config.yaml", "kekring serve"),
            (
                "a throw-away ring in ./dev, and what to type next",
                "kekring serve --dev ./dev",
            ),
        ],
        codes: &[(
            3,
            "another server is listening there, or somebody else could put a socket in its place",
        )],
        next: "`kekring probe --round-trip` in another terminal",
    },
    Lesson {
        verb: "status",
        purpose: "The ring as it is stored, the plugin that runs here by its own account, and what needs attention. Rotation gives \
            new data a new key; it does not rewrite old data, which stays under the key that it was written with.",
        examples: &[
            ("once", "kekring status"),
            ("again every 2 s, at a terminal", "kekring status --watch"),
            (
                "the active key, for a script",
                "kekring status -o json | jq -r .active",
            ),
        ],
        codes: &[(
            1,
            "the ring does not open; what the server says is shown all the same",
        )],
        next: "look for the text of a warning in README.md: it says what to do",
    },
    Lesson {
        verb: "probe",
        purpose: "Asks a KMS v2 plugin, ours or another, for Status by kube-apiserver's rules. For exec probes and scripts: it needs \
            the socket and nothing else.",
        examples: &[
            ("the plugin of the configuration", "kekring probe"),
            (
                "also encrypt and decrypt, as kube-apiserver does",
                "kekring probe --round-trip",
            ),
            (
                "any plugin",
                "kekring probe --socket /run/kekring/kms.sock --timeout 1s",
            ),
            (
                "for a liveness probe: not frozen, healthy or not",
                "kekring probe --alive",
            ),
        ],
        codes: &[
            (1, "not there, not healthy, or not in time"),
            (3, "this user may not ask, and nothing is known of the plugin"),
        ],
        next: "",
    },
    Lesson {
        verb: "doctor",
        purpose: "The machine, kekring's configuration, its ring, the running server, kube-apiserver's EncryptionConfiguration and \
            manifest against what bites people. Before a first start, after a change, and when something is wrong. Run it as \
            root on the node: what it cannot look at it names, as skipped. It changes nothing and asks nobody.",
        examples: &[
            ("on a node of kubeadm", "kekring doctor"),
            (
                "where kube-apiserver is no static Pod",
                "kekring doctor --encryption-config /etc/kubernetes/kekring/encryption.yaml",
            ),
            (
                "with a copy of the file of another control-plane node",
                "kekring doctor --compare /root/cp-2-encryption.yaml",
            ),
            (
                "for a script: what fails",
                "kekring doctor -o json | jq -r '.findings[] | select(.level == \"failure\") | .id'",
            ),
        ],
        codes: &[
            (1, "something fails; with --strict also when something warns"),
            (
                2,
                "kekring's configuration cannot be used; what could be looked at all the same is shown",
            ),
        ],
        next: "do what each remedy says; deploy/doctor.md has every finding",
    },
    Lesson {
        verb: "rotate",
        purpose: "The prepared key becomes active and the next one is prepared: kube-apiserver encrypts under it from its next Status \
            on, at most a minute later. Old keys still decrypt. `serve` rotates by itself; this is for a timer of your own, \
            and for a bad day. It waits until the running server has the new generation.",
        examples: &[
            ("now", "kekring rotate"),
            (
                "from a timer: nothing while the active key is younger",
                "kekring rotate --if-older-than 7d",
            ),
            ("the prepared key may be known too", "kekring rotate --fresh"),
            (
                "in two steps, with a backup in between",
                "kekring rotate --prepare",
            ),
            ("", "kekring rotate --activate"),
        ],
        codes: &[REFUSED, WAITING],
        next: "`kekring backup`, since the last one lacks the new key; after a compromise rewrite everything, when `kekring status` shows \
            the new key for each connection: deploy/rewrite has the command, which waits for that",
    },
    Lesson {
        verb: "keys list",
        purpose: "Every key with its state. Names and hashes are public: the hash is what kube-apiserver's metrics show as key_id_hash.",
        examples: &[
            ("", "kekring keys list"),
            ("with the hashes", "kekring keys list -o json"),
        ],
        codes: &[],
        next: "",
    },
    Lesson {
        verb: "keys suspend",
        purpose: "What a suspended key encrypted cannot be read: kube-apiserver answers 500 for it, and for every list that holds it, as \
            soon as its cache forgets. That shows what still hangs on a key before anything is destroyed. The active key \
            cannot be suspended: rotate first.",
        examples: &[(
            "the name in full, as `kekring keys list` shows it",
            "kekring keys suspend k1-00112233445566778899aabbccddeeff",
        )],
        codes: &[REFUSED, WAITING],
        next: "`kekring keys resume` takes it back",
    },
    Lesson {
        verb: "keys resume",
        purpose: "A suspended key decrypts again, in the state that it had.",
        examples: &[(
            "the name in full, as `kekring keys list` shows it",
            "kekring keys resume k1-00112233445566778899aabbccddeeff",
        )],
        codes: &[REFUSED, WAITING],
        next: "",
    },
    Lesson {
        verb: "root list",
        purpose: "A root slot holds the ring key, sealed by one root; any one slot opens the ring. This needs no root.",
        examples: &[("", "kekring root list")],
        codes: &[],
        next: "`kekring root verify` tries them",
    },
    Lesson {
        verb: "root add",
        purpose: "Write the root into `ring.roots` first: the configuration says what a root is. Each configured root that opens no slot \
            gets one, and a file root that does not exist is made. Or a new recovery code gets a slot.",
        examples: &[
            (
                "for a root that was added to the configuration",
                "kekring root add",
            ),
            (
                "a new recovery code, shown once",
                "kekring root add --recovery-code",
            ),
        ],
        codes: &[REFUSED],
        next: "`kekring root verify`",
    },
    Lesson {
        verb: "root remove",
        purpose: "The ring key is replaced, so every root that stays must be at hand: the configured ones, and the recovery code by \
            --open-with. What is sealed under the old ring key counts for nothing from then on, whoever writes it. Older \
            generations are deleted where the ring has all of them; what stays is named. Backups and snapshots stay what they \
            are: the removed root opens them, and the keys in them. A removal that broke off is finished by the same command.",
        examples: &[
            (
                "a root that is retired; its id is in `kekring root list`",
                "kekring root remove 00112233445566778899aabbccddeeff",
            ),
            (
                "a root that is compromised",
                "kekring root remove 00112233445566778899aabbccddeeff --rotate --open-with -",
            ),
        ],
        codes: &[REFUSED, WAITING],
        next: "take the root out of `ring.roots`, write a new backup, destroy the old ones",
    },
    Lesson {
        verb: "root verify",
        purpose: "Tries each configured root on each slot, and the recovery code with --open-with. A code on paper is only as good as \
            the last time that it was tried.",
        examples: &[
            ("", "kekring root verify"),
            (
                "with the recovery code, typed in",
                "kekring root verify --open-with -",
            ),
        ],
        codes: &[(1, "a configured root opens no slot")],
        next: "",
    },
    Lesson {
        verb: "backup",
        purpose: "The copy holds every key, sealed as it is in the store: it is worth nothing without a root, so keep the two apart. It \
            holds the next key already, and so opens what the next rotation encrypts.",
        examples: &[
            ("a name of its own in a directory", "kekring backup /mnt/backup"),
            (
                "from a timer, after each rotation",
                "kekring backup /mnt/backup -o json",
            ),
        ],
        codes: &[],
        next: "`kekring backup verify` with the file that it names",
    },
    Lesson {
        verb: "backup verify",
        purpose: "Opens a backup, tests each key, and compares it with the ring that is here.",
        examples: &[("", "kekring backup verify /mnt/backup/kekring.ring")],
        codes: &[(1, "it does not open, or lacks a key that is in use")],
        next: "",
    },
    Lesson {
        verb: "restore",
        purpose: "On a fresh machine the backup becomes the ring. Where a ring is, the two are joined: every key of both, and nothing is \
            overwritten. A backup under a ring key that was replaced, as by `root remove`, gives its keys, which decrypt and \
            nothing else. A ring of another machine serves and does not rotate until --adopt binds it to this one; the other \
            machine must not serve it any more.",
        examples: &[
            ("", "kekring restore /mnt/backup/kekring.ring"),
            (
                "every generation of a directory, as of a mirror",
                "kekring restore /mnt/second-disk/kekring",
            ),
            (
                "onto a new machine that takes the old one's place",
                "kekring restore /mnt/backup/kekring.ring --adopt",
            ),
            (
                "no root opens what is newer, and theirs is lost for good",
                "kekring restore /mnt/backup/kekring.ring --abandon-unreadable",
            ),
        ],
        codes: &[REFUSED],
        next: "`kekring status`, then `kekring backup`",
    },
    Lesson {
        verb: "ring accept",
        purpose: "A ring is frozen when this node has used a newer generation than any that can be read. First put that generation back: \
            from the mirror, or from a backup by `kekring restore`. Only when it is lost for good, accept: a key that is in \
            no copy is lost, with what it encrypted. Where a root was removed in each of two histories, it decides whose ring \
            key is the ring's; the other's keys then wait for `kekring restore`.",
        examples: &[
            ("show what would be accepted", "kekring ring accept"),
            (
                "between two ring keys, as it shows them",
                "kekring ring accept --head gen-9-0a1b2c3d",
            ),
        ],
        codes: &[REFUSED, WAITING],
        next: "",
    },
    Lesson {
        verb: "node list",
        purpose: "Who keeps the ring on etcd. A rotation waits until each of them has acknowledged that it holds the next key, on its own \
            disk and verified; ALIVE tells only whether its server has been heard of within 30 s, and decides nothing.",
        examples: &[
            ("", "kekring node list"),
            (
                "who has not acknowledged anything",
                "kekring node list -o json | jq -r '.nodes[] | select(.acknowledged == null).name'",
            ),
        ],
        codes: &[],
        next: "",
    },
    Lesson {
        verb: "node remove",
        purpose: "A silent node may only be cut off from etcd, and its API server may still read: so a rotation waits for it for ever. This \
            is your word that it is gone. What is encrypted after the next rotation it cannot read. A machine that takes its \
            place under the same name registers once this is done.",
        examples: &[
            ("its server stopped 30 s ago", "kekring node remove cp-3"),
            (
                "somebody without a key wrote to etcd that it lives",
                "kekring node remove --dead cp-3",
            ),
        ],
        codes: &[
            (
                3,
                "it is alive, or a record says so, or there is no such node; nothing was changed",
            ),
            (4, "the nodes' histories are being joined; run it again"),
        ],
        next: "destroy its disk: copy and root there still open what they hold",
    },
    Lesson {
        verb: "store move",
        purpose: "From one control-plane node to several: write the configuration with ring.store.etcd, its localCopy the directory that the \
            ring lies in now, and run this beside the running server. That serves on, and no longer rotates; restart it with the \
            new configuration. Then the other nodes: root, certificate and configuration first, `kekring serve`, and last \
            kube-apiserver. They join by themselves and never make a ring.",
        examples: &[
            (
                "to etcd",
                "kekring store move --to etcd --config /etc/kekring/etcd.yaml",
            ),
            (
                "back, on the last node, its server stopped",
                "kekring store move --to file --config /etc/kekring/etcd.yaml",
            ),
        ],
        codes: &[REFUSED],
        next: "`kekring status`, with the new configuration",
    },
    Lesson {
        verb: "config check",
        purpose: "Reads the file and the variables as every verb does, and says what is wrong, or what is worth a thought. It opens no \
            ring.",
        examples: &[
            ("the default file", "kekring config check"),
            (
                "a file before it is put in place",
                "kekring config check --config new.yaml",
            ),
        ],
        codes: &[(
            2,
            "it is not valid; the message names line and column, or the key",
        )],
        next: "",
    },
    Lesson {
        verb: "config schema",
        purpose: "For editors that complete and check YAML. The parser is the judge: it knows more than a schema can say.",
        examples: &[("", "kekring config schema > kekring.schema.json")],
        codes: &[],
        next: "name it in the first line of the file: # yaml-language-server: $schema=kekring.schema.json",
    },
    Lesson {
        verb: "config encryption",
        purpose: "Encryption is turned on in two steps, so that what one kube-apiserver writes all can read: --phase read, and when every \
            one has taken it, --phase write. The way out is --phase exit. Each phase may be made from the result of the one \
            before it, by --merge, which keeps every other provider and its keys (comments are not kept); a block of \
            resources without kekring is left as it is, unless it decides on one of --resources.\n\n\
            exit puts first what shall write instead: the only other provider that encrypts, or else plain text; where \
            there are several, --to says which.",
        examples: &[
            (
                "first",
                "kekring config encryption --phase read --out encryption.yaml",
            ),
            (
                "then",
                "kekring config encryption --phase write --merge encryption.yaml --out encryption.yaml",
            ),
            (
                "from the file in use to another one, to be looked at first",
                "kekring config encryption --phase read --merge old.yaml --out new.yaml",
            ),
            (
                "everything, custom resources too",
                "kekring config encryption --resources '*.*'",
            ),
            (
                "back out",
                "kekring config encryption --phase exit --merge old.yaml --out new.yaml",
            ),
        ],
        codes: &[
            (2, "kube-apiserver would refuse it"),
            (3, "a provider of that name is there with another socket"),
        ],
        next: "put it in place on every kube-apiserver; it is taken within a minute",
    },
    Lesson {
        verb: "completions",
        purpose: "Packages install them where the shell looks; for one user, put them there yourself.",
        examples: &[
            ("bash, for this shell", "kekring completions bash > kekring.bash"),
            (
                "fish",
                "kekring completions fish > ~/.config/fish/completions/kekring.fish",
            ),
        ],
        codes: &[],
        next: "start a new shell, or source the file",
    },
    Lesson {
        verb: "man",
        purpose: "For packages: kekring.1 and one page for each verb, kekring-keys-suspend.1.",
        examples: &[("", "kekring man target/man")],
        codes: &[],
        next: "man -l target/man/kekring.1",
    },
];
