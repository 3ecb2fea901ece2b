//! The user namespace (user_namespaces(7)): whether a number that the kernel shows for a peer can be somebody else's.
//!
//! For a user or group without a mapping in our namespace the kernel shows the overflow number. Where every number is mapped, as
//! on a host and in a container without a namespace of its own, nobody is without, and that number is a user like any other:
//! Talos runs kube-apiserver as 65534.

use std::fs;

/// The overflow number, where the kernel does not say another.
pub const OVERFLOW: u32 = 65534;
/// Every number that there is; 2^32 - 1 is none.
const WHOLE: [u32; 3] = [0, 0, u32::MAX];

/// What the overflow numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// A user that could be anybody.
    anybody: Option<u32>,
    /// The same of groups.
    any_group: Option<u32>,
}

impl Namespace {
    /// That of this process. What cannot be read counts as not mapped.
    pub fn own() -> Self {
        Self {
            anybody: ambiguous("/proc/self/uid_map", "/proc/sys/kernel/overflowuid"),
            any_group: ambiguous("/proc/self/gid_map", "/proc/sys/kernel/overflowgid"),
        }
    }

    /// Whether this number says which user it is.
    pub fn knows_user(self, uid: u32) -> bool {
        self.anybody != Some(uid)
    }

    /// Whether this number says which group it is.
    pub fn knows_group(self, gid: u32) -> bool {
        self.any_group != Some(gid)
    }

    /// One where every number is mapped, or none is.
    #[cfg(test)]
    pub(super) fn of(whole: bool) -> Self {
        let overflow = (!whole).then_some(OVERFLOW);
        Self {
            anybody: overflow,
            any_group: overflow,
        }
    }
}

fn ambiguous(map: &str, overflow: &str) -> Option<u32> {
    let map = fs::read_to_string(map).unwrap_or_default();
    let overflow = fs::read_to_string(overflow)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    (!is_whole(&map)).then_some(overflow.unwrap_or(OVERFLOW))
}

/// One line: first number inside, first outside, how many.
fn is_whole(map: &str) -> bool {
    let numbers = map.split_ascii_whitespace().map(str::parse);
    numbers
        .collect::<Result<Vec<u32>, _>>()
        .is_ok_and(|it| it == WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_whole_when_one_line_has_every_number() {
        assert!(is_whole("         0          0 4294967295\n"));
        for other in [
            "",
            "0 0 65536\n",
            "0 100000 4294967295\n",
            "0 0 65534\n65535 65535 1\n",
            "0 0 many\n",
        ] {
            assert!(!is_whole(other), "{other:?}");
        }
    }
}
