//! What differs from run to run, replaced by its name: `<KEY 2>`, `<RING>`, `<TIME>`, `<DIR>`, `<PID>`.

use data_encoding::HEXLOWER;
use kekring::crypto::kdf::sha256;

/// The names of one session: the same thing has the same name in all of its commands.
#[derive(Default)]
pub struct Names {
    /// Text that is replaced as it is, such as the directory.
    places: Vec<(String, String)>,
    keys: Vec<(String, String)>,
    rings: Vec<String>,
    slots: Vec<(String, String)>,
}

impl Names {
    pub fn new(places: &[(&str, String)]) -> Self {
        Self {
            places: places
                .iter()
                .map(|(name, text)| ((*name).to_owned(), text.clone()))
                .collect(),
            ..Self::default()
        }
    }

    /// The text that a name in a command stands for.
    pub fn filled(&self, word: &str) -> String {
        let known = self.places.iter().chain(&self.keys).chain(&self.slots);
        known.fold(word.to_owned(), |word, (name, text)| word.replace(name, text))
    }

    /// The text with names in it.
    pub fn normal(&mut self, text: &str) -> String {
        let text = self
            .places
            .iter()
            .fold(text.to_owned(), |text, (name, place)| text.replace(place, name));
        let text = text.replace(env!("CARGO_PKG_VERSION"), "<VERSION>");
        // How long something takes is another matter, and so whether it is worth a line.
        let lines = text.lines().filter(|line| !line.starts_with("{\"progress\":"));
        let lines: Vec<String> = lines.map(|line| self.line(line)).collect();
        without_lists(&lines).join("\n")
    }

    fn line(&mut self, line: &str) -> String {
        if line.starts_with("protections ") {
            return "protections    <PROTECTIONS>".into();
        }
        let mut normal = String::new();
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let starts = !normal.ends_with(|c: char| c.is_ascii_alphanumeric());
            let (name, length) = match starts.then(|| self.word(&normal, rest)).flatten() {
                Some(found) => found,
                None => (first.to_string(), first.len_utf8()),
            };
            normal += &name;
            rest = &rest[length..];
        }
        normal
    }

    /// A name for what stands at the beginning of `rest`, and its length.
    fn word(&mut self, before: &str, rest: &str) -> Option<(String, usize)> {
        let word = &rest[..rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len())];
        let hexadecimal =
            |text: &str, length| text.len() == length && HEXLOWER.decode(text.as_bytes()).is_ok();
        if let Some(tail) = rest.strip_prefix(word).and_then(|tail| tail.strip_prefix('-')) {
            let sequence = word.strip_prefix('k').filter(|it| it.parse::<u64>().is_ok());
            let id = tail.get(..32).filter(|id| hexadecimal(id, 32));
            if let (Some(sequence), Some(id)) = (sequence, id) {
                return Some((self.key(sequence, &format!("{word}-{id}")), word.len() + 33));
            }
            if word == "gen" {
                let (number, tail) = tail.split_once('-')?;
                let hash = tail.get(..8).filter(|hash| hexadecimal(hash, 8))?;
                return Some((format!("gen-{number}-<HASH>"), 5 + number.len() + hash.len()));
            }
        }
        let temporary = [".kekring-", ".tmp-"].iter().any(|it| before.ends_with(it));
        if temporary && word.len() == 6 {
            return Some(("<RANDOM>".into(), 6));
        }
        if hexadecimal(word, 64) {
            let of = self
                .keys
                .iter()
                .find(|(_, id)| HEXLOWER.encode(&sha256(id.as_bytes())) == word);
            let name = of.map_or("<HASH>".to_owned(), |(name, _)| name.replace('<', "<HASH OF "));
            return Some((name, 64));
        }
        if hexadecimal(word, 32) {
            // What stands behind the word `ring` is one; every other such name is a root slot's.
            let mut words = before.split(|c: char| !c.is_ascii_alphabetic());
            let ring = words.rfind(|it| !it.is_empty()) == Some("ring");
            return Some((if ring { self.ring(word) } else { self.slot(word) }, 32));
        }
        if rest.get(..20).is_some_and(is_time) {
            return Some(("<TIME>".into(), 20));
        }
        let after = &rest[word.len()..];
        let number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        let varies = ["Seconds", "\"pid", "\"writtenUnix", "\"milliseconds"];
        let name = before.trim_end().strip_suffix("\":");
        if number && name.is_some_and(|name| varies.iter().any(|it| name.ends_with(it))) {
            return Some(("<NUMBER>".into(), word.len()));
        }
        if number && after.starts_with(" ms") {
            return Some(("<NUMBER>".into(), word.len()));
        }
        if number && before.ends_with("abandoned-") {
            return Some(("<TIME>".into(), word.len()));
        }
        if number && (before.ends_with("process ") || before.ends_with("pid=")) {
            return Some(("<PID>".into(), word.len()));
        }
        let aged = ["for ", "made "].iter().any(|it| before.ends_with(it))
            || [" old", " ago"].iter().any(|it| after.starts_with(it))
            || before.starts_with("next rotation");
        (aged && is_age(word)).then(|| ("<AGE>".into(), word.len()))
    }

    fn key(&mut self, sequence: &str, id: &str) -> String {
        if let Some((name, _)) = self.keys.iter().find(|(_, known)| known == id) {
            return name.clone();
        }
        let mut name = format!("<KEY {sequence}>");
        while self.keys.iter().any(|(known, _)| *known == name) {
            name.insert(name.len() - 1, '\'');
        }
        self.keys.push((name.clone(), id.to_owned()));
        name
    }

    fn slot(&mut self, id: &str) -> String {
        if let Some((name, _)) = self.slots.iter().find(|(_, known)| known == id) {
            return name.clone();
        }
        let name = format!("<SLOT {}>", self.slots.len() + 1);
        self.slots.push((name.clone(), id.to_owned()));
        name
    }

    fn ring(&mut self, id: &str) -> String {
        let known = self.rings.iter().position(|ring| ring == id);
        let at = known.unwrap_or_else(|| {
            self.rings.push(id.to_owned());
            self.rings.len() - 1
        });
        match at {
            0 => "<RING>".into(),
            at => format!("<RING {}>", at + 1),
        }
    }
}

