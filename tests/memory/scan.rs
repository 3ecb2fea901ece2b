//! Looking for secrets in bytes, and in what a process has mapped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};

/// Secrets, in every form in which they are looked for.
pub struct Wanted {
    /// By their first two bytes: the name, and all bytes.
    forms: BTreeMap<[u8; 2], Vec<(String, Vec<u8>)>>,
}

impl Wanted {
    /// Each under a name: raw, in hexadecimal of either case, in base64 and reversed. A half is enough: who frees memory
    /// writes over its beginning, and a key of which half is known is no key.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let mut wanted = Self {
            forms: BTreeMap::new(),
        };
        for (name, secret) in secrets {
            assert!(secret.len() >= 16, "{name} could be found by chance");
            // What follows a secret changes the last characters.
            let whole = BASE64.encode(&secret[..secret.len() / 3 * 3]);
            wanted.add(name, "base64", whole.into_bytes());
            for half in secret.chunks_exact(16) {
                wanted.add(name, "raw", half.to_vec());
                wanted.add(name, "reversed", half.iter().rev().copied().collect());
                wanted.add(name, "hexadecimal", HEXLOWER.encode(half).into_bytes());
                wanted.add(name, "upper hexadecimal", HEXUPPER.encode(half).into_bytes());
            }
        }
        wanted
    }

    fn add(&mut self, name: &str, form: &str, bytes: Vec<u8>) {
        let forms = self.forms.entry([bytes[0], bytes[1]]).or_default();
        forms.push((format!("{name}, {form}"), bytes));
    }

    /// What of it is in there, with the place.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<(&str, usize)> {
        let mut first = vec![false; 1 << 16];
        for key in self.forms.keys() {
            first[usize::from(u16::from_be_bytes(*key))] = true;
        }
        let mut found = Vec::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            let key = [pair[0], pair[1]];
            if first[usize::from(u16::from_be_bytes(key))] {
                let here = self.forms[&key]
                    .iter()
                    .filter(|(_, form)| bytes[at..].starts_with(form));
                found.extend(here.map(|(name, _)| (name.as_str(), at)));
            }
        }
        found
    }
}

/// What was found in a process, and how much was looked through.
#[derive(Debug)]
pub struct Scan {
    /// What, and in which mapping.
    pub hits: Vec<String>,
    /// Bytes that were read.
    pub read: u64,
    /// Mappings that could not be read, though the process can.
    pub unreadable: Vec<String>,
}

/// Looks through everything that a process has mapped, as root with a debugger could.
pub fn process(pid: i32, wanted: &Wanted) -> Scan {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut scan = Scan {
        hits: Vec::new(),
        read: 0,
        unreadable: Vec::new(),
    };
    for line in maps
        .lines()
        .filter(|line| line.split(' ').nth(1).unwrap().starts_with('r'))
    {
        // The kernel's own pages.
        if line.contains("[vvar") || line.contains("[vsyscall]") {
            continue;
        }
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        match memory.read_exact_at(&mut bytes, from) {
            Ok(()) => {
                scan.read += to - from;
                let hits = wanted.found_in(&bytes);
                let shown = hits
                    .iter()
                    .map(|(name, at)| format!("{name} at {at:#x} in {line}"));
                scan.hits.extend(shown);
            }
            Err(_) => scan.unreadable.push(line.to_owned()),
        }
    }
    scan
}

#[test]
fn the_scanner_sees_every_form() {
    let secret: Vec<u8> = (0..32).map(|byte| byte * 5 + 3).collect();
    let wanted = Wanted::new([("it", secret.clone())]);
    let reversed: Vec<u8> = secret.iter().rev().copied().collect();
    let forms = [
        secret.clone(),
        HEXLOWER.encode(&secret).into_bytes(),
        HEXUPPER.encode(&secret).into_bytes(),
        BASE64.encode(&secret).into_bytes(),
        reversed,
    ];

    for form in &forms {
        let text = [b"before".as_slice(), form, b"after"].concat();
        let shown = form.escape_ascii().to_string();
        assert!(!wanted.found_in(&text).is_empty(), "{shown}");
        assert!(
            !wanted.found_in(&form[form.len() / 2..]).is_empty() || shown.ends_with('='),
            "{shown}"
        );
        assert!(wanted.found_in(&form[..form.len() / 2 - 1]).is_empty(), "{shown}");
    }
}
