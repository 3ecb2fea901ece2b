//! Whether bytes hold a secret, in any of the forms that programs give it.

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};

/// Raw, hexadecimal, base64, and as Rust prints bytes.
pub(crate) fn leaks(haystack: &[u8], secret: &[u8]) -> bool {
    let list = format!("{secret:?}");
    // As libraries print bytes, and the same inside a JSON string.
    let escaped = secret.escape_ascii().to_string();
    let mut forms = vec![
        escaped.replace('\\', "\\\\").into_bytes(),
        escaped.into_bytes(),
        secret.to_vec(),
        HEXLOWER.encode(secret).into_bytes(),
        HEXUPPER.encode(secret).into_bytes(),
        list.trim_matches(['[', ']']).as_bytes().to_vec(),
    ];
    // In base64 of something longer it has three forms; what stands in the first and last letters with other bytes is left out.
    forms.extend((0..3).map(|before| {
        let text = BASE64.encode(&[vec![0; before], secret.to_vec()].concat());
        let text = text.trim_end_matches('=').as_bytes();
        text[before.div_ceil(3) * 4..text.len() - 1].to_vec()
    }));
    forms.iter().any(|form| holds(haystack, form))
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}
