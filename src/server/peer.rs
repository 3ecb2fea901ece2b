//! Who is at the other end of the socket, as the kernel says, and whether that may be.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use super::namespace::Namespace;

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
    users: Vec<u32>,
    /// By primary group.
    groups: Vec<u32>,
    namespace: Namespace,
}

impl Admission {
    /// The configured users, or root and ourselves; the configured groups. What could be anybody in this namespace is never
    /// admitted.
    pub fn new(users: Option<&[u32]>, groups: &[u32], namespace: Namespace) -> Self {
        let ourselves = rustix::process::geteuid().as_raw();
        Self {
            users: users.map_or_else(|| vec![0, ourselves], <[u32]>::to_vec),
            groups: groups.to_vec(),
            namespace,
        }
    }

    /// Whether this peer may go on.
    #[must_use]
    pub fn admits(&self, peer: Peer) -> bool {
        self.namespace.knows_user(peer.uid)
            && (self.users.contains(&peer.uid)
                || self.namespace.knows_group(peer.gid) && self.groups.contains(&peer.gid))
    }

    /// The users that are admitted by their number.
    pub fn users(&self) -> Vec<u32> {
        let known = self.users.iter().copied();
        let mut known: Vec<u32> = known.filter(|uid| self.namespace.knows_user(*uid)).collect();
        // Root and ourselves may be one.
        known.dedup();
        known
    }

    /// The groups that are.
    pub fn groups(&self) -> Vec<u32> {
        let known = self.groups.iter().copied();
        known.filter(|gid| self.namespace.knows_group(*gid)).collect()
    }

    /// What is configured and not done, and why.
    pub fn warnings(&self) -> Vec<String> {
        let unknown = |name: &str, number: u32| {
            format!(
                "socket.{name} has {number}, who is not let in: in this server's user namespace that number stands for everybody without a mapping"
            )
        };
        let users = self.users.iter().filter(|it| !self.namespace.knows_user(**it));
        let groups = self.groups.iter().filter(|it| !self.namespace.knows_group(**it));
        users
            .map(|uid| unknown("allowUsers", *uid))
            .chain(groups.map(|gid| unknown("allowGroups", *gid)))
            .collect()
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
        let admission = Admission::new(Some(&[7]), &[9], Namespace::of(true));

        assert!(admission.admits(peer(7, 1)));
        assert!(admission.admits(peer(1, 9)));
        assert!(!admission.admits(peer(0, 0)));
    }

    #[test]
    fn root_and_ourselves_by_default() {
        let admission = Admission::new(None, &[], Namespace::of(true));

        assert!(admission.admits(peer(0, 0)));
        assert!(!admission.admits(peer(4711, 0)));
    }

    #[test]
    fn the_overflow_numbers_are_admitted_where_they_cannot_be_anybody_elses() {
        const NOBODY: u32 = 65534;
        let admission = |whole| Admission::new(Some(&[0, NOBODY]), &[NOBODY, 9], Namespace::of(whole));

        assert!(admission(true).admits(peer(NOBODY, 1)));
        assert!(admission(true).admits(peer(1, NOBODY)));
        assert_eq!(admission(true).warnings(), [""; 0]);
        for peer in [peer(NOBODY, 1), peer(1, NOBODY), peer(NOBODY, 9)] {
            assert!(!admission(false).admits(peer), "{peer}");
        }
        assert!(admission(false).admits(peer(1, 9)));
        assert_eq!(
            (admission(false).users(), admission(false).groups()),
            (vec![0], vec![9])
        );
        assert_eq!(admission(false).warnings().len(), 2);
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
