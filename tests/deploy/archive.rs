//! Tar files as image.sh writes them: the form of POSIX.1-1988, without extensions.

/// What one header says, and what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) mode: u64,
    pub(crate) owner: (u64, u64),
    pub(crate) modified: u64,
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
}

/// Every entry, in its order. Anything but plain files and directories is no image of ours.
pub(crate) fn entries(archive: &[u8]) -> Vec<Entry> {
    let (mut entries, mut rest) = (Vec::new(), archive);
    while rest.len() >= 512 && rest[0] != 0 {
        let (header, after) = rest.split_at(512);
        assert_eq!(&header[257..263], b"ustar\0", "{:?}", text(&header[..100]));
        assert_eq!(header[345], 0, "a name of more than 100 bytes");
        let size = usize::try_from(number(&header[124..136])).unwrap();
        entries.push(Entry {
            name: text(&header[..100]).trim_end_matches('/').to_owned(),
            mode: number(&header[100..108]),
            owner: (number(&header[108..116]), number(&header[116..124])),
            modified: number(&header[136..148]),
            kind: match header[156] {
                b'0' => Kind::File,
                b'5' => Kind::Directory,
                other => panic!("an entry of type {:?}", char::from(other)),
            },
            bytes: after[..size].to_vec(),
        });
        rest = &after[size.next_multiple_of(512)..];
    }
    entries
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).unwrap()
}

fn number(field: &[u8]) -> u64 {
    u64::from_str_radix(text(field).trim(), 8).unwrap()
}
