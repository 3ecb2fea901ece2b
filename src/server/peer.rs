//! Who is at the other end of the socket, as the kernel says, and whether that may be.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

/// What the kernel shows for a user without a mapping in our user namespace (`/proc/sys/kernel/overflowuid`):
/// it could be anybody, so it is never admitted.
const OVERFLOW_UID: u32 = 65534;

/// Credentials of the process that connected, at the moment it did (SO_PEERCRED, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Process, for the log only: it may be another one by now.
    pub pid: Option<i32>,
}

impl Peer {
    /// Asks the kernel.
    pub fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid={},pid={}", self.uid, self.pid.unwrap_or(0))
    }
}

/// Who may connect.
#[derive(Clone, Debug)]
pub struct Admission {
    /// By user.
    pub users: Vec<u32>,
    /// By primary group.
    pub groups: Vec<u32>,
}

impl Admission {
    /// The configured users, or root and ourselves; the configured groups.
    pub fn new(users: Option<&[u32]>, groups: &[u32]) -> Self {
        let ourselves = rustix::process::geteuid().as_raw();
        Self {
            users: users.map_or_else(|| vec![0, ourselves], <[u32]>::to_vec),
            groups: groups.to_vec(),
        }
    }

    /// Whether this peer may go on.
    #[must_use]
    pub fn admits(&self, peer: Peer) -> bool {
        peer.uid != OVERFLOW_UID && (self.users.contains(&peer.uid) || self.groups.contains(&peer.gid))
    }
}

/// Lets a few events through in a while and counts the rest, so that nothing can flood the log.
pub struct Throttle {
    most: u64,
    every: Duration,
    state: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    told: u64,
    untold: u64,
}

impl Throttle {
    /// One event every so often.
    pub fn new(every: Duration) -> Self {
        Self::most(1, every)
    }

    /// At most so many events every so often.
    pub fn most(most: u64, every: Duration) -> Self {
        Self {
            most,
            every,
            state: Mutex::default(),
        }
    }

    /// `Some(n)` when this event is to be told, with `n` that were not told before it.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if window
            .began
            .is_none_or(|began| now.duration_since(began) >= self.every)
        {
            window.began = Some(now);
            window.told = 0;
        }
        if window.told == self.most {
            window.untold += 1;
            return None;
        }
        window.told += 1;
        Some(std::mem::take(&mut window.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { uid, gid, pid: None }
    }

    #[test]
    fn a_list_of_users_is_the_whole_list() {
        let admission = Admission::new(Some(&[7]), &[9]);

        assert!(admission.admits(peer(7, 1)));
        assert!(admission.admits(peer(1, 9)));
        assert!(!admission.admits(peer(0, 0)));
    }

    #[test]
    fn root_and_ourselves_by_default_and_never_the_overflow_user() {
        let admission = Admission::new(None, &[]);
        let everybody = Admission::new(Some(&[OVERFLOW_UID]), &[OVERFLOW_UID]);

        assert!(admission.admits(peer(0, 0)));
        assert!(!admission.admits(peer(4711, 0)));
        assert!(!everybody.admits(peer(OVERFLOW_UID, OVERFLOW_UID)));
    }

    #[test]
    fn a_throttle_tells_how_many_it_swallowed() {
        let throttle = Throttle::new(Duration::from_secs(10));
        let start = Instant::now();

        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.admit(start + Duration::from_secs(2)), None);
        assert_eq!(throttle.admit(start + Duration::from_secs(11)), Some(2));
    }
    #[test]
    fn a_throttle_of_several_tells_that_many_in_each_while() {
        let throttle = Throttle::most(2, Duration::from_secs(10));
        let start = Instant::now();
        let told = |second| throttle.admit(start + Duration::from_secs(second));

        assert_eq!([0, 1, 2, 3].map(told), [Some(0), Some(0), None, None]);
        assert_eq!([10, 19, 19].map(told), [Some(2), Some(0), None]);
        assert_eq!([40, 41].map(told), [Some(1), Some(0)]);
    }
}