/// What a machine protects, whom a server of this user lets in, and who is connected at this moment, is another matter.
fn without_lists(lines: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut inside = false;
    for line in lines {
        if inside {
            inside = !line.trim_start().starts_with(']');
            continue;
        }
        let list = [
            "\"protections\": [",
            "\"openedBy\": [",
            "\"admittedUsers\": [",
            "\"connections\": [",
        ]
        .iter()
        .find(|it| line.trim_start().starts_with(*it));
        let Some(list) = list else {
            kept.push(line.clone());
            continue;
        };
        inside = !line.contains(']');
        let indented = &line[..line.len() - line.trim_start().len()];
        let comma = if !list.contains("connections") || line.ends_with(',') {
            ","
        } else {
            ""
        };
        kept.push(format!("{indented}{list}…]{comma}"));
    }
    kept
}

/// `2026-11-24T10:43:33Z`.
fn is_time(text: &str) -> bool {
    let form: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    form == "0000-00-00T00:00:00Z"
}

/// `5s`, `1m5s`, `30d2h`.
fn is_age(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word.chars().all(|c| c.is_ascii_digit() || "dhms".contains(c))
}

#[test]
fn what_varies_has_a_name_and_what_does_not_is_kept() {
    let key = "k1-00112233445566778899aabbccddeeff";
    let other = "k1-ffeeddccbbaa99887766554433221100";
    let mut names = Names::new(&[("<DIR>", "/tmp/x1".into())]);
    let mut normal = |text: &str| names.normal(text);

    assert_eq!(
        normal(&format!("key {key}: {other}, {key}")),
        "key <KEY 1>: <KEY 1'>, <KEY 1>"
    );
    assert_eq!(
        normal(&format!("sha256:{}", HEXLOWER.encode(&sha256(key.as_bytes())))),
        "sha256:<HASH OF KEY 1>"
    );
    assert_eq!(
        normal("/tmp/x1/ring/gen-12-00112233.ring"),
        "<DIR>/ring/gen-12-<HASH>.ring"
    );
    assert_eq!(normal("ring 00112233445566778899aabbccddeeff"), "ring <RING>");
    assert_eq!(normal("slot 00112233445566778899aabbccddeeff"), "slot <SLOT 1>");
    assert_eq!(
        normal("at 2026-11-24T10:43:33Z, for 1m5s"),
        "at <TIME>, for <AGE>"
    );
    assert_eq!(
        normal("replaced every 90d, within 1s"),
        "replaced every 90d, within 1s"
    );
    assert_eq!(
        normal("(process 17, generation 17)"),
        "(process <PID>, generation 17)"
    );
    assert_eq!(names.filled("<KEY 1>"), key);
}
